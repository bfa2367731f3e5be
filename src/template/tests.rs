use serde_json::{Value, json};

use super::*;
use crate::tenant::fixture;

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

/// A template that is there, its tenants, and the API server.
async fn reconciled(template: TenantTemplate, tenants: usize) -> Vec<fixture::server::Call> {
    let server = fixture::server::Server::new();
    let (store, mut writer) = kube::runtime::reflector::store();
    for index in 0..tenants {
        let mut tenant = fixture::tenant(&json!({}));
        tenant.metadata.name = Some(format!("t{index}"));
        writer.apply_watcher_event(&watcher::Event::Apply(DeserializeGuard(Ok(tenant))));
    }
    let clock: Arc<dyn Clock> = Arc::new(server.clock.clone());
    let context = Context {
        custom: server.custom(names::TEMPLATE_MANAGER),
        tenants: store,
        served: tokio::sync::watch::channel(Served::default()).1,
        settings: fixture::settings(),
        metrics: Arc::new(metrics::Metrics::new().unwrap()),
        backoff: Backoff::new(
            tenantry_process::backoff::BackoffConfig::default(),
            clock.clone(),
            fastrand::Rng::with_seed(1),
        ),
        clock,
    };
    let template = server.put_template(&template);
    reconcile(Arc::new(DeserializeGuard(Ok(template))), Arc::new(context))
        .await
        .unwrap();
    server.calls()
}

fn finalizers(template: &mut TenantTemplate, finalizers: &[&str]) {
    template.metadata.finalizers = Some(finalizers.iter().map(|&name| name.to_owned()).collect());
}

#[tokio::test]
async fn a_template_is_held_from_its_first_user_on() {
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
async fn a_deleted_template_goes_with_its_last_user() {
    let mut held = deleting(template(&json!({})));
    finalizers(&mut held, &[names::IN_USE, "other"]);
    let calls = reconciled(held.clone(), 1).await;
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].what, "replace tenanttemplates premium/status");
    let calls = reconciled(held, 0).await;
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].body["metadata"]["finalizers"], json!(["other"]));
}

#[tokio::test]
async fn a_template_whose_status_is_current_costs_no_call() {
    let mut template = template(&json!({}));
    template.status = Some(status(&template, 0, &Served::default(), &fixture::settings(), at(0)));
    assert_eq!(reconciled(template, 0).await.len(), 0);
}
