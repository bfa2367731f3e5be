//! The rules hold when a process or a part of the cluster fails: etcd, the API server, the operator itself, its rights,
//! the kinds it needs; or when people undo its work. Each test has a control plane of its own.
//!
//! The evidence is the audit log and watches, never the operator's own report.

mod again;
mod drift;
mod ends;
mod etcd;
mod fight;
mod kinds;
mod rights;
mod roles;
mod rollout;
mod token;
mod walk;
mod witness;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use controlplane::Audit;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use lab::{Lab, Operator, OperatorOptions};
use serde_json::{Value, json};
use tenantry_api::{
    Quantity,
    v1alpha1::{Tenant, TenantTemplate},
};
use tenantry_core::object::Kind;

use self::witness::Witness;
use super::plan::Choice;
use crate::common::{
    self, PATIENCE,
    audit::{self, Event},
    builders::{TenantBuilder, template, tenant},
    eventually,
    oracle::{breaches, four_cores_and, repeated_creates, strays},
    record::{Record, Step},
    stands,
};

const TEMPLATE: &str = "plain";

/// Whether only `TENANTRY_FAULTS=all` runs this test, as it takes long and rarely finds anything.
fn is_left_out() -> bool {
    let left_out = !Choice::from_env().is_all();
    if left_out {
        println!("left out: only TENANTRY_FAULTS=all runs it");
    }
    left_out
}

/// The template of all tenants here. Without self-service: a new cluster takes half a minute to count TenantNamespaces,
/// which no test here needs.
fn plain() -> TenantTemplate {
    let small = json!({ "cpu": "100m", "memory": "64Mi" });
    let spec = json!({
        "tier": "Standard", "selfService": "Disabled",
        "quotas": { "cpu": "4", "memory": "8Gi", "namespaces": 4, "pods": 9 },
        "containers": { "default": small, "defaultRequest": small },
        "security": { "podSecurity": "Restricted" },
    });
    template(TEMPLATE, spec)
}

/// The grant of [`plain`].
fn grants(_: &str) -> BTreeMap<String, Quantity> {
    four_cores_and("9")
}

/// A tenant of [`plain`] with an owner and these namespaces.
fn plain_tenant(name: &str, namespaces: &[&str]) -> TenantBuilder {
    let owned = tenant(name, TEMPLATE).owner("olga");
    namespaces.iter().fold(owned, |tenant, name| tenant.namespace(name))
}

/// A control plane of its own, with a record of all changes.
struct Stand {
    lab: Lab,
    admin: Client,
    record: Record,
    witness: Witness,
}

impl Stand {
    /// With [`plain`], and no operator yet.
    async fn new() -> Self {
        let (lab, admin) = common::own_in_a_hurry(Audit::Metadata).await;
        Self::on(lab, admin).await
    }

    async fn on(lab: Lab, admin: Client) -> Self {
        let record = Record::start_over_gaps(&admin);
        let witness = Witness::start(&admin);
        common::create_template(&admin, &plain()).await;
        Self {
            lab,
            admin,
            record,
            witness,
        }
    }

    /// Creates Tenants of two namespaces each at once, named by number.
    async fn create_numbered(&self, numbers: std::ops::Range<usize>) {
        let tenants: Vec<Tenant> = numbers
            .map(|number| plain_tenant(&format!("t{number}"), &["a", "b"]).build())
            .collect();
        futures::future::join_all(tenants.iter().map(|tenant| common::create(&self.admin, tenant))).await;
    }

    async fn change_tenant(&self, name: &str, change: &Value) {
        let tenants: Api<Tenant> = Api::all(self.admin.clone());
        let change = Patch::Merge(change);
        tenants.patch(name, &PatchParams::default(), &change).await.unwrap();
    }

    async fn change_template(&self, name: &str, change: &Value) {
        let templates: Api<TenantTemplate> = Api::all(self.admin.clone());
        let change = Patch::Merge(change);
        templates.patch(name, &PatchParams::default(), &change).await.unwrap();
    }

    /// Waits until so many namespaces of tenants were ever created: the operator is at work.
    async fn namespaces_appear(&self, least: usize) {
        eventually("the operator to be amid its work", PATIENCE, || async {
            let seen = self.record.so_far();
            let seen = seen.iter().filter(|step| step.key.0 == Kind::Namespace);
            let seen: BTreeSet<_> = seen
                .filter(|step| {
                    step.object
                        .as_ref()
                        .is_some_and(|object| object["metadata"]["labels"]["tenantry.dev/tenant"].is_string())
                })
                .map(|step| &step.key.2)
                .collect();
            if seen.len() >= least {
                Ok(())
            } else {
                Err(format!("{} namespaces", seen.len()))
            }
        })
        .await;
    }

    /// Waits until all are Ready and the objects are exactly those that `tenantry render` prints for `templates`.
    async fn as_rendered(&self, templates: &[TenantTemplate]) -> Vec<Tenant> {
        let tenants = common::all_ready(&self.admin).await;
        eventually("the end state to be as rendered", PATIENCE, || async {
            let differences = stands::differences(&self.admin, templates, &tenants).await;
            if differences.is_empty() {
                Ok(())
            } else {
                Err(differences.join("\n"))
            }
        })
        .await;
        tenants
    }

    /// Everything that the API server and the watches have recorded by now.
    async fn seen(&self) -> (Vec<Event>, Vec<Step>) {
        audit::mark(&self.lab, &self.admin).await;
        (audit::read(&self.lab), self.record.steps(&self.admin).await)
    }

    /// Guards before rights, exact totals, no stray write, no repeated create, no false Ready: from the start until now.
    async fn judge(&self) {
        let (events, steps) = self.seen().await;
        assert_eq!(breaches(&steps, &grants), [""; 0]);
        assert_eq!(strays(&events, &steps), [""; 0]);
        assert_eq!(creates_of_what_stood(&events), [""; 0]);
        assert_eq!(self.witness.false_ready(&self.admin, &steps).await, [""; 0]);
    }

    async fn lease_holder(&self) -> String {
        let leases: Api<Lease> = Api::namespaced(self.admin.clone(), lab::NAMESPACE);
        let spec = leases.get("tenantry").await.unwrap().spec;
        spec.and_then(|spec| spec.holder_identity).unwrap_or_default()
    }
}

/// Creates of objects that existed. One is excused if the log has no successful create of the object: then the first
/// create succeeded after its sender or the API server had been killed, and nobody saw the answer.
fn creates_of_what_stood(events: &[Event]) -> Vec<String> {
    let key = |event: &Event| (event.resource.clone(), event.namespace.clone(), event.name.clone());
    let creates = events.iter().filter(|event| event.verb == "create");
    let answered: BTreeSet<_> = creates.filter(|event| event.succeeded()).map(key).collect();
    repeated_creates(events.iter().filter(|event| answered.contains(&key(event))))
}

/// Breaches at the revision at which a right is given. A guard that somebody deletes later is not the operator's fault.
fn unguarded_rights(steps: &[Step]) -> Vec<String> {
    let mut standing = BTreeSet::new();
    let mut given = BTreeSet::new();
    for step in steps.iter().filter(|step| step.key.0 == Kind::RoleBinding) {
        if step.object.is_none() {
            standing.remove(&step.key);
        } else if standing.insert(&step.key) {
            given.insert(format!("revision {}:", step.revision));
        }
    }
    let at_giving = |breach: &String| given.iter().any(|revision| breach.starts_with(revision));
    breaches(steps, &|_| BTreeMap::new())
        .into_iter()
        .filter(at_giving)
        .collect()
}

/// An operator that is restarted whenever it exits, as a kubelet does.
struct Kept {
    options: OperatorOptions,
    running: Option<Operator>,
    /// How often it was started again.
    restarts: usize,
    /// Logs of the processes that ended.
    logs: String,
}

impl Kept {
    fn new(options: OperatorOptions) -> Self {
        Self {
            options: OperatorOptions {
                no_wait: true,
                ..options
            },
            running: None,
            restarts: 0,
            logs: String::new(),
        }
    }

    /// Keeps it running while `story` goes on.
    async fn during<T>(&mut self, lab: &Lab, story: impl Future<Output = T>) -> T {
        tokio::select! {
            ended = story => ended,
            never = self.keep(lab) => never,
        }
    }

    async fn keep<T>(&mut self, lab: &Lab) -> T {
        loop {
            if let Some(mut operator) = self.running.take() {
                if operator.runs().unwrap() {
                    self.running = Some(operator);
                } else {
                    self.logs += &operator.log_text();
                    self.restarts += 1;
                }
            }
            if self.running.is_none() {
                // The lab asks the API server for the Deployment and a token; it may be away.
                self.running = lab.operator(self.options.clone()).await.ok();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Ends it with SIGTERM; no process may have panicked.
    async fn end(self) -> usize {
        let last = self.running.expect("it runs");
        let logs = self.logs + &last.log_text();
        assert!(last.stop().await.unwrap().success());
        assert!(!logs.contains("panicked"), "{logs}");
        self.restarts
    }
}
