//! State of each watch: when it last received something from the API server, and for how long it has been failing.
//!
//! A watch has received something when a list completes, an event arrives, or any data arrives on an open stream,
//! including bookmarks.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use jiff::Timestamp;
use tokio::sync::watch;

use crate::metrics::ProcessMetrics;
use crate::{
    clock::{Clock, Monotonic},
    health::{GateHandle, Gates},
};

/// A watch that has been failing for this long closes its gate: its cache can no longer be trusted.
pub const FAILING: Duration = Duration::from_secs(180);

/// An open stream ends a failure only if no error occurs for this long, because a stream may open and break repeatedly
/// without carrying data. It is longer than the longest pause between two tries.
const CALM: Duration = Duration::from_secs(75);

/// All watches of the process; clones share them.
#[derive(Clone)]
pub struct Watches {
    clock: Arc<dyn Clock>,
    gates: Gates,
    metrics: ProcessMetrics,
    all: Arc<Mutex<All>>,
}

#[derive(Default)]
struct All {
    watches: Vec<Weak<Inner>>,
    /// Kinds that have a value in the metric.
    shown: BTreeSet<&'static str>,
}

/// One watch; clones share it. When the last clone is dropped, the watch is forgotten.
#[derive(Clone)]
pub struct Watch {
    inner: Arc<Inner>,
}

struct Inner {
    kind: &'static str,
    clock: Arc<dyn Clock>,
    gate: Option<GateHandle>,
    history: Mutex<History>,
    listed: watch::Sender<bool>,
}

/// History of one watch; pure.
#[derive(Debug, Default)]
struct History {
    heard: Option<Timestamp>,
    failing: Option<Failing>,
}

#[derive(Debug)]
struct Failing {
    since: Monotonic,
    last: Monotonic,
    /// The API server answered after the last error.
    answered: bool,
    error: String,
}

impl History {
    fn listed(&mut self, at: Timestamp) {
        self.heard = Some(at);
        self.failing = None;
    }

    fn heard(&mut self, at: Timestamp) {
        self.heard = Some(at);
        if let Some(failing) = &mut self.failing {
            failing.answered = true;
        }
    }

    fn failed(&mut self, now: Monotonic, error: &dyn Display) {
        let since = self.failure(now).map_or(now, |failing| failing.since);
        self.failing = Some(Failing {
            since,
            last: now,
            answered: false,
            error: error.to_string(),
        });
    }

    /// The failure that has not ended at `now`.
    fn failure(&self, now: Monotonic) -> Option<&Failing> {
        self.failing
            .as_ref()
            .filter(|failing| !failing.answered || now.since(failing.last) <= CALM)
    }
}

impl Watches {
    /// No watches yet.
    pub fn new(clock: Arc<dyn Clock>, gates: Gates, metrics: ProcessMetrics) -> Self {
        let all = Arc::default();
        Self {
            clock,
            gates,
            metrics,
            all,
        }
    }

    /// Adds a watch without which the process is not ready: `gate` is closed until the watch has listed, and while it
    /// is failing.
    pub fn required(&self, kind: &'static str, gate: &str) -> Watch {
        let gate = self.gates.register(format!("watch:{gate}"));
        gate.unready("not listed yet");
        self.add(kind, Some(gate))
    }

    /// Adds a watch that the process does not need in order to be ready.
    pub fn optional(&self, kind: &'static str) -> Watch {
        self.add(kind, None)
    }

    fn add(&self, kind: &'static str, gate: Option<GateHandle>) -> Watch {
        let inner = Arc::new(Inner {
            kind,
            clock: self.clock.clone(),
            gate,
            history: Mutex::default(),
            listed: watch::Sender::new(false),
        });
        lock(&self.all).watches.push(Arc::downgrade(&inner));
        Watch { inner }
    }

    /// Whether any watch with a gate is failing now, no matter for how long.
    pub fn required_fail(&self) -> bool {
        self.live()
            .iter()
            .any(|watch| watch.inner.gate.is_some() && watch.failing_for().is_some())
    }

    /// Opens and closes the gates and sets the metric; call it every few seconds.
    pub fn check(&self) {
        let mut oldest: BTreeMap<&'static str, Timestamp> = BTreeMap::new();
        for watch in self.live() {
            watch.set_gate();
            if let Some(heard) = lock(&watch.inner.history).heard {
                let kind = oldest.entry(watch.inner.kind).or_insert(heard);
                *kind = heard.min(*kind);
            }
        }
        let shown = oldest.keys().copied().collect();
        let before = std::mem::replace(&mut lock(&self.all).shown, shown);
        for kind in before.into_iter().filter(|kind| !oldest.contains_key(kind)) {
            self.metrics.forget_watch(kind);
        }
        for (kind, heard) in oldest {
            self.metrics.watch_heard(kind, heard.as_second());
        }
    }

    fn live(&self) -> Vec<Watch> {
        let mut all = lock(&self.all);
        all.watches.retain(|watch| watch.strong_count() > 0);
        let live = all.watches.iter().filter_map(Weak::upgrade);
        live.map(|inner| Watch { inner }).collect()
    }
}

impl Watch {
    /// Records that a list completed and its reader has processed it.
    pub fn listed(&self) {
        lock(&self.inner.history).listed(self.inner.clock.now());
        if let Some(gate) = &self.inner.gate {
            gate.ready();
        }
        self.inner.listed.send_replace(true);
    }

    /// Records that data arrived on an open stream.
    pub fn heard(&self) {
        lock(&self.inner.history).heard(self.inner.clock.now());
    }

    /// Records that a list or a stream failed.
    pub fn failed(&self, error: &dyn Display) {
        lock(&self.inner.history).failed(self.inner.clock.monotonic(), error);
        if !*self.inner.listed.borrow() {
            self.set_gate();
        }
    }

    /// For how long it has been failing; none if it works.
    pub fn failing_for(&self) -> Option<Duration> {
        let now = self.inner.clock.monotonic();
        let history = lock(&self.inner.history);
        history.failure(now).map(|failing| now.since(failing.since))
    }

    /// Resolves when the first list has completed.
    pub async fn until_listed(&self) {
        // The sender lives as long as this handle.
        let _ = self.inner.listed.subscribe().wait_for(|listed| *listed).await;
    }

    fn set_gate(&self) {
        let Some(gate) = &self.inner.gate else { return };
        let now = self.inner.clock.monotonic();
        let listed = *self.inner.listed.borrow();
        let history = lock(&self.inner.history);
        match history.failure(now) {
            Some(failing) if !listed => gate.unready(format!("not listed yet: {}", failing.error)),
            Some(failing) if now.since(failing.since) >= FAILING => {
                let seconds = now.since(failing.since).as_secs();
                gate.unready(format!("failing for {seconds}s: {}", failing.error));
            }
            _ if listed => gate.ready(),
            _ => gate.unready("not listed yet"),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::TestClock;

    const SECOND: Duration = Duration::from_secs(1);

    fn stage() -> (Watches, Gates, ProcessMetrics, TestClock) {
        let clock = TestClock::new(Timestamp::UNIX_EPOCH);
        let gates = Gates::new();
        let metrics = ProcessMetrics::new("0").unwrap();
        let watches = Watches::new(Arc::new(clock.clone()), gates.clone(), metrics.clone());
        (watches, gates, metrics, clock)
    }

    /// Why the only gate is closed.
    fn closed(gates: &Gates) -> Option<String> {
        let [(name, reason)] = <[_; 1]>::try_from(gates.states()).unwrap();
        assert_eq!(name, "watch:Namespace");
        reason
    }

    #[test]
    fn a_gate_opens_with_the_first_list() {
        let (watches, gates, _, _) = stage();
        let watch = watches.required("Namespace", "Namespace");
        assert_eq!(closed(&gates).as_deref(), Some("not listed yet"));
        watch.failed(&"forbidden");
        assert_eq!(closed(&gates).as_deref(), Some("not listed yet: forbidden"));
        watch.listed();
        assert_eq!(closed(&gates), None);
    }

    #[test]
    fn a_gate_closes_after_minutes_of_failure_until_a_list() {
        let (watches, gates, _, clock) = stage();
        let watch = watches.required("Namespace", "Namespace");
        watch.listed();
        for _ in 0..17 {
            watch.failed(&"gone");
            clock.advance(10 * SECOND);
            watches.check();
            assert_eq!(closed(&gates), None, "the failure is still short");
        }
        watch.failed(&"still gone");
        clock.advance(10 * SECOND);
        watches.check();
        assert_eq!(closed(&gates).as_deref(), Some("failing for 180s: still gone"));
        assert!(watches.required_fail());
        watch.listed();
        assert_eq!(closed(&gates), None);
        watches.check();
        assert_eq!(closed(&gates), None);
        assert!(!watches.required_fail());
    }

    #[test]
    fn one_error_before_a_quiet_stream_closes_no_gate() {
        let (watches, gates, _, clock) = stage();
        let watch = watches.required("Namespace", "Namespace");
        watch.listed();
        watch.failed(&"the connection was reset");
        watch.heard();
        clock.advance(FAILING);
        watches.check();
        assert_eq!(closed(&gates), None);
        watch.failed(&"again");
        assert_eq!(watch.failing_for(), Some(Duration::ZERO), "a new failure has begun");
    }

    #[test]
    fn a_stream_that_opens_and_breaks_repeatedly_is_failing() {
        let (watches, gates, _, clock) = stage();
        let watch = watches.required("Namespace", "Namespace");
        watch.listed();
        for _ in 0..5 {
            watch.failed(&"conversion failed");
            clock.advance(45 * SECOND);
            watch.heard();
        }
        watches.check();
        assert_eq!(closed(&gates).as_deref(), Some("failing for 225s: conversion failed"));
    }

    #[test]
    fn an_optional_watch_that_fails_closes_no_gate() {
        let (watches, gates, _, clock) = stage();
        let watch = watches.optional("PodMonitor");
        watch.failed(&"not found");
        clock.advance(FAILING * 2);
        watches.check();
        assert_eq!(gates.states(), []);
        assert_eq!(watch.failing_for(), Some(FAILING * 2));
        assert!(!watches.required_fail());
    }

    #[test]
    fn the_metric_shows_the_oldest_watch_of_a_kind() {
        let (watches, _, metrics, clock) = stage();
        let line = |second: u32| {
            let line = format!("tenantry_watch_last_success_timestamp_seconds{{kind=\"TenantTemplate\"}} {second}\n");
            let text = metrics.encode().unwrap();
            assert!(text.contains(&line), "{line} is missing in\n{text}");
        };
        let (one, two) = (watches.optional("TenantTemplate"), watches.optional("TenantTemplate"));
        one.listed();
        clock.advance(7 * SECOND);
        two.listed();
        watches.check();
        line(0);
        clock.advance(SECOND);
        one.heard();
        watches.check();
        line(7);
        drop((one, two));
        watches.check();
        assert!(!metrics.encode().unwrap().contains("kind=\"TenantTemplate\""));
    }

    #[tokio::test]
    async fn the_first_list_wakes_a_task_that_waits_for_it() {
        let (watches, _, _, _) = stage();
        let watch = watches.optional("Namespace");
        let waiting = watch.clone();
        let waiting = tokio::spawn(async move { waiting.until_listed().await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        watch.listed();
        waiting.await.unwrap();
    }
}
