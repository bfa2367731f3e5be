//! What the cluster holds of our objects, by tenant.
//!
//! Fed by watches and by the answers to our own writes; the higher resourceVersion wins (they are ordered since
//! Kubernetes 1.35 by contract, and were before in fact). So a reconcile sees its own writes at once, and the watch
//! event that echoes a write wakes nobody. After a restore of etcd versions are lower than before. So a list, which asks for the
//! newest state, wins over what was known before it began.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use tokio::sync::watch;

use tenantry_core::object::{Key, Kind, Live};
use tenantry_core::tenant::facts::LiveObjects;

/// The live objects.
#[derive(Debug, Default)]
pub struct Inventory {
    state: RwLock<State>,
    /// The newest version of any Namespace that the watch has told of; it tells them in order.
    told: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    objects: HashMap<Key, Entry>,
    by_tenant: HashMap<Box<str>, BTreeSet<Key>>,
    /// Namespaces that carry a tenant's label and are nobody's yet.
    asking: HashMap<Box<str>, BTreeSet<Key>>,
    /// Tenants that wait for a namespace which is not theirs, by namespace.
    waiting: HashMap<Box<str>, BTreeSet<Box<str>>>,
    /// The same by tenant.
    awaited: HashMap<Box<str>, BTreeSet<Box<str>>>,
    clock: u64,
}

#[derive(Debug)]
struct Entry {
    live: Arc<Live>,
    /// When something was last heard of it: an event, an own write, a list, or the end of its namespace.
    seen: u64,
    /// Its namespace went, and it with it, though no watch has told so yet. Watches of different kinds are not in step: a
    /// namespace can be gone and there again before the watch of its guards has told that those of the first are gone.
    buried: bool,
}

impl Entry {
    fn standing(&self) -> Option<&Arc<Live>> {
        (!self.buried).then_some(&self.live)
    }

    /// Whether this version brings nothing new. `listing` is the list that says it, if a list does: that is newer than all that
    /// was known when the list began.
    fn covers(&self, version: u64, listing: Option<Listing>) -> bool {
        match listing {
            Some(listing) if self.seen < listing.0 => self.live.version == version && !self.buried,
            Some(_) | None => self.live.version >= version,
        }
    }
}

/// Marks the start of a list, to tell later what the list did not hold.
#[derive(Clone, Copy, Debug)]
pub struct Listing(u64);

impl Inventory {
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every object labelled as this tenant's.
    pub fn of_tenant(&self, tenant: &str) -> BTreeMap<Key, Arc<Live>> {
        let state = self.read();
        let keys = state.by_tenant.get(tenant).into_iter().flatten();
        keys.filter_map(|key| Some((key.clone(), state.objects.get(key)?.standing()?.clone())))
            .collect()
    }

    /// Namespaces that an owner made for this tenant and that are nobody's yet.
    pub fn asking(&self, tenant: &str) -> BTreeMap<Key, Arc<Live>> {
        let state = self.read();
        let keys = state.asking.get(tenant).into_iter().flatten();
        keys.filter_map(|key| state.objects.get(key).map(|entry| (key.clone(), entry.live.clone())))
            .collect()
    }

    /// One object.
    pub fn get(&self, key: &Key) -> Option<Arc<Live>> {
        self.read().objects.get(key)?.standing().cloned()
    }

    /// Number of managed objects of each kind.
    pub fn counts(&self) -> BTreeMap<Kind, usize> {
        let mut counts: BTreeMap<Kind, usize> = Kind::ALL.into_iter().map(|kind| (kind, 0)).collect();
        let state = self.read();
        let managed = |entry: &Entry| entry.standing().is_some_and(|live| live.tenant.is_some());
        for (key, _) in state.objects.iter().filter(|(_, entry)| managed(entry)) {
            *counts.entry(key.kind).or_default() += 1;
        }
        counts
    }

    /// Wakes `tenant` at each change of one of these namespaces, and of no others that it waited for before. A namespace that is
    /// labelled as the tenant's wakes it anyway.
    pub fn wait_for_namespaces<'a>(&self, tenant: &str, namespaces: impl IntoIterator<Item = &'a str>) {
        let mut state = self.write();
        let namespaces = namespaces.into_iter().filter(|name| !state.is_of(name, tenant));
        let wanted: BTreeSet<Box<str>> = namespaces.map(Into::into).collect();
        let before = state.awaited.remove(tenant).unwrap_or_default();
        for name in before.difference(&wanted) {
            state.wait_no_more(name, tenant);
        }
        for name in &wanted {
            state.waiting.entry(name.clone()).or_default().insert(tenant.into());
        }
        if !wanted.is_empty() {
            state.awaited.insert(tenant.into(), wanted);
        }
    }

    /// Wakes `tenant` at each change of this namespace too, until [`Self::wait_for_namespaces`] says otherwise.
    pub fn wait_for_namespace(&self, namespace: &str, tenant: &str) {
        let mut state = self.write();
        if !state.is_of(namespace, tenant) {
            state.waiting.entry(namespace.into()).or_default().insert(tenant.into());
            state.awaited.entry(tenant.into()).or_default().insert(namespace.into());
        }
    }

    /// Forgets what a tenant waits for.
    pub fn wait_for_none(&self, tenant: &str) {
        self.wait_for_namespaces(tenant, []);
    }

    /// Forgets what tenants wait for that are not there. They are looked up while nothing can be waited for.
    pub fn forget_waiting(&self, is_there: impl Fn(&str) -> bool) {
        let mut state = self.write();
        let gone: Vec<_> = state
            .awaited
            .keys()
            .filter(|tenant| !is_there(tenant))
            .cloned()
            .collect();
        for tenant in gone {
            for name in state.awaited.remove(&tenant).unwrap_or_default() {
                state.wait_no_more(&name, &tenant);
            }
        }
    }

    /// Namespaces that tenants wait for.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.read().waiting.len()
    }

    /// Takes over a newer version of an object; gives the tenants that it concerns, none if it is not newer.
    pub fn upsert(&self, key: Key, live: impl Into<Arc<Live>>) -> Vec<Box<str>> {
        self.take(key, live.into(), None)
    }

    /// Takes over what a list says of an object, also a lower version; but not if something newer was heard since the list began.
    pub fn listed(&self, key: Key, live: impl Into<Arc<Live>>, listing: Listing) -> Vec<Box<str>> {
        self.take(key, live.into(), Some(listing))
    }

    fn take(&self, key: Key, live: Arc<Live>, listing: Option<Listing>) -> Vec<Box<str>> {
        let mut state = self.write();
        state.clock += 1;
        let seen = state.clock;
        if let Some(entry) = state.objects.get_mut(&key) {
            let covered = entry.covers(live.version, listing);
            let is_late = listing.is_none_or(|listing| entry.seen > listing.0);
            entry.seen = seen;
            // What is buried stays so, whatever is told late of it.
            if covered || (is_late && entry.buried && entry.live.uid == live.uid) {
                return Vec::new();
            }
            if key.kind == Kind::Namespace && entry.live.uid != live.uid {
                let before = entry.live.tenant.clone();
                state.bury(&key.name, before.as_deref());
            }
        }
        let mut concerned: Vec<_> = live.tenant.iter().cloned().collect();
        if key.kind == Kind::Namespace {
            concerned.extend(state.waiting_for(&key.name, live.tenant.as_deref()));
            concerned.extend(state.index_asking(&key, live.asks.as_deref()));
        }
        if let Some(tenant) = &live.tenant {
            state.by_tenant.entry(tenant.clone()).or_default().insert(key.clone());
        }
        let tenant = live.tenant.clone();
        let previous = state.objects.insert(
            key.clone(),
            Entry {
                live,
                seen,
                buried: false,
            },
        );
        if let Some(previous) = previous
            .and_then(|entry| entry.live.tenant.clone())
            .filter(|old| Some(old) != tenant.as_ref())
        {
            state.unindex(&previous, &key);
            concerned.push(previous);
        }
        concerned
    }

    /// Takes over a Namespace that was created just now: nothing of ours can stand in it yet.
    pub fn created_namespace(&self, key: Key, live: Arc<Live>) {
        self.write().bury(&key.name, live.tenant.as_deref());
        self.upsert(key, live);
    }

    /// Whether this version of an object, or a newer one, is held: then there is nothing to take over. Most events echo one
    /// of our own writes, and this saves turning them into text.
    /// A version that a list under way says is held in the meaning of [`Self::listed`].
    pub fn holds(&self, key: &Key, version: u64, listing: Option<Listing>) -> bool {
        let mut state = self.write();
        state.clock += 1;
        let seen = state.clock;
        state.objects.get_mut(key).is_some_and(|entry| {
            let covered = entry.covers(version, listing);
            if covered {
                entry.seen = seen;
            }
            covered
        })
    }

    /// The watch told of this version of a Namespace.
    pub fn namespace_told(&self, version: u64) {
        self.told.send_if_modified(|told| {
            let newer = *told < version;
            *told = version.max(*told);
            newer
        });
    }

    /// Waits until the watch has told of this version of a Namespace.
    pub async fn until_namespace_told(&self, version: u64) {
        // The sender lives as long as we do.
        let _ = self.told.subscribe().wait_for(|told| *told >= version).await;
    }

    /// Forgets an object that was deleted at `version`, unless a newer one stands in its place.
    pub fn remove(&self, key: &Key, version: u64) -> Vec<Box<str>> {
        let mut state = self.write();
        if state.objects.get(key).is_none_or(|entry| entry.live.version > version) {
            return Vec::new();
        }
        state.forget(key)
    }

    /// Starts a list of one kind.
    pub fn begin_list(&self) -> Listing {
        let mut state = self.write();
        state.clock += 1;
        Listing(state.clock)
    }

    /// Ends a list: objects of the kind that it did not hold, and that nobody touched meanwhile, are gone.
    pub fn finish_list(&self, kind: Kind, listing: Listing) -> Vec<Box<str>> {
        let mut state = self.write();
        let gone: Vec<_> = state
            .objects
            .iter()
            .filter(|(key, entry)| key.kind == kind && entry.seen < listing.0)
            .map(|(key, _)| key.clone())
            .collect();
        gone.iter().flat_map(|key| state.forget(key)).collect()
    }
}

impl LiveObjects for Inventory {
    fn of_tenant(&self, tenant: &str) -> BTreeMap<Key, Arc<Live>> {
        self.of_tenant(tenant)
    }

    fn asking(&self, tenant: &str) -> BTreeMap<Key, Arc<Live>> {
        self.asking(tenant)
    }

    fn get(&self, key: &Key) -> Option<Arc<Live>> {
        self.get(key)
    }
}

impl State {
    /// What was in a namespace went with it.
    fn bury(&mut self, namespace: &str, tenant: Option<&str>) {
        self.clock += 1;
        let keys = tenant.and_then(|tenant| self.by_tenant.get(tenant));
        for key in keys.into_iter().flatten().filter(|key| *key.namespace == *namespace) {
            if let Some(entry) = self.objects.get_mut(key) {
                entry.buried = true;
                entry.seen = self.clock;
            }
        }
    }

    /// Whether a namespace is labelled as this tenant's.
    fn is_of(&self, namespace: &str, tenant: &str) -> bool {
        let live = self.objects.get(&Key::namespace(namespace)).and_then(Entry::standing);
        live.is_some_and(|live| live.tenant.as_deref() == Some(tenant))
    }

    /// The tenants that wait for a namespace, but for the one whose label it carries.
    fn waiting_for(&self, namespace: &str, tenant: Option<&str>) -> Vec<Box<str>> {
        let waiting = self.waiting.get(namespace).into_iter().flatten();
        waiting.filter(|waiting| Some(&***waiting) != tenant).cloned().collect()
    }

    fn wait_no_more(&mut self, namespace: &str, tenant: &str) {
        if let Some(tenants) = self.waiting.get_mut(namespace) {
            tenants.remove(tenant);
            if tenants.is_empty() {
                self.waiting.remove(namespace);
            }
        }
    }

    fn forget(&mut self, key: &Key) -> Vec<Box<str>> {
        if key.kind == Kind::Namespace {
            self.index_asking(key, None);
        }
        let Some(entry) = self.objects.remove(key) else {
            return Vec::new();
        };
        if key.kind == Kind::Namespace {
            self.bury(&key.name, entry.live.tenant.as_deref());
        }
        let mut concerned = Vec::new();
        if let Some(tenant) = &entry.live.tenant {
            self.unindex(tenant, key);
            concerned.push(tenant.clone());
        }
        if key.kind == Kind::Namespace {
            concerned.extend(self.waiting_for(&key.name, entry.live.tenant.as_deref()));
            concerned.extend(entry.live.asks.clone());
        }
        concerned
    }

    /// Notes for whom a namespace was made; gives that tenant.
    fn index_asking(&mut self, key: &Key, asks: Option<&str>) -> Option<Box<str>> {
        let before = self.objects.get(key).and_then(|entry| entry.live.asks.clone());
        for tenant in before.iter().filter(|before| Some(&***before) != asks) {
            if let Some(keys) = self.asking.get_mut(tenant) {
                keys.remove(key);
                if keys.is_empty() {
                    self.asking.remove(tenant);
                }
            }
        }
        let tenant: Box<str> = asks?.into();
        self.asking.entry(tenant.clone()).or_default().insert(key.clone());
        Some(tenant)
    }

    fn unindex(&mut self, tenant: &str, key: &Key) {
        if let Some(keys) = self.by_tenant.get_mut(tenant) {
            keys.remove(key);
            if keys.is_empty() {
                self.by_tenant.remove(tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use tenantry_api::names;

    fn live(version: u64, tenant: Option<&str>) -> Live {
        let labels = tenant.map_or(
            json!({}),
            |tenant| json!({ (names::MANAGED_BY): "tenantry", (names::TENANT): tenant }),
        );
        Live::from_value(json!({ "metadata": {
            "uid": "u", "resourceVersion": version.to_string(), "labels": labels, "managedFields": [{}],
            "ownerReferences": [{ "apiVersion": "tenantry.dev/v1alpha1", "kind": "Tenant", "uid": "t1" }],
        } }))
        .unwrap()
    }

    fn key() -> Key {
        Key::new(Kind::ConfigMap, "acme-dev", "tenant-limits")
    }

    #[test]
    fn the_echo_of_our_own_write_concerns_nobody() {
        let inventory = Inventory::default();
        assert_eq!(inventory.upsert(key(), live(5, Some("acme"))), ["acme".into()]);
        assert!(inventory.upsert(key(), live(5, Some("acme"))).is_empty());
        assert!(inventory.upsert(key(), live(4, Some("acme"))).is_empty());
        assert_eq!(inventory.of_tenant("acme").len(), 1);
    }

    #[tokio::test]
    async fn a_namespace_is_told_of_when_the_watch_has_come_to_its_version() {
        let inventory = Inventory::default();
        let mut told = Box::pin(inventory.until_namespace_told(5));
        inventory.namespace_told(4);
        assert!(futures::poll!(&mut told).is_pending());
        inventory.namespace_told(6);
        assert!(futures::poll!(&mut told).is_ready());
        inventory.namespace_told(3);
        assert!(futures::poll!(Box::pin(inventory.until_namespace_told(6))).is_ready());
    }

    #[test]
    fn a_late_delete_does_not_remove_what_was_created_again() {
        let inventory = Inventory::default();
        inventory.upsert(key(), live(9, Some("acme")));
        assert!(inventory.remove(&key(), 8).is_empty());
        assert_eq!(inventory.remove(&key(), 10), ["acme".into()]);
        assert!(inventory.of_tenant("acme").is_empty());
    }

    #[test]
    fn a_list_removes_what_it_does_not_hold_but_not_what_was_written_meanwhile() {
        let inventory = Inventory::default();
        let other = Key::new(Kind::ConfigMap, "acme-prod", "tenant-limits");
        inventory.upsert(key(), live(1, Some("acme")));
        let listing = inventory.begin_list();
        inventory.upsert(other.clone(), live(2, Some("acme")));
        assert_eq!(inventory.finish_list(Kind::ConfigMap, listing), ["acme".into()]);
        assert!(inventory.get(&key()).is_none());
        assert!(inventory.get(&other).is_some());
    }

    #[test]
    fn an_object_that_changes_tenant_concerns_both() {
        let inventory = Inventory::default();
        inventory.upsert(key(), live(1, Some("acme")));
        assert_eq!(
            inventory.upsert(key(), live(2, Some("zebra"))),
            ["zebra".into(), "acme".into()]
        );
        assert!(inventory.of_tenant("acme").is_empty());
    }

    #[test]
    fn a_foreign_namespace_wakes_the_tenant_that_waits_for_it() {
        let inventory = Inventory::default();
        let namespace = Key::namespace("acme-dev");
        inventory.upsert(namespace.clone(), live(1, None));
        inventory.wait_for_namespace("acme-dev", "acme");
        assert_eq!(inventory.remove(&namespace, 2), ["acme".into()]);
    }

    #[test]
    fn a_namespace_that_was_made_for_a_tenant_asks_until_it_is_the_tenants_or_gone() {
        let inventory = Inventory::default();
        let namespace = Key::namespace("acme-web");
        let asking = |version: u64| {
            let metadata =
                json!({ "uid": "u", "resourceVersion": version.to_string(), "labels": { (names::TENANT): "acme" } });
            Live::from_value(json!({ "metadata": metadata })).unwrap()
        };
        assert_eq!(inventory.upsert(namespace.clone(), asking(1)), ["acme".into()]);
        assert_eq!(inventory.asking("acme").len(), 1);
        assert!(inventory.of_tenant("acme").is_empty());
        inventory.upsert(namespace.clone(), live(2, Some("acme")));
        assert!(inventory.asking("acme").is_empty());
        let other = Key::namespace("acme-db");
        inventory.upsert(other.clone(), asking(3));
        assert_eq!(inventory.remove(&other, 4), ["acme".into()]);
        assert!(inventory.asking("acme").is_empty());
    }

    #[test]
    fn what_was_in_a_namespace_does_not_stand_in_the_next_of_its_name_however_late_that_is_told() {
        let object = |uid: &str, version: u64| {
            let labels = json!({ (names::MANAGED_BY): "tenantry", (names::TENANT): "acme" });
            let metadata = json!({ "uid": uid, "resourceVersion": version.to_string(), "labels": labels });
            Live::from_value(json!({ "metadata": metadata })).unwrap()
        };
        let inventory = Inventory::default();
        let home = Key::namespace("acme-dev");
        inventory.upsert(home.clone(), object("n1", 1));
        inventory.upsert(key(), object("c1", 2));
        inventory.remove(&home, 5);
        assert_eq!(inventory.get(&key()), None, "it went with its namespace");
        inventory.created_namespace(home.clone(), object("n2", 6).into());
        inventory.upsert(key(), object("c1", 4));
        assert_eq!(inventory.get(&key()), None, "a late word of what went");
        assert_eq!(inventory.counts()[&Kind::ConfigMap], 0);
        inventory.upsert(key(), object("c2", 7));
        inventory.remove(&key(), 5);
        assert_eq!(inventory.of_tenant("acme").len(), 2, "the new one stands");
        inventory.upsert(home, object("n3", 9));
        assert_eq!(inventory.get(&key()), None, "nobody told that the second went");
    }

    #[test]
    fn a_tenant_waits_for_what_it_asked_for_last_and_for_no_more() {
        let inventory = Inventory::default();
        inventory.wait_for_namespaces("acme", ["acme-a", "acme-b"]);
        inventory.wait_for_namespaces("zebra", ["acme-b"]);
        inventory.wait_for_namespaces("acme", ["acme-b"]);
        assert!(inventory.upsert(Key::namespace("acme-a"), live(1, None)).is_empty());
        for version in [2, 3] {
            let concerned = inventory.upsert(Key::namespace("acme-b"), live(version, None));
            assert_eq!(concerned, ["acme".into(), "zebra".into()], "at each change");
        }
        inventory.wait_for_none("acme");
        let concerned = inventory.upsert(Key::namespace("acme-b"), live(4, None));
        assert_eq!(concerned, ["zebra".into()]);
        inventory.forget_waiting(|tenant| tenant != "zebra");
        assert_eq!(inventory.waiting(), 0);
        assert!(inventory.read().awaited.is_empty());
    }

    #[test]
    fn a_namespace_of_the_tenant_wakes_it_once_a_change() {
        let inventory = Inventory::default();
        inventory.wait_for_namespaces("acme", ["acme-a"]);
        let namespace = Key::namespace("acme-a");
        assert_eq!(
            inventory.upsert(namespace.clone(), live(1, Some("acme"))),
            ["acme".into()]
        );
        inventory.wait_for_namespaces("acme", ["acme-a"]);
        assert_eq!(inventory.waiting(), 0, "its label wakes the tenant");
        assert_eq!(inventory.remove(&namespace, 2), ["acme".into()]);
    }

    #[test]
    fn an_object_that_a_restore_brought_back_is_seen_by_the_list() {
        let inventory = Inventory::default();
        let home = Key::namespace("acme-dev");
        let list = |version| {
            let listing = inventory.begin_list();
            assert!(!inventory.holds(&key(), version, Some(listing)));
            inventory.listed(key(), live(version, Some("acme")), listing);
            inventory.finish_list(Kind::ConfigMap, listing);
        };
        inventory.upsert(home.clone(), live(1, Some("acme")));
        list(5);
        inventory.remove(&home, 9);
        assert_eq!(inventory.get(&key()), None, "it went with its namespace");
        list(5);
        assert_eq!(inventory.get(&key()).map(|live| live.version), Some(5));
        let listing = inventory.begin_list();
        inventory.upsert(home.clone(), live(10, Some("acme")));
        inventory.remove(&home, 11);
        inventory.listed(key(), live(5, Some("acme")), listing);
        assert_eq!(inventory.get(&key()), None, "its namespace went after the list began");
    }
}
