//! Kinds of other projects: the operator uses them if they are served, notices when they appear, and reports missing
//! ones.

use std::collections::BTreeMap;

use controlplane::{Audit, Integration, crd_files};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    api::{DynamicObject, Patch, PatchParams},
};
use lab::{Lab, Operator};
use serde_json::{Value, json};
use tenantry_api::v1alpha1::Tenant;
use tenantry_core::object::Kind;

use crate::common::{
    self, PATIENCE,
    builders::{template, tenant},
    eventually,
};

const MONITORS: [Kind; 3] = [Kind::PodMonitor, Kind::ServiceMonitor, Kind::PrometheusRule];

fn apply_crds(lab: &Lab) {
    for file in crd_files(Integration::PrometheusOperator).unwrap() {
        let mut kubectl = lab.kubectl().unwrap();
        lab::run(kubectl.args(["apply", "--server-side", "-f"]).arg(file)).unwrap();
    }
}

/// resourceVersions of the monitoring objects of a namespace.
async fn versions(admin: &Client, namespace: &str) -> BTreeMap<Kind, String> {
    let mut versions = BTreeMap::new();
    for kind in MONITORS {
        let api: Api<DynamicObject> = Api::namespaced_with(admin.clone(), namespace, &kind.api_resource());
        let object = api.get("tenantry").await.unwrap();
        versions.insert(kind, object.metadata.resource_version.unwrap());
    }
    versions
}

fn reconciles(metrics: &str, outcome: &str) -> u64 {
    let prefix = format!(r#"tenantry_reconcile_total{{controller="tenant",outcome="{outcome}"}} "#);
    metrics
        .lines()
        .find_map(|line| line.strip_prefix(&prefix)?.parse().ok())
        .unwrap_or_default()
}

/// Makes the operator reconcile a Tenant; waits until it found nothing to do.
async fn look_again(operator: &Operator, admin: &Client, name: &str) {
    let before = reconciles(&operator.metrics().await.unwrap(), "unchanged");
    let touch = json!({ "metadata": { "annotations": { "example.com/touched": common::name("at") } } });
    let tenants: Api<Tenant> = Api::all(admin.clone());
    tenants
        .patch(name, &PatchParams::default(), &Patch::Merge(touch))
        .await
        .unwrap();
    eventually("a look that finds nothing to do", PATIENCE, || async {
        let metrics = operator.metrics().await.unwrap();
        if reconciles(&metrics, "unchanged") > before {
            Ok(())
        } else {
            Err("not yet")
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn monitors_come_and_go_with_their_crds_and_are_not_rewritten() {
    let (lab, admin) = common::own(Audit::Off).await;
    let monitoring = json!({
        "metrics": true, "scrapeIntervalSeconds": 30, "sampleLimit": 5000, "targetLimit": 30, "alerts": true, "dashboard": true,
    });
    let spec = json!({ "tier": "Premium", "quotas": { "pods": 10 }, "monitoring": monitoring });
    common::create_template(&admin, &template("watched", spec)).await;
    common::create(&admin, &tenant("acme", "watched").owner("amy").namespace("a").build()).await;
    let operator = lab.operator(common::binary()).await.unwrap();
    common::condition(&admin, "acme", "MonitoringReady", "False", Some("CRDNotInstalled")).await;
    common::ready(&admin, "acme").await;
    let configs: Api<ConfigMap> = Api::namespaced(admin.clone(), "acme-a");
    let dashboard = configs.get("tenantry-dashboard").await.unwrap().data.unwrap();
    let dashboard: Value = serde_json::from_str(&dashboard["tenant-acme.json"]).unwrap();
    assert!(!dashboard["panels"].as_array().unwrap().is_empty());

    apply_crds(&lab);
    common::condition(&admin, "acme", "MonitoringReady", "True", None).await;
    common::ready(&admin, "acme").await;
    // The CRDs add defaults to our objects; those are no drift.
    look_again(&operator, &admin, "acme").await;
    let settled = versions(&admin, "acme-a").await;
    look_again(&operator, &admin, "acme").await;
    assert_eq!(versions(&admin, "acme-a").await, settled);

    let rules: Api<DynamicObject> = Api::namespaced_with(admin.clone(), "acme-a", &Kind::PrometheusRule.api_resource());
    let silent = Patch::Merge(json!({ "spec": { "groups": [] } }));
    rules.patch("tenantry", &PatchParams::default(), &silent).await.unwrap();
    eventually("the rules to come back", PATIENCE, || async {
        let groups = rules.get("tenantry").await.unwrap().data["spec"]["groups"].clone();
        if groups[0]["rules"].as_array().is_some_and(|rules| !rules.is_empty()) {
            Ok(())
        } else {
            Err(groups)
        }
    })
    .await;

    let mut kubectl = lab.kubectl().unwrap();
    lab::run(kubectl.args(["delete", "crd", "podmonitors.monitoring.coreos.com"])).unwrap();
    let without = common::condition(&admin, "acme", "MonitoringReady", "False", Some("CRDNotInstalled")).await;
    assert!(format!("{:?}", without.status).contains("PodMonitor"));
    common::ready(&admin, "acme").await;
    common::create(&admin, &tenant("later", "watched").owner("lea").namespace("a").build()).await;
    common::ready(&admin, "later").await;
    let service_monitors: Api<DynamicObject> =
        Api::namespaced_with(admin.clone(), "later-a", &Kind::ServiceMonitor.api_resource());
    service_monitors.get("tenantry").await.unwrap();

    apply_crds(&lab);
    for name in ["acme", "later"] {
        common::condition(&admin, name, "MonitoringReady", "True", None).await;
        common::ready(&admin, name).await;
    }
    look_again(&operator, &admin, "acme").await;
    let before = [versions(&admin, "acme-a").await, versions(&admin, "later-a").await];

    // A process that finds the CRDs when it starts.
    assert!(operator.stop().await.unwrap().success());
    let operator = lab.operator(common::binary()).await.unwrap();
    look_again(&operator, &admin, "acme").await;
    look_again(&operator, &admin, "later").await;
    assert_eq!(
        [versions(&admin, "acme-a").await, versions(&admin, "later-a").await],
        before
    );
}
