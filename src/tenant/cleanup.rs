//! The end of a Tenant: rights first, then its namespaces, then the finalizer.
//!
//! With `deletionPolicy: Retain` the namespaces stay, with every guard, without owners and without an owner reference, so
//! that the garbage collector leaves them.

use std::{collections::BTreeMap, sync::Arc};

use super::apply;
use crate::cluster::{together::together, writer::Writer};
use tenantry_api::{
    names,
    v1alpha1::{DeletionPolicy, SelfService, Tenant},
};
use tenantry_core::object::{Key, Kind, Live};
use tenantry_core::tenant::{
    facts::{Facts, Template},
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
            // Nobody ever had a right in what was made for this tenant and not given to it. Where owners may not create
            // namespaces, somebody else set the label, and it is not ours to delete.
            let made = facts
                .asking
                .iter()
                .filter(|(key, live)| is_direct(facts) && may_be_made_for(tenant, key, live));
            let owned = facts
                .live
                .iter()
                .filter(|(key, live)| key.kind == Kind::Namespace && ours(live));
            let namespaces: Vec<_> = made.chain(owned).collect();
            delete(&mut remaining, writer, &namespaces).await;
        }
        DeletionPolicy::Retain => {
            // Nothing is in the home namespace that anybody would want to keep.
            let home_key = Key::namespace(&home);
            let home_namespace = facts.live.get_key_value(&home_key).filter(|(_, live)| ours(live));
            let home_namespace: Vec<_> = home_namespace.into_iter().collect();
            delete(&mut remaining, writer, &home_namespace).await;
            let orphans: Vec<_> = facts
                .live
                .iter()
                .filter(|(key, live)| key.kind != Kind::RoleBinding && key.home() != home && ours(live))
                .map(async |(key, live)| {
                    if key.kind == Kind::Namespace {
                        writer.withdraw_roles(&key.name).await?;
                    }
                    writer.orphan(key, live).await
                })
                .collect();
            let results = together(orphans).await;
            remaining
                .applied
                .failures
                .extend(results.into_iter().filter_map(Result::err).map(Into::into));
        }
    }
    remaining
}

async fn delete(remaining: &mut Remaining, writer: &Writer, namespaces: &[(&Key, &Arc<Live>)]) {
    let going = namespaces.iter().map(|(key, live)| Going::of(&key.name, live));
    remaining.namespaces.extend(going);
    let standing = namespaces.iter().filter(|(_, live)| !live.deleting);
    let deletes = standing.map(|(key, live)| writer.delete_namespace(key, live)).collect();
    let results = together(deletes).await;
    let failures = results.into_iter().filter_map(Result::err).map(Into::into);
    remaining.applied.failures.extend(failures);
}

/// Whether owners may create namespaces themselves.
fn is_direct(facts: &Facts) -> bool {
    matches!(&facts.template, Template::Found(template) if template.self_service == SelfService::Direct)
}
