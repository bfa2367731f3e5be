//! A template that changes, and is deleted, while the operator is killed half-way through sixty tenants.

use k8s_openapi::api::core::v1::ResourceQuota;
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams},
};
use serde_json::json;
use tenantry_api::v1alpha1::{Tenant, TenantTemplate};

use super::{PATIENCE, Stand, TEMPLATE, eventually};
use crate::common::{self, audit};

const TENANTS: usize = 60;

impl Stand {
    /// How many quotas admit so many pods.
    async fn quotas_of(&self, pods: &str) -> usize {
        let quotas: Api<ResourceQuota> = Api::all(self.admin.clone());
        let listed = quotas.list(&ListParams::default()).await.unwrap();
        let admits = |quota: &&ResourceQuota| {
            let hard = quota.spec.as_ref().and_then(|spec| spec.hard.as_ref());
            hard.and_then(|hard| hard.get("pods"))
                .is_some_and(|amount| amount.0 == pods)
        };
        listed.iter().filter(admits).count()
    }

    /// Changes each namespace's share and waits until the operator has begun; returns how many quotas it has changed.
    async fn roll(&self, pods: i64) -> usize {
        self.change_template(TEMPLATE, &json!({ "spec": { "quotas": { "pods": pods } } }))
            .await;
        let each = (pods / 2).to_string();
        eventually("the change to reach the first", PATIENCE, || async {
            let reached = self.quotas_of(&each).await;
            if reached > 0 { Ok(reached) } else { Err("none") }
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn template_change_and_delete_survive_operator_kills() {
    let stand = Stand::new().await;
    let single = || common::binary().arg("--leader-elect=false");
    let operator = stand.lab.operator(single()).await.unwrap();
    stand
        .change_template(TEMPLATE, &json!({ "spec": { "quotas": { "pods": 8 } } }))
        .await;
    stand.create_numbered(0..TENANTS).await;
    common::all_ready(&stand.admin).await;
    common::counts_tenants(&stand.admin, TEMPLATE, TENANTS).await;

    let first = stand.roll(6).await;
    operator.kill();
    let operator = stand.lab.operator(single()).await.unwrap();
    let second = stand.roll(4).await;
    let templates: Api<TenantTemplate> = Api::all(stand.admin.clone());
    templates.delete(TEMPLATE, &DeleteParams::default()).await.unwrap();
    operator.kill();
    assert!(
        first.max(second) < 2 * TENANTS,
        "the kills came after the work was done"
    );
    let operator = stand.lab.operator(single()).await.unwrap();

    let template = templates
        .get(TEMPLATE)
        .await
        .expect("it is in use, and stays until it is not");
    assert!(template.metadata.deletion_timestamp.is_some());
    let tenants = stand.as_rendered(&[template]).await;
    assert_eq!(tenants.len(), TENANTS);
    assert_eq!(stand.quotas_of("2").await, 2 * TENANTS, "none is skipped");
    stand.judge().await;

    // No quota was written twice: each at most once for each of two changes.
    let mut writes = std::collections::BTreeMap::new();
    for event in audit::read(&stand.lab) {
        if event.user == audit::OPERATOR
            && event.resource == "resourcequotas"
            && event.verb == "update"
            && event.succeeded()
        {
            *writes.entry(event.namespace).or_insert(0) += 1;
        }
    }
    let total: usize = writes.values().sum();

    let all: Api<Tenant> = Api::all(stand.admin.clone());
    futures::future::join_all(tenants.iter().map(async |tenant| {
        all.delete(&tenant.name_any(), &DeleteParams::default()).await.unwrap();
    }))
    .await;
    common::gone(&templates, TEMPLATE).await;
    println!(
        "killed with {first} and {second} of {} quotas changed; {total} quota writes in all",
        2 * TENANTS
    );
    assert!(operator.stop().await.unwrap().success());
}
