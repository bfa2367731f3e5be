//! What every controller adds to its reconcile: span, metrics, back-off and log lines.

use std::{collections::HashSet, fmt::Display, future::Future, hash::Hash, sync::Arc};

use kube::{
    Resource, ResourceExt as _,
    runtime::{
        controller::{Action, Error as ControllerError},
        reflector::{ObjectRef, Store},
        watcher,
    },
};
use tracing::{Instrument as _, Span};

use super::{
    backoff::Backoff,
    clock::Clock,
    metrics::{Outcome, ProcessMetrics},
};
use tenantry_core::error_class::ErrorClass;

/// An error of a reconcile.
pub trait Classified: std::error::Error {
    /// Its class.
    fn class(&self) -> ErrorClass;
}

/// The parts of a controller that do not depend on its kind.
pub struct Harness {
    controller: &'static str,
    kind: &'static str,
    metrics: ProcessMetrics,
    clock: Arc<dyn Clock>,
    backoff: Backoff,
}

impl Harness {
    /// For `controller`, which reconciles objects of `kind`.
    pub fn new(
        controller: &'static str,
        kind: &'static str,
        metrics: ProcessMetrics,
        clock: Arc<dyn Clock>,
        backoff: Backoff,
    ) -> Self {
        Self {
            controller,
            kind,
            metrics,
            clock,
            backoff,
        }
    }

    /// Runs one reconcile of `object` in the span that `span` creates for a new correlation id. Measures its duration,
    /// counts its outcome and logs its error.
    pub async fn reconcile<K, E>(
        &self,
        object: &K,
        span: impl FnOnce(&str) -> Span,
        work: impl Future<Output = Result<(Outcome, Action), E>>,
    ) -> Result<Action, E>
    where
        K: Resource,
        E: Classified,
    {
        let span = span(&format!("{:08x}", fastrand::u32(..)));
        let started = self.clock.monotonic();
        let result = work.instrument(span.clone()).await;
        let took = self.clock.monotonic().since(started);
        let outcome = match &result {
            Ok((outcome, _)) => *outcome,
            Err(error) => span.in_scope(|| self.count(error)),
        };
        self.metrics.reconciled(self.controller, outcome, took);
        result.map(|(_, action)| {
            self.backoff.succeeded(&object.uid().unwrap_or_default());
            self.metrics.set_backing_off(self.controller, self.backoff.len());
            action
        })
    }

    fn count<E: Classified>(&self, error: &E) -> Outcome {
        let class = error.class();
        let word = class.as_str();
        if class.is_worth_a_warning() {
            tracing::warn!(%error, class = word, "reconcile failed");
        } else {
            tracing::debug!(%error, class = word, "reconcile will be tried again");
        }
        if class.is_error() {
            self.metrics.reconcile_failed(self.controller, class);
            Outcome::Error
        } else {
            Outcome::Conflict
        }
    }

    /// The error policy: when a failed object is tried again. [`Self::reconcile`] has counted and logged the error.
    pub fn retry<K: Resource>(&self, object: &K) -> Action {
        let delay = self.backoff.failed(&object.uid().unwrap_or_default());
        self.metrics.set_backing_off(self.controller, self.backoff.len());
        tracing::debug!(controller = self.controller, object = %object.name_any(), retry_in = ?delay, "back-off");
        Action::requeue(delay)
    }

    /// Logs errors of the queue and the runner. The errors of reconciles are already logged.
    pub fn observe<K, E>(&self, result: &Result<(ObjectRef<K>, Action), ControllerError<E, watcher::Error>>)
    where
        K: Resource,
        E: Display + 'static,
    {
        match result {
            Ok(_) | Err(ControllerError::ReconcilerFailed(..)) => {}
            // The object was deleted before its reconcile began.
            Err(ControllerError::ObjectNotFound(object)) => {
                tracing::debug!(controller = self.controller, object = %object.name, "an event arrived for a deleted object");
            }
            Err(ControllerError::QueueError(error)) => {
                self.metrics.watch_failed(self.kind);
                tracing::warn!(controller = self.controller, %error, "a watch failed and is restarted");
            }
            Err(ControllerError::RunnerError(error)) => {
                tracing::error!(controller = self.controller, %error, "the controller's runner failed");
            }
        }
    }

    /// Forgets the failures of objects that are not in `store`, and counts the rest.
    pub fn forget_gone<K>(&self, store: &Store<K>)
    where
        K: Resource + Clone + 'static,
        K::DynamicType: Eq + Hash + Clone,
    {
        let uids = || -> HashSet<String> { store.state().iter().filter_map(|object| object.uid()).collect() };
        self.backoff.retain(uids);
        self.metrics.set_backing_off(self.controller, self.backoff.len());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::runtime::reflector::store;
    use serde_json::json;

    use super::*;
    use crate::{backoff::BackoffConfig, clock::TestClock};

    #[derive(Debug, thiserror::Error)]
    #[error("it failed")]
    struct Failed(ErrorClass);

    impl Classified for Failed {
        fn class(&self) -> ErrorClass {
            self.0
        }
    }

    fn object(uid: &str) -> ConfigMap {
        serde_json::from_value(json!({ "metadata": { "name": "n", "namespace": "s", "uid": uid } })).unwrap()
    }

    fn harness() -> (Harness, ProcessMetrics) {
        let metrics = ProcessMetrics::new("0").unwrap();
        let clock: Arc<dyn Clock> = Arc::new(TestClock::new(Timestamp::UNIX_EPOCH));
        let backoff = Backoff::new(BackoffConfig::default(), clock.clone(), fastrand::Rng::with_seed(1));
        let harness = Harness::new("tenant", "Tenant", metrics.clone(), clock, backoff);
        (harness, metrics)
    }

    fn has(metrics: &ProcessMetrics, line: &str) -> bool {
        let text = metrics.encode().unwrap();
        text.lines().any(|have| have == line)
    }

    async fn fail(harness: &Harness, object: &ConfigMap, class: ErrorClass) -> Action {
        let span = |id: &str| tracing::info_span!("reconcile", tenant = "acme", correlation_id = id);
        let work = async { Err(Failed(class)) };
        harness.reconcile(object, span, work).await.unwrap_err();
        harness.retry(object)
    }

    #[tokio::test]
    async fn a_conflict_is_retried_and_counts_no_error() {
        let (harness, metrics) = harness();
        let action = fail(&harness, &object("u"), ErrorClass::Conflict).await;
        assert_ne!(action, Action::await_change());
        assert!(has(
            &metrics,
            r#"tenantry_reconcile_total{controller="tenant",outcome="conflict"} 1"#
        ));
        let text = metrics.encode().unwrap();
        assert!(!text.contains("tenantry_reconcile_errors_total{"), "{text}");
        assert!(!text.contains(r#"outcome="error""#), "{text}");
    }

    #[tokio::test]
    async fn a_success_ends_the_back_off() {
        let (harness, metrics) = harness();
        fail(&harness, &object("u"), ErrorClass::Timeout).await;
        assert!(has(&metrics, r#"tenantry_backing_off_objects{controller="tenant"} 1"#));
        let done = async { Ok::<_, Failed>((Outcome::Unchanged, Action::await_change())) };
        harness.reconcile(&object("u"), |_| Span::none(), done).await.unwrap();
        assert!(has(&metrics, r#"tenantry_backing_off_objects{controller="tenant"} 0"#));
    }

    #[tokio::test]
    async fn a_deleted_object_that_failed_is_forgotten() {
        let (harness, metrics) = harness();
        let (reader, mut writer) = store();
        for uid in ["gone", "there"] {
            fail(&harness, &object(uid), ErrorClass::Forbidden).await;
        }
        writer.apply_watcher_event(&watcher::Event::Apply(object("there")));
        harness.forget_gone(&reader);
        assert!(has(&metrics, r#"tenantry_backing_off_objects{controller="tenant"} 1"#));
        let delay = harness.backoff.failed("there");
        assert!(delay > Duration::from_millis(200), "it is remembered: {delay:?}");
    }
}
