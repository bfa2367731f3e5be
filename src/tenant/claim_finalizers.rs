//! The finalizer on TenantNamespaces. The operator adds it before it creates the namespace, and removes it when it has
//! acted on the deletion.
//!
//! Because of it, the API server keeps a deleted TenantNamespace until the operator has seen the deletion. So a
//! TenantNamespace that is merely absent was not deleted by anybody whom the operator should obey, and its namespace
//! stays.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Namespace;
use kube::{Resource as _, ResourceExt as _, api::ObjectMeta};

use super::{Context, Error, deletions};
use crate::cluster::writer;
use tenantry_api::{names, v1alpha1::Tenant};
use tenantry_core::object::Key;
use tenantry_core::tenant::facts::Deletions;
use tenantry_core::tenant::facts::LiveObjects as _;
use tenantry_core::tenant::validate::{ValidTenant, Verdict, is_claimed};

/// Whether a TenantNamespace has our finalizer.
pub fn has_finalizer(claim: &ObjectMeta) -> bool {
    claim
        .finalizers
        .iter()
        .flatten()
        .any(|finalizer| finalizer == names::CLAIM)
}

/// Whether a TenantNamespace is being deleted.
pub fn is_deleted(claim: &ObjectMeta) -> bool {
    claim.deletion_timestamp.is_some()
}

/// Adds the finalizer to every TenantNamespace that lacks it and is not being deleted. If none lacks it, makes no call.
pub(super) async fn add_missing(home: &str, context: &Context) -> Result<(), Error> {
    let lacking: BTreeSet<_> = context
        .claims
        .within(home)
        .iter()
        .filter(|claim| !has_finalizer(claim.meta()) && !is_deleted(claim.meta()))
        .filter_map(|claim| claim.uid())
        .collect();
    if lacking.is_empty() {
        return Ok(());
    }
    let is_lacking =
        |claim: &&ObjectMeta| !is_deleted(claim) && claim.uid.as_ref().is_some_and(|uid| lacking.contains(uid));
    let mut result = Ok(());
    // Read from the API server: the cache contains no finalizer but ours, and the patch must keep the others.
    for claim in live(home, context).await?.iter().filter(is_lacking) {
        let written = if has_finalizer(claim) {
            Ok(claim.clone())
        } else {
            context.custom.claim_finalizer(claim, true).await
        };
        match written {
            Ok(written) => context.claims.finalized(&written),
            Err(error) => result = result.and(Err(error.into())),
        }
    }
    result
}

/// Removes the finalizer from every TenantNamespace for which `is_done` is true. If the cache has none with the
/// finalizer, makes no call.
pub(super) async fn release(home: &str, context: &Context, is_done: impl Fn(&ObjectMeta) -> bool) -> Result<(), Error> {
    let is_done = |claim: &ObjectMeta| has_finalizer(claim) && is_done(claim);
    if !context.claims.within(home).iter().any(|claim| is_done(claim.meta())) {
        return Ok(());
    }
    let mut result = Ok(());
    for claim in live(home, context).await?.iter().filter(|claim| is_done(claim)) {
        if let Err(error) = context.custom.claim_finalizer(claim, false).await {
            result = result.and(Err(error.into()));
        }
    }
    result
}

/// Removes the finalizer from each deleted TenantNamespace whose deletion has been acted on. That is so if its
/// namespace is gone or being deleted, if the namespace is marked to stay without it, or if the namespace does not
/// depend on it.
pub(super) async fn release_done(valid: &ValidTenant, context: &Context) -> Result<(), Error> {
    let mut done = BTreeSet::new();
    let mut result = Ok(());
    for claim in valid.claims.iter().filter(|claim| has_finalizer(claim.seen.meta())) {
        let Verdict::Withdrawn { namespace, asked } = &claim.verdict else {
            continue;
        };
        match is_acted_on(namespace, *asked, valid, context).await {
            Ok(true) => done.extend(claim.seen.uid()),
            Ok(false) => {}
            Err(error) => result = Err(error),
        }
    }
    let home = names::home(&valid.name);
    let is_done = |claim: &ObjectMeta| claim.uid.as_ref().is_some_and(|uid| done.contains(uid));
    result.and(release(&home, context, is_done).await)
}

async fn is_acted_on(namespace: &str, asked: bool, valid: &ValidTenant, context: &Context) -> Result<bool, Error> {
    let live = context.inventory.get(&Key::namespace(namespace));
    if !asked {
        // A namespace that stays is marked first. Otherwise nobody would know that a TenantNamespace had requested it.
        let is_marked = live.is_none_or(|live| live.deleting || is_claimed(&live));
        return Ok(is_marked || !valid.unclaimed.contains(namespace));
    }
    if let Some(live) = live {
        return Ok(live.deleting || !live.is_owned_by(valid.uid.as_deref()) || !is_claimed(&live));
    }
    // A namespace that the cache does not contain may exist all the same.
    let found = context.writer.list_fresh::<Namespace>(None, Some(namespace)).await;
    if found
        .map_err(failed)?
        .iter()
        .any(|found| found.name.as_deref() == Some(namespace))
    {
        return Err(Error::Outdated);
    }
    Ok(true)
}

/// Removes the finalizer from deleted TenantNamespaces in the home namespace of a Tenant that is gone: no reconcile of
/// the Tenant will do it.
pub(super) async fn release_orphans(tenant: &str, context: &Context) -> Result<(), Error> {
    let home = names::home(tenant);
    if !any_stuck(&home, context) {
        return Ok(());
    }
    let found = match context.writer.list_fresh::<Tenant>(None, Some(tenant)).await {
        Err(error) if error.is_not_found() => Vec::new(),
        found => found.map_err(failed)?,
    };
    if found.iter().any(|found| found.name.as_deref() == Some(tenant)) {
        return Ok(());
    }
    release(&home, context, is_deleted).await
}

/// For a Tenant that cannot be read: removes the finalizer from TenantNamespaces that are deleted together with their
/// definition or home namespace.
pub(super) async fn release_cascaded(tenant: &str, context: &Context) -> Result<(), Error> {
    let home = names::home(tenant);
    if !any_stuck(&home, context) {
        return Ok(());
    }
    match deletions::of_claims(&context.writer, &home).await.map_err(failed)? {
        Deletions::Cascaded => release(&home, context, is_deleted).await,
        Deletions::Asked | Deletions::Unknown => Ok(()),
    }
}

/// Whether our finalizer keeps a TenantNamespace that is being deleted.
fn any_stuck(home: &str, context: &Context) -> bool {
    let claims = context.claims.within(home);
    claims
        .iter()
        .any(|claim| has_finalizer(claim.meta()) && is_deleted(claim.meta()))
}

/// The metadata of TenantNamespaces, read from the API server.
async fn live(home: &str, context: &Context) -> Result<Vec<ObjectMeta>, Error> {
    deletions::claims(&context.writer, home).await.map_err(failed)
}

fn failed(first: writer::Error) -> Error {
    Error::Apply {
        first: first.into(),
        more: 0,
    }
}
