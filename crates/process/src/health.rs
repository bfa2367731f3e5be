//! Health of the process: gates that must open before it is ready, and heartbeats that must not stop.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::{Clock, Monotonic};

/// Named gates; the process is ready while all are open. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Gates {
    /// Why a gate is closed, or None when it is open.
    closed: Arc<Mutex<BTreeMap<String, Option<String>>>>,
}

/// Opens and closes one gate.
#[derive(Debug, Clone)]
pub struct GateHandle {
    gates: Gates,
    name: String,
}

impl Gates {
    /// An empty set of gates: ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a gate, closed with the reason "not reached yet". Registering a name again closes it again.
    pub fn register(&self, name: impl Into<String>) -> GateHandle {
        let handle = GateHandle {
            gates: self.clone(),
            name: name.into(),
        };
        handle.unready("not reached yet");
        handle
    }

    /// Every gate by name, with the reason for which it is closed.
    pub fn states(&self) -> Vec<(String, Option<String>)> {
        lock(&self.closed)
            .iter()
            .map(|(name, reason)| (name.clone(), reason.clone()))
            .collect()
    }
}

impl GateHandle {
    /// Opens the gate.
    pub fn ready(&self) {
        self.set(None);
    }

    /// Closes the gate; `/readyz` shows `reason`.
    pub fn unready(&self, reason: impl Into<String>) {
        self.set(Some(reason.into()));
    }

    fn set(&self, reason: Option<String>) {
        lock(&self.gates.closed).insert(self.name.clone(), reason);
    }
}

/// Named heartbeats; the process is alive while each beats within its limit. Clones share them.
#[derive(Clone)]
pub struct Heartbeats {
    clock: Arc<dyn Clock>,
    beats: Arc<Mutex<BTreeMap<String, Beat>>>,
}

#[derive(Debug, Clone, Copy)]
struct Beat {
    last: Monotonic,
    limit: Duration,
}

/// Beats one heart. When the last clone is dropped, the heart is forgotten: a task that ends on purpose must not count
/// as hanging.
#[derive(Clone)]
pub struct Heartbeat {
    shared: Arc<OwnBeat>,
}

struct OwnBeat {
    all: Heartbeats,
    name: String,
    limit: Duration,
}

impl Heartbeats {
    /// An empty set of heartbeats: alive.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            beats: Arc::default(),
        }
    }

    /// Adds a heartbeat that beats now and must then beat at least once in every `limit`.
    pub fn register(&self, name: impl Into<String>, limit: Duration) -> Heartbeat {
        let heart = Heartbeat {
            shared: Arc::new(OwnBeat {
                all: self.clone(),
                name: name.into(),
                limit,
            }),
        };
        heart.beat();
        heart
    }

    /// Each heartbeat that is late: its name, the time since it last beat, its limit.
    pub fn late(&self) -> Vec<(String, Duration, Duration)> {
        let now = self.clock.monotonic();
        lock(&self.beats)
            .iter()
            .map(|(name, beat)| (name.clone(), now.since(beat.last), beat.limit))
            .filter(|(_, silent, limit)| silent > limit)
            .collect()
    }
}

impl Heartbeat {
    /// Records that the task is alive.
    pub fn beat(&self) {
        let OwnBeat { all, name, limit } = &*self.shared;
        let last = all.clock.monotonic();
        lock(&all.beats).insert(name.clone(), Beat { last, limit: *limit });
    }
}

impl Drop for OwnBeat {
    fn drop(&mut self) {
        lock(&self.all.beats).remove(&self.name);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::TestClock;

    #[test]
    fn a_gate_shows_its_reason_until_it_opens() {
        let gates = Gates::new();
        assert_eq!(gates.states(), []);
        let (crds, watch) = (gates.register("crds"), gates.register("watch:Tenant"));
        assert!(
            gates
                .states()
                .iter()
                .all(|(_, reason)| reason.as_deref() == Some("not reached yet"))
        );
        crds.ready();
        watch.ready();
        assert!(gates.states().iter().all(|(_, reason)| reason.is_none()));
        crds.unready("tenants.tenantry.dev is not served");
        assert_eq!(
            gates.states(),
            [
                ("crds".to_owned(), Some("tenants.tenantry.dev is not served".to_owned())),
                ("watch:Tenant".to_owned(), None)
            ]
        );
    }

    #[test]
    fn a_heart_is_late_after_its_limit_until_its_next_beat() {
        let clock = TestClock::new(jiff::Timestamp::UNIX_EPOCH);
        let hearts = Heartbeats::new(Arc::new(clock.clone()));
        let heart = hearts.register("lease", Duration::from_secs(30));
        clock.advance(Duration::from_secs(30));
        assert_eq!(hearts.late(), []);
        clock.advance(Duration::from_secs(1));
        assert_eq!(
            hearts.late(),
            [("lease".to_owned(), Duration::from_secs(31), Duration::from_secs(30))]
        );
        heart.beat();
        assert_eq!(hearts.late(), []);
    }

    #[test]
    fn a_dropped_heart_is_not_reported_as_late() {
        let clock = TestClock::new(jiff::Timestamp::UNIX_EPOCH);
        let hearts = Heartbeats::new(Arc::new(clock.clone()));
        drop(hearts.register("lease", Duration::from_secs(30)));
        clock.advance(Duration::from_secs(60));
        assert_eq!(hearts.late(), []);
    }
}
