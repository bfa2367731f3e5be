//! The churn: one action after the other, drawn by weight from the seed.

use std::{collections::BTreeMap, fmt::Debug};

use faultproxy::{Action, Match, Proxy, Rule, RuleFile, Verb, When};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tenantry_api::v1alpha1::{Tenant, TenantNamespace, TenantTemplate};
use tenantry_core::object::Kind;

use crate::{
    common::{builders::pod, eventually},
    judging::Judging,
    scene,
    settings::Settings,
};

/// How many tenants may be deleted at a time.
const AWAY: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Deed {
    PodsCome,
    PodsGo,
    Namespaces,
    Owners,
    Ask,
    GiveBack,
    Drift,
    TenantGoes,
    TenantComes,
    Template,
    BreakWatch,
}

/// The weight of each action, of [`WEIGHTS`] in all. A template change reaches a quarter of the tenants.
const DEEDS: [(Deed, u32); 11] = [
    (Deed::PodsCome, 28),
    (Deed::PodsGo, 14),
    (Deed::Namespaces, 14),
    (Deed::Owners, 12),
    (Deed::Ask, 7),
    (Deed::GiveBack, 7),
    (Deed::Drift, 10),
    (Deed::TenantGoes, 2),
    (Deed::TenantComes, 3),
    (Deed::Template, 1),
    (Deed::BreakWatch, 2),
];

/// Objects that an admin deletes.
const DRIFT: [(Kind, &str); 7] = [
    (Kind::LimitRange, "tenantry"),
    (Kind::ResourceQuota, "tenantry"),
    (Kind::NetworkPolicy, "tenantry-default-deny"),
    (Kind::NetworkPolicy, "tenantry-allow"),
    (Kind::TenantPolicy, "effective"),
    (Kind::RoleBinding, "tenantry-owner"),
    (Kind::ConfigMap, "tenant-limits"),
];

/// Watches that the proxy breaks.
const WATCHED: [&str; 7] = [
    "namespaces",
    "resourcequotas",
    "limitranges",
    "networkpolicies",
    "rolebindings",
    "tenantpolicies",
    "tenants",
];

pub struct Churn<'a> {
    rng: fastrand::Rng,
    tenants: usize,
    admin: Client,
    olga: Client,
    /// The proxy between operator and API server, if watches are to be broken.
    proxy: Option<&'a Proxy>,
    /// Numbers of tenants that were deleted.
    away: Vec<usize>,
    changed: [bool; scene::TEMPLATES],
    done: BTreeMap<Deed, usize>,
    /// Actions that the API server refused, by status (0: no answer): some are too early or too late.
    refused: BTreeMap<u16, usize>,
}

impl<'a> Churn<'a> {
    pub fn new(settings: &Settings, admin: Client, olga: Client, proxy: &'a Proxy) -> Self {
        Self {
            rng: fastrand::Rng::with_seed(settings.seed),
            tenants: settings.tenants,
            admin,
            olga,
            proxy: settings.break_watches.then_some(proxy),
            away: Vec::new(),
            changed: Default::default(),
            done: BTreeMap::new(),
            refused: BTreeMap::new(),
        }
    }

    /// The actions so far.
    pub fn told(&self) -> String {
        let done: usize = self.done.values().sum();
        let each: Vec<_> = self
            .done
            .iter()
            .map(|(deed, times)| format!("{deed:?} {times}"))
            .collect();
        format!("{done} done ({}), refused {:?}", each.join(", "), self.refused)
    }

    pub async fn act(&mut self, judging: &mut Judging) {
        let mut drawn = self.rng.u32(0..DEEDS.iter().map(|(_, weight)| weight).sum());
        let deed = DEEDS.iter().find(|(_, weight)| match drawn.checked_sub(*weight) {
            Some(rest) => {
                drawn = rest;
                false
            }
            None => true,
        });
        let deed = deed.expect("a deed of every number").0;
        let answer = match deed {
            Deed::PodsCome => self.pods_come().await,
            Deed::PodsGo => self.pods_go().await,
            Deed::Namespaces => self.namespaces().await,
            Deed::Owners => self.owners().await,
            Deed::Ask => self.ask().await,
            Deed::GiveBack => self.give_back().await,
            Deed::Drift => self.drift(judging).await,
            Deed::TenantGoes => self.tenant_goes().await,
            Deed::TenantComes => self.tenant_comes().await,
            Deed::Template => self.template().await,
            Deed::BreakWatch => Ok(self.break_watch()),
        };
        match answer {
            Ok(true) => *self.done.entry(deed).or_default() += 1,
            Ok(false) => {}
            Err(kube::Error::Api(status)) => *self.refused.entry(status.code).or_default() += 1,
            // The API server has just closed the connection.
            Err(_) => *self.refused.entry(0).or_default() += 1,
        }
    }

    fn tenant(&mut self) -> String {
        format!("t{}", self.rng.usize(0..self.tenants))
    }

    /// A namespace that every tenant has, or that many have.
    fn namespace(&mut self) -> String {
        let name = ["a", "a", "b"][self.rng.usize(0..3)];
        format!("{}-{name}", self.tenant())
    }

    async fn pods_come(&mut self) -> kube::Result<bool> {
        let pods: Api<Pod> = Api::namespaced(self.olga.clone(), &self.namespace());
        let wanted: Pod = serde_json::from_value(pod(&json!({ "cpu": "10m", "memory": "16Mi" }))).unwrap();
        // Sometimes more than an even share, so that shares move.
        for _ in 0..self.rng.usize(1..9) {
            pods.create(&PostParams::default(), &wanted).await?;
        }
        Ok(true)
    }

    async fn pods_go(&mut self) -> kube::Result<bool> {
        let pods: Api<Pod> = Api::namespaced(self.admin.clone(), &self.namespace());
        let now = DeleteParams::default().grace_period(0);
        pods.delete_collection(&now, &ListParams::default()).await?;
        Ok(true)
    }

    async fn change(&self, tenant: &str, spec: Value) -> kube::Result<bool> {
        let tenants: Api<Tenant> = Api::all(self.admin.clone());
        let change = Patch::Merge(json!({ "spec": spec }));
        tenants.patch(tenant, &PatchParams::default(), &change).await?;
        Ok(true)
    }

    async fn namespaces(&mut self) -> kube::Result<bool> {
        let tenant = self.tenant();
        let mut names = vec![json!({ "name": "a", "weight": self.rng.u8(1..4) })];
        names.extend(
            ["b", "c", "d"]
                .into_iter()
                .filter(|_| self.rng.u8(0..3) == 0)
                .map(|name| json!({ "name": name })),
        );
        self.change(&tenant, json!({ "namespaces": names })).await
    }

    async fn owners(&mut self) -> kube::Result<bool> {
        let tenant = self.tenant();
        let mut owners = vec![json!({ "kind": "User", "name": "olga", "role": "Owner" })];
        for _ in 0..self.rng.u8(0..4) {
            let role = ["Owner", "Editor", "Viewer"][self.rng.usize(0..3)];
            owners.push(json!({ "kind": "Group", "name": format!("team-{:x}", self.rng.u16(..)), "role": role }));
        }
        self.change(&tenant, json!({ "owners": owners })).await
    }

    async fn ask(&mut self) -> kube::Result<bool> {
        let claims: Api<TenantNamespace> = Api::namespaced(self.olga.clone(), &format!("{}-home", self.tenant()));
        let name = format!("asked-{}", self.rng.u8(0..2));
        let claim = json!({ "apiVersion": "tenantry.dev/v1alpha1", "kind": "TenantNamespace", "metadata": { "name": name }, "spec": {} });
        claims
            .create(&PostParams::default(), &serde_json::from_value(claim).unwrap())
            .await?;
        Ok(true)
    }

    async fn give_back(&mut self) -> kube::Result<bool> {
        let all: Api<TenantNamespace> = Api::all(self.admin.clone());
        let all = all.list(&ListParams::default()).await?.items;
        let Some(one) = self.rng.choice(all) else {
            return Ok(false);
        };
        let claims: Api<TenantNamespace> = Api::namespaced(self.olga.clone(), &one.metadata.namespace.unwrap());
        delete(&claims, &one.metadata.name.unwrap()).await
    }

    async fn drift(&mut self, judging: &mut Judging) -> kube::Result<bool> {
        let (kind, name) = DRIFT[self.rng.usize(0..DRIFT.len())];
        let namespace = self.namespace();
        let api: Api<DynamicObject> = Api::namespaced_with(self.admin.clone(), &namespace, &kind.api_resource());
        if api.get_metadata_opt(name).await?.is_none() {
            return Ok(false);
        }
        judging.excuse(kind, &namespace, name);
        let answer = delete(&api, name).await;
        let certain = match &answer {
            Ok(deleted) => !deleted,
            Err(kube::Error::Api(status)) => status.code < 500,
            // The request may have taken effect all the same.
            Err(_) => false,
        };
        if certain {
            judging.withdraw(kind, &namespace, name);
        }
        answer
    }

    async fn tenant_goes(&mut self) -> kube::Result<bool> {
        let number = self.rng.usize(0..self.tenants);
        if self.away.len() >= AWAY || self.away.contains(&number) {
            return Ok(false);
        }
        self.away.push(number);
        let tenants: Api<Tenant> = Api::all(self.admin.clone());
        delete(&tenants, &format!("t{number}")).await
    }

    /// Creates the tenant again that was deleted first, with its old name, as soon as possible.
    async fn tenant_comes(&mut self) -> kube::Result<bool> {
        let Some(number) = self.away.first().copied() else {
            return Ok(false);
        };
        come(&self.admin, number).await?;
        self.away.remove(0);
        Ok(true)
    }

    async fn template(&mut self) -> kube::Result<bool> {
        let number = self.rng.usize(0..scene::TEMPLATES);
        self.changed[number] = !self.changed[number];
        self.set_template(number).await
    }

    async fn set_template(&self, number: usize) -> kube::Result<bool> {
        let templates: Api<TenantTemplate> = Api::all(self.admin.clone());
        let change = Patch::Merge(json!({ "spec": scene::template_spec(self.changed[number]) }));
        templates
            .patch(&scene::template_name(number), &PatchParams::default(), &change)
            .await?;
        Ok(true)
    }

    /// Replaces the next event of one watch by a 410, after which the operator must list again.
    fn break_watch(&mut self) -> bool {
        let Some(proxy) = self.proxy else { return false };
        let resource = WATCHED[self.rng.usize(0..WATCHED.len())];
        let rule = Rule {
            matches: Match {
                verbs: vec![Verb::Watch],
                resource: Some(resource.to_owned()),
                ..Match::default()
            },
            when: When::Nth(1),
            at: Default::default(),
            action: Action::Expire,
        };
        proxy.set_rules(RuleFile::from(vec![rule]));
        true
    }

    /// Restores everything to the start.
    pub async fn restore(&mut self) {
        if let Some(proxy) = self.proxy {
            proxy.set_rules(Vec::new());
        }
        for number in std::mem::take(&mut self.away) {
            let patience = std::time::Duration::from_secs(120);
            let came = eventually("a tenant to come again", patience, || come(&self.admin, number));
            came.await;
        }
        let claims: Api<TenantNamespace> = Api::all(self.admin.clone());
        for claim in claims.list(&ListParams::default()).await.unwrap() {
            let home: Api<TenantNamespace> = Api::namespaced(self.admin.clone(), &claim.metadata.namespace.unwrap());
            delete(&home, &claim.metadata.name.unwrap()).await.unwrap();
        }
        for number in 0..scene::TEMPLATES {
            self.changed[number] = false;
            self.set_template(number).await.unwrap();
        }
        for number in 0..self.tenants {
            let spec = serde_json::to_value(scene::at_start(number).spec).unwrap();
            self.change(
                &format!("t{number}"),
                json!({ "owners": spec["owners"], "namespaces": spec["namespaces"] }),
            )
            .await
            .unwrap();
            for name in ["a", "b"] {
                let pods: Api<Pod> = Api::namespaced(self.admin.clone(), &format!("t{number}-{name}"));
                let now = DeleteParams::default().grace_period(0);
                pods.delete_collection(&now, &ListParams::default()).await.unwrap();
            }
        }
    }
}

async fn come(admin: &Client, number: usize) -> kube::Result<()> {
    let tenants: Api<Tenant> = Api::all(admin.clone());
    tenants
        .create(&PostParams::default(), &scene::at_start(number))
        .await
        .map(drop)
}

/// An object that no longer exists is no error.
async fn delete<K>(api: &Api<K>, name: &str) -> kube::Result<bool>
where
    K: Clone + Debug + DeserializeOwned + Serialize,
{
    match api.delete(name, &DeleteParams::default()).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
        Err(error) => Err(error),
    }
}
