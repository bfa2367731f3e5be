//! The exact number of the operator's calls. An accidental extra call fails here, before it slows down clusters. Times
//! are measured by `make bench`.

use std::collections::BTreeMap;

use controlplane::Audit;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use lab::{Lab, Operator};
use serde_json::{Value, json};
use tenantry_api::v1alpha1::{Tenant, TenantTemplate};

use crate::common::{
    self, PATIENCE,
    audit::{self, Event, Mark},
    builders::{template, tenant},
    eventually,
};

/// Tenants with one namespace each.
const TENANTS: usize = 3;
const TEMPLATE: &str = "counted";

/// The least possible writes per tenant, by change. A new kind must be added here, which shows its cost.
const WRITES: [(&str, &[(&str, usize)]); 5] = [
    (
        "create to Ready",
        &[
            ("create namespaces", 1),
            ("create limitranges", 1),
            ("create resourcequotas", 1),
            ("create networkpolicies", 2),
            ("create tenantpolicies", 1),
            ("create configmaps", 1),
            ("create rolebindings", 1),
            ("patch tenants", 1),
            ("update tenants/status", 1),
        ],
    ),
    (
        "a template change of the pods granted",
        &[
            ("update configmaps", 1),
            ("update resourcequotas", 1),
            ("update tenants/status", 1),
        ],
    ),
    ("a template change that comes to the same objects", &[]),
    ("a deleted NetworkPolicy", &[("create networkpolicies", 1)]),
    ("a restart", &[]),
];

/// Writes for a template when its first tenant comes: the finalizer that keeps it while it is used.
const FIRST_USE: (&str, &str) = ("create to Ready", "patch tenanttemplates");

/// Reads of the operator after a restart, for any number of tenants: one list of each kind that it watches.
const READS: [(&str, usize); 13] = [
    // Discovery: which optional kinds are served.
    ("get ", 1),
    ("list configmaps", 1),
    ("list customresourcedefinitions", 1),
    ("list events", 1),
    ("list limitranges", 1),
    ("list namespaces", 1),
    ("list networkpolicies", 1),
    ("list resourcequotas", 1),
    ("list rolebindings", 1),
    ("list tenantnamespaces", 1),
    ("list tenantpolicies", 1),
    ("list tenants", 1),
    // One for each of the two controllers.
    ("list tenanttemplates", 2),
];

struct Counted {
    lab: Lab,
    admin: Client,
}

impl Counted {
    /// The operator's requests after `since`, without the Lease's.
    async fn since(&self, since: &Mark) -> Vec<Event> {
        let now = audit::mark(&self.lab, &self.admin).await;
        let events = audit::read(&self.lab);
        let asked = audit::by_operator(&events, since, &now).filter(|event| !event.is_lease());
        asked.cloned().collect()
    }

    /// Fails unless the writes since `since` are those of the table, for each tenant.
    async fn writes(&self, what: &str, since: &Mark) {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        let mut refused = Vec::new();
        let events = self.since(since).await;
        // A template's status counts its tenants: some writes for all of them, not one for each.
        let of_tenants = |event: &&Event| event.is_write() && event.what() != "tenanttemplates/status";
        for event in events.iter().filter(of_tenants) {
            if event.succeeded() {
                *counts.entry(format!("{} {}", event.verb, event.what())).or_default() += 1;
            } else {
                refused.push(event.to_string());
            }
        }
        let (_, expected) = WRITES.into_iter().find(|(name, _)| *name == what).unwrap();
        let mut expected: BTreeMap<String, usize> = expected
            .iter()
            .map(|(call, count)| ((*call).to_owned(), count * TENANTS))
            .collect();
        if what == FIRST_USE.0 {
            expected.insert(FIRST_USE.1.to_owned(), 1);
        }
        assert_eq!(counts, expected, "{what}; refused: {refused:#?}");
        // A status that was computed from an older Tenant is refused and written once more. Nothing else may be
        // refused.
        let is_late = |line: &String| line.contains("update tenants/status") && line.ends_with(": 409");
        assert!(
            refused.len() <= TENANTS && refused.iter().all(is_late),
            "{what}: {refused:#?}"
        );
    }

    async fn change(&self, change: Value) {
        let templates: Api<TenantTemplate> = Api::all(self.admin.clone());
        templates
            .patch(TEMPLATE, &PatchParams::default(), &Patch::Merge(change))
            .await
            .unwrap();
    }

    /// Waits until every Tenant is Ready and its status grants so many pods, all of them allocated.
    async fn granted(&self, pods: &str) {
        let tenants: Api<Tenant> = Api::all(self.admin.clone());
        eventually("the grant to reach all", PATIENCE, || async {
            let tenants = tenants.list(&ListParams::default()).await.unwrap();
            let has = |tenant: &Tenant| {
                let status = serde_json::to_value(&tenant.status).unwrap();
                let quota = status["quota"].as_array().cloned().unwrap_or_default();
                let mut quota = quota.iter();
                quota.any(|entry| entry["resource"] == "pods" && entry["grant"] == pods && entry["allocated"] == pods)
            };
            let behind = tenants
                .iter()
                .filter(|tenant| !has(tenant) || !common::is_ready(tenant));
            match behind.count() {
                0 => Ok(()),
                behind => Err(format!("{behind} are behind")),
            }
        })
        .await;
    }
}

/// Reconciles of Tenants that found nothing to do.
async fn idle_looks(operator: &Operator) -> usize {
    let metrics = operator.metrics().await.unwrap();
    let prefix = r#"tenantry_reconcile_total{controller="tenant",outcome="unchanged"} "#;
    let count = metrics.lines().find_map(|line| line.strip_prefix(prefix)?.parse().ok());
    count.unwrap_or_default()
}

async fn looked(operator: &Operator, before: usize) {
    eventually("every Tenant to be looked at", PATIENCE, || async {
        match idle_looks(operator).await - before {
            looked if looked >= TENANTS => Ok(()),
            looked => Err(looked),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_of_a_tenants_life_is_in_the_table() {
    let (lab, admin) = common::own(Audit::Metadata).await;
    let spec = json!({ "tier": "Standard", "selfService": "Disabled", "quotas": { "pods": 10 } });
    common::create_template(&admin, &template(TEMPLATE, spec)).await;
    let operator = lab.operator(common::binary()).await.unwrap();
    let counted = Counted { lab, admin };
    let Counted { lab, admin } = &counted;

    let since = audit::mark(lab, admin).await;
    for number in 0..TENANTS {
        let name = format!("t{number}");
        let tenant = tenant(&name, TEMPLATE).owner("tom").namespace("a").build();
        common::create(admin, &tenant).await;
        // One by one: if the quota controller is late with a quota, the operator writes a second status.
        common::ready(admin, &name).await;
    }
    counted.granted("10").await;
    common::counts_tenants(admin, TEMPLATE, TENANTS).await;
    counted.writes("create to Ready", &since).await;

    let since = audit::mark(lab, admin).await;
    counted.change(json!({ "spec": { "quotas": { "pods": 12 } } })).await;
    counted.granted("12").await;
    counted.writes("a template change of the pods granted", &since).await;

    let (since, looks) = (audit::mark(lab, admin).await, idle_looks(&operator).await);
    counted
        .change(json!({ "spec": { "pricing": { "currency": "EUR" } } }))
        .await;
    looked(&operator, looks).await;
    counted
        .writes("a template change that comes to the same objects", &since)
        .await;

    let since = audit::mark(lab, admin).await;
    for number in 0..TENANTS {
        let policies: Api<NetworkPolicy> = Api::namespaced(admin.clone(), &format!("t{number}-a"));
        let name = "tenantry-default-deny";
        let gone = policies.get(name).await.unwrap().metadata.uid;
        policies.delete(name, &DeleteParams::default()).await.unwrap();
        eventually("the policy to be back", PATIENCE, || async {
            match policies.get_opt(name).await.unwrap() {
                Some(policy) if policy.metadata.uid != gone => Ok(()),
                found => Err(format!("{found:?}")),
            }
        })
        .await;
    }
    counted.granted("12").await;
    counted.writes("a deleted NetworkPolicy", &since).await;

    operator.stop().await.unwrap();
    let since = audit::mark(lab, admin).await;
    let operator = lab.operator(common::binary()).await.unwrap();
    looked(&operator, 0).await;
    counted.writes("a restart", &since).await;
    let events = counted.since(&since).await;
    let mut reads: BTreeMap<String, usize> = BTreeMap::new();
    for event in events.iter().filter(|event| matches!(&*event.verb, "get" | "list")) {
        *reads.entry(format!("{} {}", event.verb, event.what())).or_default() += 1;
    }
    assert_eq!(reads, READS.map(|(what, count)| (what.to_owned(), count)).into());
}
