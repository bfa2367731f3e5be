//! Every step up to apply, against an API server in memory.

mod order;
mod quota;
mod rights;

use serde_json::json;

use super::*;
use crate::tenant::fixture::{
    self,
    server::{Server, Trouble},
};
use tenantry_api::names;
use tenantry_core::error_class::ErrorClass;
use tenantry_core::tenant::facts::LiveObjects as _;
use tenantry_core::tenant::{
    build::build,
    facts::{Served, Template, dereference},
    validate::validate,
};

/// A tenant, its template and the cluster.
struct Stage {
    server: Server,
    pending: PendingQuotas,
    template: Value,
    tenant: Value,
    served: Served,
}

impl Stage {
    fn new() -> Self {
        Self {
            server: Server::new(),
            pending: PendingQuotas::new("p1".to_owned()),
            template: json!({ "quotas": { "cpu": "4", "pods": 10 }, "containers": { "max": { "cpu": "1" } } }),
            tenant: json!({}),
            served: Served::default(),
        }
    }

    /// A settled tenant: nothing is left to do.
    async fn settled(tenant: Value) -> Self {
        let stage = Self { tenant, ..Self::new() };
        stage.settle().await;
        stage
    }

    async fn settle(&self) {
        for _ in 0..8 {
            let applied = self.run().await;
            assert!(applied.failures.is_empty(), "{:?}", applied.failures);
            for namespace in &applied.namespaces {
                self.server.count_quota(&namespace.name);
            }
            if !applied.changed {
                self.server.calls();
                return;
            }
        }
        panic!("it never settles: {:?}", self.server.whats());
    }

    fn look(&self) -> (ValidTenant, Facts, Vec<NamespaceObjects>) {
        let tenant = fixture::tenant(&self.tenant);
        let inventory = &self.server.inventory;
        let template = Template::Found(fixture::template(&self.template));
        let pending = self.pending.of_tenant("acme", inventory);
        let facts = Facts {
            pending,
            ..dereference(&tenant, "acme", template, Vec::new(), &**inventory, self.served.clone())
        };
        let valid = validate(&tenant, &facts, &fixture::settings()).unwrap();
        let objects = build(&valid);
        (valid, facts, objects)
    }

    async fn run(&self) -> Applied {
        self.server.put_tenant(&fixture::tenant(&self.tenant));
        self.run_on_what_was_seen().await
    }

    /// Does not store the Tenant first, so it may have changed since it was seen.
    async fn run_on_what_was_seen(&self) -> Applied {
        let (valid, facts, objects) = self.look();
        apply(&self.server.writer(), &self.pending, &valid, &facts, &objects).await
    }

    fn subjects(&self, role: &str) -> Value {
        let key = Key::new(Kind::RoleBinding, "acme-dev", role);
        self.server
            .get(&key)
            .map_or(Value::Null, |binding| binding["subjects"].clone())
    }
}

fn users(names: &[&str]) -> Value {
    let user = |name: &&str| json!({ "kind": "User", "name": name });
    json!({ "owners": names.iter().map(user).collect::<Vec<_>>() })
}

fn subjects_of(names: &[&str]) -> Value {
    let subject = |name: &&str| json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name });
    names.iter().map(subject).collect()
}

fn position(whats: &[String], what: &str) -> usize {
    whats
        .iter()
        .position(|seen| seen == what)
        .unwrap_or_else(|| panic!("no {what:?} in {whats:#?}"))
}

#[tokio::test]
async fn a_fresh_namespace_gets_its_guards_in_order_and_no_right() {
    let stage = Stage::new();
    let applied = stage.run().await;
    let whats = stage.server.whats();
    assert_eq!(position(&whats, "create namespaces acme-dev"), 0);
    let limits = position(&whats, "create limitranges acme-dev/tenantry");
    assert!(limits < position(&whats, "create resourcequotas acme-dev/tenantry"));
    let mut all = whats.clone();
    all.sort();
    assert_eq!(
        all,
        [
            "create configmaps acme-dev/tenant-limits",
            "create limitranges acme-dev/tenantry",
            "create namespaces acme-dev",
            "create networkpolicies acme-dev/tenantry-allow",
            "create networkpolicies acme-dev/tenantry-default-deny",
            "create resourcequotas acme-dev/tenantry",
            "create tenantpolicies acme-dev/effective",
        ]
    );
    assert_eq!(applied.namespaces[0].progress, Progress::AwaitingQuota);
    assert!(applied.changed && applied.failures.is_empty());
}

#[tokio::test]
async fn rights_are_written_when_the_quota_is_counted() {
    let stage = Stage::new();
    stage.run().await;
    stage.server.calls();
    assert_eq!(stage.run().await.namespaces[0].progress, Progress::AwaitingQuota);
    assert!(
        stage.server.whats().is_empty(),
        "waiting for the quota controller costs nothing"
    );

    stage.server.count_quota("acme-dev");
    assert_eq!(stage.run().await.namespaces[0].progress, Progress::Complete);
    assert_eq!(stage.server.whats(), ["create rolebindings acme-dev/tenantry-owner"]);

    let applied = stage.run().await;
    assert_eq!(stage.server.whats(), [""; 0]);
    assert!(!applied.changed && applied.namespaces[0].progress == Progress::Complete);
}

#[tokio::test]
async fn a_half_counted_quota_gives_no_rights() {
    let stage = Stage::new();
    stage.run().await;
    let key = Key::new(Kind::ResourceQuota, "acme-dev", names::OBJECT);
    let mut quota = stage.server.get(&key).unwrap();
    quota["status"] = json!({ "hard": { "pods": "10" }, "used": { "pods": "0" } });
    stage.server.put(&key, quota.clone());
    stage.server.observe(&key);
    assert_eq!(stage.run().await.namespaces[0].progress, Progress::AwaitingQuota);

    quota["status"]["hard"] = quota["spec"]["hard"].clone();
    stage.server.put(&key, quota);
    stage.server.observe(&key);
    assert_eq!(stage.run().await.namespaces[0].progress, Progress::AwaitingQuota);
    assert_eq!(stage.subjects("tenantry-owner"), Value::Null);
}

#[tokio::test]
async fn no_right_is_given_while_any_guard_is_missing() {
    for guard in [
        "limitranges",
        "resourcequotas",
        "networkpolicies acme-dev/tenantry-default-deny",
        "networkpolicies acme-dev/tenantry-allow",
        "tenantpolicies",
    ] {
        let stage = Stage::new();
        stage
            .server
            .trouble(&format!("create {guard}"), Trouble::Refused(500, "InternalError"));
        stage.run().await;
        if guard != "resourcequotas" {
            stage.server.count_quota("acme-dev");
        }
        let applied = stage.run().await;
        assert_eq!(applied.namespaces[0].progress, Progress::Failed, "{guard}");
        assert_eq!(stage.subjects("tenantry-owner"), Value::Null, "{guard}");

        stage.server.no_more_trouble();
        stage.settle().await;
        assert_eq!(stage.subjects("tenantry-owner"), subjects_of(&["ann"]), "{guard}");
    }
}

#[tokio::test]
async fn a_failed_object_that_is_no_guard_delays_no_right() {
    let stage = Stage::new();
    stage
        .server
        .trouble("create configmaps", Trouble::Refused(500, "InternalError"));
    stage.run().await;
    stage.server.count_quota("acme-dev");
    let applied = stage.run().await;
    assert_eq!(applied.namespaces[0].progress, Progress::Complete);
    assert_eq!(applied.failures.len(), 1);
}

#[tokio::test]
async fn a_surplus_object_is_deleted_with_uid_and_version() {
    let mut stage = Stage::new();
    stage.served = fixture::everything_served();
    stage.template = json!({ "monitoring": { "alerts": true } });
    stage.settle().await;
    let key = Key::new(Kind::PrometheusRule, "acme-dev", names::OBJECT);
    let seen = stage.server.get(&key).unwrap();
    stage.template = json!({});
    stage.run().await;
    let calls = stage.server.calls();
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].what, "delete prometheusrules acme-dev/tenantry");
    let preconditions = &calls[0].body["preconditions"];
    assert_eq!(preconditions["uid"], seen["metadata"]["uid"]);
    assert_eq!(preconditions["resourceVersion"], seen["metadata"]["resourceVersion"]);
}

#[tokio::test]
async fn no_guard_is_pruned_where_a_guard_could_not_be_written() {
    let stage = Stage::settled(json!({})).await;
    let surplus = Key::new(Kind::NetworkPolicy, "acme-dev", "replaced");
    stage.server.put(&surplus, fixture::live(&surplus, &json!({})).body());
    stage.server.observe(&surplus);
    for guard in [names::ALLOW, names::DEFAULT_DENY] {
        let key = Key::new(Kind::NetworkPolicy, "acme-dev", guard);
        stage.server.remove(&key);
        stage.server.observe(&key);
    }
    stage
        .server
        .trouble("create networkpolicies", Trouble::Refused(500, "InternalError"));
    let applied = stage.run().await;
    assert_eq!(applied.failures.len(), 2);
    assert!(stage.server.get(&surplus).is_some(), "{:?}", stage.server.whats());
    stage.server.no_more_trouble();
    stage.settle().await;
    assert!(stage.server.get(&surplus).is_none());
}

#[tokio::test]
async fn an_unlisted_namespace_loses_rights_before_it_is_deleted() {
    let mut stage = Stage::settled(json!({ "namespaces": [{ "name": "dev" }, { "name": "old" }] })).await;
    stage.tenant = json!({});
    let applied = stage.run().await;
    let calls = stage.server.calls();
    assert_eq!(calls[0].what, "delete rolebindings acme-old/tenantry-owner");
    // Reads the Tenant again, because watches may be behind.
    assert_eq!(calls[1].what, "list tenants ");
    // Notes what counts against the grant until the namespace is gone.
    assert_eq!(calls[2].what, "replace namespaces acme-old");
    let held = calls[2].body["metadata"]["annotations"][names::HELD].as_str().unwrap();
    assert!(held.contains(r#""pods":"5""#), "{held}");
    assert_eq!(calls[3].what, "list namespaces acme-old/rolebindings");
    // Withdrawing bindings can take long; meanwhile the namespace may have been listed again.
    assert_eq!(calls[4].what, "list tenants ");
    assert_eq!(calls[5].what, "delete namespaces acme-old");
    let preconditions = &calls[5].body["preconditions"];
    assert_eq!(preconditions["uid"], calls[2].body["metadata"]["uid"]);
    let version = |value: &Value| value["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap();
    assert!(
        version(preconditions) > version(&calls[2].body["metadata"]),
        "the version that the replace returned"
    );
    assert_eq!(applied.leaving[0].name, "acme-old");
}

#[tokio::test]
async fn a_binding_with_a_finalizer_loses_its_subjects_first() {
    let mut stage = Stage::settled(users(&["ann", "bea"])).await;
    let key = Key::new(Kind::RoleBinding, "acme-dev", "tenantry-owner");
    let mut held = stage.server.get(&key).unwrap();
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    stage.server.put(&key, held);
    stage.server.observe(&key);
    stage.tenant = users(&[]);
    stage.run().await;
    let calls = stage.server.calls();
    assert_eq!(calls[0].what, "replace rolebindings acme-dev/tenantry-owner");
    assert_eq!(calls[0].body["subjects"], json!([]));
    assert_eq!(calls[0].body["metadata"]["finalizers"], Value::Null);
    assert_eq!(calls[1].what, "delete rolebindings acme-dev/tenantry-owner");
}

#[tokio::test]
async fn a_finalizer_on_a_binding_is_drift() {
    let stage = Stage::settled(json!({})).await;
    let key = Key::new(Kind::RoleBinding, "acme-dev", "tenantry-owner");
    let mut held = stage.server.get(&key).unwrap();
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    stage.server.put(&key, held);
    stage.server.observe(&key);
    stage.settle().await;
    assert_eq!(stage.server.get(&key).unwrap()["metadata"]["finalizers"], Value::Null);
}

#[tokio::test]
async fn a_quota_counts_until_its_namespace_is_gone() {
    let mut stage = Stage::settled(json!({ "namespaces": [{ "name": "dev" }, { "name": "old" }] })).await;
    let old = Key::namespace("acme-old");
    let quota = Key::new(Kind::ResourceQuota, "acme-old", names::OBJECT);
    stage.tenant = json!({});
    // Somebody deletes the namespace. Its quota is deleted, but a volume claim is not yet.
    let mut going = stage.server.get(&old).unwrap();
    going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    stage.server.put(&old, going);
    stage.server.observe(&old);
    stage.run().await;
    stage.server.remove(&quota);
    stage.server.observe(&quota);
    stage.settle().await;
    let pods = || {
        let dev = Key::new(Kind::ResourceQuota, "acme-dev", names::OBJECT);
        stage.server.get(&dev).unwrap()["spec"]["hard"]["pods"].clone()
    };
    assert_eq!(
        pods(),
        "5",
        "the other five still count for the namespace being deleted"
    );
    stage.server.remove(&old);
    stage.server.observe(&old);
    stage.settle().await;
    assert_eq!(pods(), "10");
}

#[tokio::test]
async fn a_namespace_stays_if_the_tenant_changed_meanwhile() {
    let listed = json!({ "namespaces": [{ "name": "dev" }, { "name": "old" }] });
    let mut stage = Stage::settled(listed.clone()).await;
    let mut now = fixture::tenant(&listed);
    now.metadata.generation = Some(5);
    stage.server.put_tenant(&now);
    stage.tenant = json!({});
    let applied = stage.run_on_what_was_seen().await;
    assert!(matches!(
        &*applied.failures,
        [Failure {
            class: ErrorClass::Conflict,
            ..
        }]
    ));
    assert!(stage.server.get(&Key::namespace("acme-old")).is_some());
}

#[tokio::test]
async fn a_recreated_namespace_gets_guards_despite_late_watches() {
    let stage = Stage::settled(json!({})).await;
    let namespace = Key::namespace("acme-dev");
    let guards = [names::DEFAULT_DENY, names::ALLOW].map(|name| Key::new(Kind::NetworkPolicy, "acme-dev", name));
    let all: Vec<Key> = stage.server.inventory.of_tenant("acme").into_keys().collect();
    for key in &all {
        stage.server.remove(key);
    }
    // The watch of NetworkPolicies is late.
    for key in all.iter().filter(|key| **key != namespace && !guards.contains(key)) {
        stage.server.observe(key);
    }
    stage.server.inventory.remove(&namespace, u64::MAX);
    stage.run().await;
    let whats = stage.server.whats();
    for key in &guards {
        position(&whats, &format!("create networkpolicies acme-dev/{}", key.name));
    }
}

#[tokio::test]
async fn guards_known_from_an_earlier_namespace_are_written_again() {
    let stage = Stage::settled(json!({})).await;
    let all: Vec<Key> = stage.server.inventory.of_tenant("acme").into_keys().collect();
    for key in &all {
        stage.server.remove(key);
    }
    let (valid, mut facts, objects) = stage.look();
    // The watch of Namespaces has reported the deletion, and the other watches have not.
    facts.live.remove(&Key::namespace("acme-dev"));
    facts.namespaces.clear();
    let applied = apply(&stage.server.writer(), &stage.pending, &valid, &facts, &objects).await;
    assert!(applied.failures.is_empty(), "{:?}", applied.failures);
    let stands: Vec<_> = all.iter().filter(|key| stage.server.get(key).is_some()).collect();
    let guards: Vec<_> = all.iter().filter(|key| key.kind != Kind::RoleBinding).collect();
    assert_eq!(stands, guards, "all but the rights, as no quota is counted yet");
}

#[tokio::test]
async fn a_retained_namespace_keeps_its_guards_and_loses_its_rights() {
    let listed = json!({ "namespaces": [{ "name": "dev" }, { "name": "old" }], "deletionPolicy": "Retain" });
    let mut stage = Stage::settled(listed).await;
    stage.tenant = json!({ "deletionPolicy": "Retain" });
    stage.settle().await;
    assert!(
        stage
            .server
            .get(&Key::new(Kind::NetworkPolicy, "acme-old", names::DEFAULT_DENY))
            .is_some()
    );
    assert!(
        stage
            .server
            .get(&Key::new(Kind::RoleBinding, "acme-old", "tenantry-owner"))
            .is_none()
    );
}

#[tokio::test]
async fn an_unseen_foreign_namespace_is_left_alone() {
    let stage = Stage::new();
    let key = Key::namespace("acme-dev");
    let foreign = json!({ "metadata": { "name": "acme-dev" } });
    let before = stage.server.put(&key, foreign);
    let applied = stage.run().await;
    assert_eq!(
        stage.server.whats(),
        ["create namespaces acme-dev", "get namespaces acme-dev"]
    );
    assert!(matches!(applied.namespaces[0].progress, Progress::Conflict(_)));
    assert!(!applied.changed);
    assert_eq!(stage.server.get(&key).unwrap(), before);
}

#[tokio::test]
async fn an_unlabelled_object_with_the_name_of_a_guard_is_replaced() {
    let stage = Stage::settled(json!({})).await;
    let key = Key::new(Kind::NetworkPolicy, "acme-dev", names::ALLOW);
    let desired = stage.server.get(&key).unwrap();
    let stray = json!({ "metadata": { "name": names::ALLOW, "namespace": "acme-dev" }, "spec": { "podSelector": {} } });
    stage.server.put(&key, stray);
    stage.server.inventory.remove(&key, u64::MAX);
    let applied = stage.run().await;
    assert!(applied.failures.is_empty());
    assert_eq!(stage.server.get(&key).unwrap()["spec"], desired["spec"]);
    assert_eq!(
        stage.server.get(&key).unwrap()["metadata"]["labels"],
        desired["metadata"]["labels"]
    );
}

#[tokio::test]
async fn a_former_leader_sends_nothing() {
    let stage = Stage::new();
    stage.server.clock.advance(std::time::Duration::MAX);
    let applied = stage.run().await;
    assert_eq!(stage.server.whats(), [""; 0]);
    assert!(matches!(
        applied.failures.as_slice(),
        [failure] if failure.message.ends_with("another replica leads now")
    ));
}
