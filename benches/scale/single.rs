//! One Tenant after the other, create to Ready.

use std::time::Instant;

use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, ListParams, PostParams},
};
use lab::{Lab, eventually};
use tenantry_api::v1alpha1::Tenant;

use crate::{
    PARALLEL, measure,
    report::{Report, Target},
    tenants::{tenant, tenants_api},
    watching::{PATIENCE, is_ready, track},
};

/// Tenants that are created one by one.
pub const SINGLE: usize = 100;

/// One watch that is open all the time sees them.
pub async fn one_by_one(client: &Client, prefix: &'static str, what: &str, report: &mut Report) {
    let api = tenants_api(client);
    let is_meant = move |tenant: &Tenant| tenant.name_any().starts_with(prefix) && is_ready(tenant);
    let mut ready = track(Api::<Tenant>::all(client.clone()), is_meant);
    let mut times = Vec::new();
    for index in 0..SINGLE {
        let object = serde_json::from_value(tenant(&format!("{prefix}-{index}"), 1)).unwrap();
        let started = Instant::now();
        api.create(&PostParams::default(), &object).await.unwrap();
        tokio::time::timeout(PATIENCE, ready.wait_for(|ready| *ready > index))
            .await
            .expect("the Tenant becomes Ready in time")
            .unwrap();
        times.push(started.elapsed());
    }
    report.latency(prefix, what, times, Target::AtMost(100.0));
}

/// On an idle server, with an operator of its own; deletes everything afterwards.
pub async fn on_an_idle_server(lab: &Lab, client: &Client, report: &mut Report) {
    let operator = lab.operator(measure::operator_options()).await.unwrap();
    one_by_one(
        client,
        "first",
        "one Tenant, create to Ready, with fewer than 100 others",
        report,
    )
    .await;
    let api = tenants_api(client);
    stream::iter(0..SINGLE)
        .for_each_concurrent(PARALLEL, |index| {
            let api = api.clone();
            async move {
                let name = format!("first-{index}");
                drop(api.delete(&name, &DeleteParams::default()).await.unwrap());
            }
        })
        .await;
    let namespaces: Api<Namespace> = Api::all(client.clone());
    eventually("the first tenants to be gone", PATIENCE, || async {
        let tenants = api.list_metadata(&ListParams::default()).await.unwrap().items.len();
        let namespaces = namespaces.list_metadata(&ListParams::default()).await.unwrap().items;
        let left = namespaces
            .iter()
            .filter(|namespace| namespace.name_any().starts_with("first-"));
        match tenants + left.count() {
            0 => Ok(()),
            left => Err(left),
        }
    })
    .await;
    operator.stop().await.unwrap();
}
