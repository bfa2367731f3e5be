//! The log of a failed reconcile. Alone in its process: tracing caches for the whole process which events are enabled, so a
//! subscriber of one test would decide about the events of another.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::json;
use tenantry_core::error_class::ErrorClass;
use tenantry_process::{
    backoff::{Backoff, BackoffConfig},
    clock::{Clock, TestClock},
    controller::{Classified, Harness},
    metrics::ProcessMetrics,
};

#[derive(Debug, thiserror::Error)]
#[error("it failed")]
struct Failed(ErrorClass);

impl Classified for Failed {
    fn class(&self) -> ErrorClass {
        self.0
    }
}

/// The lines of a log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn take(&self) -> String {
        let bytes = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        String::from_utf8(bytes).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        log.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_failure_warns_with_its_span_and_a_conflict_does_not() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::INFO)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();
    let clock: Arc<dyn Clock> = Arc::new(TestClock::new(Timestamp::UNIX_EPOCH));
    let backoff = Backoff::new(BackoffConfig::default(), clock.clone(), fastrand::Rng::with_seed(1));
    let metrics = ProcessMetrics::new("0").unwrap();
    let harness = Harness::new("tenant", "Tenant", metrics, clock, backoff);
    let object: ConfigMap = serde_json::from_value(json!({ "metadata": { "name": "n", "uid": "u" } })).unwrap();
    for class in ErrorClass::ALL {
        let span = |id: &str| tracing::info_span!("reconcile", tenant = "acme", correlation_id = id);
        let failed = harness.reconcile(&object, span, async { Err(Failed(class)) });
        failed.await.unwrap_err();
        let (text, warns) = (log.take(), class.is_worth_a_warning());
        assert_eq!(text.contains("reconcile failed"), warns, "{class:?}: {text}");
        assert_eq!(text.contains("acme"), warns, "the tenant's name: {text}");
    }
    assert!(!ErrorClass::Conflict.is_worth_a_warning());
}
