//! Another controller that keeps undoing the operator's writes.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Event;
use kube::{
    Api, Client,
    api::{DynamicObject, ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use tenantry_core::object::Kind;

use super::{Choice, Stand, plain, plain_tenant, unguarded_rights};
use crate::common::{self, audit, oracle::strays};

/// How often the other controller writes.
const EVERY: Duration = Duration::from_millis(200);

fn lasts() -> Duration {
    let is_long = Choice::from_env().is_all();
    Duration::from_secs(if is_long { 60 } else { 15 })
}

/// Writes `change` for as long as the fight lasts; returns how often.
async fn insist(admin: Client, kind: Kind, name: &str, change: Value) -> usize {
    let api: Api<DynamicObject> = Api::namespaced_with(admin, "fought-a", &kind.api_resource());
    let change = Patch::Merge(change);
    let started = Instant::now();
    let mut pace = tokio::time::interval(EVERY);
    let mut writes = 0;
    while started.elapsed() < lasts() {
        pace.tick().await;
        // The object may be missing for a moment.
        writes += usize::from(api.patch(name, &PatchParams::default(), &change).await.is_ok());
    }
    writes
}

/// Kinds that Events report as contested. Quotas are never reported, as their shares change by themselves.
async fn contested(admin: &Client) -> Vec<String> {
    let events: Api<Event> = Api::namespaced(admin.clone(), "default");
    let reason = ListParams::default().fields("reason=Contested");
    let events = events.list(&reason).await.unwrap().items;
    let mut kinds: Vec<_> = events
        .into_iter()
        .filter(|event| event.involved_object.name.as_deref() == Some("fought"))
        .filter_map(|event| event.related?.kind)
        .collect();
    kinds.sort();
    kinds.dedup();
    kinds
}

#[tokio::test(flavor = "multi_thread")]
async fn controller_that_undoes_writes_costs_two_writes_for_each() {
    let stand = Stand::new().await;
    let operator = stand.lab.operator(common::binary()).await.unwrap();
    for name in ["fought", "calm"] {
        common::create(&stand.admin, &plain_tenant(name, &["a"]).build()).await;
    }
    stand.as_rendered(&[plain()]).await;
    let before = audit::mark(&stand.lab, &stand.admin).await;

    let eve = json!([{ "kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "eve" }]);
    let fights = [
        (
            Kind::NetworkPolicy,
            "tenantry-default-deny",
            json!({ "spec": { "ingress": [{}] } }),
        ),
        (
            Kind::ResourceQuota,
            "tenantry",
            json!({ "spec": { "hard": { "pods": "3" } } }),
        ),
        (Kind::RoleBinding, "tenantry-owner", json!({ "subjects": eve })),
    ];
    let fight = futures::future::join_all(
        fights
            .iter()
            .map(|(kind, name, change)| insist(stand.admin.clone(), *kind, name, change.clone())),
    );
    let neighbour = async {
        let asked = Instant::now();
        common::create(&stand.admin, &plain_tenant("amid", &["a"]).build()).await;
        common::ready(&stand.admin, "amid").await;
        asked.elapsed()
    };
    let (theirs, amid) = tokio::join!(fight, neighbour);
    let over = Instant::now();
    stand.as_rendered(&[plain()]).await;
    let settled = over.elapsed();

    let after = audit::mark(&stand.lab, &stand.admin).await;
    let events = audit::read(&stand.lab);
    let ours: Vec<_> = audit::by_operator(&events, &before, &after)
        .filter(|event| event.is_write() && !event.is_lease())
        .collect();
    for ((kind, ..), theirs) in fights.iter().zip(&theirs) {
        let resource = kind.api_resource().plural;
        let in_fight = |event: &&&audit::Event| event.resource == resource && event.namespace == "fought-a";
        let (done, refused): (Vec<&audit::Event>, Vec<&audit::Event>) = ours
            .iter()
            .filter(in_fight)
            .copied()
            .partition(|event| event.succeeded());
        let minute = done.len() as u64 * 60 / lasts().as_secs();
        println!(
            "{}: {theirs} writes of theirs, {} of ours ({minute} a minute), {} refused",
            kind.as_str(),
            done.len(),
            refused.len()
        );
        assert!(*theirs > 20, "there was no fight over {kind:?}: {theirs}");
        // A RoleBinding without allowed subjects is deleted and created.
        assert!(done.len() <= 2 * theirs + 2, "{} writes against {theirs}", done.len());
    }
    let statuses = ours
        .iter()
        .filter(|event| event.resource == "tenants" && event.name == "fought")
        .count();
    let told = ours.iter().filter(|event| event.resource == "events").count();
    println!(
        "{statuses} writes of the status, {told} Events; a new neighbour was Ready after {amid:?}; settled after {settled:?}"
    );
    assert_eq!(contested(&stand.admin).await, ["NetworkPolicy", "RoleBinding"]);
    let of_calm: Vec<_> = ours.iter().filter(|event| event.namespace == "calm-a").collect();
    assert!(of_calm.is_empty(), "{of_calm:?}");
    let (events, steps) = stand.seen().await;
    assert_eq!(unguarded_rights(&steps), [""; 0]);
    assert_eq!(strays(&events, &steps), [""; 0]);
    assert!(operator.stop().await.unwrap().success());
}
