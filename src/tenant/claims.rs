//! A cache of TenantNamespaces, with which owners request namespaces for their tenant.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::StreamExt as _;
use kube::{
    Api, Resource as _, ResourceExt as _,
    api::ObjectMeta,
    core::DeserializeGuard,
    runtime::{WatchStreamExt as _, watcher},
};
use tokio::sync::mpsc::UnboundedSender;

use crate::metrics::Metrics;
use tenantry_api::{
    names,
    v1alpha1::{TenantNamespace, TenantNamespaceStatus},
};
use tenantry_core::tenant::facts::Claim;
use tenantry_process::{source::Source, watches::Watch};

/// TenantNamespaces in one page of a list: owners can make each larger than a megabyte, and a page is read as a whole.
const IN_ONE_PAGE: u32 = 20;

/// TenantNamespaces by namespace and name.
#[derive(Debug, Default)]
pub struct Claims {
    state: Mutex<State>,
}

type ByNamespace = HashMap<String, BTreeMap<String, Claim>>;

#[derive(Debug, Default)]
struct State {
    current: ByNamespace,
    /// The list that is running. It replaces the cache only when it is complete, so that no claim seems absent
    /// meanwhile.
    listing: ByNamespace,
    /// Our own writes since the list began: the list may be older.
    written: ByNamespace,
    is_listing: bool,
}

impl Claims {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The TenantNamespaces in a namespace, in the order of their names.
    pub fn within(&self, namespace: &str) -> Vec<Claim> {
        let state = self.lock();
        let claims = state.current.get(namespace).into_iter().flatten();
        claims.map(|(_, claim)| claim.clone()).collect()
    }

    /// Notes a status that was written, and the object's new version, so that it is not written again before the watch
    /// event.
    pub fn wrote(&self, claim: &TenantNamespace, status: &TenantNamespaceStatus, version: String) {
        let mut written = claim.clone();
        written.status = Some(status.clone());
        written.metadata.resource_version = Some(version);
        let mut state = self.lock();
        let written = DeserializeGuard(Ok(written));
        if state.is_listing {
            upsert(&mut state.written, written.clone());
        }
        upsert(&mut state.current, written);
    }

    /// Notes that a claim's finalizers were written; `written` is its metadata after that.
    pub fn finalized(&self, written: &ObjectMeta) {
        let mut state = self.lock();
        let namespace = written.namespace.as_deref().unwrap_or_default();
        let within = state.current.get(namespace);
        let known = within.and_then(|claims| claims.get(written.name.as_deref().unwrap_or_default()));
        let Some(known) = known.filter(|known| known.uid() == written.uid) else {
            return;
        };
        let mut claim = (**known).clone();
        let metadata = claim.meta_mut();
        metadata.resource_version.clone_from(&written.resource_version);
        metadata.finalizers.clone_from(&written.finalizers);
        slim(&mut claim);
        upsert(&mut state.current, claim);
    }

    /// Applies an event of the watch; returns the namespaces in which something changed.
    fn take(&self, event: watcher::Event<DeserializeGuard<TenantNamespace>>) -> BTreeSet<String> {
        let mut state = self.lock();
        match event {
            watcher::Event::Init => {
                state.listing.clear();
                state.written.clear();
                state.is_listing = true;
            }
            watcher::Event::InitApply(claim) => drop(upsert(&mut state.listing, claim)),
            watcher::Event::InitDone => {
                let mut listed = std::mem::take(&mut state.listing);
                state.is_listing = false;
                for written in std::mem::take(&mut state.written)
                    .into_values()
                    .flat_map(BTreeMap::into_values)
                {
                    let within = listed.get(&written.namespace().unwrap_or_default());
                    let is_there = within.and_then(|claims| claims.get(&written.name_any()));
                    if is_there.is_some_and(|listed| listed.uid() == written.uid()) {
                        upsert(&mut listed, DeserializeGuard::clone(&written));
                    }
                }
                let before = std::mem::replace(&mut state.current, listed);
                return before.keys().chain(state.current.keys()).cloned().collect();
            }
            watcher::Event::Apply(claim) => return upsert(&mut state.current, claim).into_iter().collect(),
            watcher::Event::Delete(claim) => {
                let namespace = claim.namespace().unwrap_or_default();
                if let Some(claims) = state.current.get_mut(&namespace) {
                    claims.remove(&claim.name_any());
                    if claims.is_empty() {
                        state.current.remove(&namespace);
                    }
                }
                return BTreeSet::from([namespace]);
            }
        }
        BTreeSet::new()
    }
}

/// Stores a claim unless a newer version is stored already; returns its namespace if it was stored.
fn upsert(claims: &mut ByNamespace, claim: DeserializeGuard<TenantNamespace>) -> Option<String> {
    let version = |claim: &DeserializeGuard<TenantNamespace>| claim.resource_version()?.parse::<u64>().ok();
    let namespace = claim.namespace().unwrap_or_default();
    let within = claims.entry(namespace.clone()).or_default();
    let name = claim.name_any();
    let is_newer = within
        .get(&name)
        .is_none_or(|known| known.uid() != claim.uid() || version(known) < version(&claim));
    if is_newer {
        within.insert(name, Arc::new(claim));
    }
    is_newer.then_some(namespace)
}

/// Removes metadata that nobody here reads, because owners can make it a megabyte large.
fn slim(claim: &mut DeserializeGuard<TenantNamespace>) {
    let metadata = claim.meta_mut();
    (metadata.managed_fields, metadata.annotations, metadata.labels) = (None, None, None);
    metadata.owner_references = None;
    if let Some(finalizers) = &mut metadata.finalizers {
        finalizers.retain(|finalizer| finalizer == names::CLAIM);
    }
}

/// Keeps `claims` up to date with a watch, and wakes the tenants whose claims change.
pub async fn watch(
    source: Source,
    health: Watch,
    claims: Arc<Claims>,
    wake: UnboundedSender<Box<str>>,
    metrics: Arc<Metrics>,
) {
    let api = Api::<DeserializeGuard<TenantNamespace>>::all;
    let events = source
        .watch(health, api, watcher::Config::default().page_size(IN_ONE_PAGE))
        .modify(slim);
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                for namespace in claims.take(event) {
                    if let Some(tenant) = names::tenant_at_home(&namespace) {
                        // A closed channel means that the process is shutting down.
                        let _ = wake.send(tenant.into());
                    }
                }
            }
            Err(error) => {
                metrics.process().watch_failed("TenantNamespace");
                tracing::warn!(%error, "the watch of TenantNamespaces failed; restarting it");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::runtime::watcher::Event;
    use serde_json::json;

    use super::*;

    fn claim(name: &str, version: u64) -> DeserializeGuard<TenantNamespace> {
        serde_json::from_value(json!({
            "apiVersion": "tenantry.dev/v1alpha1", "kind": "TenantNamespace", "spec": {},
            "metadata": { "name": name, "namespace": "acme-home", "uid": name, "resourceVersion": version.to_string() },
        }))
        .unwrap()
    }

    fn names(claims: &Claims) -> Vec<String> {
        claims
            .within("acme-home")
            .iter()
            .map(|claim| claim.name_any())
            .collect()
    }

    #[test]
    fn a_list_takes_effect_as_a_whole() {
        let claims = Claims::default();
        claims.take(Event::Apply(claim("a", 1)));
        claims.take(Event::Apply(claim("b", 2)));
        claims.take(Event::Init);
        claims.take(Event::InitApply(claim("b", 3)));
        assert_eq!(
            names(&claims),
            ["a", "b"],
            "no claim seems absent while the list is running"
        );
        assert_eq!(claims.take(Event::InitDone), BTreeSet::from(["acme-home".to_owned()]));
        assert_eq!(names(&claims), ["b"]);
    }

    #[test]
    fn metadata_that_owners_can_make_large_is_not_kept() {
        let mut large = claim("a", 1);
        large.meta_mut().annotations = Some([("note".to_owned(), "x".repeat(1 << 18))].into());
        large.meta_mut().labels = Some([("app".to_owned(), "x".to_owned())].into());
        large.meta_mut().finalizers = Some(vec![
            "example.com/".to_owned() + &"x".repeat(300),
            names::CLAIM.to_owned(),
        ]);
        slim(&mut large);
        let DeserializeGuard(Ok(large)) = large else {
            panic!("it can be read")
        };
        assert!(serde_json::to_string(&large).unwrap().len() < 300);
        assert_eq!(large.finalizers(), [names::CLAIM]);
    }

    #[test]
    fn a_deleted_claim_is_removed_and_wakes_its_tenant() {
        let claims = Claims::default();
        claims.take(Event::Apply(claim("a", 1)));
        assert_eq!(
            claims.take(Event::Delete(claim("a", 2))),
            BTreeSet::from(["acme-home".to_owned()])
        );
        assert!(names(&claims).is_empty());
    }

    #[test]
    fn the_echo_of_a_written_status_changes_nothing() {
        let claims = Claims::default();
        let DeserializeGuard(Ok(seen)) = claim("a", 1) else {
            panic!("it can be read")
        };
        claims.take(Event::Apply(claim("a", 1)));
        claims.wrote(&seen, &TenantNamespaceStatus::default(), "4".to_owned());
        assert!(claims.take(Event::Apply(claim("a", 4))).is_empty());
        assert!(!claims.take(Event::Apply(claim("a", 5))).is_empty());
    }

    #[test]
    fn a_status_written_during_a_list_is_kept() {
        let claims = Claims::default();
        claims.take(Event::Apply(claim("a", 1)));
        let DeserializeGuard(Ok(seen)) = claim("a", 1) else {
            panic!("it can be read")
        };
        claims.take(Event::Init);
        claims.take(Event::InitApply(claim("a", 1)));
        claims.wrote(&seen, &TenantNamespaceStatus::default(), "4".to_owned());
        claims.take(Event::InitDone);
        assert_eq!(claims.within("acme-home")[0].resource_version().as_deref(), Some("4"));
    }

    #[test]
    fn a_relist_after_an_etcd_restore_corrects_the_cache() {
        let claims = Claims::default();
        for version in [100, 50] {
            claims.take(Event::Init);
            claims.take(Event::InitApply(claim("a", version)));
            claims.take(Event::InitDone);
            let held = claims.within("acme-home")[0].resource_version();
            assert_eq!(held, Some(version.to_string()));
        }
    }

    #[test]
    fn a_written_finalizer_is_known_before_its_echo() {
        let claims = Claims::default();
        claims.take(Event::Apply(claim("a", 1)));
        let mut written = claim("a", 4).meta().clone();
        written.finalizers = Some(vec![names::CLAIM.to_owned()]);
        claims.finalized(&written);
        assert_eq!(claims.within("acme-home")[0].finalizers(), [names::CLAIM]);
        assert!(claims.take(Event::Apply(claim("a", 4))).is_empty());
        written.uid = Some("another".to_owned());
        written.finalizers = None;
        claims.finalized(&written);
        assert_eq!(claims.within("acme-home")[0].finalizers(), [names::CLAIM]);
    }

    #[test]
    fn an_unreadable_claim_is_kept() {
        let claims = Claims::default();
        let broken = json!({ "metadata": { "name": "a", "namespace": "acme-home", "resourceVersion": "1" }, "spec": { "weight": "x" } });
        claims.take(Event::Apply(serde_json::from_value(broken).unwrap()));
        assert_eq!(names(&claims), ["a"]);
    }
}
