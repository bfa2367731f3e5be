use serde_json::{Value, json};

use super::*;
use crate::tenant::fixture;

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

/// A template that is there, its tenants, and the API server.
async fn reconciled(template: TenantTemplate, tenants: usize) -> Vec<fixture::server::Call> {
    let server = fixture::server::Server::new();
    let (store, mut writer) = kube::runtime::reflector::store();
    for index in 0..tenants {
        let mut tenant = fixture::tenant(&json!({}));
        tenant.metadata.name = Some(format!("t{index}"));
        writer.apply_watcher_event(&watcher::Event::Apply(DeserializeGuard(Ok(tenant))));
    }
    let template = server.put_template(&template);
    reconcile(Arc::new(DeserializeGuard(Ok(template))), context(&server, store))
        .await
        .unwrap();
    server.calls()
}

fn context(server: &fixture::server::Server, store: Store<DeserializeGuard<Tenant>>) -> Arc<Context> {
    let clock: Arc<dyn Clock> = Arc::new(server.clock.clone());
    Arc::new(Context {
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
    })
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

/// A template, and Tenant `bad` that nobody can read and that names `template_ref`.
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
    reconcile(Arc::new(template), context(server, store)).await.unwrap();
}

fn unreadable(metadata: kube::api::ObjectMeta) -> InvalidObject {
    let error = "unknown variant `Melted`".to_owned();
    InvalidObject { error, metadata }
}

#[tokio::test]
async fn a_template_of_a_tenant_nobody_can_read_is_kept() {
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
async fn a_deleted_template_nobody_can_read_goes_with_its_last_user() {
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
