//! Step 1: look up everything that the Tenant refers to. It reads only caches and makes no API call.

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

/// A TenantNamespace, also one that cannot be decoded: its namespace must not be deleted for that reason.
pub type Claim = Arc<DeserializeGuard<TenantNamespace>>;

/// The quotas that unfinished writes may still set, by namespace; each entry is a whole `spec.hard`.
pub type Pending = BTreeMap<String, Vec<BTreeMap<String, Quantity>>>;

/// Quotas of one tenant that this process wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OwnWrites {
    /// No other process ever wrote one.
    #[default]
    All,
    /// The quotas in these namespaces.
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

/// Why TenantNamespaces of a tenant are being deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Deletions {
    /// Somebody deleted them, so their namespaces are to be deleted.
    Asked,
    /// They are deleted with their definition or with the home namespace, so their namespaces stay.
    Cascaded,
    /// The operator did not ask the API server, or got no answer, so it does nothing yet.
    #[default]
    Unknown,
}

/// The source of live objects for a decision: caches in the operator, a list in a command.
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

/// Everything that the decisions about one Tenant use.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The template that the Tenant names.
    pub template: Template,
    /// Every live object that is labelled as this tenant's.
    pub live: BTreeMap<Key, Arc<Live>>,
    /// The TenantNamespaces of its owners, by name.
    pub claims: Vec<Claim>,
    /// Why some of them are being deleted.
    pub deletions: Deletions,
    /// Namespaces that its owners created and that no Tenant owns yet, by key.
    pub asking: BTreeMap<Key, Arc<Live>>,
    /// The live namespace of each name of [`names_of`], even if it belongs to somebody else, and those of `asking`.
    pub namespaces: BTreeMap<String, Arc<Live>>,
    /// The optional kinds that the cluster serves.
    pub served: Served,
    /// Quota writes that were sent and may still land; see [`crate::allocation`].
    pub pending: Pending,
    /// The quotas that no write of another process can change any more.
    pub own_writes: OwnWrites,
    /// Name of this process.
    pub process: String,
    /// The requests that each namespace's quota refused recently.
    pub refusals: BTreeMap<String, Vec<Refusal>>,
    /// Namespaces whose use has just changed, and how long their quotas must not be moved for that reason.
    pub busy: BTreeMap<String, Duration>,
    /// Whether the operator must write the quota of the home namespace to make the quota controller count TenantNamespaces.
    pub nudge_home: bool,
    /// How long until the operator checks that again.
    pub look_again: Option<Duration>,
    /// How long until the first of the refusals no longer counts.
    pub refusals_end: Option<Duration>,
}

/// The template that a Tenant names.
#[derive(Clone, Debug, Default)]
pub enum Template {
    /// It exists.
    Found(Arc<TenantTemplateSpec>),
    /// It does not exist.
    #[default]
    Missing,
    /// It exists and cannot be decoded.
    Undecodable(String),
}

/// The optional kinds that the cluster serves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// Optional managed kinds.
    pub kinds: BTreeSet<Kind>,
    /// Whether the kind that `quotas.mlModelInstances` counts is served.
    pub models: bool,
}

/// Every namespace that may belong to a Tenant: those that it lists, those of its claims, and its home namespace.
pub fn names_of(tenant: &Tenant, name: &str, claims: &[Claim]) -> Vec<String> {
    let listed = tenant.spec.namespaces.iter().map(|entry| entry.name.clone());
    let claimed = claims.iter().map(|claim| claim.name_any());
    let all = listed.chain(claimed).chain([names::HOME_NAME.to_owned()]);
    all.map(|short| names::namespace(name, &short)).collect()
}

/// Looks up everything that `tenant` refers to. Facts that only this process remembers stay empty.
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
