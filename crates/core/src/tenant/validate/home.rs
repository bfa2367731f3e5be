//! The home namespace, in which owners create TenantNamespaces.

use super::{Conflict, Leaving, namespaces};
use crate::{
    object::{Key, Kind},
    tenant::facts::Facts,
};
use tenantry_api::{
    names,
    v1alpha1::{SelfService, Tenant},
};

/// The home namespace, in which owners create TenantNamespaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// Full name.
    pub name: String,
    /// How many TenantNamespaces it may contain.
    pub places: i64,
}

/// The home namespace, if it is to exist: while owners may create claims, or claims exist. One that is no longer needed stays
/// until the API server certainly admits no further claim, because deleting it would delete such a claim.
pub(super) fn home(name: String, self_service: SelfService, left: i64, facts: &Facts, tenant: &Tenant) -> Option<Home> {
    let uid = tenant.metadata.uid.as_deref();
    let open = self_service != SelfService::Disabled;
    // The change makes the quota controller count again; the next reconcile sets the places back.
    let places = if open && !facts.nudge_home { left } else { 0 };
    let exists = facts
        .namespaces
        .get(&name)
        .is_some_and(|live| live.is_owned_by(uid) && !live.deleting);
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
        left > 0 || exists
    } else {
        exists && (tenant.spec.deletion_protection || !(facts.claims.is_empty() && closed()))
    };
    wanted.then_some(Home { name, places })
}

/// Returns the home namespace if nothing prevents it. Otherwise records a conflict, or that it is leaving.
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
    if live.is_owned_by(uid) && (home.is_none() || live.deleting) {
        leaving.push(Leaving {
            key: Key::namespace(&name),
            live: live.clone(),
        });
        return None;
    }
    let home = home?;
    match namespaces::foreign(
        live,
        &name,
        tenant_name,
        uid,
        namespaces::was_ours(tenant, &name),
        false,
    ) {
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
