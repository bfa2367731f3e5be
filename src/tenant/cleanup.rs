//! The end of a Tenant: rights first, then its namespaces, then the finalizer.
//!
//! With `deletionPolicy: Retain` the namespaces stay, with every guard, without owners and without an owner reference, so
//! that the garbage collector leaves them. So do they, and the home namespace too, where the Tenant is protected or goes with its
//! definition: nobody asked for their end then.

use std::{collections::BTreeMap, sync::Arc};

use super::{apply, deletions};
use crate::cluster::writer::{Error, Writer};
use tenantry_api::{
    names,
    v1alpha1::{DeletionPolicy, Tenant},
};
use tenantry_core::object::{Key, Kind, Live};
use tenantry_core::tenant::{facts::Facts, held::Going, outcome::Applied, validate::may_be_made_for};

/// Namespaces that stay although their Tenant says `deletionPolicy: Delete`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Why they do.
    pub why: Why,
    /// Their full names.
    pub namespaces: Vec<String>,
}

/// Why the operator deletes no namespace of a Tenant that is being deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// `deletionProtection` is true, and whoever deleted the Tenant got past the admission policy.
    Protected,
    /// The definition of Tenants is being deleted, or is gone.
    Undefined,
}

/// What is left to do.
#[derive(Debug, Default)]
pub struct Remaining {
    /// Namespaces that still stand.
    pub namespaces: Vec<Going>,
    /// Namespaces that were kept in this step.
    pub kept: Option<Kept>,
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

    /// Has those of `ours` for which `stays` holds outlive the Tenant, with nobody's rights in them.
    async fn keep(&mut self, writer: &Writer, ours: &[(&Key, &Arc<Live>)], stays: impl Fn(&Key) -> bool) {
        for (key, live) in ours.iter().filter(|(key, _)| stays(key)) {
            let withdrawn = match key.kind {
                Kind::Namespace => writer.withdraw_roles(&key.name).await,
                _ => Ok(()),
            };
            let result = match withdrawn {
                Ok(()) => writer.orphan(key, live).await,
                refused => refused,
            };
            self.applied.failures.extend(result.err());
        }
    }
}

/// Takes one step towards the end.
pub async fn cleanup(writer: &Writer, tenant: &Tenant, facts: &Facts) -> Remaining {
    let uid = tenant.metadata.uid.as_deref();
    let mut applied = Applied::default();
    apply::withdraw_rights(writer, uid, facts, &BTreeMap::new(), &mut applied).await;
    let mut remaining = Remaining {
        namespaces: Vec::new(),
        kept: None,
        applied,
    };
    if !remaining.applied.failures.is_empty() {
        return remaining;
    }
    let ours: Vec<_> = facts.live.iter().filter(|(_, live)| live.is_owned_by(uid)).collect();
    let namespaces = || ours.iter().filter(|(key, _)| key.kind == Kind::Namespace);
    let is_left = !facts.asking.is_empty() || namespaces().any(|(_, live)| !live.deleting);
    let why = if is_left {
        why_to_keep(writer, tenant).await
    } else {
        Ok(None)
    };
    let home = Key::namespace(&names::home(tenant.metadata.name.as_deref().unwrap_or_default()));
    match (why, tenant.spec.deletion_policy) {
        // Nobody knows what may go.
        (Err(error), _) => remaining.applied.failures.push(error),
        (Ok(Some(why)), _) => {
            remaining.keep(writer, &ours, |key| key.kind != Kind::RoleBinding).await;
            let kept = namespaces().filter(|(_, live)| !live.deleting);
            let kept: Vec<_> = kept.map(|(key, _)| key.name.to_string()).collect();
            remaining.kept = (!kept.is_empty()).then_some(Kept { why, namespaces: kept });
        }
        (Ok(None), DeletionPolicy::Delete) => {
            // Nobody ever had a right in what was made for this tenant and not given to it.
            for (key, live) in &facts.asking {
                if may_be_made_for(tenant, key, live) {
                    remaining.delete(writer, key, live).await;
                }
            }
            for (key, live) in namespaces() {
                remaining.delete(writer, key, live).await;
            }
        }
        (Ok(None), DeletionPolicy::Retain) => {
            // Nothing is in the home namespace that anybody would want to keep.
            for (key, live) in namespaces().filter(|(key, _)| **key == home) {
                remaining.delete(writer, key, live).await;
            }
            let stays = |key: &Key| key.kind != Kind::RoleBinding && key.home() != &*home.name;
            remaining.keep(writer, &ours, stays).await;
        }
    }
    remaining
}

/// Why nothing may be deleted, if so. The definition is read after the Tenant's deletion was seen: one that is not being deleted now
/// did not delete the Tenant.
async fn why_to_keep(writer: &Writer, tenant: &Tenant) -> Result<Option<Why>, Error> {
    if tenant.spec.deletion_protection {
        return Ok(Some(Why::Protected));
    }
    let defined = deletions::is_defined::<Tenant>(writer).await?;
    Ok((!defined).then_some(Why::Undefined))
}
