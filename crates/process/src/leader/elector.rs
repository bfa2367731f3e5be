//! Runs the election against a [`LeaseApi`] and publishes who leads.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::election::{ElectionConfig, Loss, Step, StoredLease, View, decide};
use super::lease_api::{LeaseApi, LeaseError};
use crate::clock::{Clock, Monotonic};
use crate::health::Heartbeat;

/// Role of this process in the election.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leadership {
    /// It does not lead now, and may lead later.
    Standby,
    /// It leads until this point of the local clock, unless it renews the lease before.
    Leading {
        /// The renew deadline.
        until: Monotonic,
    },
    /// It gave up or lost the lease, and never leads again.
    Over,
}

/// How the election ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// It was asked to stop; if it had the lease, it gave the lease up.
    Stopped,
    /// It lost the lease. The process must exit with an error, so that its unfinished requests end with it.
    Lost(Loss),
}

/// Knows whether this process leads; cheap to clone.
#[derive(Clone)]
pub struct LeaderHandle {
    leadership: watch::Receiver<Leadership>,
    clock: Arc<dyn Clock>,
}

impl LeaderHandle {
    /// A handle that always leads: for a single replica without election.
    pub fn always(clock: Arc<dyn Clock>) -> Self {
        let (_, leadership) = watch::channel(Leadership::Leading {
            until: Monotonic::new(Duration::MAX),
        });
        Self { leadership, clock }
    }

    /// Whether this process leads now. Check it right before a write: it reads the clock, so it is right even if the
    /// process was frozen and the election has not run since.
    pub fn is_leading(&self) -> bool {
        match *self.leadership.borrow() {
            Leadership::Leading { until } => self.clock.monotonic() < until,
            Leadership::Standby | Leadership::Over => false,
        }
    }

    /// Resolves to true when this process leads, or to false when it can never lead.
    pub async fn acquired(mut self) -> bool {
        let settled = self
            .leadership
            .wait_for(|leadership| *leadership != Leadership::Standby)
            .await;
        settled.is_ok_and(|leadership| matches!(*leadership, Leadership::Leading { .. }))
    }
}

/// The name under which this process has the lease: the pod's name and a random suffix. A restarted container has the
/// same pod name, but must not mistake its predecessor's lease for its own.
pub fn identity(pod: &str, rng: &mut fastrand::Rng) -> String {
    format!("{pod}_{:016x}", rng.u64(..))
}

/// Runs the election for one process.
pub struct Elector<L> {
    lease: L,
    identity: String,
    config: ElectionConfig,
    clock: Arc<dyn Clock>,
    rng: fastrand::Rng,
    view: View,
    publish: watch::Sender<Leadership>,
    heart: Option<Heartbeat>,
}

impl<L: LeaseApi> Elector<L> {
    /// Creates the elector of a process with this `identity`, which no other process may use; see [`identity`].
    pub fn new(
        lease: L,
        identity: String,
        config: ElectionConfig,
        clock: Arc<dyn Clock>,
        rng: fastrand::Rng,
    ) -> (Self, LeaderHandle) {
        let (publish, leadership) = watch::channel(Leadership::Standby);
        let view = View::new(clock.monotonic());
        let handle = LeaderHandle {
            leadership,
            clock: clock.clone(),
        };
        (
            Self {
                lease,
                identity,
                config,
                clock,
                rng,
                view,
                publish,
                heart: None,
            },
            handle,
        )
    }

    /// Beats `heart` before each step. A step ends in time even if the API server does not answer, so a silent heart
    /// means a hang.
    #[must_use]
    pub fn beating(mut self, heart: Heartbeat) -> Self {
        self.heart = Some(heart);
        self
    }

    /// Runs until the lease is lost or `stop` resolves. On `stop` it gives the lease up at once: resolve `stop` only
    /// after all work under the lease has ended.
    pub async fn run(mut self, stop: impl Future<Output = ()> + Send) -> Ended {
        let mut stop = std::pin::pin!(stop);
        loop {
            if let Some(heart) = &self.heart {
                heart.beat();
            }
            let now = self.clock.monotonic();
            let next = decide(&self.view, now, self.clock.now(), &self.identity, &self.config);
            if let Step::Stop(loss) = next {
                self.view.on_stopped();
                self.publish.send_replace(Leadership::Over);
                tracing::error!(identity = %self.identity, reason = %loss, "leadership lost");
                return Ended::Lost(loss);
            }
            if matches!(next, Step::Create(_) | Step::Replace(_)) {
                // Let the step finish, which takes at most half the renew deadline. If it were cut short, it would be
                // unknown whether we have the lease and can give it up.
                self.take(next, now).await;
                continue;
            }
            tokio::select! {
                () = self.take(next, now) => {}
                () = &mut stop => break,
            }
        }
        self.resign().await;
        Ended::Stopped
    }

    /// Carries out one step and records its result.
    async fn take(&mut self, step: Step, now: Monotonic) {
        match step {
            Step::HeldByOther => {
                let jitter = self.rng.f64();
                self.view.on_held_by_other(now, jitter, &self.config);
            }
            Step::Wait(pause) => tokio::time::sleep(pause).await,
            Step::Read => match self.in_time(now, self.lease.read()).await {
                Ok(lease) => self.view.on_read(self.clock.monotonic(), lease),
                Err(error) => self.failed("read", &error),
            },
            Step::Create(record) => {
                let result = self.in_time(now, self.lease.create(record)).await;
                self.written(now, "create", result);
            }
            Step::Replace(lease) => {
                let result = self.in_time(now, self.lease.replace(*lease)).await;
                self.written(now, "replace", result);
            }
            // The caller handles it before.
            Step::Stop(_) => {}
        }
    }

    fn written(&mut self, started: Monotonic, verb: &'static str, result: Result<StoredLease, LeaseError>) {
        match result {
            Ok(lease) => {
                if self.view.held_until().is_none() {
                    let transitions = lease.record.transitions;
                    tracing::info!(identity = %self.identity, transitions, "leadership acquired");
                }
                self.view.on_written(started, lease, &self.config);
                if let Some(until) = self.view.held_until() {
                    self.publish.send_replace(Leadership::Leading { until });
                }
            }
            Err(error) => self.failed(verb, &error),
        }
    }

    fn failed(&mut self, verb: &'static str, error: &LeaseError) {
        let leading = self.view.held_until().is_some();
        match error {
            // Two candidates wrote at the same time: one of them always gets this error.
            LeaseError::Changed if !leading => tracing::debug!(verb, %error, "lease attempt failed"),
            LeaseError::Changed | LeaseError::TimedOut | LeaseError::Api(_) => {
                tracing::warn!(verb, leading, %error, "lease attempt failed");
            }
        }
        let jitter = self.rng.f64();
        self.view.on_failure(self.clock.monotonic(), jitter, &self.config);
    }

    /// Half the renew deadline, so that after one hanging connection there is time for a retry; never past the deadline
    /// itself.
    async fn in_time<T>(
        &self,
        now: Monotonic,
        call: impl Future<Output = Result<T, LeaseError>>,
    ) -> Result<T, LeaseError> {
        let half = self.config.renew_deadline() / 2;
        let limit = self.view.held_until().map_or(half, |until| until.since(now).min(half));
        tokio::time::timeout(limit, call)
            .await
            .unwrap_or(Err(LeaseError::TimedOut))
    }

    async fn resign(mut self) {
        // First end our leadership, then let another process start.
        let led = self.view.held_until().is_some();
        self.view.on_stopped();
        self.publish.send_replace(Leadership::Over);
        let release = self.view.release(self.clock.now(), &self.identity).filter(|_| led);
        let Some(release) = release else { return };
        match tokio::time::timeout(self.config.retry_period(), self.lease.replace(release)).await {
            Ok(Ok(_)) => tracing::info!(identity = %self.identity, "lease released"),
            Ok(Err(error)) => tracing::warn!(%error, "lease not released: it will expire"),
            Err(_) => tracing::warn!("lease not released in time: it will expire"),
        }
    }
}

#[cfg(test)]
mod tests;
