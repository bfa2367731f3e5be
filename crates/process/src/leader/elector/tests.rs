use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use futures::FutureExt;
use tokio::sync::oneshot;

use super::*;
use crate::clock::SystemClock;
use crate::leader::election::LeaseRecord;

/// How the fake answers one call; without a fault it succeeds.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// It never answers.
    Hang,
    /// It stores the write and then never answers.
    HangAfter,
    /// It answers 403.
    Refuse,
}

/// One Lease in memory, with the API server's optimistic locking, a script of faults and a record of calls.
#[derive(Clone, Default)]
struct FakeLease {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    stored: Option<StoredLease>,
    version: u64,
    faults: VecDeque<Fault>,
    always: Option<Fault>,
    calls: Vec<&'static str>,
}

impl FakeLease {
    fn with<T>(&self, f: impl FnOnce(&mut Inner) -> T) -> T {
        f(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn holder(&self) -> Option<String> {
        self.with(|inner| inner.stored.as_ref().and_then(|stored| stored.record.holder.clone()))
    }

    fn calls(&self) -> Vec<&'static str> {
        self.with(|inner| inner.calls.clone())
    }

    async fn answer<T>(
        &self,
        call: &'static str,
        act: impl FnOnce(&mut Inner) -> Result<T, LeaseError>,
    ) -> Result<T, LeaseError> {
        let fault = self.with(|inner| {
            inner.calls.push(call);
            inner.faults.pop_front().or(inner.always)
        });
        match fault {
            None => self.with(act),
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::HangAfter) => {
                self.with(act)?;
                std::future::pending().await
            }
            Some(Fault::Refuse) => {
                let status = kube::core::Status {
                    code: 403,
                    ..kube::core::Status::default()
                };
                Err(LeaseError::Api(Box::new(kube::Error::Api(Box::new(status)))))
            }
        }
    }
}

impl Inner {
    fn store(&mut self, mut lease: StoredLease) -> Result<StoredLease, LeaseError> {
        let current = self
            .stored
            .as_ref()
            .and_then(|stored| stored.metadata.resource_version.clone());
        if current != lease.metadata.resource_version {
            return Err(LeaseError::Changed);
        }
        self.version += 1;
        lease.metadata.resource_version = Some(self.version.to_string());
        self.stored = Some(lease.clone());
        Ok(lease)
    }
}

impl LeaseApi for FakeLease {
    async fn read(&self) -> Result<Option<StoredLease>, LeaseError> {
        self.answer("read", |inner| Ok(inner.stored.clone())).await
    }

    async fn create(&self, record: LeaseRecord) -> Result<StoredLease, LeaseError> {
        self.answer("create", |inner| {
            inner.store(StoredLease {
                record,
                ..StoredLease::default()
            })
        })
        .await
    }

    async fn replace(&self, lease: StoredLease) -> Result<StoredLease, LeaseError> {
        self.answer("replace", |inner| inner.store(lease)).await
    }
}

struct Running {
    handle: LeaderHandle,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<Ended>,
}

fn start(lease: &FakeLease, identity: &str) -> Running {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let rng = fastrand::Rng::with_seed(3);
    let (elector, handle) = Elector::new(
        lease.clone(),
        identity.to_owned(),
        ElectionConfig::default(),
        clock,
        rng,
    );
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(elector.run(stopped.map(|_| ())));
    Running { handle, stop, task }
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_renews_with_one_call_in_each_retry_period() {
    let lease = FakeLease::default();
    let blue = start(&lease, "blue");
    assert!(blue.handle.clone().acquired().await);
    assert!(blue.handle.is_leading());
    pass(7).await;
    assert_eq!(lease.calls(), ["read", "create", "replace", "replace", "replace"]);
    assert!(blue.handle.is_leading());
}

#[tokio::test(start_paused = true)]
async fn a_released_lease_is_taken_within_two_retry_periods() {
    let lease = FakeLease::default();
    let blue = start(&lease, "blue");
    assert!(blue.handle.clone().acquired().await);
    let green = start(&lease, "green");
    pass(30).await;
    assert!(!green.handle.is_leading());

    blue.stop.send(()).expect("blue runs");
    assert_eq!(blue.task.await.expect("no panic"), Ended::Stopped);
    assert!(!blue.handle.is_leading());
    let released = tokio::time::Instant::now();
    assert!(green.handle.clone().acquired().await);
    assert!(released.elapsed() <= Duration::from_secs(4));
    assert_eq!(
        lease
            .with(|inner| inner.stored.clone())
            .map(|stored| stored.record.transitions),
        Some(1)
    );
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_cannot_renew_stops_before_another_starts() {
    for fault in [Fault::Hang, Fault::Refuse] {
        let lease = FakeLease::default();
        let blue = start(&lease, "blue");
        assert!(blue.handle.clone().acquired().await);
        let began = tokio::time::Instant::now();
        lease.with(|inner| inner.always = Some(fault));
        assert_eq!(blue.task.await.expect("no panic"), Ended::Lost(Loss::RenewDeadline));
        assert_eq!(began.elapsed().as_secs(), 10, "{fault:?}");
        assert!(!blue.handle.is_leading());
        assert!(!blue.handle.acquired().await, "blue never leads again");

        lease.with(|inner| inner.always = None);
        let green = start(&lease, "green");
        assert!(green.handle.acquired().await);
        assert!(began.elapsed() >= Duration::from_secs(15));
    }
}

#[tokio::test(start_paused = true)]
async fn one_failed_renewal_of_any_kind_does_not_end_leadership() {
    for fault in [Fault::Hang, Fault::HangAfter, Fault::Refuse] {
        let lease = FakeLease::default();
        let blue = start(&lease, "blue");
        assert!(blue.handle.clone().acquired().await);
        lease.with(|inner| inner.faults.push_back(fault));
        for _ in 0..30 {
            pass(1).await;
            assert!(blue.handle.is_leading(), "{fault:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_lease_was_taken_stops() {
    let lease = FakeLease::default();
    let blue = start(&lease, "blue");
    assert!(blue.handle.clone().acquired().await);
    lease.with(|inner| {
        let mut stored = inner.stored.clone().expect("created");
        stored.record.holder = Some("thief".to_owned());
        inner.store(stored).expect("current version");
    });
    assert_eq!(
        blue.task.await.expect("no panic"),
        Ended::Lost(Loss::TakenBy("thief".to_owned()))
    );
    assert_eq!(
        lease.holder().as_deref(),
        Some("thief"),
        "blue does not take the lease back"
    );
}

#[tokio::test(start_paused = true)]
async fn a_candidate_leads_after_a_lost_answer_to_its_creation() {
    let lease = FakeLease::default();
    lease.with(|inner| inner.faults = [Fault::Hang, Fault::Refuse].into());
    let blue = start(&lease, "blue");
    pass(10).await;
    lease.with(|inner| inner.faults.push_back(Fault::HangAfter));
    assert!(blue.handle.acquired().await);
    assert_eq!(lease.holder().as_deref(), Some("blue"));
}

#[tokio::test(start_paused = true)]
async fn a_candidate_that_is_stopped_leaves_the_lease_alone() {
    let lease = FakeLease::default();
    let blue = start(&lease, "blue");
    assert!(blue.handle.clone().acquired().await);
    let green = start(&lease, "green");
    pass(3).await;
    green.stop.send(()).expect("green runs");
    assert_eq!(green.task.await.expect("no panic"), Ended::Stopped);
    assert_eq!(lease.holder().as_deref(), Some("blue"));
    assert!(blue.handle.is_leading());
}

#[tokio::test(start_paused = true)]
async fn a_release_that_hangs_does_not_delay_the_end() {
    let lease = FakeLease::default();
    let blue = start(&lease, "blue");
    assert!(blue.handle.clone().acquired().await);
    let began = tokio::time::Instant::now();
    lease.with(|inner| inner.always = Some(Fault::Hang));
    blue.stop.send(()).expect("blue runs");
    assert_eq!(blue.task.await.expect("no panic"), Ended::Stopped);
    assert!(began.elapsed() <= Duration::from_secs(7));
}

#[tokio::test(start_paused = true)]
async fn a_frozen_process_does_not_lead_after_its_deadline() {
    let clock = crate::clock::TestClock::new(jiff::Timestamp::UNIX_EPOCH);
    let lease = FakeLease::default();
    let rng = fastrand::Rng::with_seed(3);
    let shared: Arc<dyn Clock> = Arc::new(clock.clone());
    let (elector, handle) = Elector::new(lease, "blue".to_owned(), ElectionConfig::default(), shared, rng);
    let task = tokio::spawn(elector.run(std::future::pending()));
    assert!(handle.clone().acquired().await);
    clock.advance(Duration::from_secs(10));
    // There was no await after the clock moved, so the election has not run.
    assert!(!handle.is_leading());
    task.abort();
}

#[tokio::test(start_paused = true)]
async fn the_heart_beats_while_the_api_server_does_not_answer() {
    for fault in [Fault::Hang, Fault::Refuse] {
        let lease = FakeLease::default();
        lease.with(|inner| inner.always = Some(fault));
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let hearts = crate::health::Heartbeats::new(clock.clone());
        let config = ElectionConfig::default();
        let rng = fastrand::Rng::with_seed(3);
        let (elector, _handle) = Elector::new(lease.clone(), "blue".to_owned(), config, clock, rng);
        let elector = elector.beating(hearts.register("the election", config.lease_duration()));
        let task = tokio::spawn(elector.run(std::future::pending()));
        for _ in 0..600 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert_eq!(hearts.late(), [], "{fault:?}");
        }
        assert!(lease.calls().len() > 60, "it kept trying");
        task.abort();
    }
}

#[test]
fn identities_of_the_same_pod_differ() {
    let mut rng = fastrand::Rng::with_seed(1);
    let (first, second) = (identity("op-7f", &mut rng), identity("op-7f", &mut rng));
    assert!(first.starts_with("op-7f_"));
    assert_ne!(first, second);
}
