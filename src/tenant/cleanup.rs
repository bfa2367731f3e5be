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
use tenantry_core::tenant::{
    facts::Facts,
    held::Going,
    outcome::{Applied, Remaining},
    validate::may_be_made_for,
};

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
                    delete(&mut remaining, writer, key, live).await;
                }
            }
            for (key, live) in facts
                .live
                .iter()
                .filter(|(key, live)| key.kind == Kind::Namespace && ours(live))
            {
                delete(&mut remaining, writer, key, live).await;
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
                    delete(&mut remaining, writer, key, live).await;
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
                remaining.applied.failures.extend(result.err().map(Into::into));
            }
        }
    }
    remaining
}

async fn delete(remaining: &mut Remaining, writer: &Writer, key: &Key, live: &Live) {
    remaining.namespaces.push(Going::of(&key.name, live));
    if live.deleting {
        return;
    }
    let result = writer.delete_namespace(key, live).await;
    remaining.applied.failures.extend(result.err().map(Into::into));
}
