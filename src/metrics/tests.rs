use std::collections::BTreeSet;

use super::*;

/// Metrics with at least one value each, as a family without values is not encoded.
fn touched() -> Metrics {
    let metrics = Metrics::new().expect("the table is sound");
    metrics.announce_controller("tenant");
    metrics.reconciled("tenant", Outcome::Changed, Duration::from_millis(20));
    metrics.reconcile_failed("tenant", "ApplyQuota");
    metrics.api_request("patch", "resourcequotas", "2xx");
    metrics.set_leader(true);
    metrics.set_objects_managed("ResourceQuota", 3);
    metrics.set_tenants([("Premium", TenantState::Ready, 2)]);
    metrics.watch_failed("Tenant");
    metrics.watch_heard("Tenant", 1);
    metrics.set_crd_missing("PodMonitor", true);
    metrics.set_backing_off("tenant", 4);
    metrics
}

#[test]
#[cfg(target_os = "linux")]
fn the_registered_metrics_are_exactly_those_of_the_table_and_of_the_page() {
    let registered: BTreeSet<String> = touched()
        .registry
        .gather()
        .iter()
        .map(|family| family.name().to_owned())
        .collect();
    let defined: BTreeSet<String> = definitions::ALL
        .iter()
        .map(|definition| definition.name.to_owned())
        .collect();
    assert_eq!(registered, defined);
    let page = definitions::render_markdown();
    let on_page: BTreeSet<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .map(str::to_owned)
        .collect();
    assert_eq!(on_page, defined);
}

#[test]
fn names_types_and_help_follow_the_conventions() {
    for definition in definitions::ALL {
        let name = definition.name;
        let ours = name.starts_with("tenantry_");
        assert!(ours || name.starts_with("process_"), "{name}");
        let is_counter = matches!(definition.kind, def::Kind::Counter);
        assert_eq!(
            name.ends_with("_total"),
            is_counter,
            "{name}: only counters end in _total"
        );
        assert!(
            definition.help.ends_with('.') && definition.help.len() < 120,
            "{name}: {}",
            definition.help
        );
        assert!(
            !ours || definition.labels.iter().all(|label| !label.values.is_empty()),
            "{name}"
        );
    }
}

#[test]
fn values_appear_in_the_text_with_their_labels() {
    let text = touched().encode().expect("encodes");
    for line in [
        r#"tenantry_reconcile_total{controller="tenant",outcome="changed"} 1"#,
        r#"tenantry_reconcile_total{controller="tenant",outcome="waiting"} 0"#,
        r#"tenantry_reconcile_duration_seconds_bucket{controller="tenant",le="0.025"} 1"#,
        r#"tenantry_reconcile_errors_total{category="ApplyQuota",controller="tenant"} 1"#,
        r#"tenantry_api_requests_total{code="2xx",resource="resourcequotas",verb="patch"} 1"#,
        r"tenantry_leader 1",
        r#"tenantry_tenants{state="ready",tier="Premium"} 2"#,
        r#"tenantry_crd_missing{kind="PodMonitor"} 1"#,
    ] {
        assert!(text.lines().any(|have| have == line), "{line} is missing in\n{text}");
    }
}

#[test]
fn tenants_that_went_away_are_counted_no_more() {
    let metrics = touched();
    metrics.set_tenants([("Free", TenantState::Stalled, 1)]);
    let text = metrics.encode().expect("encodes");
    assert!(!text.contains("Premium"), "{text}");
    assert!(
        text.contains(r#"tenantry_tenants{state="stalled",tier="Free"} 1"#),
        "{text}"
    );
}

#[tokio::test]
async fn tasks_that_have_not_ended_are_counted_when_the_text_is_asked_for() {
    let metrics = touched();
    let (release, held) = tokio::sync::oneshot::channel::<()>();
    let task = tokio::spawn(held);
    let counted = || {
        metrics
            .encode()
            .expect("encodes")
            .contains("\ntenantry_runtime_alive_tasks 1\n")
    };
    assert!(counted());
    drop(release);
    let _ = task.await;
    assert!(!counted());
}
