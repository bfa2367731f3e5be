//! Monitors for scraping, alerts and the dashboard.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::{add_labels, in_namespace};
use crate::{
    object::{Kind, Object},
    tenant::validate::{ValidNamespace, ValidTenant},
};
use tenantry_api::{names, v1alpha1::MonitoringSpec};

/// The label that opts a workload into scraping.
const SCRAPE: &str = "tenantry.dev/scrape";

pub(super) fn objects(tenant: &ValidTenant, namespace: &ValidNamespace, first: bool) -> Vec<Object> {
    let MonitoringSpec {
        metrics,
        scrape_interval_seconds,
        sample_limit,
        target_limit,
        alerts,
        dashboard,
        labels,
        // No object: the template's status reports it as NotEnforced.
        slo: _,
    } = &tenant.template.monitoring;
    let mut objects = Vec::new();
    let mut add = |kind: Kind, spec: Value| {
        if !tenant.served.contains(&kind) {
            return;
        }
        let mut object = in_namespace(tenant, namespace, kind, names::OBJECT, json!({ "spec": spec }));
        add_labels(&mut object, labels);
        objects.push(object);
    };
    if *metrics {
        let mut endpoint = json!({ "port": "metrics" });
        if let Some(seconds) = scrape_interval_seconds {
            endpoint["interval"] = json!(format!("{seconds}s"));
        }
        let mut spec = Map::from_iter([("selector".to_owned(), json!({ "matchLabels": { (SCRAPE): "true" } }))]);
        let limits = [("sampleLimit", sample_limit), ("targetLimit", target_limit)];
        spec.extend(
            limits
                .into_iter()
                .filter_map(|(key, limit)| limit.map(|limit| (key.to_owned(), json!(limit)))),
        );
        let with = |key: &str| {
            let mut spec = spec.clone();
            spec.insert(key.to_owned(), json!([endpoint]));
            Value::Object(spec)
        };
        add(Kind::PodMonitor, with("podMetricsEndpoints"));
        add(Kind::ServiceMonitor, with("endpoints"));
    }
    if *alerts {
        add(
            Kind::PrometheusRule,
            json!({ "groups": [quota_alerts(tenant, namespace)] }),
        );
    }
    if *dashboard && first {
        let mut object = in_namespace(
            tenant,
            namespace,
            Kind::ConfigMap,
            names::DASHBOARD,
            json!({ "data": { (format!("tenant-{}.json", tenant.name)): dashboard_json(tenant) } }),
        );
        object.labels.insert("grafana_dashboard".to_owned(), json!("1"));
        objects.push(object);
    }
    objects
}

/// Alerts on the kube-state-metrics series of the namespace's quota. Names are DNS labels, so nothing needs escaping.
fn quota_alerts(tenant: &ValidTenant, namespace: &ValidNamespace) -> Value {
    let ns = &namespace.name;
    let ratio = format!(
        r#"max by (namespace, resource) (kube_resourcequota{{namespace="{ns}", resourcequota="{quota}", type="used"}}) / (max by (namespace, resource) (kube_resourcequota{{namespace="{ns}", resourcequota="{quota}", type="hard"}}) > 0)"#,
        quota = names::OBJECT,
    );
    let alert = |name: &str, above: &str, minutes: &str, severity: &str, summary: &str| {
        json!({
            "alert": name,
            "expr": format!("{ratio} > {above}"),
            "for": minutes,
            "labels": { "severity": severity, "tenant": tenant.name, "tier": tenant.tier().as_str() },
            "annotations": { "summary": summary },
        })
    };
    json!({
        "name": "tenantry-quota",
        "rules": [
            alert(
                "TenantQuotaNearlyFull",
                "0.9",
                "15m",
                "warning",
                "{{ $labels.resource }} in {{ $labels.namespace }} is at {{ $value | humanizePercentage }} of its quota",
            ),
            alert(
                "TenantQuotaFull",
                "0.99",
                "5m",
                "critical",
                "{{ $labels.resource }} in {{ $labels.namespace }} is used up: new pods or volumes are refused",
            ),
        ],
    })
}

/// Panels of quota and use that show every namespace of the tenant.
fn dashboard_json(tenant: &ValidTenant) -> String {
    let mut namespaces = String::new();
    for namespace in tenant.namespaces.iter().filter(|namespace| namespace.is_wanted()) {
        let separator = if namespaces.is_empty() { "" } else { "|" };
        // Writing to a String cannot fail.
        let _ = write!(namespaces, "{separator}{}", namespace.name);
    }
    let selector = format!(r#"namespace=~"{namespaces}""#);
    let quota = |kind: &str| {
        format!(
            r#"kube_resourcequota{{{selector}, resourcequota="{}", type="{kind}"}}"#,
            names::OBJECT
        )
    };
    let panels = [
        (
            "Quota in use",
            "percentunit",
            format!(
                "sum by (resource) ({}) / (sum by (resource) ({}) > 0)",
                quota("used"),
                quota("hard")
            ),
            "{{resource}}",
        ),
        (
            "Quota in use by namespace",
            "percentunit",
            format!("{} / ignoring(type) ({} > 0)", quota("used"), quota("hard")),
            "{{namespace}} {{resource}}",
        ),
        (
            "CPU",
            "none",
            format!("sum by (namespace) (rate(container_cpu_usage_seconds_total{{{selector}, container!=\"\"}}[5m]))"),
            "{{namespace}}",
        ),
        (
            "Memory",
            "bytes",
            format!("sum by (namespace) (container_memory_working_set_bytes{{{selector}, container!=\"\"}})"),
            "{{namespace}}",
        ),
        (
            "Pods",
            "none",
            format!("sum by (namespace, phase) (kube_pod_status_phase{{{selector}}})"),
            "{{namespace}} {{phase}}",
        ),
        (
            "Container restarts",
            "none",
            format!("sum by (namespace) (increase(kube_pod_container_status_restarts_total{{{selector}}}[1h]))"),
            "{{namespace}}",
        ),
    ];
    let panels: Vec<Value> = panels
        .into_iter()
        .enumerate()
        .map(|(index, (title, unit, expr, legend))| {
            json!({
                "id": index + 1,
                "title": title,
                "type": "timeseries",
                "datasource": { "type": "prometheus", "uid": "${datasource}" },
                "fieldConfig": { "defaults": { "unit": unit, "min": 0 } },
                "gridPos": { "x": (index % 2) * 12, "y": (index / 2) * 8, "w": 12, "h": 8 },
                "targets": [{ "refId": "A", "expr": expr, "legendFormat": legend }],
            })
        })
        .collect();
    json!({
        "title": format!("Tenant {}", tenant.name),
        "uid": dashboard_uid(&tenant.name),
        "tags": ["tenantry", tenant.tier().as_str()],
        "schemaVersion": 39,
        "refresh": "1m",
        "time": { "from": "now-6h", "to": "now" },
        "templating": { "list": [{ "name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus" }] },
        "panels": panels,
    })
    .to_string()
}

/// Grafana allows at most 40 characters. A tenant's name can have as many, so a name that is too long with the prefix gets none.
///
/// No two tenants share a uid: in a long name that starts with the prefix, `_` replaces a `-`, and no tenant name contains `_`.
fn dashboard_uid(tenant: &str) -> String {
    let uid = format!("tenantry-{tenant}");
    if uid.len() <= 40 {
        return uid;
    }
    match tenant.strip_prefix("tenantry-") {
        Some(rest) => format!("tenantry_{rest}"),
        None => tenant.to_owned(),
    }
}

#[cfg(test)]
mod tests;
