//! Decides the next step of the election; pure.

use std::time::Duration;

use jiff::{Timestamp, Unit};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::clock::Monotonic;

/// The three durations of an election; [`Self::new`] checks that they fit together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ElectionConfig {
    lease_duration: Duration,
    renew_deadline: Duration,
    retry_period: Duration,
}

/// Durations with which two processes, or none, could lead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ElectionConfigError {
    /// A Lease stores whole seconds.
    #[error("--lease-duration must be a whole number of seconds between 1s and 1h, got {0:?}")]
    LeaseDuration(Duration),
    /// The leader could still lead when another process starts.
    #[error(
        "--renew-deadline ({renew_deadline:?}) must be shorter than --lease-duration ({lease_duration:?}), or two processes could lead at once"
    )]
    RenewDeadline {
        /// As given.
        renew_deadline: Duration,
        /// As given.
        lease_duration: Duration,
    },
    /// A single failed renewal would end the leadership.
    #[error(
        "--retry-period ({retry_period:?}) must be above zero and at most half of --renew-deadline ({renew_deadline:?}), so that a failed renewal can be tried again"
    )]
    RetryPeriod {
        /// As given.
        retry_period: Duration,
        /// As given.
        renew_deadline: Duration,
    },
}

impl ElectionConfig {
    /// Checks the durations against each other.
    pub fn new(
        lease_duration: Duration,
        renew_deadline: Duration,
        retry_period: Duration,
    ) -> Result<Self, ElectionConfigError> {
        let whole = lease_duration.subsec_nanos() == 0 && (1..=3600).contains(&lease_duration.as_secs());
        if !whole {
            return Err(ElectionConfigError::LeaseDuration(lease_duration));
        }
        if renew_deadline >= lease_duration {
            return Err(ElectionConfigError::RenewDeadline {
                renew_deadline,
                lease_duration,
            });
        }
        if retry_period.is_zero() || retry_period > renew_deadline / 2 {
            return Err(ElectionConfigError::RetryPeriod {
                retry_period,
                renew_deadline,
            });
        }
        Ok(Self {
            lease_duration,
            renew_deadline,
            retry_period,
        })
    }

    /// How long other processes wait after the last renewal that they saw.
    pub fn lease_duration(&self) -> Duration {
        self.lease_duration
    }

    /// How long a leader leads after its last successful renewal.
    pub fn renew_deadline(&self) -> Duration {
        self.renew_deadline
    }

    /// Pause between two attempts.
    pub fn retry_period(&self) -> Duration {
        self.retry_period
    }

    fn lease_seconds(&self) -> i32 {
        i32::try_from(self.lease_duration.as_secs()).unwrap_or(i32::MAX)
    }
}

impl Default for ElectionConfig {
    fn default() -> Self {
        Self {
            lease_duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry_period: Duration::from_secs(2),
        }
    }
}

/// The fields of a Lease's spec that the election uses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LeaseRecord {
    /// Identity of the leader; None or empty if there is none.
    pub holder: Option<String>,
    /// How long others wait after the last renewal that they saw, in seconds.
    pub duration_seconds: Option<i32>,
    /// When the leader took the Lease, in its own wall time.
    pub acquired: Option<Timestamp>,
    /// When the leader last renewed the Lease, in its own wall time. Others only compare it for equality.
    pub renewed: Option<Timestamp>,
    /// How often the leader changed.
    pub transitions: i32,
}

impl LeaseRecord {
    fn holder(&self) -> Option<&str> {
        self.holder.as_deref().filter(|holder| !holder.is_empty())
    }
}

/// A Lease as the API server returned it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StoredLease {
    /// Its spec.
    pub record: LeaseRecord,
    /// Its metadata: the `resourceVersion` for the next write, and labels and owners that a replace must keep.
    pub metadata: ObjectMeta,
}

/// The next step.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Wait for this long.
    Wait(Duration),
    /// Nothing, because another process has the Lease: call [`View::on_held_by_other`], then decide again.
    HeldByOther,
    /// Read the Lease.
    Read,
    /// Create the Lease with this record.
    Create(LeaseRecord),
    /// Replace the Lease; the metadata carries the `resourceVersion` that was read.
    Replace(Box<StoredLease>),
    /// The process has lost the lease and must not lead again.
    Stop(Loss),
}

/// Why a process lost the lease.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Loss {
    /// No renewal succeeded for the renew deadline.
    #[error("no renewal of the lease succeeded within the renew deadline")]
    RenewDeadline,
    /// The Lease names another process.
    #[error("the lease is held by {0:?}")]
    TakenBy(String),
}

/// Everything that this process knows about the election.
#[derive(Debug, Clone)]
pub struct View {
    seen: Option<Seen>,
    /// The Lease must be read before the next write: it was never read, or the last write failed.
    stale: bool,
    held_until: Option<Monotonic>,
    next_attempt: Monotonic,
}

#[derive(Debug, Clone)]
struct Seen {
    lease: StoredLease,
    /// When we saw the record change last: the end of the read that first showed the current record.
    changed_at: Monotonic,
    /// The Lease was deleted, but its leader may still lead.
    deleted: bool,
}

impl View {
    /// The view of a process that has not read the Lease; its first attempt is due at `now`.
    pub fn new(now: Monotonic) -> Self {
        Self {
            seen: None,
            stale: true,
            held_until: None,
            next_attempt: now,
        }
    }

    /// Until when this process leads, if it does. Counted from before it sent its last successful write.
    pub fn held_until(&self) -> Option<Monotonic> {
        self.held_until
    }

    /// Records a read that ended at `now` with this Lease, or with none.
    pub fn on_read(&mut self, now: Monotonic, lease: Option<StoredLease>) {
        self.stale = false;
        match (lease, &mut self.seen) {
            (Some(lease), Some(seen)) if seen.lease.record == lease.record => {
                seen.lease = lease;
                seen.deleted = false;
            }
            (Some(lease), _) => {
                self.seen = Some(Seen {
                    lease,
                    changed_at: now,
                    deleted: false,
                });
            }
            (None, Some(seen)) => seen.deleted = true,
            (None, None) => {}
        }
    }

    /// Records that a write sent at `started` succeeded; the API server answered with `lease`.
    pub fn on_written(&mut self, started: Monotonic, lease: StoredLease, config: &ElectionConfig) {
        self.seen = Some(Seen {
            lease,
            changed_at: started,
            deleted: false,
        });
        self.stale = false;
        self.held_until = Some(started.plus(config.renew_deadline));
        self.next_attempt = started.plus(config.retry_period);
    }

    /// Records that a read or a write failed, or that its answer was lost. `jitter` in 0..1 spreads the retries of
    /// candidates.
    pub fn on_failure(&mut self, now: Monotonic, jitter: f64, config: &ElectionConfig) {
        self.stale = true;
        self.next_attempt = now.plus(self.pause(jitter, config));
    }

    /// Records that another process has the Lease: read it again after a pause.
    pub fn on_held_by_other(&mut self, now: Monotonic, jitter: f64, config: &ElectionConfig) {
        self.on_failure(now, jitter, config);
    }

    /// Records that this process gave up or lost the lease.
    pub fn on_stopped(&mut self) {
        self.held_until = None;
    }

    /// The Lease to write in order to give it up; None unless this process has it and knows its current version.
    pub fn release(&self, wall: Timestamp, identity: &str) -> Option<StoredLease> {
        let seen = self.seen.as_ref().filter(|seen| !seen.deleted && !self.stale)?;
        (seen.lease.record.holder() == Some(identity)).then(|| StoredLease {
            record: LeaseRecord {
                holder: None,
                // client-go writes the same, so its candidates treat the Lease as expired at once.
                duration_seconds: Some(1),
                acquired: seen.lease.record.acquired,
                renewed: Some(later(wall, seen.lease.record.renewed)),
                transitions: seen.lease.record.transitions,
            },
            metadata: seen.lease.metadata.clone(),
        })
    }

    // A leader's retries have no jitter: it makes only a few attempts before its deadline.
    fn pause(&self, jitter: f64, config: &ElectionConfig) -> Duration {
        match self.held_until {
            Some(_) => config.retry_period,
            None => config.retry_period.mul_f64(1.0 + jitter.clamp(0.0, 1.0)),
        }
    }
}

/// The next step at `now`. `wall` is only written into records for people to read; no decision depends on it.
pub fn decide(view: &View, now: Monotonic, wall: Timestamp, identity: &str, config: &ElectionConfig) -> Step {
    let leading = match view.held_until {
        Some(until) if now >= until => return Step::Stop(Loss::RenewDeadline),
        until => until.is_some(),
    };
    if leading
        && let Some(seen) = view.seen.as_ref().filter(|_| !view.stale)
        && let Some(other) = seen.lease.record.holder().filter(|holder| *holder != identity)
    {
        return Step::Stop(Loss::TakenBy(other.to_owned()));
    }
    if now < view.next_attempt {
        return Step::Wait(view.next_attempt.since(now));
    }
    if view.stale {
        return Step::Read;
    }
    let Some(seen) = &view.seen else {
        return Step::Create(acquired(None, wall, identity, config));
    };
    let mine = seen.lease.record.holder() == Some(identity);
    if !mine && !is_free(seen, now, config) {
        return Step::HeldByOther;
    }
    let record = if mine {
        renewed(&seen.lease.record, wall, config)
    } else {
        acquired(Some(&seen.lease.record), wall, identity, config)
    };
    if seen.deleted {
        Step::Create(record)
    } else {
        Step::Replace(Box::new(StoredLease {
            record,
            metadata: seen.lease.metadata.clone(),
        }))
    }
}

/// Whether no process can still lead with this record.
fn is_free(seen: &Seen, now: Monotonic, config: &ElectionConfig) -> bool {
    // The leader uses the duration that it wrote, which may differ from ours during an upgrade.
    let seconds = seen
        .lease
        .record
        .duration_seconds
        .filter(|seconds| *seconds > 0)
        .unwrap_or(config.lease_seconds());
    let duration = Duration::from_secs(u64::from(seconds.unsigned_abs()));
    seen.lease.record.holder().is_none() || now.since(seen.changed_at) >= duration
}

fn acquired(before: Option<&LeaseRecord>, wall: Timestamp, identity: &str, config: &ElectionConfig) -> LeaseRecord {
    let renewed = later(wall, before.and_then(|record| record.renewed));
    LeaseRecord {
        holder: Some(identity.to_owned()),
        duration_seconds: Some(config.lease_seconds()),
        acquired: Some(renewed),
        renewed: Some(renewed),
        transitions: before.map_or(0, |record| record.transitions.saturating_add(1)),
    }
}

fn renewed(before: &LeaseRecord, wall: Timestamp, config: &ElectionConfig) -> LeaseRecord {
    LeaseRecord {
        duration_seconds: Some(config.lease_seconds()),
        renewed: Some(later(wall, before.renewed)),
        ..before.clone()
    }
}

/// `wall` in the microseconds that a Lease stores, but always after `before`. Others notice a renewal only by a changed
/// record, so every renewal must change it, even if the wall clock stopped or went back.
fn later(wall: Timestamp, before: Option<Timestamp>) -> Timestamp {
    let wall = wall.round(Unit::Microsecond).unwrap_or(wall);
    match before {
        Some(before) if before >= wall => before.checked_add(Duration::from_micros(1)).unwrap_or(before),
        _ => wall,
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod simulation;
