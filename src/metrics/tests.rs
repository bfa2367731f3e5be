use std::collections::BTreeSet;

use super::*;
use std::time::Duration;
use tenantry_core::error_class::ErrorClass;

/// Metrics with at least one value each, because a family without values is not encoded.
fn touched() -> Metrics {
    let metrics = Metrics::new().expect("the table is sound");
    metrics.process().announce_controller("tenant");
    metrics
        .process()
        .reconciled("tenant", Outcome::Changed, Duration::from_millis(20));
    metrics.process().reconcile_failed("tenant", ErrorClass::Quota);
    metrics.process().api_request("patch", "resourcequotas", "2xx");
    metrics.set_leader(true);
    metrics.set_objects_managed("ResourceQuota", 3);
    metrics.set_tenants([("Premium", TenantState::Ready, 2)]);
    metrics.process().watch_failed("Tenant");
    metrics.process().watch_heard("Tenant", 1);
    metrics.set_crd_missing("PodMonitor", true);
    metrics.process().set_backing_off("tenant", 4);
    metrics
}

#[test]
#[cfg(target_os = "linux")]
fn the_registry_the_table_and_the_page_list_the_same_metrics() {
    let registered: BTreeSet<String> = touched()
        .process()
        .registry()
        .gather()
        .iter()
        .map(|family| family.name().to_owned())
        .collect();
    let defined: BTreeSet<String> = definitions::all()
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
fn the_page_lists_every_outcome_and_every_class_of_error() {
    let values = |name: &str| {
        let mut all = definitions::all();
        all.find(|definition| definition.name == name).unwrap().labels[1].values
    };
    for outcome in Outcome::ALL.map(Outcome::as_str) {
        assert!(
            values("tenantry_reconcile_total").contains(&format!("`{outcome}`")),
            "{outcome}"
        );
    }
    for class in ErrorClass::ALL {
        let listed = values("tenantry_reconcile_errors_total").contains(&format!("`{}`", class.as_str()));
        assert_eq!(listed, class.is_error(), "{class:?}");
    }
}

#[test]
fn names_types_and_help_follow_the_conventions() {
    for definition in definitions::all() {
        let name = definition.name;
        let ours = name.starts_with("tenantry_");
        assert!(ours || name.starts_with("process_"), "{name}");
        let is_counter = matches!(definition.kind, tenantry_process::metrics::Kind::Counter);
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
    let text = touched().process().encode().expect("encodes");
    for line in [
        r#"tenantry_reconcile_total{controller="tenant",outcome="changed"} 1"#,
        r#"tenantry_reconcile_total{controller="tenant",outcome="waiting"} 0"#,
        r#"tenantry_reconcile_duration_seconds_bucket{controller="tenant",le="0.025"} 1"#,
        r#"tenantry_reconcile_errors_total{category="quota",controller="tenant"} 1"#,
        r#"tenantry_reconcile_errors_total{category="timeout",controller="tenant"} 0"#,
        r#"tenantry_api_requests_total{code="2xx",resource="resourcequotas",verb="patch"} 1"#,
        r"tenantry_leader 1",
        r#"tenantry_tenants{state="ready",tier="Premium"} 2"#,
        r#"tenantry_crd_missing{kind="PodMonitor"} 1"#,
    ] {
        assert!(text.lines().any(|have| have == line), "{line} is missing in\n{text}");
    }
}

#[test]
fn deleted_tenants_are_no_longer_counted() {
    let metrics = touched();
    metrics.set_tenants([("Free", TenantState::Stalled, 1)]);
    let text = metrics.process().encode().expect("encodes");
    assert!(!text.contains("Premium"), "{text}");
    assert!(
        text.contains(r#"tenantry_tenants{state="stalled",tier="Free"} 1"#),
        "{text}"
    );
}

#[test]
fn a_scrape_never_sees_half_of_an_update() {
    let metrics = touched();
    let counts = |ready| {
        let all = 1_000;
        [
            ("Free", TenantState::Ready, ready),
            ("Free", TenantState::Stalled, all - ready),
        ]
    };
    metrics.set_tenants(counts(1));
    let setting = metrics.clone();
    let setter = std::thread::spawn(move || {
        for round in 0..20_000 {
            setting.set_tenants(counts(round % 1_000));
        }
    });
    while !setter.is_finished() {
        let text = metrics.process().encode().expect("encodes");
        let lines = text.lines().filter_map(|line| line.strip_prefix("tenantry_tenants{"));
        let total: usize = lines
            .filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok())
            .sum();
        assert_eq!(total, 1_000, "{text}");
    }
    setter.join().expect("the setter ends");
}

#[tokio::test]
async fn running_tasks_are_counted_at_each_scrape() {
    let metrics = touched();
    let (release, released) = tokio::sync::oneshot::channel::<()>();
    let task = tokio::spawn(released);
    let counted = || {
        metrics
            .process()
            .encode()
            .expect("encodes")
            .contains("\ntenantry_runtime_alive_tasks 1\n")
    };
    assert!(counted());
    drop(release);
    let _ = task.await;
    assert!(!counted());
}
