//! What becomes of the TenantNamespaces of owners.

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

/// A TenantNamespace, and what became of it.
#[derive(Clone, Debug)]
pub struct ValidClaim {
    /// As it was seen.
    pub seen: Arc<DeserializeGuard<TenantNamespace>>,
    /// What became of it.
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

/// What became of a TenantNamespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The namespace of this name is to stand.
    Granted(String),
    /// It is being deleted.
    Withdrawn {
        /// Full name of its namespace.
        namespace: String,
        /// Whether somebody asked for that. Otherwise the namespace stays.
        asked: bool,
    },
    /// There is none for it.
    Refused {
        /// Reason of the condition.
        reason: Reason,
        /// What is wrong and what to do.
        message: String,
    },
}

/// What requests are judged by.
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
        let live = places.standing.get(&*full).copied();
        let verdict = if let Some((reason, message)) = self.against(claim, &full, live.is_some(), places) {
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

    /// The verdict about a claim for which [`is_withdrawn`] holds.
    pub(super) fn withdrawn(&self, claim: &Claim, facts: &Facts) -> ValidClaim {
        ValidClaim {
            seen: claim.clone(),
            verdict: Verdict::Withdrawn {
                namespace: names::namespace(self.tenant, &claim.name_any()),
                asked: facts.deletions == Deletions::Asked,
            },
        }
    }

    /// What speaks against a claim.
    fn against(&self, claim: &Claim, full: &str, stands: bool, places: &mut Places<'_>) -> Option<(Reason, String)> {
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
        if !stands && self.self_service == SelfService::Disabled {
            let message = "the template sets selfService to Disabled, so owners cannot request namespaces; delete this TenantNamespace and ask the platform team";
            return Some((Reason::SelfServiceDisabled, message.to_owned()));
        }
        if !places.take(full) {
            return Some((Reason::NoRoom, no_room(places.limit)));
        }
        None
    }
}

/// Whether the deletion of a claim was seen, and it is known what that means. Until it is known the claim counts as before.
pub(super) fn is_withdrawn(claim: &Claim, facts: &Facts) -> bool {
    claim.meta().deletion_timestamp.is_some() && facts.deletions != Deletions::Unknown
}

/// Whether a TenantNamespace asked for this namespace, and its deletion was not seen yet.
pub fn is_claimed(live: &Live) -> bool {
    live.body()["metadata"]["annotations"]
        .get(names::CLAIM_WEIGHT)
        .is_some()
}

/// Keeps what was asked for as it is, whether the TenantNamespace is there or merely absent, unless somebody asked for its end; gives
/// the full names.
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
            // Not marked yet by an operator before this version.
            Deletions::Cascaded => is_withdrawn || is_claimed(live),
            Deletions::Unknown => is_claimed(live),
        }
    };
    let mut kept = BTreeSet::new();
    for (name, live) in &places.standing {
        if !live.deleting && !wanted.contains_key(*name) && stays(name, live) {
            wanted.insert((*name).to_owned(), as_claimed(name, live));
            kept.insert((*name).to_owned());
        }
    }
    kept
}

/// A namespace that was asked for, as it is.
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

/// A claim of a name that is somebody else's is the claim's trouble and not the tenant's. Whose it is, its owner need not know.
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

/// Reason and message where a name is that of somebody else's namespace.
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
        // It cannot be read, so it stays as it is.
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
