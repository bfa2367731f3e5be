//! Decides which TenantNamespaces of owners get their namespace.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kube::{Resource as _, ResourceExt as _, core::DeserializeGuard};

use super::{Conflict, ValidNamespace, is_label, namespaces, room::Places};
use crate::tenant::facts::Deletions;
use crate::{
    object::Live,
    tenant::facts::{Claim, Facts},
};
use tenantry_api::{
    Reason, names,
    v1alpha1::{Environment, SelfService, TenantNamespace, TenantNamespaceSpec},
};

/// A TenantNamespace, and the decision on it.
#[derive(Clone, Debug)]
pub struct ValidClaim {
    /// The TenantNamespace in the watch's cache.
    pub seen: Arc<DeserializeGuard<TenantNamespace>>,
    /// The decision.
    pub verdict: Verdict,
}

impl ValidClaim {
    pub(super) fn name(&self) -> String {
        self.seen.name_any()
    }

    pub(super) fn is_granted(&self, namespace: &str) -> bool {
        matches!(&self.verdict, Verdict::Granted(granted) if granted == namespace)
    }
}

/// The decision on a TenantNamespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The namespace with this full name is to exist.
    Granted(String),
    /// It is being deleted.
    Withdrawn {
        /// Full name of its namespace.
        namespace: String,
        /// Whether somebody deleted the TenantNamespace itself. Otherwise the namespace stays.
        asked: bool,
    },
    /// It gets no namespace.
    Refused {
        /// Reason of the condition.
        reason: Reason,
        /// What is wrong and what to do.
        message: String,
    },
}

/// Decides on requests for namespaces.
pub(super) struct Judge<'a> {
    pub(super) tenant: &'a str,
    pub(super) self_service: SelfService,
    /// Full names of the namespaces that the Tenant lists.
    pub(super) listed: &'a [String],
}

impl Judge<'_> {
    pub(super) fn claim(
        &self,
        claim: &Claim,
        places: &mut Places<'_>,
        wanted: &mut BTreeMap<String, ValidNamespace>,
    ) -> ValidClaim {
        let full = names::namespace(self.tenant, &claim.name_any());
        let live = places.existing.get(&*full).copied();
        let verdict = if let Some((reason, message)) = self.objection(claim, &full, live.is_some(), places) {
            Verdict::Refused { reason, message }
        } else {
            wanted.insert(full.clone(), asked_for(full.clone(), claim, live));
            Verdict::Granted(full)
        };
        ValidClaim {
            seen: claim.clone(),
            verdict,
        }
    }

    /// The decision on a claim for which [`is_withdrawn`] is true.
    pub(super) fn withdrawn(&self, claim: &Claim, facts: &Facts) -> ValidClaim {
        ValidClaim {
            seen: claim.clone(),
            verdict: Verdict::Withdrawn {
                namespace: names::namespace(self.tenant, &claim.name_any()),
                asked: facts.deletions == Deletions::Asked,
            },
        }
    }

    /// Reason and message if the claim must be refused.
    fn objection(&self, claim: &Claim, full: &str, exists: bool, places: &mut Places<'_>) -> Option<(Reason, String)> {
        if names::is_home(&claim.name_any()) || !is_label(full) {
            let message = format!(
                "metadata.name: {full:?} cannot be the name of the namespace (at most 63 characters, must not end in -home); delete this TenantNamespace and create one with another name"
            );
            return Some((Reason::InvalidName, message));
        }
        if self.listed.iter().any(|listed| listed == full) {
            let message = format!(
                "metadata.name: the Tenant already lists namespace {full} in spec.namespaces; delete this TenantNamespace"
            );
            return Some((Reason::NameTaken, message));
        }
        if !exists && self.self_service == SelfService::Disabled {
            let message = "the template sets selfService to Disabled, so owners cannot request namespaces; delete this TenantNamespace and ask the platform team";
            return Some((Reason::SelfServiceDisabled, message.to_owned()));
        }
        if !places.take(full) {
            return Some((Reason::NoRoom, no_room(places.limit)));
        }
        None
    }
}

/// Whether a claim is being deleted and the operator knows why. Until it knows why, the claim counts as before.
pub(super) fn is_withdrawn(claim: &Claim, facts: &Facts) -> bool {
    claim.meta().deletion_timestamp.is_some() && facts.deletions != Deletions::Unknown
}

/// Whether a TenantNamespace asked for this namespace, and the operator has not seen its deletion.
pub fn is_claimed(live: &Live) -> bool {
    live.body()["metadata"]["annotations"]
        .get(names::CLAIM_WEIGHT)
        .is_some()
}

/// Keeps claimed namespaces as they are, whether their TenantNamespace exists or is missing, unless somebody deleted it. Returns the
/// full names.
pub(super) fn keep(
    tenant: &str,
    places: &Places<'_>,
    facts: &Facts,
    wanted: &mut BTreeMap<String, ValidNamespace>,
) -> BTreeSet<String> {
    let withdrawn = facts.claims.iter().filter(|claim| is_withdrawn(claim, facts));
    let withdrawn: BTreeSet<String> = withdrawn
        .map(|claim| names::namespace(tenant, &claim.name_any()))
        .collect();
    let stays = |name: &str, live: &Live| {
        let is_withdrawn = withdrawn.contains(name);
        match facts.deletions {
            Deletions::Asked => !is_withdrawn && is_claimed(live),
            // A namespace from an operator before this version lacks the annotation, so its claim counts too.
            Deletions::Cascaded => is_withdrawn || is_claimed(live),
            Deletions::Unknown => is_claimed(live),
        }
    };
    let mut kept = BTreeSet::new();
    for (name, live) in &places.existing {
        if !live.deleting && !wanted.contains_key(*name) && stays(name, live) {
            wanted.insert((*name).to_owned(), as_claimed(name, live));
            kept.insert((*name).to_owned());
        }
    }
    kept
}

/// A claimed namespace with its current environment, labels and weight.
fn as_claimed(name: &str, live: &Live) -> ValidNamespace {
    let weight = live.body()["metadata"]["annotations"][names::CLAIM_WEIGHT]
        .as_str()
        .and_then(|weight| weight.parse().ok());
    ValidNamespace {
        weight: Some(weight.unwrap_or(1)),
        claimed: true,
        ..namespaces::as_it_is(name, live)
    }
}

/// If the name belongs to somebody else's namespace, the claim is refused; the tenant gets no conflict. The message does not reveal
/// whose namespace it is.
pub(super) fn settle(claims: &mut [ValidClaim], conflicts: &mut Vec<Conflict>) {
    for claim in claims {
        let Some(at) = conflicts
            .iter()
            .position(|conflict| claim.is_granted(&conflict.namespace))
        else {
            continue;
        };
        let namespace = conflicts.remove(at).namespace;
        let (reason, message) = taken(&namespace);
        claim.verdict = Verdict::Refused { reason, message };
    }
}

/// Reason and message if the name belongs to somebody else's namespace.
pub fn taken(namespace: &str) -> (Reason, String) {
    let message = format!(
        "metadata.name: namespace {namespace} exists and does not belong to this tenant; delete this TenantNamespace and create one with another name"
    );
    (Reason::NameTaken, message)
}

pub(super) fn no_room(limit: Option<i64>) -> String {
    format!(
        "the tenant has all {} namespaces that it may have; one that is being deleted counts until it is gone. Delete one, or ask the platform team for more",
        limit.unwrap_or_default()
    )
}

fn asked_for(name: String, claim: &Claim, live: Option<&Arc<Live>>) -> ValidNamespace {
    match (&claim.0, live) {
        (
            Ok(TenantNamespace {
                spec: TenantNamespaceSpec { environment, weight },
                ..
            }),
            _,
        ) => ValidNamespace {
            name,
            environment: *environment,
            labels: BTreeMap::new(),
            weight: Some(super::weight(*weight)),
            direct: false,
            claimed: true,
        },
        // The claim cannot be decoded, so its namespace stays as it is.
        (Err(_), Some(live)) => as_claimed(&name, live),
        (Err(_), None) => ValidNamespace {
            name,
            environment: Environment::default(),
            labels: BTreeMap::new(),
            weight: Some(1),
            direct: false,
            claimed: true,
        },
    }
}
