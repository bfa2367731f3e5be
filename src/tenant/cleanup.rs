//! The end of a Tenant: rights first, then its namespaces, then the finalizer.
//!
//! With `deletionPolicy: Retain` the namespaces stay, with every guard, without owners and without an owner reference, so
//! that the garbage collector leaves them.

use std::collections::BTreeMap;

use super::apply;
use crate::cluster::writer::Writer;
use tenantry_api::{
    names,
    v1alpha1::{DeletionPolicy, Tenant},
};
use tenantry_core::object::{Key, Kind, Live};
use tenantry_core::tenant::{facts::Facts, held::Going, outcome::Applied, validate::may_be_made_for};

/// What is left to do.
#[derive(Debug, Default)]
pub struct Remaining {
    /// Namespaces that still stand.
    pub namespaces: Vec<Going>,
    /// What was done and what failed.
    pub applied: Applied,
}

impl Remaining {
    /// Whether the finalizer can go.
    pub fn is_nothing(&self) -> bool {
        self.namespaces.is_empty() && self.applied.failures.is_empty()
    }

    async fn delete(&mut self, writer: &Writer, key: &Key, live: &Live) {
        self.namespaces.push(Going::of(&key.name, live));
        if live.deleting {
            return;
        }
        let result = writer.delete_namespace(key, live).await;
        self.applied.failures.extend(result.err());
    }
}

/// Takes one step towards the end.
pub async fn cleanup(writer: &Writer, tenant: &Tenant, facts: &Facts) -> Remaining {
    let uid = tenant.metadata.uid.as_deref();
    let mut applied = Applied::default();
    apply::withdraw_rights(writer, uid, facts, &BTreeMap::new(), &mut applied).await;
    let mut remaining = Remaining {
        namespaces: Vec::new(),
        applied,
    };
    if !remaining.applied.failures.is_empty() {
        return remaining;
    }
    let ours = |live: &Live| live.is_owned_by(uid);
    let home = names::home(tenant.metadata.name.as_deref().unwrap_or_default());
    match tenant.spec.deletion_policy {
        DeletionPolicy::Delete => {
            // Nobody ever had a right in what was made for this tenant and not given to it.
            for (key, live) in &facts.asking {
                if may_be_made_for(tenant, key, live) {
                    remaining.delete(writer, key, live).await;
                }
            }
            for (key, live) in facts
                .live
                .iter()
                .filter(|(key, live)| key.kind == Kind::Namespace && ours(live))
            {
                remaining.delete(writer, key, live).await;
            }
        }
        DeletionPolicy::Retain => {
            for (key, live) in facts
                .live
                .iter()
                .filter(|(key, live)| key.kind != Kind::RoleBinding && ours(live))
            {
                // Nothing is in the home namespace that anybody would want to keep.
                if *key == Key::namespace(&home) {
                    remaining.delete(writer, key, live).await;
                }
                if key.home() == home {
                    continue;
                }
                let withdrawn = match key.kind {
                    Kind::Namespace => writer.withdraw_roles(&key.name).await,
                    _ => Ok(()),
                };
                let result = match withdrawn {
                    Ok(()) => writer.orphan(key, live).await,
                    refused => refused,
                };
                remaining.applied.failures.extend(result.err());
            }
        }
    }
    remaining
}
