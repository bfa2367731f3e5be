//! The end of a Tenant: the operator withdraws rights first, then deletes its namespaces, then removes the finalizer.
//!
//! With `deletionPolicy: Retain` the namespaces stay with every guard, but without owners and without an owner
//! reference, so that the garbage collector leaves them. If the Tenant has deletion protection, or was deleted together
//! with its definition, the namespaces stay too, including the home namespace: nobody asked to delete those.

use std::{collections::BTreeMap, sync::Arc};

use super::{apply, deletions};
use crate::cluster::{
    together::together,
    writer::{Error, Writer},
};
use tenantry_api::{
    names,
    v1alpha1::{DeletionPolicy, SelfService, Tenant},
};
use tenantry_core::object::{Key, Kind, Live};
use tenantry_core::tenant::{
    facts::{Facts, Template},
    held::Going,
    outcome::{Applied, Kept, Remaining, Why},
    validate::may_be_made_for,
};

/// Takes one step of the deletion.
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
        // The definition could not be read, so it is not known whether anything may be deleted.
        (Err(error), _) => remaining.applied.failures.push(error.into()),
        (Ok(Some(why)), _) => {
            keep(&mut remaining, writer, &ours, |key| key.kind != Kind::RoleBinding).await;
            let kept = namespaces().filter(|(_, live)| !live.deleting);
            let kept: Vec<_> = kept.map(|(key, _)| key.name.to_string()).collect();
            remaining.kept = (!kept.is_empty()).then_some(Kept { why, namespaces: kept });
        }
        (Ok(None), DeletionPolicy::Delete) => {
            // Namespaces that owners made but that the tenant never got: nobody ever had a right in them. If owners may
            // not create namespaces, somebody else set the label, and the namespace is not ours to delete.
            let made = facts
                .asking
                .iter()
                .filter(|(key, live)| is_direct(facts) && may_be_made_for(tenant, key, live));
            let namespaces: Vec<_> = made.chain(namespaces().copied()).collect();
            delete(&mut remaining, writer, &namespaces).await;
        }
        (Ok(None), DeletionPolicy::Retain) => {
            // The home namespace contains nothing that anybody would want to keep.
            let homes: Vec<_> = namespaces().filter(|(key, _)| **key == home).copied().collect();
            delete(&mut remaining, writer, &homes).await;
            let stays = |key: &Key| key.kind != Kind::RoleBinding && key.home() != &*home.name;
            keep(&mut remaining, writer, &ours, stays).await;
        }
    }
    remaining
}

async fn delete(remaining: &mut Remaining, writer: &Writer, namespaces: &[(&Key, &Arc<Live>)]) {
    let going = namespaces.iter().map(|(key, live)| Going::of(&key.name, live));
    remaining.namespaces.extend(going);
    let existing = namespaces.iter().filter(|(_, live)| !live.deleting);
    let deletes = existing.map(|(key, live)| writer.delete_namespace(key, live)).collect();
    note(remaining, together(deletes).await);
}

/// Lets the objects for which `stays` is true outlive the Tenant, and withdraws all rights in their namespaces.
async fn keep(remaining: &mut Remaining, writer: &Writer, ours: &[(&Key, &Arc<Live>)], stays: impl Fn(&Key) -> bool) {
    let orphans: Vec<_> = ours
        .iter()
        .filter(|(key, _)| stays(key))
        .map(async |(key, live)| {
            if key.kind == Kind::Namespace {
                writer.withdraw_roles(&key.name).await?;
            }
            writer.orphan(key, live).await
        })
        .collect();
    note(remaining, together(orphans).await);
}

fn note(remaining: &mut Remaining, results: Vec<Result<(), Error>>) {
    let failures = results.into_iter().filter_map(Result::err).map(Into::into);
    remaining.applied.failures.extend(failures);
}

/// Whether owners may create namespaces themselves.
fn is_direct(facts: &Facts) -> bool {
    matches!(&facts.template, Template::Found(template) if template.self_service == SelfService::Direct)
}

/// Why nothing may be deleted; `None` if deleting is allowed. The definition is read after the Tenant's deletion was
/// seen: a definition that is not being deleted now did not delete the Tenant.
async fn why_to_keep(writer: &Writer, tenant: &Tenant) -> Result<Option<Why>, Error> {
    if tenant.spec.deletion_protection {
        return Ok(Some(Why::Protected));
    }
    let defined = deletions::is_defined::<Tenant>(writer).await?;
    Ok((!defined).then_some(Why::Undefined))
}
