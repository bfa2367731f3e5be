//! Deletes namespaces that the Tenant no longer wants. It checks at the API server that this is still so, and counts
//! their quotas until they are gone.
//!
//! Caches are behind by an unknown time: a user may remove a namespace from a Tenant and add it again before the
//! operator sees the removal. Every other late write is corrected later; a deleted namespace is lost.

use std::collections::BTreeSet;

use kube::ResourceExt as _;
use serde_json::json;

use super::record;
use crate::{
    cluster::{
        together::together,
        writer::{Error, Writer},
    },
    tenant::deletions,
};
use tenantry_api::{names, v1alpha1::Tenant};
use tenantry_core::{
    allocation::QuotaObservation,
    tenant::{
        facts::Facts,
        held::Going,
        outcome::Applied,
        validate::{Leaving, ValidTenant, Verdict},
    },
};

/// Deletes the namespaces that are to be deleted.
pub(super) async fn leave(writer: &Writer, tenant: &ValidTenant, facts: &Facts, applied: &mut Applied) {
    let mut is_confirmed = false;
    if let Some(first) = tenant.leaving.iter().find(|leaving| !leaving.live.deleting) {
        match is_still_unwanted(writer, tenant, facts).await {
            Ok(true) => is_confirmed = true,
            Ok(false) => applied.failures.push(Error::Outdated { key: first.key.clone() }.into()),
            Err(error) => applied.failures.push(error.into()),
        }
    }
    let going = tenant.leaving.iter();
    applied
        .leaving
        .extend(going.map(|Leaving { key, live }| Going::of(&key.name, live)));
    let steps = tenant.leaving.iter();
    let steps = steps.map(|leaving| step(writer, tenant, facts, leaving, is_confirmed));
    for result in together(steps.collect()).await.into_iter().flatten() {
        record(applied, result);
    }
}

/// One step towards the end of a namespace; `None` if there is nothing to do now.
async fn step(
    writer: &Writer,
    tenant: &ValidTenant,
    facts: &Facts,
    leaving: &Leaving,
    is_confirmed: bool,
) -> Option<Result<(), Error>> {
    let Leaving { key, live } = leaving;
    let bound = tenant.quota.seen.get(&*key.name).map(QuotaObservation::bound);
    let bound = bound
        .filter(|bound| !bound.is_empty())
        .map(|bound| json!(bound).to_string());
    let body = live.body();
    let noted = body["metadata"]["annotations"].get(names::HELD);
    match bound {
        // Somebody else deletes it.
        Some(bound) if live.deleting && noted.is_none() => Some(writer.note_limits(key, live, &bound).await.map(drop)),
        _ if live.deleting || !is_confirmed => None,
        bound => {
            let to_note = bound.filter(|bound| noted.is_none_or(|noted| *noted != **bound));
            Some(delete(writer, tenant, facts, leaving, to_note).await)
        }
    }
}

/// Deletes a namespace. First it writes the quota's limits on the Namespace, unless they are there (`to_note`): they
/// count until everything is gone, and the quota is deleted in no order with the rest. The namespace's owners can make
/// the withdrawal of bindings take long, so the operator checks again after it that the namespace is still unwanted.
async fn delete(
    writer: &Writer,
    tenant: &ValidTenant,
    facts: &Facts,
    Leaving { key, live }: &Leaving,
    to_note: Option<String>,
) -> Result<(), Error> {
    let live = match to_note {
        Some(bound) => writer.note_limits(key, live, &bound).await?,
        None => live.clone(),
    };
    writer.withdraw_roles(&key.name).await?;
    if is_still_unwanted(writer, tenant, facts).await? {
        writer.delete(key, &live).await
    } else {
        Err(Error::Outdated { key: key.clone() })
    }
}

/// Whether the Tenant is as it was seen, and no TenantNamespace exists that was not seen.
async fn is_still_unwanted(writer: &Writer, tenant: &ValidTenant, facts: &Facts) -> Result<bool, Error> {
    let fresh = writer.list_fresh::<Tenant>(None, Some(&tenant.name)).await?;
    let as_seen = fresh
        .iter()
        .any(|fresh| fresh.uid == tenant.uid && fresh.generation == tenant.generation);
    let home = names::home(&tenant.name);
    if !as_seen || !facts.namespaces.contains_key(&home) {
        return Ok(as_seen);
    }
    let seen: BTreeSet<_> = facts.claims.iter().filter_map(|claim| claim.uid()).collect();
    let claims = deletions::claims(writer, &home).await?;
    // Also, every TenantNamespace that was seen as deleted is still the same object.
    let ending: BTreeSet<_> = claims
        .iter()
        .filter(|claim| claim.deletion_timestamp.is_some())
        .filter_map(|claim| claim.uid.as_deref())
        .collect();
    let mut withdrawn = tenant.claims.iter().filter_map(|claim| match claim.verdict {
        Verdict::Withdrawn { .. } => claim.seen.uid(),
        Verdict::Granted(_) | Verdict::Refused { .. } => None,
    });
    let still_ending = withdrawn.all(|uid| ending.contains(&*uid));
    let mut asked = claims.iter().filter_map(|claim| claim.uid.as_ref());
    Ok(still_ending && asked.all(|uid| seen.contains(uid)))
}
