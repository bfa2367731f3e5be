//! Namespaces that go: never for what is no longer said, and never out of the totals before they are gone.
//!
//! What caches tell is behind, by how much nobody knows: a user who takes a namespace out of a Tenant and puts it back
//! may do both before the first is seen. All else that is written late is mended late; a namespace that is gone is gone.

use std::collections::BTreeSet;

use kube::ResourceExt as _;
use serde_json::json;

use super::record;
use crate::{
    cluster::writer::{Error, Writer},
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

/// Takes away the namespaces that are to go.
pub(super) async fn leave(writer: &Writer, tenant: &ValidTenant, facts: &Facts, applied: &mut Applied) {
    let mut is_said = false;
    if let Some(first) = tenant.leaving.iter().find(|leaving| !leaving.live.deleting) {
        match is_still_said(writer, tenant, facts).await {
            Ok(true) => is_said = true,
            Ok(false) => applied.failures.push(Error::Outdated { key: first.key.clone() }.into()),
            Err(error) => applied.failures.push(error.into()),
        }
    }
    for leaving in &tenant.leaving {
        let Leaving { key, live } = leaving;
        applied.leaving.push(Going::of(&key.name, live));
        let bound = tenant.quota.seen.get(&*key.name).map(QuotaObservation::bound);
        let bound = bound
            .filter(|bound| !bound.is_empty())
            .map(|bound| json!(bound).to_string());
        let body = live.body();
        let told = body["metadata"]["annotations"].get(names::HELD);
        let result = match bound {
            // Somebody else deletes it.
            Some(bound) if live.deleting && told.is_none() => writer.hold(key, live, &bound).await.map(drop),
            _ if live.deleting || !is_said => continue,
            bound => {
                let untold = bound.filter(|bound| told.is_none_or(|told| *told != **bound));
                take_away(writer, tenant, facts, leaving, untold).await
            }
        };
        record(applied, result);
    }
}

/// Deletes a namespace that first tells what its quota bounds, if it did not: that counts until all is gone, and the quota goes in no
/// order with the rest. Its owners can make taking their bindings away last, so what is said is looked at again after that.
async fn take_away(
    writer: &Writer,
    tenant: &ValidTenant,
    facts: &Facts,
    Leaving { key, live }: &Leaving,
    untold: Option<String>,
) -> Result<(), Error> {
    let live = match untold {
        Some(bound) => writer.hold(key, live, &bound).await?,
        None => live.clone(),
    };
    writer.withdraw_roles(&key.name).await?;
    if is_still_said(writer, tenant, facts).await? {
        writer.delete(key, &live).await
    } else {
        Err(Error::Outdated { key: key.clone() })
    }
}

/// Whether the Tenant stands as it was seen, and nobody asks for a namespace who was not seen to.
async fn is_still_said(writer: &Writer, tenant: &ValidTenant, facts: &Facts) -> Result<bool, Error> {
    let stands = writer.stand::<Tenant>(None, Some(&tenant.name)).await?;
    let as_seen = stands
        .iter()
        .any(|stands| stands.uid == tenant.uid && stands.generation == tenant.generation);
    let home = names::home(&tenant.name);
    if !as_seen || !facts.namespaces.contains_key(&home) {
        return Ok(as_seen);
    }
    let seen: BTreeSet<_> = facts.claims.iter().filter_map(|claim| claim.uid()).collect();
    let claims = deletions::claims(writer, &home).await?;
    // And what was seen to be deleted has not been taken for another since.
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
