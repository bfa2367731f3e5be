//! The members of each role.

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt as _;
use serde_json::{Value, json};

use super::{Invalid, claims::is_claimed, direct::is_made, invalid, is_label};
use crate::{
    object::{Key, Kind},
    tenant::facts::Facts,
};
use tenantry_api::{
    Reason, names,
    v1alpha1::{Owner, OwnerKind, OwnerRole, Tenant},
};

/// A subject with a role.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Member {
    /// A user.
    User(String),
    /// A group.
    Group(String),
    /// A ServiceAccount.
    ServiceAccount {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

impl Member {
    /// The subject of a RoleBinding.
    pub fn subject(&self) -> Value {
        const RBAC: &str = "rbac.authorization.k8s.io";
        match self {
            Self::User(name) => json!({ "apiGroup": RBAC, "kind": "User", "name": name }),
            Self::Group(name) => json!({ "apiGroup": RBAC, "kind": "Group", "name": name }),
            Self::ServiceAccount { namespace, name } => {
                json!({ "kind": "ServiceAccount", "namespace": namespace, "name": name })
            }
        }
    }
}

/// The members of each role, sorted and without duplicates, or the first invalid owner.
pub(super) fn members(owners: &[Owner]) -> Result<BTreeMap<OwnerRole, Vec<Member>>, Invalid> {
    for (index, owner) in owners.iter().enumerate() {
        if let Err(problem) = member(owner) {
            return invalid(
                Reason::InvalidOwner,
                format!("spec.owners[{index}].name: {:?} {problem}", owner.name),
            );
        }
    }
    Ok(valid_members(owners))
}

/// The members of each role, without invalid owners.
fn valid_members(owners: &[Owner]) -> BTreeMap<OwnerRole, Vec<Member>> {
    let mut members: BTreeMap<OwnerRole, BTreeSet<Member>> = BTreeMap::new();
    for owner in owners {
        if let Ok(member) = member(owner) {
            members.entry(owner.role).or_default().insert(member);
        }
    }
    members
        .into_iter()
        .map(|(role, members)| (role, members.into_iter().collect()))
        .collect()
}

fn member(Owner { kind, name, role: _ }: &Owner) -> Result<Member, &'static str> {
    match kind {
        OwnerKind::User | OwnerKind::Group if name.trim().is_empty() => Err("is empty; name the user or group"),
        OwnerKind::User | OwnerKind::Group if name.starts_with("system:") => {
            Err("is reserved for Kubernetes; name a user or group of your own, or use kind ServiceAccount")
        }
        OwnerKind::User => Ok(Member::User(name.clone())),
        OwnerKind::Group => Ok(Member::Group(name.clone())),
        OwnerKind::ServiceAccount => {
            let parts = name
                .strip_prefix("system:serviceaccount:")
                .and_then(|rest| rest.split_once(':'));
            let (namespace, account) = parts
                .filter(|(namespace, account)| is_label(namespace) && account.split('.').all(is_label))
                .ok_or("is not of the form system:serviceaccount:<namespace>:<name>; write the full name")?;
            Ok(Member::ServiceAccount {
                namespace: namespace.to_owned(),
                name: account.to_owned(),
            })
        }
    }
}

/// The subjects that each live RoleBinding may keep according to the Tenant's owners alone, even if the Tenant is invalid. One
/// mistyped owner takes no right from the others.
pub fn subjects_by_binding(tenant: &Tenant, facts: &Facts) -> BTreeMap<Key, Vec<Value>> {
    let name = tenant.metadata.name.as_deref().unwrap_or_default();
    let home = names::home(name);
    let listed = tenant
        .spec
        .namespaces
        .iter()
        .map(|entry| names::namespace(name, &entry.name));
    let claimed = facts
        .claims
        .iter()
        .map(|claim| names::namespace(name, &claim.name_any()));
    let namespaces = facts.live.iter().filter(|(key, _)| key.kind == Kind::Namespace);
    let made = namespaces
        .filter(|(_, live)| is_made(live) || is_claimed(live))
        .map(|(key, _)| key.name.to_string());
    let wanted: BTreeSet<_> = listed.chain(claimed).chain(made).collect();
    let members = valid_members(&tenant.spec.owners);
    let subjects = |key: &Key| {
        let roles: Vec<OwnerRole> = match &*key.name {
            names::HOME_OWNER | names::HOME_VIEWER if *key.namespace == *home => OwnerRole::ALL
                .into_iter()
                .filter(|role| role.home_role() == &*key.name)
                .collect(),
            names::HOME_DIRECT if *key.namespace == *home => vec![OwnerRole::Owner],
            binding if wanted.contains(&*key.namespace) => OwnerRole::ALL
                .into_iter()
                .filter(|role| role.cluster_role() == binding)
                .collect(),
            _ => Vec::new(),
        };
        let subjects = roles
            .iter()
            .filter_map(|role| members.get(role))
            .flatten()
            .map(Member::subject);
        (!roles.is_empty()).then(|| subjects.collect())
    };
    let bindings = facts.live.keys().filter(|key| key.kind == Kind::RoleBinding);
    bindings.filter_map(|key| Some((key.clone(), subjects(key)?))).collect()
}
