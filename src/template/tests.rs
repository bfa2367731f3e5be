use serde_json::{Value, json};

use super::*;
use crate::tenant::fixture;
use tenantry_process::backoff::{Backoff, BackoffConfig};

fn template(spec: &Value) -> TenantTemplate {
    let mut template = TenantTemplate::new("premium", (*fixture::template(spec)).clone());
    template.metadata.generation = Some(2);
    template
}

fn at(second: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_second(second).unwrap()
}

fn deleting(mut template: TenantTemplate) -> TenantTemplate {
    template.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
    template
}

/// A store with this many readable Tenants, all of which name `premium`.
fn users(tenants: usize) -> Store<DeserializeGuard<Tenant>> {
    let (store, mut writer) = kube::runtime::reflector::store();
    for index in 0..tenants {
        let mut tenant = fixture::tenant(&json!({}));
        tenant.metadata.name = Some(format!("t{index}"));
        writer.apply_watcher_event(&watcher::Event::Apply(DeserializeGuard(Ok(tenant))));
    }
    store
}

/// The context for reconciling templates on this server with these Tenants, and its metrics.
fn context(
    server: &fixture::server::Server,
    tenants: Store<DeserializeGuard<Tenant>>,
) -> (Arc<Context>, Arc<metrics::Metrics>) {
    let clock: Arc<dyn Clock> = Arc::new(server.clock.clone());
    let metrics = Arc::new(metrics::Metrics::new().unwrap());
    let backoff = Backoff::new(BackoffConfig::default(), clock.clone(), fastrand::Rng::with_seed(1));
    let context = Context {
        custom: server.custom(names::TEMPLATE_MANAGER),
        tenants,
        served: tokio::sync::watch::channel(Served::default()).1,
        settings: fixture::settings(),
        harness: Harness::new(
            CONTROLLER,
            "TenantTemplate",
            metrics.process().clone(),
            clock.clone(),
            backoff,
        ),
        clock,
    };
    (Arc::new(context), metrics)
}

/// The requests that a reconcile sends for a template with this many Tenants.
async fn reconciled(template: TenantTemplate, tenants: usize) -> Vec<fixture::server::Call> {
    let server = fixture::server::Server::new();
    let (context, _) = context(&server, users(tenants));
    let template = server.put_template(&template);
    reconcile(Arc::new(DeserializeGuard(Ok(template))), context)
        .await
        .unwrap();
    server.calls()
}

/// The metrics' text after a reconcile in which the server refuses this call.
async fn refused(call: &str, code: u16, reason: &'static str) -> String {
    let server = fixture::server::Server::new();
    let (context, metrics) = context(&server, users(1));
    let template = Arc::new(DeserializeGuard(Ok(server.put_template(&template(&json!({}))))));
    server.trouble(call, fixture::server::Trouble::Refused(code, reason));
    let error = reconcile(template.clone(), context.clone()).await.unwrap_err();
    error_policy(template, &error, context.clone());
    metrics.process().encode().unwrap()
}

#[tokio::test]
async fn a_conflict_on_a_template_counts_no_error() {
    for call in [
        "patch tenanttemplates premium",
        "replace tenanttemplates premium/status",
    ] {
        let text = refused(call, 409, "Conflict").await;
        let is_error = |line: &str| {
            (line.starts_with("tenantry_reconcile_errors_total{") || line.contains("outcome=\"error\""))
                && !line.ends_with(" 0")
        };
        assert!(!text.lines().any(is_error), "{call}: {text}");
    }
}

#[tokio::test]
async fn a_failing_template_is_counted_as_backing_off() {
    let text = refused("patch tenanttemplates premium", 403, "Forbidden").await;
    for line in [
        r#"tenantry_reconcile_errors_total{category="forbidden",controller="template"} 1"#,
        r#"tenantry_backing_off_objects{controller="template"} 1"#,
    ] {
        assert!(text.lines().any(|have| have == line), "{line} is missing in {text}");
    }
}

fn finalizers(template: &mut TenantTemplate, finalizers: &[&str]) {
    template.metadata.finalizers = Some(finalizers.iter().map(|&name| name.to_owned()).collect());
}

#[tokio::test]
async fn a_template_gets_its_finalizer_with_its_first_tenant() {
    assert_eq!(reconciled(template(&json!({})), 0).await.len(), 1, "only the status");
    let mut used = template(&json!({}));
    finalizers(&mut used, &["other"]);
    let calls = reconciled(used, 1).await;
    assert_eq!(calls[0].what, "patch tenanttemplates premium");
    assert_eq!(calls[0].body["metadata"]["finalizers"], json!(["other", names::IN_USE]));
    assert_eq!(calls[1].what, "replace tenanttemplates premium/status");
    assert_eq!(calls[1].body["status"]["tenants"], 1);
}

#[tokio::test]
async fn a_deleted_template_goes_with_its_last_tenant() {
    let mut held = deleting(template(&json!({})));
    finalizers(&mut held, &[names::IN_USE, "other"]);
    let calls = reconciled(held.clone(), 1).await;
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].what, "replace tenanttemplates premium/status");
    let calls = reconciled(held, 0).await;
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].body["metadata"]["finalizers"], json!(["other"]));
}

/// Reconciles a template next to an unreadable Tenant `bad` that names `template_ref`.
async fn beside_unreadable(
    template: DeserializeGuard<TenantTemplate>,
    server: &fixture::server::Server,
    template_ref: &str,
) {
    let bad = json!({ "metadata": { "name": "bad" }, "spec": { "state": "Melted", "templateRef": { "name": template_ref } } });
    let metadata = server.put_unreadable("tenants", bad);
    let bad = DeserializeGuard(Err(unreadable(metadata)));
    let (store, mut writer) = kube::runtime::reflector::store();
    writer.apply_watcher_event(&watcher::Event::Apply(bad));
    reconcile(Arc::new(template), context(server, store).0).await.unwrap();
}

fn unreadable(metadata: kube::api::ObjectMeta) -> InvalidObject {
    let error = "unknown variant `Melted`".to_owned();
    InvalidObject { error, metadata }
}

#[tokio::test]
async fn a_template_that_an_unreadable_tenant_names_is_kept() {
    let held = || {
        let mut held = deleting(template(&json!({})));
        finalizers(&mut held, &[names::IN_USE]);
        held
    };
    for (names, kept) in [("premium", true), ("other", false)] {
        let server = fixture::server::Server::new();
        let template = server.put_template(&held());
        beside_unreadable(DeserializeGuard(Ok(template)), &server, names).await;
        let finalizers = server.finalizers("tenanttemplates", "premium");
        assert_eq!(finalizers.len(), usize::from(kept), "{names}");
    }
}

#[tokio::test]
async fn an_unreadable_deleted_template_goes_with_its_last_tenant() {
    for (names, kept) in [("premium", true), ("other", false)] {
        let server = fixture::server::Server::new();
        let mut held = deleting(template(&json!({})));
        finalizers(&mut held, &[names::IN_USE, "other"]);
        let mut stored = serde_json::to_value(held).unwrap();
        stored["spec"]["tier"] = json!("Melted");
        let metadata = server.put_unreadable("tenanttemplates", stored);
        beside_unreadable(DeserializeGuard(Err(unreadable(metadata))), &server, names).await;
        let finalizers = server.finalizers("tenanttemplates", "premium");
        assert_eq!(finalizers.len(), 1 + usize::from(kept), "{names}");
    }
}

#[tokio::test]
async fn a_template_whose_status_is_current_costs_no_call() {
    let mut template = template(&json!({}));
    template.status = Some(status(&template, 0, &Served::default(), &fixture::settings(), at(0)));
    assert_eq!(reconciled(template, 0).await.len(), 0);
}
