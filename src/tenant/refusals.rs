//! Recent refusals by tenants' quotas. When a controller cannot create an object, it reports that and the reason in a
//! `FailedCreate` event.
//!
//! Refusals only move the spread of a grant. An owner who forges such an event moves only their own tenant's spread.

mod watch;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use k8s_openapi::api::core::v1::Event;
use kube::ResourceExt as _;

use crate::cluster::Inventory;
use tenantry_api::names;
use tenantry_core::tenant::facts::LiveObjects as _;
use tenantry_core::{allocation::Refusal, object::Key};
use tenantry_process::clock::{Clock, Monotonic};

pub use watch::watch;

/// How long a refusal counts. Controllers retry after at most 1,000 s (the default rate limiter of client-go's work
/// queues) and then report the refusal again. If nothing is reported in that time, the object is no longer wanted.
pub const RECENT: Duration = Duration::from_secs(20 * 60);

/// Number of refusals kept for one namespace; each waiting workload has one. Only somebody who floods it causes more.
const KEPT: usize = 16;

/// Maximum bytes of a message that is parsed. The API server accepts events of more than a megabyte, and a tenant can
/// make controllers write them, because they quote what Pod Security found in a pod's fields.
const LONGEST: usize = 2048;

/// Maximum number of resources in a refusal; no quota of ours has more.
const RESOURCES: usize = 32;

/// Events of one namespace that are parsed within [`MINUTE`]; an owner can forge any number. For each workload,
/// client-go's recorder sends a burst of 25 and then one in five minutes.
const HEARD: u32 = 200;
const MINUTE: Duration = Duration::from_secs(60);

/// Refusals by namespace.
#[derive(Debug, Default)]
pub struct Refusals {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    by_namespace: HashMap<String, Heard>,
    /// When namespaces without a current refusal were last dropped.
    swept: Option<Monotonic>,
}

/// The events of one namespace.
#[derive(Debug)]
struct Heard {
    /// By the event's name.
    entries: BTreeMap<String, Entry>,
    /// When the current minute began, and how many events were parsed in it.
    minute: Monotonic,
    events: u32,
}

impl Heard {
    /// Forgets expired refusals; returns whether anything is left to remember.
    fn expire(&mut self, now: Monotonic) -> bool {
        self.entries.retain(|_, entry| entry.until > now);
        !self.entries.is_empty() || now.since(self.minute) < MINUTE
    }
}

#[derive(Debug)]
struct Entry {
    refusal: Refusal,
    until: Monotonic,
}

impl Refusals {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more event of this namespace; returns whether it may still be parsed in this minute.
    fn admits(&self, namespace: &str, now: Monotonic) -> bool {
        let mut state = self.lock();
        // Once a minute and not at each event: there may be as many namespaces as events.
        if state.swept.is_none_or(|swept| now.since(swept) >= MINUTE) {
            state.swept = Some(now);
            state.by_namespace.retain(|_, heard| heard.expire(now));
        }
        let heard = state.by_namespace.entry(namespace.to_owned()).or_insert(Heard {
            entries: BTreeMap::new(),
            minute: now,
            events: 0,
        });
        if now.since(heard.minute) >= MINUTE {
            (heard.minute, heard.events) = (now, 0);
        }
        heard.events = heard.events.saturating_add(1);
        heard.events <= HEARD
    }

    /// Stores the refusal in the event called `event`, replacing the earlier one. The namespace must have been
    /// admitted.
    fn take(&self, namespace: &str, event: &str, refusal: Refusal, now: Monotonic, until: Monotonic) {
        let mut state = self.lock();
        let Some(heard) = state.by_namespace.get_mut(namespace) else {
            return;
        };
        heard.expire(now);
        let entries = &mut heard.entries;
        entries.insert(event.to_owned(), Entry { refusal, until });
        if entries.len() > KEPT {
            let oldest = entries.iter().min_by_key(|(_, entry)| entry.until);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                entries.remove(&oldest);
            }
        }
    }

    /// Recent refusals by a namespace's quota, and the time until the first of them expires.
    pub fn of(&self, namespace: &str, now: Monotonic) -> (Vec<Refusal>, Option<Duration>) {
        let mut state = self.lock();
        let Some(heard) = state.by_namespace.get_mut(namespace) else {
            return (Vec::new(), None);
        };
        let is_needed = heard.expire(now);
        let entries = heard.entries.values();
        let refusals = entries.clone().map(|entry| entry.refusal.clone()).collect();
        let ends = entries.map(|entry| entry.until.since(now)).min();
        if !is_needed {
            state.by_namespace.remove(namespace);
        }
        (refusals, ends)
    }
}

/// Stores the refusal that an event reports; returns the tenant, or `None` if the event reports no recent refusal of
/// ours.
fn hear(event: &Event, refusals: &Refusals, inventory: &Inventory, clock: &dyn Clock) -> Option<Box<str>> {
    let namespace = event.involved_object.namespace.as_deref()?;
    let tenant = inventory.get(&Key::namespace(namespace))?.tenant.clone()?;
    let now = clock.monotonic();
    if !refusals.admits(namespace, now) {
        return None;
    }
    let refusal = refusal(event.message.as_deref()?)?;
    let series = event
        .series
        .as_ref()
        .and_then(|series| series.last_observed_time.as_ref());
    let last = series
        .or(event.event_time.as_ref())
        .map(|time| time.0)
        .max(event.last_timestamp.as_ref().map(|time| time.0))?;
    // If our clock differs from the API server's, the refusal counts longer or shorter, but it always expires.
    let age = Duration::try_from(clock.now().duration_since(last)).unwrap_or_default();
    let left = RECENT.checked_sub(age).filter(|left| !left.is_zero())?;
    refusals.take(namespace, &event.name_any(), refusal, now, now.plus(left));
    Some(tenant)
}

/// The refusal by our quota that a message reports. It must directly follow "is forbidden: ", because a tenant can have
/// the same words quoted later in the message.
fn refusal(message: &str) -> Option<Refusal> {
    let (_, why) = message
        .split_once(" is forbidden: ")
        .filter(|_| message.len() <= LONGEST)?;
    Refusal::parse(why)
        .filter(|refusal| why.starts_with("exceeded quota: ") && refusal.quota == names::OBJECT)
        .filter(|refusal| refusal.requested.len() <= RESOURCES && refusal.used.len() <= RESOURCES)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tenant::fixture;
    use tenantry_process::clock::TestClock;

    fn event(name: &str, namespace: &str, at: &str, message: &str) -> Event {
        serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Event", "metadata": { "name": name, "namespace": namespace },
            "involvedObject": { "kind": "ReplicaSet", "name": "web", "namespace": namespace },
            "reason": "FailedCreate", "message": message, "lastTimestamp": at,
        }))
        .unwrap()
    }

    fn refused(pods: u32) -> String {
        format!(
            "Error creating: pods \"web-x\" is forbidden: exceeded quota: tenantry, requested: pods={pods}, used: pods=5, limited: pods=5"
        )
    }

    struct Stage {
        refusals: Refusals,
        inventory: Inventory,
        clock: TestClock,
    }

    impl Stage {
        fn new() -> Self {
            let inventory = Inventory::default();
            inventory.upsert(Key::namespace("acme-dev"), fixture::live_namespace(&json!({})));
            Self {
                refusals: Refusals::default(),
                inventory,
                clock: TestClock::new("2026-01-01T01:00:00Z".parse().unwrap()),
            }
        }

        fn hear(&self, event: &Event) -> Option<Box<str>> {
            hear(event, &self.refusals, &self.inventory, &self.clock)
        }

        fn count(&self) -> usize {
            self.refusals.of("acme-dev", self.clock.monotonic()).0.len()
        }
    }

    #[test]
    fn a_refusal_expires_unless_it_is_repeated() {
        let stage = Stage::new();
        let first = event("web", "acme-dev", "2026-01-01T00:59:00Z", &refused(1));
        assert_eq!(stage.hear(&first).as_deref(), Some("acme"));
        let (_, ends) = stage.refusals.of("acme-dev", stage.clock.monotonic());
        assert_eq!(ends, RECENT.checked_sub(Duration::from_secs(60)));
        stage.clock.advance(RECENT / 2);
        stage.hear(&event("web", "acme-dev", "2026-01-01T01:10:00Z", &refused(2)));
        stage.clock.advance(RECENT / 2);
        assert_eq!(stage.count(), 1, "it was repeated");
        stage.clock.advance(RECENT / 2);
        assert_eq!(stage.count(), 0);
    }

    #[test]
    fn old_foreign_and_malformed_refusals_are_ignored() {
        let stage = Stage::new();
        let now = "2026-01-01T01:00:00Z";
        let other = refused(1).replace("quota: tenantry", "quota: mine");
        // The message of Pod Security about a pod whose field contains those words.
        let quoted = r#"Error creating: pods "web-x" is forbidden: violates PodSecurity "restricted:latest": seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type "is forbidden: exceeded quota: tenantry, requested: pods=30, used: pods=0, limited: pods=0")"#;
        let list: Vec<String> = (0..=RESOURCES).map(|n| format!("{n}=1")).collect();
        let many = refused(1).replace("pods=1", &list.join(","));
        let long = refused(1).replace("web-x", &"x".repeat(LONGEST));
        for event in [
            event("a", "acme-dev", "2026-01-01T00:40:00Z", &refused(1)),
            event("b", "acme-dev", now, &other),
            event("e", "acme-dev", now, quoted),
            event("f", "acme-dev", now, &many),
            event("g", "acme-dev", now, &long),
            event("c", "elsewhere", now, &refused(1)),
            event("d", "acme-dev", now, "Error creating: node out of range"),
        ] {
            assert_eq!(stage.hear(&event), None, "{event:?}");
        }
        assert_eq!(stage.count(), 0);
    }

    #[test]
    fn a_flood_of_refusals_is_bounded() {
        let stage = Stage::new();
        for n in 0..KEPT + 10 {
            stage.hear(&event(
                &format!("e{n}"),
                "acme-dev",
                "2026-01-01T01:00:00Z",
                &refused(1),
            ));
        }
        assert_eq!(stage.count(), KEPT);
    }

    #[test]
    fn forged_events_wake_a_tenant_at_most_so_often_a_minute() {
        let stage = Stage::new();
        let wakes = |events: std::ops::Range<u32>| {
            let event = |n: u32| event(&format!("e{n}"), "acme-dev", "2026-01-01T01:00:00Z", &refused(1));
            events.filter(|&n| stage.hear(&event(n)).is_some()).count()
        };
        assert_eq!(wakes(0..5_000), HEARD as usize, "in one minute");
        stage.clock.advance(Duration::from_secs(61));
        assert_eq!(wakes(5_000..5_010), 10, "in the next");
    }

    #[test]
    fn a_flood_in_one_namespace_leaves_others_heard() {
        let stage = Stage::new();
        let other = Key::namespace("acme-prod");
        let live = fixture::live(&other, &json!({}));
        stage.inventory.upsert(other, live);
        let at = "2026-01-01T01:00:00Z";
        for n in 0..HEARD + 10 {
            stage.hear(&event(&format!("e{n}"), "acme-dev", at, &refused(1)));
        }
        let heard = stage.hear(&event("web", "acme-prod", at, &refused(1)));
        assert_eq!(heard.as_deref(), Some("acme"));
    }

    #[test]
    fn a_namespace_without_refusals_takes_no_memory() {
        let stage = Stage::new();
        let other = Key::namespace("acme-prod");
        let live = fixture::live(&other, &json!({}));
        stage.inventory.upsert(other, live);
        stage.hear(&event("web", "acme-dev", "2026-01-01T01:00:00Z", &refused(1)));
        stage.clock.advance(RECENT + MINUTE);
        stage.hear(&event("web", "acme-prod", "2026-01-01T01:21:00Z", &refused(1)));
        let kept = stage.refusals.lock();
        assert_eq!(kept.by_namespace.keys().collect::<Vec<_>>(), ["acme-prod"]);
    }
}
