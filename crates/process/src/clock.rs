//! Time as an argument: wall time for texts that people read, monotonic time for every decision.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

/// A point on this process's monotonic clock, as the time since an origin of that clock.
///
/// Compare and subtract only points of the same [`Clock`]; they mean nothing in another process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Monotonic(Duration);

impl Monotonic {
    /// The point `since_origin` after the clock's origin.
    pub const fn new(since_origin: Duration) -> Self {
        Self(since_origin)
    }

    /// Time from `earlier` to here; zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// This point moved into the future; saturates.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(by))
    }
}

/// A source of time.
pub trait Clock: Send + Sync + 'static {
    /// Wall time in UTC. It may jump: never base a decision on it.
    fn now(&self) -> Timestamp;
    /// Monotonic time: it never goes back, and continues while the process is stopped.
    fn monotonic(&self) -> Monotonic;
}

/// The machine's clocks. Follows tokio's virtual time in tests that pause it.
#[derive(Debug, Clone)]
pub struct SystemClock {
    origin: tokio::time::Instant,
}

impl SystemClock {
    /// A clock whose monotonic origin is now.
    pub fn new() -> Self {
        Self {
            origin: tokio::time::Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn monotonic(&self) -> Monotonic {
        Monotonic::new(self.origin.elapsed())
    }
}

/// A clock that moves only by [`Self::advance`]; clones share their time.
#[derive(Debug, Clone)]
pub struct TestClock {
    inner: Arc<Mutex<(Timestamp, Monotonic)>>,
}

impl TestClock {
    /// A clock at wall time `now` and monotonic time zero.
    pub fn new(now: Timestamp) -> Self {
        Self {
            inner: Arc::new(Mutex::new((now, Monotonic::new(Duration::ZERO)))),
        }
    }

    /// Moves both clocks forward.
    pub fn advance(&self, by: Duration) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.0 = inner.0.checked_add(by).unwrap_or(Timestamp::MAX);
        inner.1 = inner.1.plus(by);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    fn monotonic(&self) -> Monotonic {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_clock_moves_only_on_demand_together_with_its_clones() {
        let clock = TestClock::new(Timestamp::UNIX_EPOCH);
        let clone = clock.clone();
        clock.advance(Duration::from_secs(90));
        assert_eq!(clone.now(), Timestamp::UNIX_EPOCH + Duration::from_secs(90));
        assert_eq!(clone.monotonic(), Monotonic::new(Duration::from_secs(90)));
    }

    #[test]
    fn time_since_a_later_point_is_zero() {
        let early = Monotonic::new(Duration::from_secs(1));
        assert_eq!(early.since(early.plus(Duration::from_secs(5))), Duration::ZERO);
        assert_eq!(
            early.plus(Duration::MAX).plus(Duration::MAX),
            Monotonic::new(Duration::MAX)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_system_clock_follows_paused_time() {
        let clock = SystemClock::new();
        tokio::time::advance(Duration::from_secs(7)).await;
        assert_eq!(clock.monotonic(), Monotonic::new(Duration::from_secs(7)));
    }
}
