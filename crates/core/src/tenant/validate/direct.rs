//! Namespaces that owners created themselves: `kubectl create namespace` with the tenant's label.
//!
//! The admission policy tenantry-namespaces decides who may do that. Nobody has rights in such a namespace until the operator has
//! applied its guards.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use kube::ResourceExt as _;

use super::{
    ValidNamespace,
    claims::{Judge, no_room},
    namespaces,
    room::Places,
};
use crate::{
    object::{Key, Live},
    tenant::facts::{Claim, Facts},
};
use tenantry_api::{
    names,
    v1alpha1::{DirectOverflow, SelfService, Tenant},
};

/// A namespace that an owner created and that the operator does not accept for the tenant.
#[derive(Clone, Debug)]
pub struct TurnedAway {
    /// Its key.
    pub key: Key,
    /// The live namespace.
    pub live: Arc<Live>,
    /// Whether it waits for a place or is deleted.
    pub overflow: DirectOverflow,
    /// Why, and what to do.
    pub message: String,
}

/// An owner's request for a namespace.
pub(super) enum Request<'a> {
    Claim(&'a Claim),
    Made(&'a Key, &'a Arc<Live>),
}

/// Every request, oldest first.
pub(super) fn in_order(facts: &Facts) -> Vec<Request<'_>> {
    let claims = facts.claims.iter().map(|claim| {
        let created = claim.creation_timestamp().map(|time| time.0);
        (created, claim.name_any(), Request::Claim(claim))
    });
    let made = facts
        .asking
        .iter()
        .map(|(key, live)| (created(live), key.name.to_string(), Request::Made(key, live)));
    let mut all: Vec<_> = claims.chain(made).collect();
    all.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    all.into_iter().map(|(.., request)| request).collect()
}

/// Keeps namespaces that owners created and that were accepted before, as they are. One that is being deleted is not kept.
pub(super) fn keep(places: &Places<'_>, wanted: &mut BTreeMap<String, ValidNamespace>) {
    for (name, live) in &places.existing {
        if !wanted.contains_key(*name) && is_made(live) && !live.deleting {
            wanted.insert((*name).to_owned(), as_made(name, live));
        }
    }
}

/// Whether an owner can have created this namespace for the tenant: it has the form of name that tenantry-namespaces requires, and is
/// not older than the Tenant. On any other namespace somebody else set the label, perhaps for cost reports, so the operator must not
/// delete it.
pub fn may_be_made_for(tenant: &Tenant, key: &Key, live: &Live) -> bool {
    is_named_for(tenant.metadata.name.as_deref().unwrap_or_default(), &key.name) && !is_older(live, tenant)
}

fn is_named_for(tenant: &str, namespace: &str) -> bool {
    names::inside(tenant, namespace).is_some_and(|inside| !names::is_home(inside))
}

/// A namespace older than the Tenant would belong to an earlier tenant with the same name.
fn is_older(live: &Live, tenant: &Tenant) -> bool {
    created(live) < tenant.creation_timestamp().map(|time| time.0)
}

impl Judge<'_> {
    /// Accepts a namespace that an owner created, or returns why not.
    pub(super) fn made(
        &self,
        tenant: &Tenant,
        key: &Key,
        live: &Live,
        places: &mut Places<'_>,
        wanted: &mut BTreeMap<String, ValidNamespace>,
    ) -> Option<String> {
        let name = &*key.name;
        // The Tenant lists it, or a TenantNamespace asks for it too, so it already has its place.
        if wanted.contains_key(name) {
            return None;
        }
        if !is_named_for(self.tenant, name) {
            return Some(format!(
                "its name must start with {}- and must not end in -home; delete it and create one with another name",
                self.tenant
            ));
        }
        if self.self_service != SelfService::Direct {
            return Some("the template does not set selfService to Direct, so owners cannot create namespaces themselves; delete it, or ask the platform team to delete it".to_owned());
        }
        if is_older(live, tenant) {
            return Some("it was created before the Tenant; delete it and create it again".to_owned());
        }
        if !places.take(name) {
            return Some(no_room(places.limit));
        }
        wanted.insert(name.to_owned(), as_made(name, live));
        None
    }
}

/// Whether it was accepted as a namespace that an owner created directly.
pub(super) fn is_made(live: &Live) -> bool {
    live.body()["metadata"]["labels"][names::SELF_SERVICE] == names::DIRECT
}

fn as_made(name: &str, live: &Live) -> ValidNamespace {
    ValidNamespace {
        weight: Some(1),
        direct: true,
        ..namespaces::as_it_is(name, live)
    }
}

fn created(live: &Live) -> Option<Timestamp> {
    live.body()["metadata"]["creationTimestamp"].as_str()?.parse().ok()
}
