//! Decides which namespaces are to exist, which are conflicts, and which are to be deleted.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Conflict, Leaving, ValidNamespace, direct::may_be_made_for};
use crate::{
    object::{Key, Kind, Live, drift},
    tenant::facts::Facts,
};
use tenantry_api::{
    names,
    v1alpha1::{NamespaceState, SelfService, Tenant},
};

pub(super) struct Placed {
    pub(super) desired: Vec<ValidNamespace>,
    pub(super) conflicts: Vec<Conflict>,
    pub(super) leaving: Vec<Leaving>,
}

/// Sorts wanted and live namespaces into those that are to exist, conflicts, and those that are to be deleted. It does
/// not decide on the home namespace.
pub(super) fn place(
    tenant: &Tenant,
    name: &str,
    wanted: &BTreeMap<String, ValidNamespace>,
    self_service: SelfService,
    retains: bool,
    facts: &Facts,
) -> Placed {
    let mut placed = Placed {
        desired: Vec::new(),
        conflicts: Vec::new(),
        leaving: Vec::new(),
    };
    let uid = tenant.metadata.uid.as_deref();
    for namespace in wanted.values() {
        match facts.namespaces.get(&namespace.name) {
            Some(live) if live.deleting => {
                placed.leaving.push(Leaving {
                    key: Key::namespace(&namespace.name),
                    live: live.clone(),
                });
            }
            None => placed.desired.push(namespace.clone()),
            Some(live) => {
                let key = Key::namespace(&namespace.name);
                let made = self_service == SelfService::Direct && may_be_made_for(tenant, &key, live);
                let ours_before = was_ours(tenant, &namespace.name);
                match foreign(live, &namespace.name, name, uid, ours_before, made) {
                    None => placed.desired.push(namespace.clone()),
                    Some(message) => {
                        placed.conflicts.push(Conflict {
                            namespace: namespace.name.clone(),
                            message,
                        });
                    }
                }
            }
        }
    }
    let unwanted = facts.live.iter().filter(|(key, _)| {
        key.kind == Kind::Namespace && !wanted.contains_key(&*key.name) && *key.name != *names::home(name)
    });
    for (key, live) in unwanted.filter(|(_, live)| live.is_owned_by(uid)) {
        if retains && !live.deleting {
            placed.desired.push(as_it_is(&key.name, live));
        } else {
            placed.leaving.push(Leaving {
                key: key.clone(),
                live: live.clone(),
            });
        }
    }
    placed.desired.sort_by(|a, b| a.name.cmp(&b.name));
    placed
}

/// Whether the Tenant's status lists the namespace as its own.
pub(super) fn was_ours(tenant: &Tenant, namespace: &str) -> bool {
    let mut recorded = tenant.status.iter().flat_map(|status| &status.namespaces);
    recorded
        .any(|seen| seen.name == namespace && !matches!(seen.state, NamespaceState::Pending | NamespaceState::Conflict))
}

/// Why a live namespace is not this tenant's; `None` if it is. A label alone is not enough: also the status must list the namespace as
/// the tenant's own (`ours_before`), or one of its owners can have created it (`made`).
pub(super) fn foreign(
    live: &Live,
    namespace: &str,
    tenant: &str,
    uid: Option<&str>,
    ours_before: bool,
    made: bool,
) -> Option<String> {
    if live.is_owned_by(uid) {
        return None;
    }
    let body = live.body();
    let adopt_by = body["metadata"]["annotations"]
        .get(names::ADOPT_BY)
        .and_then(Value::as_str);
    match (&live.owner, live.tenant.as_deref()) {
        // An owner created it for this tenant, or it was the tenant's and lost its owner reference and a label.
        (None, None) if live.asks.as_deref() == Some(tenant) && (made || ours_before) => None,
        // A cluster admin handed it over.
        (None, _) if adopt_by == Some(tenant) => None,
        // It was the tenant's, and somebody removed its owner reference.
        (None, Some(label)) if label == tenant && ours_before => None,
        (Some(_), Some(other)) if other != tenant => Some(format!("it belongs to tenant {other}; choose another name")),
        (Some(_), _) => {
            Some("it belongs to another Tenant, or to an earlier Tenant of this name; choose another name".to_owned())
        }
        (None, _) => Some(format!(
            "it exists and does not belong to this tenant; choose another name, or let a cluster admin hand it over (tenantry adopt {namespace} --tenant {tenant} shows the effects): kubectl annotate namespace {namespace} {}={tenant}",
            names::ADOPT_BY
        )),
    }
}

/// A namespace that stays with its current environment and labels, without rights for owners.
pub(super) fn as_it_is(name: &str, live: &Live) -> ValidNamespace {
    let body = live.body();
    let environment =
        serde_json::from_value(body["metadata"]["labels"][names::ENVIRONMENT].clone()).unwrap_or_default();
    let ours = body["metadata"]["annotations"]
        .get(drift::OUR_LABELS)
        .and_then(Value::as_str)
        .unwrap_or_default();
    let label = |key: &str| {
        body["metadata"]["labels"][key]
            .as_str()
            .map(|value| (key.to_owned(), value.to_owned()))
    };
    ValidNamespace {
        name: name.to_owned(),
        environment,
        labels: ours.split(',').filter_map(label).collect(),
        weight: None,
        direct: false,
        claimed: false,
    }
}

#[cfg(test)]
mod tests;
