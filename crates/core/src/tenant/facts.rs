//! Step 1: look up everything that the Tenant refers to. Reads caches only; the cluster is not asked.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use kube::{ResourceExt as _, core::DeserializeGuard};

use crate::{
    allocation::Refusal,
    object::{Key, Kind, Live},
};
use tenantry_api::{
    Quantity, names,
    v1alpha1::{Tenant, TenantNamespace, TenantTemplateSpec},
};

/// A TenantNamespace, also one that cannot be read: what it asked for must not go for that.
pub type Claim = Arc<DeserializeGuard<TenantNamespace>>;

/// What may still come to stand, by namespace: each entry a whole `spec.hard`.
pub type Pending = BTreeMap<String, Vec<BTreeMap<String, Quantity>>>;

/// Quotas of one tenant that this process wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OwnWrites {
    /// Nobody else ever wrote one.
    #[default]
    All,
    /// Those in these namespaces.
    Only(BTreeSet<String>),
}

impl OwnWrites {
    /// Whether no write of another process can change the quota of this namespace.
    pub fn covers(&self, namespace: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(namespaces) => namespaces.contains(namespace),
        }
    }
}

/// What it means that TenantNamespaces of a tenant are being deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Deletions {
    /// Somebody deleted them: their namespaces are to go.
    Asked,
    /// They go with their definition or with the home namespace: their namespaces stay.
    Cascaded,
    /// The API server was not asked, or gave no answer: nothing is done about it.
    #[default]
    Unknown,
}

/// The live objects as a decision sees them: caches in the operator, a list in a command.
pub trait LiveObjects {
    /// Every object with the label of `tenant`.
    fn of_tenant(&self, tenant: &str) -> BTreeMap<Key, Arc<Live>>;
    /// Every namespace that an owner created for `tenant` and that no Tenant owns yet.
    fn asking(&self, tenant: &str) -> BTreeMap<Key, Arc<Live>>;
    /// One object.
    fn get(&self, key: &Key) -> Option<Arc<Live>>;
}

impl LiveObjects for BTreeMap<Key, Arc<Live>> {
    fn of_tenant(&self, tenant: &str) -> Self {
        let of_tenant = |(_, live): &(&Key, &Arc<Live>)| live.tenant.as_deref() == Some(tenant);
        self.iter()
            .filter(of_tenant)
            .map(|(key, live)| (key.clone(), live.clone()))
            .collect()
    }

    fn asking(&self, tenant: &str) -> Self {
        let asking =
            |(key, live): &(&Key, &Arc<Live>)| key.kind == Kind::Namespace && live.asks.as_deref() == Some(tenant);
        self.iter()
            .filter(asking)
            .map(|(key, live)| (key.clone(), live.clone()))
            .collect()
    }

    fn get(&self, key: &Key) -> Option<Arc<Live>> {
        self.get(key).cloned()
    }
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The template that the Tenant names.
    pub template: Template,
    /// Every live object that is labelled as this tenant's.
    pub live: BTreeMap<Key, Arc<Live>>,
    /// What its owners asked for, by name.
    pub claims: Vec<Claim>,
    /// What it means that some of them are being deleted.
    pub deletions: Deletions,
    /// Namespaces that its owners made, each under its key, and that are nobody's yet.
    pub asking: BTreeMap<Key, Arc<Live>>,
    /// The live namespace behind each name of [`names_of`], whoever it belongs to, and those of `asking`.
    pub namespaces: BTreeMap<String, Arc<Live>>,
    /// What the cluster serves of the kinds that it may lack.
    pub served: Served,
    /// What was sent to a namespace's quota and may still come to stand; see [`crate::allocation`].
    pub pending: Pending,
    /// The quotas that no write of another process can change any more; see [`OwnWrites`].
    pub own_writes: OwnWrites,
    /// Name of this process.
    pub process: String,
    /// What each namespace's quota refused lately.
    pub refusals: BTreeMap<String, Vec<Refusal>>,
    /// Namespaces whose use changed just now, and how long their quotas are left alone for that.
    pub busy: BTreeMap<String, Duration>,
    /// Whether the quota of the home namespace must be written to be counted.
    pub nudge_home: bool,
    /// How long until that has to be looked at again.
    pub look_again: Option<Duration>,
    /// How long the first of the refusals still counts.
    pub refusals_end: Option<Duration>,
}

/// The template that a Tenant names.
#[derive(Clone, Debug, Default)]
pub enum Template {
    /// It is there.
    Found(Arc<TenantTemplateSpec>),
    /// It is not.
    #[default]
    Missing,
    /// It is there and cannot be read.
    Undecodable(String),
}

/// What the cluster serves of the kinds that it may lack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// Optional managed kinds.
    pub kinds: BTreeSet<Kind>,
    /// Whether the kind that `quotas.mlModelInstances` counts is served.
    pub models: bool,
}

/// Every namespace that a Tenant may be about: those that it lists, those that were asked for, and its home.
pub fn names_of(tenant: &Tenant, name: &str, claims: &[Claim]) -> Vec<String> {
    let listed = tenant.spec.namespaces.iter().map(|entry| entry.name.clone());
    let claimed = claims.iter().map(|claim| claim.name_any());
    let all = listed.chain(claimed).chain([names::HOME_NAME.to_owned()]);
    all.map(|short| names::namespace(name, &short)).collect()
}

/// Looks up what `tenant` refers to; what this process itself remembers of it is left empty.
pub fn dereference(
    tenant: &Tenant,
    name: &str,
    template: Template,
    claims: Vec<Claim>,
    objects: &impl LiveObjects,
    served: Served,
) -> Facts {
    let asking = objects.asking(name);
    let named = names_of(tenant, name, &claims)
        .into_iter()
        .filter_map(|namespace| objects.get(&Key::namespace(&namespace)).map(|live| (namespace, live)));
    let made = asking.iter().map(|(key, live)| (key.name.to_string(), live.clone()));
    let namespaces = named.chain(made).collect();
    Facts {
        template,
        claims,
        asking,
        live: objects.of_tenant(name),
        namespaces,
        served,
        ..Facts::default()
    }
}
