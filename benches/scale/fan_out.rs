//! A template change over all tenants.

use std::time::{Duration, Instant};

use kube::{
    Api, Client,
    api::{DynamicObject, Patch, PatchParams},
};
use lab::Operator;
use serde_json::json;
use tenantry_api::v1alpha1::{Tenant, TenantTemplate};

use crate::{
    raw,
    report::{Report, Target},
    settings::FEWER,
    tenants::{TEMPLATE, template},
    usage::{STILL, calls, describe, difference, settled_calls},
    watching::{is_ready, quotas_counted, reach, track},
};

/// Compared with writing the same quotas, limit ConfigMaps and statuses straight to the server. The template has no
/// Tenants besides those with a copy.
pub async fn fan_out(
    client: &Client,
    operator: &Operator,
    copies: Vec<DynamicObject>,
    namespaces: usize,
    report: &mut Report,
) {
    let tenants = copies.len();
    let mut objects = raw::raw_objects(&template(FEWER), tenants, namespaces);
    for objects in &mut objects {
        objects.retain(|object| object["kind"] == "ResourceQuota" || object["kind"] == "ConfigMap");
    }
    let started = Instant::now();
    raw::write_raw(client, objects).await;
    quotas_counted(client, "raw-", tenants * namespaces, raw::share(FEWER, namespaces)).await;
    let children_time = started.elapsed();
    raw::write_statuses(client, copies, namespaces, FEWER).await;
    let whole_time = started.elapsed();

    let before = calls(operator).await;
    let templates: Api<TenantTemplate> = Api::all(client.clone());
    let fewer = json!({ "spec": { "quotas": { "pods": FEWER } } });
    let started = Instant::now();
    templates
        .patch(TEMPLATE, &PatchParams::default(), &Patch::Merge(fewer))
        .await
        .unwrap();
    let followed = track(Api::<Tenant>::all(client.clone()), |tenant| {
        is_ready(tenant)
            && tenant.status.as_ref().is_some_and(|status| {
                status
                    .quota
                    .iter()
                    .any(|entry| entry.resource == "pods" && entry.grant == FEWER.to_string().parse().unwrap())
            })
    });
    reach("every Tenant to follow the template", followed, tenants).await;
    let time = started.elapsed();
    let after = settled_calls(operator, STILL).await;
    report.seconds("fan_out_s", "template change over all tenants", time);
    report.seconds(
        "fan_out_raw_children_s",
        "template change: raw limit of the children",
        children_time,
    );
    report.seconds("fan_out_raw_s", "template change: raw limit of the whole", whole_time);
    let over = |raw: Duration| time.as_secs_f64() / raw.as_secs_f64();
    report.ratio(
        "fan_out_over_children",
        "template change / raw limit of the children",
        over(children_time),
        Target::None,
    );
    report.ratio(
        "fan_out_over_whole",
        "template change / raw limit of the whole",
        over(whole_time),
        Target::AtMost(1.3),
    );
    let changed = difference(&before, &after);
    report.note("writes of that change", describe(&changed));

    let before = settled_calls(operator, STILL).await;
    let touch = json!({ "metadata": { "annotations": { "bench": "touched" } } });
    templates
        .patch(TEMPLATE, &PatchParams::default(), &Patch::Merge(touch))
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let after = calls(operator).await;
    report.note(
        "writes of a template touch that changes nothing",
        describe(&difference(&before, &after)),
    );
}
