//! The live managed objects and all Namespaces, by tenant.
//!
//! Watches and the answers to our own writes feed it. The object with the higher resourceVersion wins: Kubernetes 1.35
//! guarantees that resourceVersions are ordered, and earlier versions order them too. So a reconcile sees its own
//! writes at once, and the watch event that echoes a write wakes no tenant. After a restore of etcd, versions are lower
//! than before. A list reads the newest state, so it replaces everything that was known before the list began.

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
    /// The newest version of any Namespace in an event of the watch. The watch delivers versions in order.
    newest_namespace: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    objects: HashMap<Key, Entry>,
    by_tenant: HashMap<Box<str>, BTreeSet<Key>>,
    /// Namespaces that an owner made for a tenant and that the tenant does not have yet.
    asking: HashMap<Box<str>, BTreeSet<Key>>,
    /// Namespaces that tenants wait for though they do not have them, with those tenants.
    waiting: HashMap<Box<str>, BTreeSet<Box<str>>>,
    /// The same, by tenant.
    awaited: HashMap<Box<str>, BTreeSet<Box<str>>>,
    clock: u64,
}

#[derive(Debug)]
struct Entry {
    live: Arc<Live>,
    /// When the last event, list, own write or end of its namespace concerned this object.
    seen: u64,
    /// Its namespace was deleted, so the object is gone although its own watch has not reported that yet. Watches of
    /// different kinds are not in step. A namespace can be deleted and created again before the watch of its guards
    /// reports that the first ones are gone.
    deleted_with_namespace: bool,
}

impl Entry {
    fn existing(&self) -> Option<&Arc<Live>> {
        (!self.deleted_with_namespace).then_some(&self.live)
    }

    /// Whether this version brings nothing new. If `listing` delivers it, it replaces everything that was known when
    /// the list began, even a higher version.
    fn covers(&self, version: u64, listing: Option<Listing>) -> bool {
        match listing {
            Some(listing) if self.seen < listing.0 => self.live.version == version && !self.deleted_with_namespace,
            Some(_) | None => self.live.version >= version,
        }
    }
}

/// Marks the start of a list. The end of the list uses it to find the objects that the list did not contain.
#[derive(Clone, Copy, Debug)]
pub struct Listing(u64);

impl Inventory {
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Number of managed objects of each kind.
    pub fn counts(&self) -> BTreeMap<Kind, usize> {
        let mut counts: BTreeMap<Kind, usize> = Kind::ALL.into_iter().map(|kind| (kind, 0)).collect();
        let state = self.read();
        let managed = |entry: &Entry| entry.existing().is_some_and(|live| live.tenant.is_some());
        for (key, _) in state.objects.iter().filter(|(_, entry)| managed(entry)) {
            *counts.entry(key.kind).or_default() += 1;
        }
        counts
    }

    /// From now on, changes of these namespaces wake `tenant`, and changes of no others that it waited for before. A
    /// namespace with the tenant's label wakes the tenant anyway.
    pub fn wait_for_namespaces<'a>(&self, tenant: &str, namespaces: impl IntoIterator<Item = &'a str>) {
        let mut state = self.write();
        let namespaces = namespaces.into_iter().filter(|name| !state.is_of(name, tenant));
        let wanted: BTreeSet<Box<str>> = namespaces.map(Into::into).collect();
        let before = state.awaited.remove(tenant).unwrap_or_default();
        for name in before.difference(&wanted) {
            state.stop_waiting(name, tenant);
        }
        for name in &wanted {
            state.waiting.entry(name.clone()).or_default().insert(tenant.into());
        }
        if !wanted.is_empty() {
            state.awaited.insert(tenant.into(), wanted);
        }
    }

    /// From now on, changes of this namespace also wake `tenant`, until the next [`Self::wait_for_namespaces`].
    pub fn wait_for_namespace(&self, namespace: &str, tenant: &str) {
        let mut state = self.write();
        if !state.is_of(namespace, tenant) {
            state.waiting.entry(namespace.into()).or_default().insert(tenant.into());
            state.awaited.entry(tenant.into()).or_default().insert(namespace.into());
        }
    }

    /// Forgets all namespaces that a tenant waits for.
    pub fn wait_for_none(&self, tenant: &str) {
        self.wait_for_namespaces(tenant, []);
    }

    /// Forgets the waits of tenants that do not exist. `is_there` runs under the lock, so no tenant can start to wait
    /// meanwhile.
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
                state.stop_waiting(&name, &tenant);
            }
        }
    }

    /// Number of namespaces that tenants wait for.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.read().waiting.len()
    }

    /// Applies a newer version of an object. Returns the tenants to wake: none if the version is not newer.
    pub fn upsert(&self, key: Key, live: impl Into<Arc<Live>>) -> Vec<Box<str>> {
        self.take(key, live.into(), None)
    }

    /// Applies an object from a list, even if its version is lower. Ignores it if something newer was seen since the
    /// list began.
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
            // An object that was deleted with its namespace stays deleted; late events about it are ignored.
            if covered || (is_late && entry.deleted_with_namespace && entry.live.uid == live.uid) {
                return Vec::new();
            }
            if key.kind == Kind::Namespace && entry.live.uid != live.uid {
                let before = entry.live.tenant.clone();
                state.mark_deleted_with_namespace(&key.name, before.as_deref());
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
                deleted_with_namespace: false,
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

    /// Applies a Namespace that was just created: it cannot contain any managed object yet.
    pub fn created_namespace(&self, key: Key, live: Arc<Live>) {
        self.write()
            .mark_deleted_with_namespace(&key.name, live.tenant.as_deref());
        self.upsert(key, live);
    }

    /// Whether the inventory already contains this version of an object, or a newer one. Most events echo one of our
    /// own writes, and this check saves converting those to text. With `listing`, "newer" has the meaning of
    /// [`Self::listed`].
    pub fn is_current(&self, key: &Key, version: u64, listing: Option<Listing>) -> bool {
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

    /// Notes that an event of the watch delivered this version of a Namespace.
    pub fn saw_namespace(&self, version: u64) {
        self.newest_namespace.send_if_modified(|newest| {
            let newer = *newest < version;
            *newest = version.max(*newest);
            newer
        });
    }

    /// Waits until the watch has delivered this version of a Namespace.
    pub async fn until_namespace_seen(&self, version: u64) {
        // The sender lives as long as the inventory, so this cannot fail.
        let _ = self
            .newest_namespace
            .subscribe()
            .wait_for(|newest| *newest >= version)
            .await;
    }

    /// Forgets an object that was deleted at `version`, unless a newer object has its name.
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

    /// Ends a list: objects of the kind that the list did not contain, and that nothing concerned meanwhile, are gone.
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
        let state = self.read();
        let keys = state.by_tenant.get(tenant).into_iter().flatten();
        keys.filter_map(|key| Some((key.clone(), state.objects.get(key)?.existing()?.clone())))
            .collect()
    }

    fn asking(&self, tenant: &str) -> BTreeMap<Key, Arc<Live>> {
        let state = self.read();
        let keys = state.asking.get(tenant).into_iter().flatten();
        keys.filter_map(|key| state.objects.get(key).map(|entry| (key.clone(), entry.live.clone())))
            .collect()
    }

    fn get(&self, key: &Key) -> Option<Arc<Live>> {
        self.read().objects.get(key)?.existing().cloned()
    }
}

impl State {
    /// Marks the tenant's objects in a namespace as deleted together with the namespace.
    fn mark_deleted_with_namespace(&mut self, namespace: &str, tenant: Option<&str>) {
        self.clock += 1;
        let keys = tenant.and_then(|tenant| self.by_tenant.get(tenant));
        for key in keys.into_iter().flatten().filter(|key| *key.namespace == *namespace) {
            if let Some(entry) = self.objects.get_mut(key) {
                entry.deleted_with_namespace = true;
                entry.seen = self.clock;
            }
        }
    }

    /// Whether a namespace has this tenant's label.
    fn is_of(&self, namespace: &str, tenant: &str) -> bool {
        let live = self.objects.get(&Key::namespace(namespace)).and_then(Entry::existing);
        live.is_some_and(|live| live.tenant.as_deref() == Some(tenant))
    }

    /// The tenants that wait for a namespace, except the one whose label it has.
    fn waiting_for(&self, namespace: &str, tenant: Option<&str>) -> Vec<Box<str>> {
        let waiting = self.waiting.get(namespace).into_iter().flatten();
        waiting.filter(|waiting| Some(&***waiting) != tenant).cloned().collect()
    }

    fn stop_waiting(&mut self, namespace: &str, tenant: &str) {
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
            self.mark_deleted_with_namespace(&key.name, entry.live.tenant.as_deref());
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

    /// Notes the tenant for which a namespace was made; returns that tenant.
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
    fn the_echo_of_our_own_write_wakes_no_tenant() {
        let inventory = Inventory::default();
        assert_eq!(inventory.upsert(key(), live(5, Some("acme"))), ["acme".into()]);
        assert!(inventory.upsert(key(), live(5, Some("acme"))).is_empty());
        assert!(inventory.upsert(key(), live(4, Some("acme"))).is_empty());
        assert_eq!(inventory.of_tenant("acme").len(), 1);
    }

    #[tokio::test]
    async fn a_wait_for_a_namespace_ends_at_its_version_or_a_newer_one() {
        let inventory = Inventory::default();
        let mut seen = Box::pin(inventory.until_namespace_seen(5));
        inventory.saw_namespace(4);
        assert!(futures::poll!(&mut seen).is_pending());
        inventory.saw_namespace(6);
        assert!(futures::poll!(&mut seen).is_ready());
        inventory.saw_namespace(3);
        assert!(futures::poll!(Box::pin(inventory.until_namespace_seen(6))).is_ready());
    }

    #[test]
    fn a_late_delete_does_not_remove_a_newer_object() {
        let inventory = Inventory::default();
        inventory.upsert(key(), live(9, Some("acme")));
        assert!(inventory.remove(&key(), 8).is_empty());
        assert_eq!(inventory.remove(&key(), 10), ["acme".into()]);
        assert!(inventory.of_tenant("acme").is_empty());
    }

    #[test]
    fn a_list_removes_missing_objects_but_not_newer_writes() {
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
    fn an_object_that_changes_tenant_wakes_both() {
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
    fn a_namespace_made_for_a_tenant_asks_until_adopted_or_deleted() {
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
    fn objects_of_a_deleted_namespace_are_not_in_its_successor() {
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
        assert_eq!(inventory.get(&key()), None, "it was deleted with its namespace");
        inventory.created_namespace(home.clone(), object("n2", 6).into());
        inventory.upsert(key(), object("c1", 4));
        assert_eq!(inventory.get(&key()), None, "a late event about the deleted object");
        assert_eq!(inventory.counts()[&Kind::ConfigMap], 0);
        inventory.upsert(key(), object("c2", 7));
        inventory.remove(&key(), 5);
        assert_eq!(inventory.of_tenant("acme").len(), 2, "the namespace and the new object");
        inventory.upsert(home, object("n3", 9));
        assert_eq!(
            inventory.get(&key()),
            None,
            "deleted with the second namespace, though no event reported that"
        );
    }

    #[test]
    fn a_tenant_waits_only_for_the_namespaces_it_named_last() {
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
    fn a_namespace_of_a_tenant_wakes_it_once_per_change() {
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
    fn a_list_adds_an_object_that_a_restore_brought_back() {
        let inventory = Inventory::default();
        let home = Key::namespace("acme-dev");
        let list = |version| {
            let listing = inventory.begin_list();
            assert!(!inventory.is_current(&key(), version, Some(listing)));
            inventory.listed(key(), live(version, Some("acme")), listing);
            inventory.finish_list(Kind::ConfigMap, listing);
        };
        inventory.upsert(home.clone(), live(1, Some("acme")));
        list(5);
        inventory.remove(&home, 9);
        assert_eq!(inventory.get(&key()), None, "it was deleted with its namespace");
        list(5);
        assert_eq!(inventory.get(&key()).map(|live| live.version), Some(5));
        let listing = inventory.begin_list();
        inventory.upsert(home.clone(), live(10, Some("acme")));
        inventory.remove(&home, 11);
        inventory.listed(key(), live(5, Some("acme")), listing);
        assert_eq!(
            inventory.get(&key()),
            None,
            "its namespace was deleted after the list began"
        );
    }
}
