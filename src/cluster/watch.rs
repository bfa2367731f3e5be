//! Watches that feed the inventory and wake tenants.
//!
//! Namespaces are watched without a selector. So the operator sees a foreign namespace that has a tenant's name, or one
//! annotated for adoption, without a call. Every other kind is selected by our managed-by label.

use std::sync::Arc;

use futures::{Stream, StreamExt as _};
use kube::{
    Api,
    api::DynamicObject,
    runtime::watcher::{self, Event},
};
use tokio::sync::mpsc::UnboundedSender;

use super::{Inventory, inventory::Listing};
use tenantry_api::names;
use tenantry_core::object::{Key, Kind, Live};
use tenantry_process::{source::Source, watches::Watch};

/// Gets notified of the lists and failures of one kind's watch.
pub trait Observer: Send + Sync {
    /// The kind was listed completely: an object that is not in the inventory is now known not to exist.
    fn synced(&self, kind: Kind);
    /// The watch failed; it is retried with back-off.
    fn failed(&self, kind: Kind, error: &watcher::Error);
}

/// Watches one kind until aborted, and wakes the tenants whose objects change.
pub async fn watch(
    source: Source,
    health: Watch,
    kind: Kind,
    inventory: Arc<Inventory>,
    wake: UnboundedSender<Box<str>>,
    observer: Arc<dyn Observer>,
) {
    let resource = kind.api_resource();
    let api = move |client| Api::<DynamicObject>::all_with(client, &resource);
    let selector = format!("{}={}", names::MANAGED_BY, names::MANAGED_BY_US);
    let config = match kind {
        Kind::Namespace => watcher::Config::default(),
        _ => watcher::Config::default().labels(&selector),
    };
    follow(source.watch(health, api, config), kind, &inventory, &wake, &*observer).await;
}

/// Applies every event of a watch to the inventory.
async fn follow(
    events: impl Stream<Item = Result<Event<DynamicObject>, watcher::Error>>,
    kind: Kind,
    inventory: &Inventory,
    wake: &UnboundedSender<Box<str>>,
    observer: &dyn Observer,
) {
    let mut events = std::pin::pin!(events);
    let mut listing: Option<Listing> = None;
    while let Some(event) = events.next().await {
        if let (Kind::Namespace, Ok(Event::Apply(object) | Event::Delete(object))) = (kind, &event)
            && let Some((_, version)) = identity(kind, object)
        {
            inventory.saw_namespace(version);
        }
        let concerned = match event {
            Ok(Event::Init) => {
                listing = Some(inventory.begin_list());
                Vec::new()
            }
            Ok(Event::InitApply(object)) => take(kind, object, listing, inventory),
            Ok(Event::Apply(object)) => take(kind, object, None, inventory),
            Ok(Event::Delete(object)) => {
                identity(kind, &object).map_or_else(Vec::new, |(key, version)| inventory.remove(&key, version))
            }
            Ok(Event::InitDone) => {
                let gone = listing
                    .take()
                    .map_or_else(Vec::new, |listing| inventory.finish_list(kind, listing));
                observer.synced(kind);
                gone
            }
            Err(error) => {
                observer.failed(kind, &error);
                Vec::new()
            }
        };
        for tenant in concerned {
            // A closed channel means that the process is shutting down.
            let _ = wake.send(tenant);
        }
    }
}

/// Applies an object from a list or an event; returns the tenants to wake.
fn take(kind: Kind, object: DynamicObject, listing: Option<Listing>, inventory: &Inventory) -> Vec<Box<str>> {
    let Some((key, version)) = identity(kind, &object) else {
        return Vec::new();
    };
    if inventory.is_current(&key, version, listing) {
        return Vec::new();
    }
    let live = serde_json::to_value(object).ok().and_then(Live::from_value);
    match (live, listing) {
        (None, _) => Vec::new(),
        (Some(live), Some(listing)) => inventory.listed(key, live, listing),
        (Some(live), None) => inventory.upsert(key, live),
    }
}

fn identity(kind: Kind, object: &DynamicObject) -> Option<(Key, u64)> {
    let metadata = &object.metadata;
    let key = Key::new(
        kind,
        metadata.namespace.as_deref().unwrap_or_default(),
        metadata.name.as_deref()?,
    );
    let version = metadata.resource_version.as_deref()?.parse().ok()?;
    Some((key, version))
}

/// Forgets every object of a kind that is no longer served.
pub fn forget(kind: Kind, inventory: &Inventory, wake: &UnboundedSender<Box<str>>) {
    let listing = inventory.begin_list();
    for tenant in inventory.finish_list(kind, listing) {
        let _ = wake.send(tenant);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures::{FutureExt as _, stream};
    use serde_json::json;

    use super::*;
    use tenantry_core::tenant::facts::LiveObjects as _;

    #[derive(Default)]
    struct Heard(Mutex<Vec<&'static str>>);

    impl Observer for Heard {
        fn synced(&self, _: Kind) {
            self.0.lock().unwrap().push("synced");
        }
        fn failed(&self, _: Kind, _: &watcher::Error) {
            self.0.lock().unwrap().push("failed");
        }
    }

    fn quota(name: &str, version: u64) -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "ResourceQuota",
            "metadata": {
                "name": name, "namespace": "acme-dev", "uid": name, "resourceVersion": version.to_string(),
                "labels": { (names::MANAGED_BY): names::MANAGED_BY_US, (names::TENANT): "acme" },
            },
        }))
        .unwrap()
    }

    #[test]
    fn a_relist_wakes_the_tenant_once_for_each_change() {
        let inventory = Inventory::default();
        let (wake, mut woken) = tokio::sync::mpsc::unbounded_channel();
        let heard = Heard::default();
        let events = stream::iter([
            Ok(Event::Init),
            Ok(Event::InitApply(quota("one", 1))),
            Ok(Event::InitApply(quota("two", 2))),
            Ok(Event::InitDone),
            Ok(Event::Apply(quota("one", 3))),
            Ok(Event::Apply(quota("one", 3))),
            Ok(Event::Init),
            Ok(Event::InitApply(quota("one", 3))),
            Ok(Event::InitDone),
            Ok(Event::Delete(quota("one", 4))),
        ]);
        follow(events, Kind::ResourceQuota, &inventory, &wake, &heard)
            .now_or_never()
            .unwrap();
        drop(wake);
        let woken: Vec<_> = std::iter::from_fn(|| woken.try_recv().ok()).collect();
        assert_eq!(
            woken.len(),
            5,
            "two created, one changed, one gone at the relist, one deleted"
        );
        assert_eq!(*heard.0.lock().unwrap(), ["synced", "synced"]);
        assert!(inventory.of_tenant("acme").is_empty());
    }

    /// The version of quota `one` in the inventory after these events.
    fn version_after(inventory: &Inventory, events: impl Stream<Item = Event<DynamicObject>>) -> Option<u64> {
        let (wake, _woken) = tokio::sync::mpsc::unbounded_channel();
        let events = events.map(Ok);
        follow(events, Kind::ResourceQuota, inventory, &wake, &Heard::default())
            .now_or_never()
            .unwrap();
        let key = Key::new(Kind::ResourceQuota, "acme-dev", "one");
        inventory.get(&key).map(|live| live.version)
    }

    #[test]
    fn a_relist_after_an_etcd_restore_corrects_the_inventory() {
        let inventory = Inventory::default();
        let list = |version| [Event::Init, Event::InitApply(quota("one", version)), Event::InitDone];
        assert_eq!(version_after(&inventory, stream::iter(list(100))), Some(100));
        assert_eq!(version_after(&inventory, stream::iter(list(50))), Some(50));
        let event = |version| stream::iter([Event::Apply(quota("one", version))]);
        assert_eq!(version_after(&inventory, event(51)), Some(51));
        assert_eq!(
            version_after(&inventory, event(49)),
            Some(51),
            "a late event changes nothing"
        );
    }

    #[test]
    fn an_own_write_during_a_list_outlives_the_list() {
        let inventory = Inventory::default();
        let write = |version| {
            let key = Key::new(Kind::ResourceQuota, "acme-dev", "one");
            let body = serde_json::to_value(quota("one", version)).unwrap();
            inventory.upsert(key, Live::from_value(body).unwrap());
        };
        write(4);
        let events = stream::iter([Event::Init, Event::InitApply(quota("one", 4)), Event::InitDone]);
        let events = events.inspect(|event| {
            if let Event::InitApply(_) = event {
                write(5);
            }
        });
        assert_eq!(version_after(&inventory, events), Some(5));
    }
}
