//! A template change reaches all tenants, and causes only the necessary writes.

use std::collections::BTreeMap;

use controlplane::Audit;
use kube::{
    Api, Client,
    api::{ListParams, Patch, PatchParams},
};
use lab::{Lab, Operator};
use serde_json::{Value, json};
use tenantry_api::v1alpha1::{Tenant, TenantTemplate};

use crate::common::{
    self, PATIENCE,
    audit::{self, Mark},
    builders::{template, tenant},
    eventually,
};

const TENANTS: usize = 20;
const TEMPLATE: &str = "wide";

async fn change(admin: &Client, change: Value) {
    let templates: Api<TenantTemplate> = Api::all(admin.clone());
    templates
        .patch(TEMPLATE, &PatchParams::default(), &Patch::Merge(change))
        .await
        .unwrap();
}

/// Waits until every Tenant's status grants so many pods, all of them allocated.
async fn granted(admin: &Client, pods: &str) {
    let tenants: Api<Tenant> = Api::all(admin.clone());
    eventually("the grant to reach all", PATIENCE, || async {
        let tenants = tenants.list(&ListParams::default()).await.unwrap();
        let has = |tenant: &Tenant| {
            let status = serde_json::to_value(&tenant.status).unwrap();
            let quota = status["quota"].as_array().cloned().unwrap_or_default();
            quota
                .iter()
                .any(|entry| entry["resource"] == "pods" && entry["grant"] == pods && entry["allocated"] == pods)
        };
        let behind = tenants.iter().filter(|tenant| !has(tenant)).count();
        if behind == 0 {
            Ok(())
        } else {
            Err(format!("{behind} are behind"))
        }
    })
    .await;
}

/// The operator's writes since `since`, counted by resource.
async fn writes(lab: &Lab, admin: &Client, since: &Mark) -> BTreeMap<String, usize> {
    let now = audit::mark(lab, admin).await;
    let events = audit::read(lab);
    let mut counts = BTreeMap::new();
    for event in audit::by_operator(&events, since, &now).filter(|event| event.is_write() && !event.is_lease()) {
        *counts.entry(event.what()).or_default() += 1;
    }
    counts
}

/// Waits until so many more reconciles than `before` found nothing to do.
async fn looked(operator: &Operator, before: u64, more: usize) {
    eventually("every Tenant to be looked at", PATIENCE, || async {
        let looked = looks(operator).await - before;
        if looked >= more as u64 { Ok(()) } else { Err(looked) }
    })
    .await;
}

async fn looks(operator: &Operator) -> u64 {
    let metrics = operator.metrics().await.unwrap();
    let prefix = r#"tenantry_reconcile_total{controller="tenant",outcome="unchanged"} "#;
    metrics
        .lines()
        .find_map(|line| line.strip_prefix(prefix)?.parse().ok())
        .unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_template_reaches_all_tenants_with_minimal_writes() {
    let (lab, admin) = common::own(Audit::Metadata).await;
    common::create_template(
        &admin,
        &template(TEMPLATE, json!({ "tier": "Standard", "quotas": { "pods": 10 } })),
    )
    .await;
    let operator = lab.operator(common::binary()).await.unwrap();
    let tenants: Vec<Tenant> = (0..TENANTS)
        .map(|n| tenant(&format!("t{n}"), TEMPLATE).owner("tom").namespace("a").build())
        .collect();
    futures::future::join_all(tenants.iter().map(|tenant| common::create(&admin, tenant))).await;
    common::all_ready(&admin).await;
    granted(&admin, "10").await;
    common::counts_tenants(&admin, TEMPLATE, TENANTS).await;

    let start = audit::mark(&lab, &admin).await;
    change(&admin, json!({ "spec": { "quotas": { "pods": 12 } } })).await;
    granted(&admin, "12").await;
    common::all_ready(&admin).await;
    let counts = writes(&lab, &admin, &start).await;
    assert_eq!(counts["resourcequotas"], TENANTS, "{counts:?}");
    // One for each Tenant. One more may be refused, as it was computed from an older Tenant.
    assert!(counts["tenants/status"] <= 2 * TENANTS, "{counts:?}");
    // tenant-limits has the number of pods too.
    assert_eq!(counts["configmaps"], TENANTS, "{counts:?}");
    let expected = [
        "resourcequotas",
        "configmaps",
        "tenants/status",
        "tenanttemplates/status",
    ];
    assert!(counts.keys().all(|what| expected.contains(&&**what)), "{counts:?}");

    // A spec change with the same resulting objects makes the operator check every Tenant and write none. A change
    // outside the spec must not wake them: else the status, which counts tenants, would wake all of them too.
    let before = looks(&operator).await;
    let start = audit::mark(&lab, &admin).await;
    change(
        &admin,
        json!({ "metadata": { "annotations": { "example.com/note": "wakes nobody" } } }),
    )
    .await;
    change(&admin, json!({ "spec": { "pricing": { "currency": "EUR" } } })).await;
    looked(&operator, before, TENANTS).await;
    let mut counts = writes(&lab, &admin, &start).await;
    counts.remove("tenanttemplates/status");
    assert_eq!(counts, BTreeMap::new());
    assert_eq!(looks(&operator).await - before, TENANTS as u64);
    settles_whatever_the_template_holds(&lab, &admin, &operator).await;
}

/// Fields that the API server defaults, drops or normalises must not look like drift.
async fn settles_whatever_the_template_holds(lab: &Lab, admin: &Client, operator: &Operator) {
    let templates_by_name = [
        ("bare", json!({ "tier": "Free" })),
        (
            "white",
            json!({ "tier": "WhiteLabel", "quotas": { "cpu": "0", "memory": "1.5Gi", "storage": "0" } }),
        ),
        (
            "odd",
            json!({ "tier": "Standard", "quotas": { "cpu": "1500m", "memory": "1073741825", "pods": 7 },
            "containers": { "max": { "cpu": "1" }, "min": { "memory": "1048576" }, "volumes": { "max": "1024Mi" } } }),
        ),
        (
            "shut",
            json!({ "tier": "Premium", "network": { "isolation": "Namespace", "serviceTypes": [] },
            "security": { "podSecurity": "Restricted", "registries": [], "storageClasses": [] } }),
        ),
        (
            "open",
            json!({ "tier": "Enterprise", "network": {
            "internetEgress": "Allow", "ingressHosts": ["{tenant}.example.com"],
            "serviceTypes": ["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"],
            "egress": [
                { "cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"], "ports": [{ "port": 443 }, { "protocol": "UDP", "port": 53, "endPort": 54 }] },
                { "cidr": "2001:db8::/32" },
            ],
            "ingressFrom": [{ "namespaceLabels": { "team": "edge" }, "ports": [{ "port": 80 }] }],
        }, "placement": { "nodeSelector": { "pool": "a" }, "tolerations": [{ "key": "pool", "operator": "Exists" }], "regions": ["eu"] } }),
        ),
    ];
    for (name, spec) in &templates_by_name {
        common::create_template(admin, &template(name, spec.clone())).await;
        let shaped = tenant(&format!("s-{name}"), name)
            .owner("sue")
            .member("Group", "readers", "Viewer");
        common::create(admin, &shaped.namespace("a").weighted("b", 3).build()).await;
    }
    common::all_ready(admin).await;
    // A template's count of tenants is written after a second.
    let templates: Api<TenantTemplate> = Api::all(admin.clone());
    eventually("each template to count its tenant", PATIENCE, || async {
        let templates = templates.list(&ListParams::default()).await.unwrap();
        let counted = |template: &TenantTemplate| template.status.as_ref().is_some_and(|status| status.tenants > 0);
        if templates.iter().all(counted) {
            Ok(())
        } else {
            Err("not yet")
        }
    })
    .await;
    let before = looks(operator).await;
    let start = audit::mark(lab, admin).await;
    let tenants: Api<Tenant> = Api::all(admin.clone());
    let touch = Patch::Merge(json!({ "metadata": { "annotations": { "example.com/note": "look again" } } }));
    for (name, _) in &templates_by_name {
        tenants
            .patch(&format!("s-{name}"), &PatchParams::default(), &touch)
            .await
            .unwrap();
    }
    looked(operator, before, templates_by_name.len()).await;
    assert_eq!(writes(lab, admin, &start).await, BTreeMap::new());
}
