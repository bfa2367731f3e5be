//! Namespaces that owners made by themselves: `kubectl create namespace` with the tenant's label.
//!
//! Who may do that the admission policy tenantry-namespaces decides. Until the operator has fenced such a namespace nobody has a right
//! in it.

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

/// A namespace that an owner made and that the tenant does not get.
#[derive(Clone, Debug)]
pub struct TurnedAway {
    /// Its key.
    pub key: Key,
    /// As it is.
    pub live: Arc<Live>,
    /// What becomes of it.
    pub overflow: DirectOverflow,
    /// Why, and what to do.
    pub message: String,
}

/// What an owner asks by.
pub(super) enum Request<'a> {
    Claim(&'a Claim),
    Made(&'a Key, &'a Arc<Live>),
}

/// Every request, the oldest first.
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

/// Namespaces of ours that owners made before stay as they are; one that is being deleted leaves like any other.
pub(super) fn keep(places: &Places<'_>, wanted: &mut BTreeMap<String, ValidNamespace>) {
    for (name, live) in &places.standing {
        if !wanted.contains_key(*name) && is_made(live) && !live.deleting {
            wanted.insert((*name).to_owned(), as_made(name, live));
        }
    }
}

/// Whether an owner can have made this namespace for the tenant: by the name that tenantry-namespaces asks of owners, and not
/// before there was a tenant. Any other has our label from somebody who may set it, for cost reports perhaps; it is not ours to delete.
pub fn may_be_made_for(tenant: &Tenant, key: &Key, live: &Live) -> bool {
    is_named_for(tenant.metadata.name.as_deref().unwrap_or_default(), &key.name) && !is_older(live, tenant)
}

fn is_named_for(tenant: &str, namespace: &str) -> bool {
    names::inside(tenant, namespace).is_some_and(|inside| !names::is_home(inside))
}

/// One from before would be an earlier tenant's of the same name.
fn is_older(live: &Live, tenant: &Tenant) -> bool {
    created(live) < tenant.creation_timestamp().map(|time| time.0)
}

impl Judge<'_> {
    /// Takes a namespace that an owner made; gives what speaks against it, if anything does.
    pub(super) fn made(
        &self,
        tenant: &Tenant,
        key: &Key,
        live: &Live,
        places: &mut Places<'_>,
        wanted: &mut BTreeMap<String, ValidNamespace>,
    ) -> Option<String> {
        let name = &*key.name;
        // Listed or asked for by a TenantNamespace as well: then it has its place from there.
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

/// Whether it was taken as one that an owner made.
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
