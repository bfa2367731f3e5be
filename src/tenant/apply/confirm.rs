//! A look at what users wrote, right before a namespace goes for it.
//!
//! What caches tell is behind, by how much nobody knows: a user who takes a namespace out of a Tenant and puts it back
//! may do both before the first is seen. All else that is written late is mended late; a namespace that is gone is gone.

use std::collections::BTreeSet;

use kube::ResourceExt as _;

use crate::{
    api::{
        names,
        v1alpha1::{Tenant, TenantNamespace},
    },
    apply::writer::{Error, Writer},
    tenant::{dereference::Facts, validate::ValidTenant},
};

/// Whether the Tenant stands as it was seen, and nobody asks for a namespace who was not seen to.
pub(super) async fn is_still_said(writer: &Writer, tenant: &ValidTenant, facts: &Facts) -> Result<bool, Error> {
    let stands = writer.stand::<Tenant>(None, Some(&tenant.name)).await?;
    let as_seen = stands
        .iter()
        .any(|stands| stands.uid == tenant.uid && stands.generation == tenant.generation);
    let home = names::home(&tenant.name);
    if !as_seen || !facts.namespaces.contains_key(&home) {
        return Ok(as_seen);
    }
    let seen: BTreeSet<_> = facts.claims.iter().filter_map(|claim| claim.uid()).collect();
    let claims = writer.stand::<TenantNamespace>(Some(&home), None).await?;
    let mut asked = claims.into_iter().filter_map(|claim| claim.uid);
    Ok(asked.all(|uid| seen.contains(&uid)))
}
