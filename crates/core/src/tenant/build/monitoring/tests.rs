use super::*;
use crate::{
    fixture,
    object::{Key, drift},
    tenant::build::build,
};

fn rendered(monitoring: &Value) -> Vec<crate::tenant::build::NamespaceObjects> {
    let spec = json!({ "namespaces": [{ "name": "b" }, { "name": "a" }] });
    fixture::built(&json!({ "monitoring": monitoring }), &spec)
}

fn object(monitoring: &Value, kind: Kind, name: &str) -> Object {
    fixture::find(&rendered(monitoring), &Key::new(kind, "acme-a", name)).clone()
}

#[test]
fn monitors_exist_only_if_requested_and_served() {
    let asked = json!({ "monitoring": { "metrics": true, "alerts": true, "dashboard": true } });
    let mut valid = fixture::valid(&asked, &json!({}));
    let kinds = |valid: &ValidTenant| {
        let objects = build(valid);
        let extras = objects[0].extras.iter();
        extras
            .filter(|object| object.key.name.as_ref() != names::LIMITS)
            .map(|object| object.key.kind)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        kinds(&valid),
        [
            Kind::PodMonitor,
            Kind::ServiceMonitor,
            Kind::PrometheusRule,
            Kind::ConfigMap
        ]
    );
    valid.served = [Kind::ServiceMonitor].into();
    assert_eq!(kinds(&valid), [Kind::ServiceMonitor, Kind::ConfigMap]);
    assert!(kinds(&fixture::valid(&json!({}), &json!({}))).is_empty());
}

#[test]
fn a_scrape_has_the_limits_of_the_template() {
    let monitoring = json!({ "metrics": true, "scrapeIntervalSeconds": 30, "sampleLimit": 5, "targetLimit": 6 });
    let expected = json!({
        "selector": { "matchLabels": { "tenantry.dev/scrape": "true" } }, "sampleLimit": 5, "targetLimit": 6,
        "podMetricsEndpoints": [{ "port": "metrics", "interval": "30s" }],
    });
    let spec = |monitoring, kind| object(monitoring, kind, names::OBJECT).content["spec"].clone();
    assert_eq!(spec(&monitoring, Kind::PodMonitor), expected);
    let bare = json!({
        "selector": { "matchLabels": { "tenantry.dev/scrape": "true" } }, "endpoints": [{ "port": "metrics" }],
    });
    assert_eq!(spec(&json!({ "metrics": true }), Kind::ServiceMonitor), bare);
}

#[test]
fn alerts_read_the_quota_of_their_own_namespace() {
    let rule = object(&json!({ "alerts": true }), Kind::PrometheusRule, names::OBJECT);
    let rules = rule.content["spec"]["groups"][0]["rules"].as_array().unwrap().clone();
    let names: Vec<_> = rules.iter().map(|rule| rule["alert"].as_str().unwrap()).collect();
    assert_eq!(names, ["TenantQuotaNearlyFull", "TenantQuotaFull"]);
    for rule in &rules {
        let expr = rule["expr"].as_str().unwrap();
        assert_eq!(
            expr.matches(r#"namespace="acme-a", resourcequota="tenantry""#).count(),
            2
        );
        assert!(
            expr.contains("type=\"used\"}) / (max") && expr.contains("> 0) > 0.9"),
            "a quota of 0 must not divide: {expr}"
        );
        assert_eq!(
            rule["labels"]["tenant"], "acme",
            "alerts are routed by the tenant: {rule:#}"
        );
    }
}

fn dashboard(monitoring_of: &crate::tenant::build::NamespaceObjects) -> Value {
    let key = Key::new(Kind::ConfigMap, &monitoring_of.namespace.key.name, names::DASHBOARD);
    let object = fixture::find(std::slice::from_ref(monitoring_of), &key);
    assert_eq!(object.labels["grafana_dashboard"], "1");
    let data = object.content["data"].as_object().unwrap();
    let (file, json) = data.iter().next().unwrap();
    assert_eq!((data.len(), file.as_str()), (1, "tenant-acme.json"));
    serde_json::from_str(json.as_str().unwrap()).unwrap()
}

#[test]
fn one_dashboard_shows_every_namespace() {
    let objects = rendered(&json!({ "dashboard": true }));
    let dashboards = objects
        .iter()
        .flat_map(|objects| &objects.extras)
        .filter(|object| object.key.name.as_ref() == names::DASHBOARD);
    assert_eq!(dashboards.count(), 1);
    let dashboard = dashboard(&objects[0]);
    assert_eq!(dashboard["title"], "Tenant acme");
    let panels = dashboard["panels"].as_array().unwrap();
    assert_eq!(panels.len(), 6);
    for panel in panels {
        let expr = panel["targets"][0]["expr"].as_str().unwrap();
        assert!(expr.contains(r#"namespace=~"acme-a|acme-b""#), "{expr}");
    }
}

#[test]
fn a_tenant_without_namespaces_has_no_dashboard() {
    let template = json!({ "monitoring": { "dashboard": true } });
    assert!(fixture::built(&template, &json!({ "namespaces": [] })).is_empty());
}

/// Grafana allows at most 40 characters in a uid, and keeps only one of two dashboards with the same uid.
#[test]
fn dashboards_of_tenants_with_long_names_have_different_uids() {
    let uid = |name: &str| {
        let mut tenant = fixture::valid(&json!({}), &json!({}));
        tenant.name = name.to_owned();
        let dashboard: Value = serde_json::from_str(&dashboard_json(&tenant)).unwrap();
        dashboard["uid"].as_str().unwrap().to_owned()
    };
    let long = "a".repeat(39);
    let (first, second) = (uid(&format!("{long}1")), uid(&format!("{long}2")));
    assert_ne!(first, second);
    assert!(first.len() <= 40);
    let short = "b".repeat(31);
    let (short, long) = (uid(&short), uid(&format!("tenantry-{short}")));
    assert_ne!(short, long);
    assert_eq!((short.len(), long.len()), (40, 40));
    assert_eq!(uid("acme"), "tenantry-acme");
}

#[test]
fn a_removed_scrape_limit_is_drift_and_a_crd_default_is_not() {
    let bounded = json!({ "metrics": true, "scrapeIntervalSeconds": 30, "sampleLimit": 5, "targetLimit": 6 });
    for kind in [Kind::PodMonitor, Kind::ServiceMonitor] {
        let (before, after) = (
            object(&bounded, kind, names::OBJECT),
            object(&json!({ "metrics": true }), kind, names::OBJECT),
        );
        let mut live = before.manifest();
        live["spec"]["scrapeClass"] = json!("by default");
        assert!(drift::is_as_desired(&live, &before));
        assert!(!drift::is_as_desired(&live, &after));
        assert_eq!(drift::replacement(&live, &after)["spec"].get("sampleLimit"), None);
    }
}

#[test]
fn a_label_removed_from_the_template_is_removed_from_monitors() {
    let with = |labels: Value| {
        let monitoring = json!({ "metrics": true, "alerts": true, "labels": labels });
        [Kind::PodMonitor, Kind::ServiceMonitor, Kind::PrometheusRule]
            .map(|kind| object(&monitoring, kind, names::OBJECT))
    };
    for after in [json!({ "team": "blue" }), json!({})] {
        for (before, after) in with(json!({ "release": "main" })).iter().zip(with(after)) {
            let mut live = before.manifest();
            live["metadata"]["labels"]["theirs"] = json!("stays");
            assert!(!drift::is_as_desired(&live, &after));
            let labels = &drift::replacement(&live, &after)["metadata"]["labels"];
            assert_eq!(labels.get("release"), None);
            assert_eq!(labels["theirs"], "stays");
        }
    }
}
