//! Decides which namespaces get one of the places that the template grants.
//!
//! A namespace has a place from its creation until it is gone, no matter who asked for it. Existing namespaces keep their
//! places. Free places go first to namespaces that the Tenant lists, then to requests of owners, oldest first.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    ValidNamespace,
    claims::{self, Judge, ValidClaim},
    direct::{self, TurnedAway},
    home::{Home, home},
    retains,
};
use crate::{
    object::{Kind, Live},
    tenant::facts::Facts,
};
use tenantry_api::{
    names,
    v1alpha1::{DirectOverflow, Tenant, TenantTemplateSpec},
};

/// How many TenantNamespaces a tenant may have if its template grants any number of namespaces: as many as a Tenant may list.
pub(super) const MOST_CLAIMS: i64 = 100;

/// How many namespaces that owners created may wait for a place; further ones are deleted.
const MOST_CLOSED: usize = 20;

/// How the number of namespaces compares to the places that the template grants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Listed namespaces for which there is no place.
    pub waiting: Vec<String>,
    /// How many exist and how many are granted, if more exist.
    pub above: Option<(usize, i64)>,
}

/// The decisions on places.
pub(super) struct Admitted {
    /// Every namespace that is wanted and has a place, by full name.
    pub(super) wanted: BTreeMap<String, ValidNamespace>,
    pub(super) claims: Vec<ValidClaim>,
    pub(super) turned_away: Vec<TurnedAway>,
    pub(super) room: Room,
    pub(super) home: Option<Home>,
    /// Namespaces that stay although their TenantNamespace is missing.
    pub(super) unclaimed: BTreeSet<String>,
}

/// The places that the template grants, and who has them.
pub(super) struct Places<'a> {
    /// Existing namespaces of this tenant, without the home namespace.
    pub(super) existing: BTreeMap<&'a str, &'a Arc<Live>>,
    /// `None`: any number.
    pub(super) limit: Option<i64>,
    taken: usize,
}

impl<'a> Places<'a> {
    fn new(uid: Option<&str>, home: &str, limit: Option<i64>, facts: &'a Facts) -> Self {
        let existing: BTreeMap<_, _> = facts
            .live
            .iter()
            .filter(|(key, live)| key.kind == Kind::Namespace && *key.name != *home && live.is_owned_by(uid))
            .map(|(key, live)| (&*key.name, live))
            .collect();
        Self {
            taken: existing.len(),
            existing,
            limit,
        }
    }

    fn granted(&self) -> usize {
        self.limit
            .map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or_default())
    }

    /// Gives a namespace a place, if it exists already or a place is free.
    pub(super) fn take(&mut self, namespace: &str) -> bool {
        let exists = self.existing.contains_key(namespace);
        let fits = exists || self.taken < self.granted();
        self.taken += usize::from(fits && !exists);
        fits
    }
}

/// Gives places to listed namespaces and to requests of owners. `limit` is `None` if any number is granted.
pub(super) fn admit(
    tenant: &Tenant,
    name: &str,
    listed: BTreeMap<String, ValidNamespace>,
    template: &TenantTemplateSpec,
    limit: Option<i64>,
    facts: &Facts,
) -> Admitted {
    let (uid, home_name) = (tenant.metadata.uid.as_deref(), names::home(name));
    let mut places = Places::new(uid, &home_name, limit, facts);
    let (mut wanted, mut waiting) = (BTreeMap::new(), Vec::new());
    let all_listed: Vec<String> = listed.keys().cloned().collect();
    for (full, namespace) in listed {
        if places.take(&full) {
            wanted.insert(full, namespace);
        } else {
            waiting.push(full);
        }
    }
    // Existing namespaces of owners stay, no matter what else is requested.
    direct::keep(&places, &mut wanted);
    let mut unclaimed = claims::keep(name, &places, facts, &mut wanted);

    let judge = Judge {
        tenant: name,
        self_service: template.self_service,
        listed: &all_listed,
    };
    let (mut claims, mut turned_away) = (Vec::new(), Vec::new());
    for request in direct::in_order(facts) {
        match request {
            direct::Request::Claim(claim) if claims::is_withdrawn(claim, facts) => {
                claims.push(judge.withdrawn(claim, facts));
            }
            direct::Request::Claim(claim) => claims.push(judge.claim(claim, &mut places, &mut wanted)),
            direct::Request::Made(key, live) => {
                let refused = judge.made(tenant, key, live, &mut places, &mut wanted);
                turned_away.extend(refused.map(|message| TurnedAway {
                    key: key.clone(),
                    live: live.clone(),
                    overflow: DirectOverflow::Wait,
                    message,
                }));
            }
        }
    }
    // Only the oldest may wait for a place: an unlimited number of closed namespaces would burden the whole cluster.
    let made = turned_away
        .iter_mut()
        .filter(|away| direct::may_be_made_for(tenant, &away.key, &away.live));
    for (number, away) in made.enumerate() {
        away.overflow = match number {
            ..MOST_CLOSED => template.direct_overflow,
            _ => DirectOverflow::Remove,
        };
    }
    claims.sort_by_key(ValidClaim::name);
    unclaimed.retain(|namespace| !claims.iter().any(|claim| claim.is_granted(namespace)));

    let retains = retains(&tenant.spec);
    let stays = |namespace: &str, live: &Live| !live.deleting && (retains || wanted.contains_key(namespace));
    let staying = places
        .existing
        .iter()
        .filter(|(namespace, live)| stays(namespace, live));
    let staying: Vec<&str> = staying.map(|(namespace, _)| *namespace).collect();
    // Places that no TenantNamespace can have: those of listed, retained and directly created namespaces. The place of a namespace whose
    // TenantNamespace is missing stays free for it.
    let is_listed = |namespace: &str| all_listed.iter().any(|listed| listed == namespace);
    let is_claimed = |namespace: &str| claims.iter().any(|claim| claim.is_granted(namespace));
    let others = staying
        .iter()
        .filter(|namespace| !is_listed(namespace) && !is_claimed(namespace) && !unclaimed.contains(**namespace))
        .count();
    let others = i64::try_from(all_listed.len() + others).unwrap_or(i64::MAX);
    let left = limit.map_or(MOST_CLAIMS, |limit| limit.saturating_sub(others).clamp(0, MOST_CLAIMS));
    let ends = places.existing.values().any(|live| live.deleting);
    Admitted {
        home: home(home_name, template.self_service, left, facts, tenant),
        room: Room {
            // A namespace that is being deleted frees its place without anybody's action.
            waiting: if ends { Vec::new() } else { waiting },
            above: limit
                .filter(|_| staying.len() > places.granted())
                .map(|limit| (staying.len(), limit)),
        },
        wanted,
        claims,
        turned_away,
        unclaimed,
    }
}

#[cfg(test)]
mod tests;
