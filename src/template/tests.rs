use serde_json::{Value, json};

use super::*;
use crate::tenant::fixture;
use tenantry_process::backoff::{Backoff, BackoffConfig};

fn template(spec: &Value) -> TenantTemplate {
    let mut template = TenantTemplate::new("premium", (*fixture::template(spec)).clone());
    template.metadata.generation = Some(2);
    template
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn status_of(template: &TenantTemplate, users: usize, now: i64) -> TenantTemplateStatus {
    status(
        template,
        users,
        &fixture::everything_served(),
        &fixture::settings(),
        at(now),
    )
}

fn condition<'a>(status: &'a TenantTemplateStatus, type_: &str) -> Option<(&'a str, &'a str, &'a str)> {
    let mut conditions = status.conditions.iter();
    let found = conditions.find(|condition| condition.type_ == type_)?;
    Some((&found.status, &found.reason, &found.message))
}

fn deleting(mut template: TenantTemplate) -> TenantTemplate {
    template.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
    template
}

#[test]
fn a_sound_template_is_ready_and_says_who_uses_it() {
    let status = status_of(&template(&json!({ "quotas": { "pods": 1 } })), 3, 1);
    assert_eq!(condition(&status, READY).unwrap().1, "Sound");
    assert_eq!(condition(&status, RECONCILING), None);
    assert_eq!(condition(&status, STALLED), None);
    assert_eq!((status.tenants, status.observed_generation), (3, Some(2)));
    assert!(!status.controls.is_empty());
}

#[test]
fn a_template_that_contradicts_itself_is_stalled() {
    let status = status_of(&template(&json!({ "quotas": { "cpu": "1" } })), 0, 1);
    let (ready, reason, message) = condition(&status, READY).unwrap();
    assert_eq!((ready, reason), ("False", "Contradiction"));
    assert_eq!(condition(&status, STALLED), Some(("True", reason, message)));
    assert_eq!(condition(&status, RECONCILING), None);
}

#[test]
fn a_template_in_use_that_is_being_deleted_says_how_to_find_its_users() {
    let status = status_of(&deleting(template(&json!({}))), 2, 1);
    let (ready, reason, message) = condition(&status, READY).unwrap();
    assert_eq!((ready, reason), ("False", "InUse"));
    assert!(
        message.starts_with("2 tenants use it") && message.ends_with("--field-selector spec.templateRef.name=premium)"),
        "{message}"
    );
    assert_eq!(condition(&status, RECONCILING).unwrap().0, "True");
    assert_eq!(condition(&status, STALLED), None);
}

#[test]
fn what_nothing_makes_true_is_named_with_its_field() {
    let status = status_of(&template(&json!({ "security": { "zeroTrust": true } })), 0, 1);
    let (holds, reason, message) = condition(&status, ALL_FIELDS_EFFECTIVE).unwrap();
    assert_eq!((holds, reason), ("False", "NotEnforced"));
    assert!(message.contains("security.zeroTrust"), "{message}");
    assert_eq!(
        condition(&status, READY).unwrap().0,
        "True",
        "such a template can be used all the same"
    );
}

#[test]
fn the_same_template_gives_the_same_bytes() {
    let mut template = template(&json!({ "security": { "zeroTrust": true }, "quotas": { "pods": 1 } }));
    template.status = Some(status_of(&template, 1, 1));
    assert_eq!(
        serde_json::to_string(&status_of(&template, 1, 99)).unwrap(),
        serde_json::to_string(&template.status).unwrap()
    );
    let gone = status_of(&deleting(template), 1, 99);
    assert_eq!(gone.conditions[0].last_transition_time.0, at(99));
}

/// What reconciles templates on this server, where so many tenants use `premium`, and its metrics.
fn context(server: &fixture::server::Server, tenants: usize) -> (Arc<Context>, Arc<metrics::Metrics>) {
    let (store, mut writer) = kube::runtime::reflector::store();
    for index in 0..tenants {
        let mut tenant = fixture::tenant(&json!({}));
        tenant.metadata.name = Some(format!("t{index}"));
        writer.apply_watcher_event(&watcher::Event::Apply(DeserializeGuard(Ok(tenant))));
    }
    let clock: Arc<dyn Clock> = Arc::new(server.clock.clone());
    let metrics = Arc::new(metrics::Metrics::new().unwrap());
    let backoff = Backoff::new(BackoffConfig::default(), clock.clone(), fastrand::Rng::with_seed(1));
    let context = Context {
        custom: server.custom(names::TEMPLATE_MANAGER),
        tenants: store,
        served: tokio::sync::watch::channel(Served::default()).1,
        settings: fixture::settings(),
        harness: Harness::new(CONTROLLER, "TenantTemplate", metrics.clone(), clock.clone(), backoff),
        clock,
    };
    (Arc::new(context), metrics)
}

/// What is sent for a template with so many tenants.
async fn reconciled(template: TenantTemplate, tenants: usize) -> Vec<fixture::server::Call> {
    let server = fixture::server::Server::new();
    let (context, _) = context(&server, tenants);
    let template = server.put_template(&template);
    reconcile(Arc::new(DeserializeGuard(Ok(template))), context)
        .await
        .unwrap();
    server.calls()
}

/// Lines of the metrics after a reconcile whose first call is refused so.
async fn refused(call: &str, code: u16, reason: &'static str) -> String {
    let server = fixture::server::Server::new();
    let (context, metrics) = context(&server, 1);
    let template = Arc::new(DeserializeGuard(Ok(server.put_template(&template(&json!({}))))));
    server.trouble(call, fixture::server::Trouble::Refused(code, reason));
    let error = reconcile(template.clone(), context.clone()).await.unwrap_err();
    error_policy(template, &error, context.clone());
    metrics.encode().unwrap()
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
async fn a_template_that_fails_is_counted_as_backing_off() {
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
