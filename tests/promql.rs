//! Every PromQL expression that we ship parses and type-checks: the alerts and dashboards of tenants, and those of the chart.
//! Needs no cluster; the chart is rendered with helm.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::{path::Path, process::Command};

use controlplane::{Assets, Tool};
use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn documents(yaml: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(yaml).unwrap()
}

/// The text of every `expr` field below `value`, which is where rules and panels have their PromQL.
fn expressions_below(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, field) in fields {
                match field {
                    Value::String(expression) if key == "expr" => found.push(expression.clone()),
                    _ => expressions_below(field, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| expressions_below(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The PromQL of a manifest: of a PrometheusRule itself, and of the dashboards in a ConfigMap that Grafana loads.
fn expressions(manifest: &Value) -> Vec<String> {
    let mut found = Vec::new();
    if manifest["kind"] == "PrometheusRule" {
        expressions_below(&manifest["spec"], &mut found);
    } else if manifest["metadata"]["labels"]["grafana_dashboard"].is_string() {
        for dashboard in manifest["data"].as_object().unwrap().values() {
            let dashboard: Value = serde_json::from_str(dashboard.as_str().unwrap()).unwrap();
            expressions_below(&dashboard, &mut found);
        }
    }
    found
}

/// Why Prometheus would refuse an expression.
fn refusal(expression: &str) -> Option<String> {
    // Grafana replaces its variable before Prometheus sees the expression.
    let asked = expression.replace("$__rate_interval", "5m");
    let error = promql_parser::parser::parse(&asked).err()?;
    Some(format!("{expression}: {error}"))
}

/// Parses the PromQL of `manifests`. There must be at least `least` expressions each of rules and of dashboards.
fn assert_parses(manifests: &[Value], least: usize) {
    let is_rule = |manifest: &&Value| manifest["kind"] == "PrometheusRule";
    let of_rules: Vec<_> = manifests.iter().filter(is_rule).flat_map(expressions).collect();
    let all: Vec<_> = manifests.iter().flat_map(expressions).collect();
    let of_dashboards = all.len() - of_rules.len();
    assert!(
        of_rules.len() >= least && of_dashboards >= least,
        "only {} expressions of rules and {of_dashboards} of dashboards were found",
        of_rules.len()
    );
    let refused: Vec<_> = all.iter().filter_map(|expression| refusal(expression)).collect();
    assert!(refused.is_empty(), "{refused:#?}");
}

/// The golden files hold what each shipped tier builds (tests/golden.rs).
#[test]
fn promql_of_every_tier_parses() {
    let files = std::fs::read_dir(root().join("tests/golden")).unwrap();
    let manifests: Vec<_> = files
        .flat_map(|file| documents(&std::fs::read_to_string(file.unwrap().path()).unwrap()))
        .collect();
    assert_parses(&manifests, 6);
}

#[test]
fn promql_of_the_rendered_chart_parses() {
    let mut helm = Command::new(Assets::from_env().path(Tool::Helm).unwrap());
    helm.args(["template", "tenantry"]).arg(root().join("charts/tenantry"));
    helm.args(["--api-versions", "monitoring.coreos.com/v1", "--set"]);
    helm.arg("monitoring.prometheusRule.enabled=true,monitoring.dashboard.enabled=true");
    let output = helm.output().unwrap();
    let rendered = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_parses(&documents(&rendered), 4);
}

#[test]
fn a_broken_expression_is_refused() {
    for broken in [
        // A bracket that does not close, a label without quotes, a rate without a range, and a sum over a text.
        "sum(rate(requests_total[5m])",
        "requests_total{job=api}",
        "rate(requests_total)",
        "sum(\"text\")",
    ] {
        assert!(refusal(broken).is_some(), "{broken} was taken");
    }
    assert_eq!(
        refusal("sum by (job) (rate(requests_total[$__rate_interval])) > 0.9"),
        None
    );
}

#[test]
fn a_broken_rule_or_panel_fails_the_check() {
    let manifest = serde_json::json!({
        "kind": "ConfigMap",
        "metadata": { "labels": { "grafana_dashboard": "1" } },
        "data": { "a.json": r#"{"panels": [{"targets": [{"expr": "sum(up"}]}]}"# },
    });
    let rule =
        serde_json::json!({ "kind": "PrometheusRule", "spec": { "groups": [{ "rules": [{ "expr": "up{" }] }] } });
    for broken in [manifest, rule] {
        assert_eq!(
            expressions(&broken).iter().filter_map(|e| refusal(e)).count(),
            1,
            "{broken}"
        );
    }
}
