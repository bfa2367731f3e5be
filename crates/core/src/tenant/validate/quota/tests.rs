use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    fixture,
    object::Key,
    tenant::{
        facts::{Facts, OwnWrites},
        validate::{QuotaPlan, validate},
    },
};
use tenantry_api::Quantity;

fn plan(template: &Value, tenant: &Value) -> QuotaPlan {
    plan_on(tenant, &fixture::facts(template))
}

fn plan_on(tenant: &Value, facts: &Facts) -> QuotaPlan {
    validate(&fixture::tenant(tenant), facts, &fixture::settings())
        .unwrap()
        .quota
}

fn texts(amounts: &BTreeMap<String, Quantity>) -> Vec<String> {
    amounts
        .iter()
        .map(|(resource, amount)| format!("{resource}={amount}"))
        .collect()
}

#[test]
fn every_amount_that_a_quota_can_enforce_is_in_the_grants() {
    let template = json!({ "quotas": {
        "cpu": "8", "memory": "16Gi", "storage": "1Ti", "pods": 100, "aiProcessingUnits": 20, "mlModelInstances": 5,
        "namespaces": 9, "networkBandwidth": "1G", "concurrentConnections": 9, "apiRequestsPerMinute": 9,
        "databaseConnections": 9, "cache": "1Gi",
    } });
    let facts = Facts {
        served: fixture::everything_served(),
        ..fixture::facts(&template)
    };
    let expected = [
        "count/inferenceservices.serving.kserve.io=5",
        "limits.cpu=8",
        "limits.memory=16Gi",
        "pods=100",
        "requests.cpu=8",
        "requests.memory=16Gi",
        "requests.nvidia.com/gpu=20",
        "requests.storage=1Ti",
    ];
    assert_eq!(texts(&plan_on(&json!({}), &facts).grants), expected);
}

#[test]
fn an_amount_that_the_template_omits_is_unlimited() {
    assert!(plan(&json!({}), &json!({})).grants.is_empty());
}

#[test]
fn models_are_counted_only_if_their_kind_is_served() {
    let template = json!({ "quotas": { "mlModelInstances": 5 } });
    assert!(plan(&template, &json!({})).grants.is_empty());
    let mut facts = fixture::facts(&template);
    facts.served.models = true;
    assert_eq!(
        texts(&plan_on(&json!({}), &facts).grants),
        ["count/inferenceservices.serving.kserve.io=5"]
    );
}

#[test]
fn accelerators_are_counted_under_the_configured_names() {
    let settings = crate::settings::Settings {
        accelerator_resources: vec!["amd.com/gpu".to_owned(), "example.com/npu".to_owned()],
        ..fixture::settings()
    };
    let facts = fixture::facts(&json!({ "quotas": { "aiProcessingUnits": 3 } }));
    let valid = validate(&fixture::tenant(&json!({})), &facts, &settings).unwrap();
    assert_eq!(
        texts(&valid.quota.grants),
        ["requests.amd.com/gpu=3", "requests.example.com/npu=3"]
    );
}

#[test]
fn service_types_that_are_not_allowed_are_0_in_the_quota() {
    let closed = |types: Value| {
        let template = json!({ "network": { "serviceTypes": types } });
        plan(&template, &json!({})).closed.into_keys().collect::<Vec<_>>()
    };
    assert_eq!(
        closed(json!(["ClusterIP"])),
        ["services.loadbalancers", "services.nodeports"]
    );
    assert_eq!(closed(json!(["NodePort"])), ["services.loadbalancers"]);
    // A Service of type LoadBalancer uses node ports.
    assert_eq!(closed(json!(["LoadBalancer"])), [""; 0]);
    let default = plan(&json!({}), &json!({})).closed;
    assert_eq!(texts(&default), ["services.loadbalancers=0", "services.nodeports=0"]);
}

#[test]
fn objects_are_granted_by_key_and_spread() {
    let template = json!({
        "quotas": { "objects": { "services": 10, "count/jobs.batch": 4, "services.loadbalancers": 2 } },
        "network": { "serviceTypes": ["ClusterIP", "LoadBalancer"] },
    });
    let quota = plan(&template, &json!({ "namespaces": [{ "name": "a" }, { "name": "b" }] }));
    assert_eq!(
        texts(&quota.grants),
        ["count/jobs.batch=4", "services=10", "services.loadbalancers=2"]
    );
    assert_eq!(
        texts(&quota.plans.hard["acme-a"]),
        ["count/jobs.batch=2", "services=5", "services.loadbalancers=1"]
    );
}

#[test]
fn a_closed_key_stays_0_even_if_objects_grants_more() {
    let quota = plan(
        &json!({ "quotas": { "objects": { "services.loadbalancers": 2 } } }),
        &json!({}),
    );
    assert!(quota.grants.is_empty());
    assert_eq!(
        texts(&quota.closed),
        ["services.loadbalancers=0", "services.nodeports=0"]
    );
}

#[test]
fn models_limited_twice_get_the_lower_number() {
    let of = |models: u32, objects: u32| {
        let key = "count/inferenceservices.serving.kserve.io";
        let mut facts =
            fixture::facts(&json!({ "quotas": { "mlModelInstances": models, "objects": { key: objects } } }));
        facts.served.models = true;
        texts(&plan_on(&json!({}), &facts).grants)
    };
    assert_eq!(of(5, 3), of(3, 5));
    assert_eq!(of(5, 3), ["count/inferenceservices.serving.kserve.io=3"]);
}

#[test]
fn closed_keys_do_not_keep_a_plan_unsettled() {
    let (key, live) = fixture::live_quota(
        "acme-dev",
        &json!({ "pods": "4", "services.loadbalancers": "0", "services.nodeports": "0" }),
        &json!({ "pods": "4", "services.loadbalancers": "0", "services.nodeports": "0" }),
        &json!({ "pods": "0", "services.loadbalancers": "0", "services.nodeports": "0" }),
    );
    let mut facts = fixture::facts(&json!({ "quotas": { "pods": 4 } }));
    facts.live.insert(key, live);
    assert!(plan_on(&json!({}), &facts).plans.settled);
}

#[test]
fn weights_divide_the_grant_and_default_to_1() {
    let listed = json!({ "namespaces": [{ "name": "a", "weight": 3 }, { "name": "b" }] });
    let plans = plan(&json!({ "quotas": { "pods": 40 } }), &listed).plans;
    assert_eq!(texts(&plans.hard["acme-a"]), ["pods=30"]);
    assert_eq!(texts(&plans.hard["acme-b"]), ["pods=10"]);
}

/// Two namespaces: `acme-dev` has a confirmed quota of 10 pods, `acme-new` has no quota yet.
fn one_full_one_new() -> (Value, Facts) {
    let mut facts = fixture::facts(&json!({ "quotas": { "pods": 10 } }));
    let ten = json!({ "pods": "10" });
    let (key, live) = fixture::live_quota("acme-dev", &ten, &ten, &json!({ "pods": "2" }));
    facts.live.insert(key, live);
    (json!({ "namespaces": [{ "name": "dev" }, { "name": "new" }] }), facts)
}

#[test]
fn a_new_namespace_gets_nothing_until_another_has_shrunk() {
    let (tenant, facts) = one_full_one_new();
    let plans = plan_on(&tenant, &facts).plans;
    assert_eq!(texts(&plans.hard["acme-dev"]), ["pods=5"]);
    assert_eq!(texts(&plans.hard["acme-new"]), ["pods=0"]);
    assert!(!plans.settled);
}

#[test]
fn a_pending_write_counts() {
    let (tenant, mut facts) = one_full_one_new();
    let five = json!({ "pods": "5" });
    let (key, live) = fixture::live_quota("acme-dev", &five, &five, &json!({ "pods": "2" }));
    facts.live.insert(key, live);
    assert_eq!(
        texts(&plan_on(&tenant, &facts).plans.hard["acme-new"]),
        ["pods=5"],
        "the shrink of the other namespace is confirmed"
    );
    facts
        .pending
        .insert("acme-dev".to_owned(), vec![fixture::amounts(&[("pods", "9")])]);
    assert_eq!(texts(&plan_on(&tenant, &facts).plans.hard["acme-new"]), ["pods=1"]);
}

#[test]
fn a_leaving_namespace_keeps_its_share_until_it_is_gone() {
    let (_, mut facts) = one_full_one_new();
    let tenant = json!({ "namespaces": [{ "name": "new" }] });
    let key = Key::namespace("acme-dev");
    facts.live.insert(key, fixture::live_namespace(&json!({})));
    let quota = plan_on(&tenant, &facts);
    assert_eq!(quota.seen["acme-dev"].weight, None);
    assert_eq!(texts(&quota.plans.hard["acme-new"]), ["pods=0"]);
    facts.live.clear();
    assert_eq!(texts(&plan_on(&tenant, &facts).plans.hard["acme-new"]), ["pods=10"]);
}

#[test]
fn a_retained_namespace_keeps_what_it_uses_and_no_more() {
    let (_, mut facts) = one_full_one_new();
    let tenant = json!({ "namespaces": [{ "name": "new" }], "deletionPolicy": "Retain" });
    facts
        .live
        .insert(Key::namespace("acme-dev"), fixture::live_namespace(&json!({})));
    assert_eq!(texts(&plan_on(&tenant, &facts).plans.hard["acme-dev"]), ["pods=2"]);
}

#[test]
fn use_above_a_lowered_grant_is_reported_and_nothing_grows() {
    let (tenant, mut facts) = one_full_one_new();
    facts.template = fixture::facts(&json!({ "quotas": { "pods": 1 } })).template;
    let plans = plan_on(&tenant, &facts).plans;
    assert_eq!(texts(&plans.above_grant), ["pods=1"]);
    assert_eq!(texts(&plans.hard["acme-dev"]), ["pods=2"]);
    assert_eq!(texts(&plans.hard["acme-new"]), ["pods=0"]);
}

#[test]
fn no_quota_is_raised_while_an_earlier_leader_may_write() {
    let exposed = |leaving: bool| {
        let mut facts = fixture::facts(&json!({ "quotas": { "pods": 20 } }));
        let five = json!({ "pods": "5" });
        for namespace in ["acme-dev", "acme-old"] {
            let (key, live) = fixture::live_quota(namespace, &five, &five, &json!({ "pods": "2" }));
            facts.live.insert(key, live);
        }
        if leaving {
            let key = Key::namespace("acme-old");
            facts.live.insert(key.clone(), fixture::live(&key, &json!({})));
        }
        facts.own_writes = OwnWrites::Only(["acme-dev".to_owned()].into());
        facts.process = "p2".to_owned();
        facts
    };
    let tenant = json!({ "namespaces": [{ "name": "dev" }, { "name": "new" }] });
    let plan = plan_on(&tenant, &exposed(false));
    assert_eq!(texts(&plan.plans.hard["acme-dev"]), ["pods=5"]);
    assert_eq!(texts(&plan.plans.hard["acme-new"]), ["pods=0"]);
    assert_eq!(plan.fence.as_deref(), Some("p2"));
    let mut ended = exposed(true);
    ended.own_writes = OwnWrites::Only(["acme-dev".to_owned(), "acme-new".to_owned()].into());
    let going = Key::namespace("acme-old");
    let deleting = json!({ "metadata": { "deletionTimestamp": "2026-01-01T00:00:00Z" } });
    ended.live.insert(going.clone(), fixture::live(&going, &deleting));
    assert_eq!(
        texts(&plan_on(&tenant, &ended).plans.hard["acme-dev"]),
        ["pods=6"],
        "a namespace whose deletion is stuck blocks no other"
    );
    let plan = plan_on(&tenant, &exposed(true));
    assert_eq!(
        texts(&plan.plans.hard["acme-dev"]),
        ["pods=5"],
        "a leaving namespace gets no writes, so nothing is raised until it is deleted"
    );
    assert_eq!(plan.fence, None);
    let both = json!({ "namespaces": [{ "name": "dev" }] });
    let mut own = exposed(false);
    own.own_writes = OwnWrites::All;
    assert_eq!(texts(&plan_on(&both, &own).plans.hard["acme-dev"]), ["pods=20"]);
}

#[test]
fn a_tenant_with_fewer_units_than_namespaces_is_complete() {
    let mut facts = fixture::facts(&json!({ "quotas": { "aiProcessingUnits": 1, "pods": 20 } }));
    let tenant = json!({ "namespaces": [{ "name": "a" }, { "name": "b" }] });
    let mut with_quota = |namespace: &str, gpus: &str, used: &str| {
        let hard = json!({ "requests.nvidia.com/gpu": gpus, "pods": "10" });
        let (key, live) = fixture::live_quota(namespace, &hard, &hard, &json!({ "pods": used }));
        facts.live.insert(key, live);
        plan_on(&tenant, &facts)
    };
    with_quota("acme-a", "0", "0");
    let quota = with_quota("acme-b", "1", "0");
    assert!(quota.under_way, "the first waits for the unit that the second gives up");
    with_quota("acme-a", "1", "0");
    let quota = with_quota("acme-b", "0", "9");
    assert!(!quota.plans.settled, "pods follow demand");
    assert!(!quota.under_way);
    let left_out: Vec<_> = quota.plans.left_out.into_iter().collect();
    let second = ["acme-b".to_owned()].into();
    assert_eq!(left_out, [("requests.nvidia.com/gpu".to_owned(), second)]);
}
