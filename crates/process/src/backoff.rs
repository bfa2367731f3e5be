//! Back-off per object: 200 ms doubling to 2 minutes, with jitter, forgotten on success.
//!
//! kube's `error_policy` knows no attempt number, so this module counts the failures. It delays only our own retries:
//! an event for the object still starts a reconcile at once.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::{Clock, Monotonic};

/// How delays grow and how many objects are remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackoffConfig {
    /// Upper end of the first delay.
    pub initial: Duration,
    /// No delay is longer.
    pub max: Duration,
    /// Most objects remembered. Beyond it, those that failed longest ago are forgotten and start again with the first
    /// delay.
    pub capacity: usize,
}

impl Default for BackoffConfig {
    fn default() -> Self {
        Self {
            initial: Duration::from_millis(200),
            max: Duration::from_secs(120),
            capacity: 20_000,
        }
    }
}

/// The failures in a row of each object, keyed by uid (a name may be used again by another object).
pub struct Backoff {
    config: BackoffConfig,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

struct State {
    rng: fastrand::Rng,
    failures: HashMap<String, Failures>,
}

struct Failures {
    in_a_row: u32,
    last: Monotonic,
}

impl Backoff {
    /// An empty map; `rng` gives the jitter.
    pub fn new(config: BackoffConfig, clock: Arc<dyn Clock>, rng: fastrand::Rng) -> Self {
        Self {
            config,
            clock,
            state: Mutex::new(State {
                rng,
                failures: HashMap::new(),
            }),
        }
    }

    /// Counts a failure and gives the time to wait before the next try: between half and the whole of
    /// `initial * 2^(failures - 1)`, at most `max`.
    pub fn failed(&self, uid: &str) -> Duration {
        let now = self.clock.monotonic();
        let mut state = self.lock();
        if !state.failures.contains_key(uid) && state.failures.len() >= self.config.capacity {
            state.make_room(now, self.config.max);
        }
        let failures = state
            .failures
            .entry(uid.to_owned())
            .or_insert(Failures { in_a_row: 0, last: now });
        failures.in_a_row = failures.in_a_row.saturating_add(1);
        failures.last = now;
        let doublings = (failures.in_a_row - 1).min(31);
        let ceiling = self.config.initial.saturating_mul(1 << doublings).min(self.config.max);
        // Half fixed, half random: tenants that failed together must not be retried together, and none may be retried
        // at once.
        ceiling.mul_f64(0.5 + state.rng.f64() / 2.0)
    }

    /// Forgets the object's failures.
    pub fn succeeded(&self, uid: &str) {
        self.lock().failures.remove(uid);
    }

    /// Forgets every object except those of `live`. `live` is called while no failure can be counted, so an object that
    /// fails for the first time in the meantime is not forgotten.
    pub fn retain(&self, live: impl FnOnce() -> HashSet<String>) {
        let mut state = self.lock();
        if state.failures.is_empty() {
            return;
        }
        let live = live();
        state.failures.retain(|uid, _| live.contains(uid));
    }

    /// How many objects failed at their last try.
    pub fn len(&self) -> usize {
        self.lock().failures.len()
    }

    /// Whether no object failed at its last try.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Drops objects that have not failed for twice the longest delay (they were deleted), or else the tenth that
    /// failed longest ago.
    fn make_room(&mut self, now: Monotonic, max: Duration) {
        let before = self.failures.len();
        self.failures
            .retain(|_, failures| now.since(failures.last) <= max.saturating_mul(2));
        if self.failures.len() < before || self.failures.is_empty() {
            return;
        }
        let mut ages: Vec<Monotonic> = self.failures.values().map(|failures| failures.last).collect();
        let tenth = ages.len() / 10;
        let (_, cutoff, _) = ages.select_nth_unstable(tenth);
        let cutoff = *cutoff;
        // Objects at the cut-off time are dropped too; this empties the map only if all failed at the same instant.
        self.failures.retain(|_, failures| failures.last > cutoff);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::TestClock;
    use jiff::Timestamp;

    fn backoff(capacity: usize) -> (Backoff, TestClock) {
        let clock = TestClock::new(Timestamp::UNIX_EPOCH);
        let config = BackoffConfig {
            capacity,
            ..BackoffConfig::default()
        };
        (
            Backoff::new(config, Arc::new(clock.clone()), fastrand::Rng::with_seed(7)),
            clock,
        )
    }

    #[test]
    fn delays_double_to_the_maximum_with_at_most_half_jitter() {
        let (backoff, _) = backoff(10);
        for attempt in 0..40_u32 {
            let ceiling = Duration::from_millis(200)
                .saturating_mul(1 << attempt.min(20))
                .min(Duration::from_secs(120));
            let delay = backoff.failed("uid");
            assert!(
                delay >= ceiling / 2 && delay <= ceiling,
                "attempt {attempt}: {delay:?} of {ceiling:?}"
            );
        }
    }

    #[test]
    fn success_resets_one_object_and_leaves_the_others() {
        let (backoff, _) = backoff(10);
        for uid in ["a", "a", "a", "b", "b"] {
            backoff.failed(uid);
        }
        backoff.succeeded("a");
        assert_eq!(backoff.len(), 1);
        assert!(backoff.failed("a") <= Duration::from_millis(200));
        assert!(backoff.failed("b") > Duration::from_millis(200));
    }

    #[test]
    fn two_objects_that_fail_together_are_retried_apart() {
        let (backoff, _) = backoff(10);
        assert_ne!(backoff.failed("a"), backoff.failed("b"));
    }

    #[test]
    fn the_map_is_bounded_and_forgets_the_oldest_first() {
        let (backoff, clock) = backoff(10);
        for index in 0..50 {
            backoff.failed(&format!("uid-{index}"));
            clock.advance(Duration::from_millis(1));
            assert!(backoff.len() <= 10);
        }
        assert!(
            backoff.failed("uid-49") > Duration::from_millis(200),
            "the newest is still remembered"
        );
    }

    #[test]
    fn deleted_objects_are_forgotten_first() {
        let (backoff, clock) = backoff(2);
        backoff.failed("gone");
        clock.advance(Duration::from_secs(241));
        backoff.failed("old");
        backoff.failed("new");
        assert!(backoff.failed("old") > Duration::from_millis(200));
        assert_eq!(backoff.len(), 2);
    }
}
