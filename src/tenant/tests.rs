//! Whole reconciles, against an API server in memory.

use kube::runtime::{
    events::{Recorder, Reporter},
    reflector,
};
use serde_json::{Value, json};

use super::*;
use crate::tenant::fixture::server::{Server, Trouble};
use tenantry_api::v1alpha1::{NamespaceState, TenantNamespaceStatus};
use tenantry_core::object::{Key, Kind};
use tenantry_process::backoff::{Backoff, BackoffConfig};

struct Stage {
    server: Server,
    context: Arc<Context>,
}

impl Stage {
    fn new(spec: &Value) -> Self {
        let server = Server::new();
        server.put_tenant(&fixture::tenant(spec));
        Self::on(server, 10, "p1")
    }

    /// Like [`Self::new`], with a template that lets owners create namespaces.
    fn direct(spec: &Value) -> Self {
        let server = Server::new();
        server.put_tenant(&fixture::tenant(spec));
        Self::with(
            server,
            &json!({ "selfService": "Direct", "quotas": { "pods": 10 } }),
            "p1",
        )
    }

    fn delete_tenant(&self) {
        let mut tenant = self.server.tenant();
        tenant.metadata.deletion_timestamp = serde_json::from_value(json!("2026-07-01T00:00:00Z")).unwrap();
        self.server.put_tenant(&tenant);
    }

    /// Another process on the same cluster, whose template grants this many pods.
    fn on(server: Server, pods: u32, process: &str) -> Self {
        Self::with(server, &json!({ "quotas": { "pods": pods } }), process)
    }

    fn with(server: Server, template: &Value, process: &str) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(server.clock.clone());
        let (templates, mut writer) = reflector::store();
        let template = TenantTemplate::new("premium", (*fixture::template(template)).clone());
        writer.apply_watcher_event(&kube::runtime::watcher::Event::Apply(DeserializeGuard(Ok(template))));
        let reporter = Reporter {
            controller: "tenantry".to_owned(),
            instance: None,
        };
        let metrics = Arc::new(metrics::Metrics::new().unwrap());
        let backoff = Backoff::new(BackoffConfig::default(), clock.clone(), fastrand::Rng::with_seed(1));
        let (events, publishing) = Events::new(Recorder::new(server.client(), reporter));
        tokio::spawn(publishing);
        let context = Context {
            custom: server.custom(names::TENANT_MANAGER),
            writer: server.writer(),
            inventory: server.inventory.clone(),
            claims: Arc::default(),
            templates,
            served: tokio::sync::watch::channel(Served::default()).1,
            settings: fixture::settings(),
            pending: PendingQuotas::new(process.to_owned()),
            activity: Activity::default(),
            refusals: Arc::default(),
            memory: Memory::default(),
            events,
            harness: Harness::new(CONTROLLER, "Tenant", metrics.process().clone(), clock.clone(), backoff),
            metrics,
            clock,
        };
        Self {
            server,
            context: Arc::new(context),
        }
    }

    /// Reconciles the stored Tenant.
    async fn run(&self) -> Result<Action, Error> {
        let tenant = DeserializeGuard(Ok(self.server.tenant()));
        reconcile(Arc::new(tenant), self.context.clone()).await
    }

    async fn ready(spec: &Value) -> Self {
        Self::ready_in(spec, &["acme-dev"]).await
    }

    /// A ready Tenant, with the quotas of these namespaces counted.
    async fn ready_in(spec: &Value, namespaces: &[&str]) -> Self {
        let stage = Self::new(spec);
        for _ in 0..4 {
            stage.run().await.unwrap();
            for namespace in namespaces {
                stage.server.count_quota(namespace);
            }
        }
        assert_eq!(stage.ready_because(), "Reconciled");
        stage.server.calls();
        stage
    }

    fn ready_because(&self) -> String {
        let status = self.server.tenant().status.unwrap_or_default();
        let mut conditions = status.conditions.into_iter();
        let ready = conditions.find(|condition| condition.type_ == READY);
        ready.map(|condition| condition.reason).unwrap_or_default()
    }

    fn change(&self, spec: &Value) {
        let mut tenant = self.server.tenant();
        tenant.spec = fixture::tenant(spec).spec;
        self.server.put_tenant(&tenant);
    }
}

#[tokio::test]
async fn the_finalizer_exists_before_anything_is_created() {
    let stage = Stage::new(&json!({}));
    stage.run().await.unwrap();
    let calls = stage.server.calls();
    assert_eq!(calls[0].what, "patch tenants acme");
    assert_eq!(calls[0].body["metadata"]["finalizers"], json!([names::CLEANUP]));
    assert_eq!(calls[1].what, "create namespaces acme-dev");
}

#[tokio::test]
async fn a_tenant_that_is_ready_costs_no_call() {
    let stage = Stage::ready(&json!({})).await;
    assert_eq!(stage.run().await.unwrap(), Action::await_change());
    assert_eq!(stage.server.whats(), [""; 0]);
}

/// The lines of the error counter that are not zero.
fn errors_counted(context: &Context) -> Vec<String> {
    let text = context.metrics.process().encode().unwrap();
    let counted = text
        .lines()
        .filter(|line| line.starts_with("tenantry_reconcile_errors_total{") && !line.ends_with(" 0"));
    counted.map(str::to_owned).collect()
}

#[tokio::test]
async fn a_conflict_on_the_status_counts_no_error() {
    let stage = Stage::ready(&json!({})).await;
    stage.change(&json!({ "templateRef": { "name": "gone" } }));
    let status = "replace tenants acme/status";
    stage.server.trouble(status, Trouble::Refused(409, "Conflict"));
    stage.run().await.unwrap_err();
    assert!(stage.server.whats().contains(&status.to_owned()));
    assert_eq!(errors_counted(&stage.context), [""; 0]);
    let text = stage.context.metrics.process().encode().unwrap();
    let error = r#"tenantry_reconcile_total{controller="tenant",outcome="error"} "#;
    let count = text.lines().find_map(|line| line.strip_prefix(error));
    assert_eq!(count.unwrap_or("0"), "0");
}

#[tokio::test]
async fn each_failure_counts_under_its_own_class() {
    for (code, reason, class) in [
        (403, "Forbidden", "forbidden"),
        (422, "Invalid", "invalid"),
        (500, "InternalError", "unavailable"),
        (504, "Timeout", "timeout"),
    ] {
        for object in ["replace tenants acme/status", "create namespaces acme-dev"] {
            let stage = Stage::new(&json!({}));
            stage.server.trouble(object, Trouble::Refused(code, reason));
            if object.starts_with("replace") {
                stage.change(&json!({ "templateRef": { "name": "gone" } }));
            }
            stage.run().await.unwrap_err();
            let counted = format!(r#"tenantry_reconcile_errors_total{{category="{class}",controller="tenant"}} 1"#);
            assert_eq!(errors_counted(&stage.context), [counted], "{object}");
        }
    }
}

#[tokio::test]
async fn a_tenant_waits_for_no_name_it_no_longer_lists() {
    let stage = Stage::ready(&json!({})).await;
    for number in 0..20 {
        stage.change(&json!({ "namespaces": [{ "name": format!("n{number}") }], "templateRef": { "name": "gone" } }));
        stage.run().await.unwrap();
    }
    assert_eq!(
        stage.server.inventory.waiting(),
        2,
        "the last one and the home namespace"
    );
    stage.context.forget("acme");
    assert_eq!(stage.server.inventory.waiting(), 0);
}

#[tokio::test]
async fn a_change_of_usage_alone_is_written_once_an_interval() {
    let stage = Stage::ready(&json!({})).await;
    let quota = Key::new(Kind::ResourceQuota, "acme-dev", names::OBJECT);
    let mut used = stage.server.get(&quota).unwrap();
    used["status"]["used"]["pods"] = json!("3");
    stage.server.put(&quota, used);
    stage.server.observe(&quota);
    assert_eq!(
        stage.run().await.unwrap(),
        Action::requeue(stage.context.settings.status_interval)
    );
    assert_eq!(stage.server.whats(), [""; 0]);
    stage.server.clock.advance(stage.context.settings.status_interval);
    stage.run().await.unwrap();
    assert_eq!(stage.server.whats(), ["replace tenants acme/status"]);
    assert_eq!(stage.server.tenant().status.unwrap().fullest.unwrap(), "pods 30%");
}

#[tokio::test]
async fn a_failed_report_of_a_wait_is_retried_at_once() {
    let stage = Stage::new(&json!({}));
    for _ in 0..3 {
        stage.run().await.unwrap();
    }
    assert_eq!(
        stage.ready_because(),
        "",
        "the quota controller may still count in time"
    );
    stage.server.clock.advance(Duration::from_secs(10));
    let status = "replace tenants acme/status";
    stage.server.trouble(status, Trouble::Refused(500, "InternalError"));
    assert!(stage.run().await.is_err());
    stage.server.no_more_trouble();
    stage.run().await.unwrap();
    assert_eq!(stage.ready_because(), "AwaitingQuota");
}

#[tokio::test]
async fn an_invalid_tenant_can_be_frozen() {
    let stage = Stage::ready(&json!({})).await;
    stage.change(&json!({ "state": "Frozen", "templateRef": { "name": "gone" } }));
    stage.run().await.unwrap();
    assert_eq!(stage.ready_because(), "TemplateNotFound");
    let policy = stage
        .server
        .get(&Key::new(Kind::TenantPolicy, "acme-dev", names::EFFECTIVE));
    assert_eq!(policy.unwrap()["spec"]["state"], "Frozen");
}

#[tokio::test]
async fn an_invalid_tenant_loses_only_rights_of_removed_owners() {
    let both = json!([{ "kind": "User", "name": "ann" }, { "kind": "User", "name": "bob" }]);
    let stage = Stage::ready(&json!({ "owners": both })).await;
    stage.change(&json!({ "owners": [{ "kind": "User", "name": "ann" }], "templateRef": { "name": "gone" } }));
    stage.run().await.unwrap();
    assert_eq!(stage.ready_because(), "TemplateNotFound");
    let binding = stage
        .server
        .get(&Key::new(Kind::RoleBinding, "acme-dev", "tenantry-owner"));
    assert_eq!(binding.unwrap()["subjects"].as_array().unwrap().len(), 1);
    let calls = stage.server.whats();
    let expected = [
        "replace rolebindings acme-dev/tenantry-owner",
        "replace tenants acme/status",
    ];
    assert_eq!(calls[..2], expected, "{calls:?}");
}

#[tokio::test]
async fn a_former_leader_writes_neither_objects_nor_status() {
    let stage = Stage::ready(&json!({})).await;
    stage.change(&json!({ "owners": [] }));
    stage.server.clock.advance(Duration::MAX);
    assert!(stage.run().await.is_err());
    assert_eq!(stage.server.whats(), [""; 0]);
}

#[tokio::test]
async fn a_status_computed_from_an_older_tenant_is_not_written() {
    let stage = Stage::ready(&json!({})).await;
    let before = stage.server.tenant();
    stage.change(&json!({ "state": "Frozen" }));
    let mut outdated = before.clone();
    outdated.spec.template_ref.name = "gone".to_owned();
    let result = reconcile(Arc::new(DeserializeGuard(Ok(outdated))), stage.context.clone()).await;
    assert!(matches!(result, Err(Error::Outdated)), "{result:?}");
    assert_eq!(stage.server.tenant().status, before.status);
}

#[tokio::test]
async fn a_foreign_namespace_wakes_the_tenant_when_it_is_gone() {
    let key = Key::namespace("acme-dev");
    for deleting in [false, true] {
        let stage = Stage::new(&json!({}));
        let mut foreign = json!({ "metadata": { "name": "acme-dev" } });
        if deleting {
            foreign["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        stage.server.put(&key, foreign);
        stage.server.observe(&key);
        stage.run().await.unwrap();
        let woken = stage.server.inventory.remove(&key, u64::MAX);
        assert_eq!(woken, ["acme".into()], "deleting: {deleting}");
    }
}

#[tokio::test]
async fn a_foreign_namespace_found_by_a_create_wakes_the_tenant() {
    let stage = Stage::new(&json!({}));
    let key = Key::namespace("acme-dev");
    stage.server.put(&key, json!({ "metadata": { "name": "acme-dev" } }));
    stage.run().await.unwrap();
    assert_eq!(stage.ready_because(), "ConflictingOwner");
    assert_eq!(stage.server.inventory.remove(&key, u64::MAX), ["acme".into()]);
}

#[tokio::test]
async fn a_deleted_tenant_loses_rights_before_its_namespaces() {
    let stage = Stage::ready(&json!({})).await;
    stage.delete_tenant();
    stage.run().await.unwrap();
    let expected = [
        "delete rolebindings acme-dev/tenantry-owner",
        // Checks whether the Tenant was deleted with its definition.
        "list customresourcedefinitions ",
        // Lists RoleBindings that owners made; the server in memory has none.
        "list namespaces acme-dev/rolebindings",
        "delete namespaces acme-dev",
        "replace tenants acme/status",
    ];
    let whats = stage.server.whats();
    assert_eq!(whats[..5], expected, "{whats:?}");
    let status = stage.server.tenant().status.unwrap();
    assert_eq!(status.namespaces[0].state, NamespaceState::Terminating);
    assert!(stage.server.tenant().finalizers().contains(&names::CLEANUP.to_owned()));

    stage.server.observe(&Key::namespace("acme-dev"));
    stage.run().await.unwrap();
    assert_eq!(stage.server.whats(), ["patch tenants acme"]);
    assert!(stage.server.tenant().finalizers().is_empty());
}

#[tokio::test]
async fn a_deleted_tenant_takes_only_namespaces_of_its_owners() {
    let own = |policy: &str| json!({ "deletionPolicy": policy });
    for (policy, stage, taken) in [
        ("Delete", Stage::direct(&own("Delete")), true),
        ("Retain", Stage::direct(&own("Retain")), false),
        ("Delete without Direct", Stage::new(&own("Delete")), false),
    ] {
        stage.run().await.unwrap();
        for name in ["acme-late", "production"] {
            let metadata = json!({
                "name": name, "labels": { (names::TENANT): "acme" }, "creationTimestamp": "2026-06-01T00:00:00Z",
            });
            let key = Key::namespace(name);
            stage.server.put(&key, json!({ "metadata": metadata }));
            stage.server.observe(&key);
        }
        stage.delete_tenant();
        stage.run().await.unwrap();
        assert!(stage.server.get(&Key::namespace("production")).is_some(), "{policy}");
        assert_eq!(
            stage.server.get(&Key::namespace("acme-late")).is_none(),
            taken,
            "{policy}"
        );
    }
}

#[tokio::test]
async fn namespaces_stay_if_rights_cannot_be_withdrawn() {
    let stage = Stage::ready(&json!({})).await;
    stage.delete_tenant();
    stage
        .server
        .trouble("delete rolebindings", Trouble::Refused(500, "InternalError"));
    assert!(matches!(stage.run().await, Err(Error::Apply { .. })));
    assert_eq!(
        stage.server.whats(),
        [
            "delete rolebindings acme-dev/tenantry-owner",
            "replace tenants acme/status"
        ]
    );
    let status = stage.server.tenant().status.unwrap();
    let ready = &status.conditions[0];
    assert_eq!((&*ready.reason, &*ready.status), ("Terminating", "False"));
    assert!(
        ready.message.starts_with("the operator is removing the owners' rights"),
        "{}",
        ready.message
    );
    assert_eq!(status.namespaces.len(), 1, "the status still lists the namespace");
}

#[tokio::test]
async fn retain_removes_only_rights_and_owner_references() {
    let stage = Stage::ready(&json!({ "deletionPolicy": "Retain" })).await;
    let handed_over = Key::namespace("acme-dev");
    let mut namespace = stage.server.get(&handed_over).unwrap();
    namespace["metadata"]["annotations"][names::ADOPT_BY] = json!("acme");
    stage.server.put(&handed_over, namespace);
    stage.server.observe(&handed_over);
    stage.delete_tenant();
    let owner = |kind, namespace: &str, name: &str| {
        let object = stage.server.get(&Key::new(kind, namespace, name)).unwrap();
        object["metadata"]["ownerReferences"].clone()
    };
    assert!(owner(Kind::ResourceQuota, "acme-dev", names::OBJECT).is_array());
    stage.run().await.unwrap();
    for (kind, namespace, name) in [
        (Kind::Namespace, "", "acme-dev"),
        (Kind::ResourceQuota, "acme-dev", names::OBJECT),
        (Kind::NetworkPolicy, "acme-dev", names::DEFAULT_DENY),
        (Kind::TenantPolicy, "acme-dev", names::EFFECTIVE),
    ] {
        assert!(owner(kind, namespace, name).is_null(), "{kind:?}");
    }
    let binding = Key::new(Kind::RoleBinding, "acme-dev", "tenantry-owner");
    assert!(stage.server.get(&binding).is_none());
    assert!(stage.server.tenant().finalizers().is_empty());
    let annotations = &stage.server.get(&handed_over).unwrap()["metadata"]["annotations"];
    assert!(
        annotations[names::ADOPT_BY].is_null(),
        "a later tenant of that name is another tenant"
    );
}

#[tokio::test]
async fn a_new_leader_fences_every_quota_before_it_raises_one() {
    let stage = Stage::ready_in(
        &json!({ "namespaces": [{ "name": "a" }, { "name": "b" }] }),
        &["acme-a", "acme-b"],
    )
    .await;
    let quota = |namespace| Key::new(Kind::ResourceQuota, namespace, names::OBJECT);
    let version = |namespace| stage.server.get(&quota(namespace)).unwrap()["metadata"]["resourceVersion"].clone();
    let pods = |namespace| stage.server.get(&quota(namespace)).unwrap()["spec"]["hard"]["pods"].clone();
    let before = [version("acme-a"), version("acme-b")];

    let next = Stage::on(stage.server.clone(), 20, "p2");
    assert_eq!(next.run().await.unwrap(), Action::requeue(Duration::ZERO));
    assert_eq!([pods("acme-a"), pods("acme-b")], ["5", "5"]);
    let calls = stage.server.whats();
    let fences = [
        "replace resourcequotas acme-a/tenantry",
        "replace resourcequotas acme-b/tenantry",
    ];
    assert!(
        fences.iter().all(|fence| calls.contains(&(*fence).to_owned())),
        "{calls:?}"
    );
    assert!(before[0] != version("acme-a") && before[1] != version("acme-b"));

    // It also moves no share whose quota may have been in use just now.
    assert_eq!(next.run().await.unwrap(), Action::requeue(activity::QUIET));
    assert_eq!([pods("acme-a"), pods("acme-b")], ["5", "5"]);
    stage.server.clock.advance(activity::QUIET);
    next.run().await.unwrap();
    assert_eq!([pods("acme-a"), pods("acme-b")], ["10", "10"]);
}

#[tokio::test]
async fn a_lost_quota_write_is_fenced_so_that_shares_can_move() {
    let namespaces = |weight: u32| json!({ "namespaces": [{ "name": "a" }, { "name": "b", "weight": weight }] });
    let stage = Stage::ready_in(&namespaces(1), &["acme-a", "acme-b"]).await;
    let hard = |namespace, field: &str| {
        let key = Key::new(Kind::ResourceQuota, namespace, names::OBJECT);
        stage.server.get(&key).unwrap()[field]["hard"]["pods"].clone()
    };
    let pods = |namespace| hard(namespace, "spec");
    let counted = |namespace| hard(namespace, "status");
    let more = Stage::on(stage.server.clone(), 20, "p1");
    more.context.pending.is_mine("acme");
    stage.server.clock.advance(activity::QUIET);
    stage.server.trouble("replace resourcequotas", Trouble::Lost);
    // The first reconcile starts the time for which a quota is left alone.
    more.run().await.unwrap();
    stage.server.clock.advance(activity::QUIET);
    more.run().await.unwrap_err();
    stage.server.no_more_trouble();
    more.change(&namespaces(3));
    for _ in 0..4 {
        more.run().await.unwrap();
        stage.server.clock.advance(activity::QUIET);
        for namespace in ["acme-a", "acme-b"] {
            // The quota controller writes nothing if the count is current.
            if pods(namespace) != counted(namespace) {
                stage.server.count_quota(namespace);
            }
        }
    }
    assert_eq!([pods("acme-a"), pods("acme-b")], ["5", "15"]);
    stage.server.calls();
    more.run().await.unwrap();
    let quotas = stage
        .server
        .whats()
        .into_iter()
        .filter(|what| what.contains("resourcequotas"));
    assert_eq!(quotas.collect::<Vec<_>>(), [""; 0]);
}

#[tokio::test]
async fn a_restart_that_raises_no_quota_fences_none() {
    let stage = Stage::ready_in(
        &json!({ "namespaces": [{ "name": "a" }, { "name": "b" }] }),
        &["acme-a", "acme-b"],
    )
    .await;
    let next = Stage::on(stage.server.clone(), 10, "p2");
    next.run().await.unwrap();
    assert_eq!(stage.server.whats(), [""; 0]);
}

/// Makes the stored Tenant unreadable; returns it as a watch delivers it.
fn unreadable(stage: &Stage) -> DeserializeGuard<Tenant> {
    let mut stored = serde_json::to_value(stage.server.tenant()).unwrap();
    stored["spec"]["state"] = json!("Melted");
    let metadata = stage.server.put_unreadable("tenants", stored);
    DeserializeGuard(Err(InvalidObject {
        error: "unknown variant `Melted`".to_owned(),
        metadata,
    }))
}

#[tokio::test]
async fn an_unreadable_deleted_tenant_keeps_its_namespaces() {
    let stage = Stage::ready(&json!({})).await;
    stage.delete_tenant();
    let guard = Arc::new(unreadable(&stage));
    reconcile(guard, stage.context.clone()).await.unwrap();
    let namespace = stage.server.get(&Key::namespace("acme-dev")).unwrap();
    assert!(namespace["metadata"]["ownerReferences"].is_null());
    let quota = Key::new(Kind::ResourceQuota, "acme-dev", names::OBJECT);
    assert!(stage.server.get(&quota).unwrap()["metadata"]["ownerReferences"].is_null());
    let binding = Key::new(Kind::RoleBinding, "acme-dev", "tenantry-owner");
    assert!(stage.server.get(&binding).is_none());
    assert_eq!(stage.server.finalizers("tenants", "acme"), [""; 0]);
}

#[tokio::test]
async fn a_failed_status_write_does_not_hide_a_failed_object() {
    let internal = Trouble::Refused(500, "InternalError");
    let guard = Stage::ready(&json!({})).await;
    let key = Key::new(Kind::LimitRange, "acme-dev", names::OBJECT);
    guard.server.remove(&key);
    guard.server.observe(&key);
    let invalid = Stage::ready(&json!({})).await;
    invalid.change(&json!({ "owners": [], "templateRef": { "name": "gone" } }));
    let deleted = Stage::ready(&json!({})).await;
    deleted.delete_tenant();
    for (stage, write) in [
        (guard, "create limitranges"),
        (invalid, "delete rolebindings"),
        (deleted, "delete rolebindings"),
    ] {
        stage.server.trouble(write, internal);
        stage.server.trouble("replace tenants acme/status", internal);
        let error = stage.run().await.unwrap_err();
        assert!(matches!(error, Error::Apply { .. }), "{write}: {error}");
    }
}

#[tokio::test]
async fn a_refused_claim_status_delays_no_other() {
    for template in ["premium", "gone"] {
        let stage = Stage::ready(&json!({})).await;
        for name in ["a", "b"] {
            let claim = stage.server.put_claim(fixture::claim(name, 1).0.as_ref().unwrap());
            let version = claim.resource_version().unwrap();
            stage
                .context
                .claims
                .wrote(&claim, &TenantNamespaceStatus::default(), version);
        }
        stage.change(&json!({ "templateRef": { "name": template } }));
        stage.server.trouble(
            "replace tenantnamespaces acme-home/a/status",
            Trouble::Refused(409, "Conflict"),
        );
        let result = stage.run().await;
        assert!(matches!(result, Err(Error::Outdated)), "{result:?}");
        let whats = stage.server.whats();
        let other = "replace tenantnamespaces acme-home/b/status".to_owned();
        assert!(whats.contains(&other), "{template}: {whats:?}");
    }
}

/// The requests of a reconcile in which each request that starts with `hangs` gets no answer.
async fn sent_while(stage: &Stage, hangs: &str) -> Vec<String> {
    stage.server.trouble(hangs, Trouble::Hang);
    let ended = tokio::time::timeout(Duration::from_secs(5), stage.run()).await;
    assert!(ended.is_err(), "nothing hung: {ended:?}");
    stage.server.whats()
}

#[tokio::test(start_paused = true)]
async fn a_delete_without_an_answer_delays_no_other() {
    let both = json!({ "namespaces": [{ "name": "a" }, { "name": "b" }] });
    let namespaces = ["acme-a", "acme-b"];
    let stage = Stage::ready_in(&both, &namespaces).await;
    stage.change(&json!({ "owners": [], "namespaces": both["namespaces"] }));
    let sent = sent_while(&stage, "delete rolebindings acme-a").await;
    assert!(
        sent.contains(&"delete rolebindings acme-b/tenantry-owner".to_owned()),
        "{sent:?}"
    );

    let stage = Stage::ready_in(&both, &namespaces).await;
    for namespace in namespaces {
        let key = Key::new(Kind::NetworkPolicy, namespace, "old");
        let surplus = serde_json::to_value(fixture::live(&key, &json!({})).body()).unwrap();
        stage.server.put(&key, surplus);
        stage.server.observe(&key);
    }
    let sent = sent_while(&stage, "delete networkpolicies acme-a").await;
    assert!(
        sent.contains(&"delete networkpolicies acme-b/old".to_owned()),
        "{sent:?}"
    );

    let stage = Stage::ready_in(&both, &namespaces).await;
    stage.change(&json!({ "namespaces": [] }));
    let sent = sent_while(&stage, "delete namespaces acme-a").await;
    assert!(sent.contains(&"delete namespaces acme-b".to_owned()), "{sent:?}");

    let stage = Stage::ready_in(&both, &namespaces).await;
    stage.delete_tenant();
    let sent = sent_while(&stage, "delete namespaces acme-a").await;
    assert!(sent.contains(&"delete namespaces acme-b".to_owned()), "{sent:?}");

    let stage = Stage::ready(&json!({})).await;
    for name in ["one", "two"] {
        let role = json!({ "roleRef": { "kind": "ClusterRole", "name": "tenantry-editor" } });
        stage.server.put(
            &Key::new(Kind::RoleBinding, "acme-dev", name),
            fixture::merged(json!({ "metadata": { "name": name } }), &role),
        );
    }
    stage.delete_tenant();
    let sent = sent_while(&stage, "delete rolebindings acme-dev/one").await;
    assert!(
        sent.contains(&"delete rolebindings acme-dev/two".to_owned()),
        "{sent:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_event_without_an_answer_delays_no_reconcile() {
    let stage = Stage::new(&json!({ "templateRef": { "name": "gone" } }));
    stage.server.trouble("create events", Trouble::Hang);
    let ended = tokio::time::timeout(Duration::from_secs(5), stage.run()).await;
    ended.expect("the reconcile waits for an Event").unwrap();
    assert_eq!(stage.ready_because(), "TemplateNotFound");
}

/// Reconciles a deleted Tenant after `prepare`; returns the owner references of its namespace.
async fn owners_after_deletion(spec: &Value, prepare: impl FnOnce(&Server)) -> (Stage, Option<Value>) {
    let stage = Stage::ready(spec).await;
    stage.delete_tenant();
    prepare(&stage.server);
    let _ = stage.run().await;
    let namespace = stage.server.get(&Key::namespace("acme-dev"));
    let owners = namespace.map(|namespace| namespace["metadata"]["ownerReferences"].clone());
    (stage, owners)
}

#[tokio::test]
async fn a_protected_deleted_tenant_leaves_its_namespaces() {
    let (stage, owners) = owners_after_deletion(&json!({ "deletionProtection": true }), |_| ()).await;
    assert_eq!(
        owners,
        Some(Value::Null),
        "the namespace stays, and the garbage collector ignores it"
    );
    let status = stage.server.tenant().status.unwrap();
    let kept = status
        .conditions
        .iter()
        .find(|condition| condition.type_ == "NamespacesKept");
    let kept = kept.unwrap();
    assert_eq!((&*kept.status, &*kept.reason), ("True", "DeletionProtection"));
    assert!(kept.message.contains("acme-dev"), "{}", kept.message);
    stage.run().await.unwrap();
    assert!(stage.server.tenant().finalizers().is_empty());
    let binding = Key::new(Kind::RoleBinding, "acme-dev", "tenantry-owner");
    assert!(stage.server.get(&binding).is_none());
}

#[tokio::test]
async fn a_tenant_deleted_with_its_definition_leaves_its_namespaces() {
    let deleted = json!({ "deletionTimestamp": "2026-07-01T00:00:00Z" });
    let (stage, owners) = owners_after_deletion(&json!({}), |server| server.put_definition("tenants", deleted)).await;
    assert_eq!(owners, Some(Value::Null));
    stage.run().await.unwrap();
    assert!(stage.server.tenant().finalizers().is_empty());
}

#[tokio::test]
async fn nothing_is_deleted_if_the_definition_cannot_be_read() {
    let unreadable =
        |server: &Server| server.trouble("list customresourcedefinitions", Trouble::Refused(500, "InternalError"));
    let (stage, owners) = owners_after_deletion(&json!({}), unreadable).await;
    assert!(owners.unwrap().is_array());
    assert!(stage.server.tenant().finalizers().contains(&names::CLEANUP.to_owned()));
    stage.server.no_more_trouble();
    stage.run().await.unwrap();
    assert!(stage.server.get(&Key::namespace("acme-dev")).is_none());
}
