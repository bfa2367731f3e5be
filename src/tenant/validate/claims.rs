//! Which namespaces there is room for, and which of those that owners asked for they get.
//!
//! A namespace takes a place from its creation until it is gone, whoever wanted it. What stands keeps its place; then
//! come those that the Tenant lists, then the claims, the oldest first.

use std::{collections::BTreeMap, sync::Arc};

use kube::{ResourceExt as _, core::DeserializeGuard};

use super::{Conflict, Leaving, ValidNamespace, is_label, namespaces};
use crate::{
    api::{
        names,
        v1alpha1::{DeletionPolicy, Environment, SelfService, Tenant, TenantNamespace, TenantNamespaceSpec},
    },
    apply::{Key, Kind, Live},
    tenant::{claims::Claim, dereference::Facts},
};

/// TenantNamespaces of a tenant whose template grants any number of namespaces; as many as a Tenant may list.
const MOST_CLAIMS: i64 = 100;

/// A TenantNamespace, and what became of it.
#[derive(Clone, Debug)]
pub struct ValidClaim {
    /// As it was seen.
    pub seen: Arc<DeserializeGuard<TenantNamespace>>,
    /// What became of it.
    pub verdict: Verdict,
}

/// What became of a TenantNamespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The namespace of this name is to stand.
    Granted(String),
    /// There is none for it.
    Refused {
        /// Reason of the condition.
        reason: &'static str,
        /// What is wrong and what to do.
        message: String,
    },
}

/// The namespace in which owners ask for namespaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// Full name.
    pub name: String,
    /// How many TenantNamespaces there may be.
    pub places: i64,
}

/// How the number of namespaces compares to what the template grants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Listed namespaces for which there is no place.
    pub waiting: Vec<String>,
    /// How many stand and how many are granted, if more stand.
    pub above: Option<(usize, i64)>,
}

/// What owners get.
pub(super) struct Admitted {
    /// Every namespace that is wanted and has a place, by full name.
    pub(super) wanted: BTreeMap<String, ValidNamespace>,
    pub(super) claims: Vec<ValidClaim>,
    pub(super) room: Room,
    pub(super) home: Option<Home>,
}

/// Gives places to what is listed and to what was asked for. `limit` is `None` if any number is granted.
pub(super) fn admit(
    tenant: &Tenant,
    name: &str,
    listed: BTreeMap<String, ValidNamespace>,
    self_service: SelfService,
    limit: Option<i64>,
    facts: &Facts,
) -> Admitted {
    let home_name = names::home(name);
    let uid = tenant.metadata.uid.as_deref();
    let ours = |live: &Live| uid.is_some() && live.owner.as_deref() == uid;
    let standing: BTreeMap<&str, &Arc<Live>> = facts
        .live
        .iter()
        .filter(|(key, live)| key.kind == Kind::Namespace && *key.name != *home_name && ours(live))
        .map(|(key, live)| (&*key.name, live))
        .collect();
    let places = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or_default());
    let mut taken = standing.len();
    let mut place = |namespace: &str| {
        let stands = standing.contains_key(namespace);
        let fits = stands || taken < places;
        taken += usize::from(fits && !stands);
        fits
    };

    let (mut wanted, mut waiting) = (BTreeMap::new(), Vec::new());
    let all_listed: Vec<String> = listed.keys().cloned().collect();
    for (full, namespace) in listed {
        if place(&full) {
            wanted.insert(full, namespace);
        } else {
            waiting.push(full);
        }
    }

    let mut in_order: Vec<&Claim> = facts.claims.iter().collect();
    in_order.sort_by_key(|claim| (claim.creation_timestamp(), claim.name_any()));
    let mut claims = Vec::new();
    for claim in in_order {
        let full = names::namespace(name, &claim.name_any());
        let refused = |reason, message: String| Verdict::Refused { reason, message };
        let stands = standing.contains_key(&*full);
        let verdict = if claim.name_any() == names::HOME_NAME || !is_label(&full) {
            refused(
                "InvalidName",
                format!(
                    "metadata.name: {full:?} is no name for a namespace (at most 63 characters, not the home namespace); delete this and create one with another name"
                ),
            )
        } else if all_listed.contains(&full) {
            refused(
                "NameTaken",
                format!("the tenant has namespace {full} already, from spec.namespaces of the Tenant; delete this"),
            )
        } else if !stands && self_service != SelfService::Claim {
            refused(
                "SelfServiceDisabled",
                "the template lets owners ask for no further namespaces; delete this and ask the platform team"
                    .to_owned(),
            )
        } else if !place(&full) {
            let granted = limit.unwrap_or_default();
            refused(
                "NoRoom",
                format!(
                    "the template grants {granted} namespaces and all are taken, those that are being deleted until they are gone; delete one or ask the platform team"
                ),
            )
        } else {
            Verdict::Granted(full.clone())
        };
        if let Verdict::Granted(_) = verdict {
            wanted.insert(
                full.clone(),
                asked_for(
                    full,
                    claim,
                    standing.get(&*names::namespace(name, &claim.name_any())).copied(),
                ),
            );
        }
        claims.push(ValidClaim {
            seen: claim.clone(),
            verdict,
        });
    }
    claims.sort_by_key(|claim| claim.seen.name_any());

    let stays = |namespace: &str, live: &Live| {
        !live.deleting && (wanted.contains_key(namespace) || tenant.spec.deletion_policy == DeletionPolicy::Retain)
    };
    let stay = standing
        .iter()
        .filter(|(namespace, live)| stays(namespace, live))
        .count();
    let retained = standing.iter().filter(|(namespace, live)| {
        let kept = tenant.spec.deletion_policy == DeletionPolicy::Retain && !live.deleting;
        kept && !wanted.contains_key(**namespace) && !all_listed.iter().any(|listed| listed == *namespace)
    });
    let others = i64::try_from(all_listed.len() + retained.count()).unwrap_or(i64::MAX);
    let left = limit.map_or(MOST_CLAIMS, |limit| limit.saturating_sub(others).clamp(0, MOST_CLAIMS));
    Admitted {
        home: home(home_name, self_service, left, facts, ours),
        room: Room {
            // What is going makes room by itself.
            waiting: if standing.values().any(|live| live.deleting) {
                Vec::new()
            } else {
                waiting
            },
            above: limit.filter(|_| stay > places).map(|limit| (stay, limit)),
        },
        wanted,
        claims,
    }
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
            weight: Some(weight.and_then(|weight| u32::try_from(weight).ok()).unwrap_or(1)),
        },
        // It cannot be read, so it stays as it is.
        (Err(_), Some(live)) => ValidNamespace {
            weight: Some(1),
            ..namespaces::as_it_is(&name, live)
        },
        (Err(_), None) => ValidNamespace {
            name,
            environment: Environment::default(),
            labels: BTreeMap::new(),
            weight: Some(1),
        },
    }
}

/// Whether there is to be a home namespace: where one can ask for something, or has asked. One that is no longer needed
/// stays until the API server surely admits no further claim, as they would go with it.
fn home(
    name: String,
    self_service: SelfService,
    left: i64,
    facts: &Facts,
    ours: impl Fn(&Live) -> bool,
) -> Option<Home> {
    let open = self_service == SelfService::Claim;
    // A changed quota is counted anew; the next look brings the places back.
    let places = if open && !facts.nudge_home { left } else { 0 };
    let stands = facts
        .namespaces
        .get(&name)
        .is_some_and(|live| ours(live) && !live.deleting);
    let closed = || {
        let quota = facts.live.get(&Key::new(Kind::ResourceQuota, &name, names::OBJECT));
        quota.is_some_and(|quota| {
            let body = quota.body();
            [("hard", "spec"), ("hard", "status"), ("used", "status")]
                .iter()
                .all(|(field, part)| body[part][field][names::CLAIMS] == "0")
        })
    };
    let wanted = if open {
        left > 0 || stands
    } else {
        stands && !(facts.claims.is_empty() && closed())
    };
    wanted.then_some(Home { name, places })
}

/// The home namespace as what is in its way, or on its way out.
pub(super) fn place_home(
    tenant: &Tenant,
    tenant_name: &str,
    home: Option<Home>,
    facts: &Facts,
    leaving: &mut Vec<Leaving>,
    conflicts: &mut Vec<Conflict>,
) -> Option<Home> {
    let name = names::home(tenant_name);
    let Some(live) = facts.namespaces.get(&name) else {
        return home;
    };
    let uid = tenant.metadata.uid.as_deref();
    let ours = uid.is_some() && live.owner.as_deref() == uid;
    if ours && (home.is_none() || live.deleting) {
        leaving.push(Leaving {
            key: Key::namespace(&name),
            live: live.clone(),
        });
        return None;
    }
    let home = home?;
    match namespaces::foreign(live, &name, tenant_name, uid, namespaces::was_ours(tenant, &name)) {
        None => Some(home),
        Some(message) => {
            conflicts.push(Conflict {
                namespace: name,
                message,
            });
            None
        }
    }
}

#[cfg(test)]
mod tests;
