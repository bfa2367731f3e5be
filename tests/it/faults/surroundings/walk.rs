//! Tenants that need every right, and an operator that must report by name each right that is removed.

use std::{
    collections::BTreeSet,
    sync::Mutex,
    time::{Duration, Instant},
};

use controlplane::{Audit, Integration, Options, crd_files};
use k8s_openapi::api::core::v1::{Event as CoreEvent, Namespace};
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
};
use lab::{Lab, Operator, OperatorOptions};
use serde_json::{Value, json};
use tenantry_api::v1alpha1::Tenant;
use tenantry_core::object::Kind;

use super::roles::{Right, Roles};
use crate::common::{
    self, PATIENCE,
    audit::{self, Event},
    builders::{template, tenant},
    eventually, root,
};

/// The tenants: `all` for what fills a namespace, `bound` for rights, `homely` for self-service.
pub struct Walk {
    pub lab: Lab,
    pub admin: Client,
    pub roles: Roles,
    pub operator: Option<Operator>,
    /// Length of the log when a right was last removed.
    since: usize,
    pub noticed: BTreeSet<Right>,
    pub slowest: Duration,
}

/// Whether a Tenant reports the missing right: a failed write or a failed read. A failed watch concerns no single
/// tenant.
fn is_told(right: &Right) -> bool {
    right.verb == "bind" || managed(right) && !matches!(&*right.verb, "list" | "watch")
}

pub fn managed(right: &Right) -> bool {
    let plurals: Vec<String> = Kind::ALL.into_iter().map(|kind| kind.api_resource().plural).collect();
    plurals.contains(&right.resource)
}

impl Walk {
    pub async fn new() -> Self {
        let options = Options {
            audit: Audit::Metadata,
            controller_manager_qps: Some(3000),
            // Disabled in most clusters; if it is enabled, the operator needs more rights.
            api_server_flags: vec!["--enable-admission-plugins=OwnerReferencesPermissionEnforcement".to_owned()],
            ..Options::default()
        };
        let lab = Lab::own_with(root(), options).unwrap();
        let (lab, admin) = common::furnished(lab).await;
        for file in crd_files(Integration::PrometheusOperator).unwrap() {
            lab::run(lab.kubectl().unwrap().args(["apply", "--server-side", "-f"]).arg(file)).unwrap();
        }
        let monitoring = json!({ "metrics": true, "alerts": true, "dashboard": true });
        let spec = json!({ "tier": "Premium", "quotas": { "pods": 10, "namespaces": 4 }, "monitoring": monitoring, "selfService": "Disabled" });
        common::create_template(&admin, &template("watched", spec)).await;
        let spec = json!({ "tier": "Standard", "quotas": { "pods": 10, "namespaces": 4 }, "selfService": "Direct" });
        common::create_template(&admin, &template("direct", spec)).await;
        let roles = Roles::installed(&admin).await;
        let mut walk = Self {
            lab,
            admin,
            roles,
            operator: None,
            since: 0,
            noticed: BTreeSet::new(),
            slowest: Duration::ZERO,
        };
        let all = tenant("all", "watched").owner("olga").namespace("a").namespace("b");
        common::create(&walk.admin, &all.build()).await;
        let members = |name, template| {
            tenant(name, template)
                .owner("olga")
                .member("User", "ed", "Editor")
                .member("User", "vi", "Viewer")
        };
        common::create(&walk.admin, &members("bound", "watched").namespace("a").build()).await;
        common::create(&walk.admin, &members("homely", "direct").build()).await;
        walk.start().await;
        walk
    }

    pub async fn start(&mut self) {
        let options = OperatorOptions {
            no_wait: true,
            ..common::binary()
        };
        self.operator = Some(self.lab.operator(options).await.unwrap());
        self.since = 0;
    }

    pub async fn stop(&mut self) {
        let operator = self.operator.take().unwrap();
        assert!(operator.stop().await.unwrap().success());
    }

    pub fn log(&self) -> String {
        self.operator.as_ref().unwrap().log_text()
    }

    /// The operator's log since a right was last removed.
    pub fn news(&self) -> String {
        self.log()[self.since..].replace('\\', "")
    }

    /// Removes these rights and restores all others; returns the removed ones.
    pub async fn without(&mut self, out: impl Fn(&Right) -> bool) -> BTreeSet<Right> {
        let gone = self.roles.without(out).await;
        self.since = self.operator.as_ref().map_or(0, |operator| operator.log_text().len());
        gone
    }

    /// Waits until the operator reports each of these by name: in a Tenant's condition for managed objects, else in the
    /// log.
    pub async fn is_missed(&mut self, rights: impl IntoIterator<Item = Right>) {
        let waiting: Vec<Right> = rights.into_iter().collect();
        self.noticed.extend(waiting.iter().cloned());
        let waiting = Mutex::new(waiting);
        let tenants: Api<Tenant> = Api::all(self.admin.clone());
        let mut operator = self.operator.take().unwrap();
        let since = self.since;
        eventually("each right to be missed", PATIENCE, || {
            let log = operator.log_text()[since..].replace('\\', "");
            let runs = operator.runs().unwrap();
            let (tenants, waiting) = (&tenants, &waiting);
            async move {
                assert!(runs, "the operator ended: {log}");
                let listed = tenants.list(&ListParams::default()).await.unwrap();
                let conditions = listed
                    .iter()
                    .flat_map(|tenant| tenant.status.iter().flat_map(|status| &status.conditions));
                let told: Vec<&str> = conditions
                    .filter(|condition| condition.status == "False")
                    .map(|condition| &*condition.message)
                    .collect();
                let mut waiting = waiting.lock().unwrap();
                waiting.retain(|right| {
                    let is_said = |text: &&str| text.contains(&right.refusal());
                    let told = told.iter().any(is_said);
                    let logged = log
                        .lines()
                        .filter(|line| line.contains("WARN") || line.contains("ERROR"))
                        .any(|line| is_said(&line));
                    !(told || (logged && !is_told(right)))
                });
                if waiting.is_empty() {
                    Ok(())
                } else {
                    Err(waiting.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
                }
            }
        })
        .await;
        self.operator = Some(operator);
    }

    /// Restores all rights and waits until everything works again, without a restart.
    pub async fn restore(&mut self) {
        self.without(|_| false).await;
        let back = Instant::now();
        common::all_ready(&self.admin).await;
        self.slowest = self.slowest.max(back.elapsed());
        assert!(self.operator.as_mut().unwrap().runs().unwrap(), "{}", self.log());
    }

    pub fn api(&self, kind: Kind, namespace: &str) -> Api<DynamicObject> {
        match kind {
            Kind::Namespace => Api::all_with(self.admin.clone(), &kind.api_resource()),
            _ => Api::namespaced_with(self.admin.clone(), namespace, &kind.api_resource()),
        }
    }

    pub async fn change(&self, kind: Kind, namespace: &str, name: &str, change: Value) {
        let api = self.api(kind, namespace);
        api.patch(name, &PatchParams::default(), &Patch::Merge(change))
            .await
            .unwrap_or_else(|error| panic!("{kind:?} {name}: {error}"));
    }

    /// Names of the managed objects of a kind in a namespace.
    pub async fn names(&self, kind: Kind, namespace: &str) -> Vec<String> {
        let ours = ListParams::default().labels("app.kubernetes.io/managed-by=tenantry");
        let listed = self.api(kind, namespace).list(&ours).await.unwrap();
        listed.iter().map(kube::ResourceExt::name_any).collect()
    }

    pub async fn change_tenant(&self, name: &str, change: Value) {
        let tenants: Api<Tenant> = Api::all(self.admin.clone());
        let change = Patch::Merge(change);
        tenants.patch(name, &PatchParams::default(), &change).await.unwrap();
    }
}

/// Namespaces that an owner creates directly.
impl Walk {
    /// A namespace beyond the grant is deleted and created again.
    pub async fn closes_again(&self, name: &str) {
        let namespaces: Api<Namespace> = Api::all(self.admin.clone());
        namespaces.delete(name, &DeleteParams::default()).await.unwrap();
        common::gone(&namespaces, name).await;
        let tenants: Api<Tenant> = Api::all(self.admin.clone());
        eventually("the status to forget it", PATIENCE, || async {
            let status = tenants.get("homely").await.unwrap().status.unwrap();
            let lists = status.namespaces.iter().any(|seen| seen.name == name);
            if lists { Err("it lists it") } else { Ok(()) }
        })
        .await;
        self.creates_directly(name).await;
    }

    async fn creates_directly(&self, name: &str) {
        let labels = json!({ "tenantry.dev/tenant": "homely" });
        let namespace = json!({ "metadata": { "name": name, "labels": labels } });
        let namespace: Namespace = serde_json::from_value(namespace).unwrap();
        let namespaces: Api<Namespace> = Api::all(self.admin.clone());
        namespaces.create(&PostParams::default(), &namespace).await.unwrap();
    }

    /// A namespace beyond the grant, which an Event names.
    pub async fn asks(&self, name: &str) {
        self.creates_directly(name).await;
        let events: Api<CoreEvent> = Api::namespaced(self.admin.clone(), "homely-home");
        eventually(&format!("an Event to tell of {name}"), PATIENCE, || async {
            let events = events.list(&ListParams::default()).await.unwrap();
            let told: Vec<String> = events.into_iter().filter_map(|event| event.message).collect();
            if told.iter().any(|told| told.contains(name)) {
                Ok(())
            } else {
                Err(told.join("; "))
            }
        })
        .await;
    }
}

/// Verb and resource of every request of the operator that was allowed.
pub fn used(events: &[Event]) -> BTreeSet<(String, String)> {
    let ours = events
        .iter()
        .filter(|event| event.user == audit::OPERATOR && !event.resource.is_empty());
    let allowed = ours.filter(|event| event.code != 403 && event.code != 0);
    allowed
        .map(|event| {
            let resource = [&*event.resource, &*event.subresource].join("/");
            (event.verb.clone(), resource.trim_end_matches('/').to_owned())
        })
        .collect()
}
