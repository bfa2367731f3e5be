//! What to do next about the lease: pure.

use std::time::Duration;

use jiff::{Timestamp, Unit};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::clock::Monotonic;

/// The three durations of an election; they fit together once built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ElectionConfig {
    lease_duration: Duration,
    renew_deadline: Duration,
    retry_period: Duration,
}

/// Durations that would let two lead, or nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ElectionConfigError {
    /// A Lease stores whole seconds.
    #[error("--lease-duration must be a whole number of seconds between 1s and 1h, got {0:?}")]
    LeaseDuration(Duration),
    /// The leader would still lead when another may start.
    #[error(
        "--renew-deadline ({renew_deadline:?}) must be shorter than --lease-duration ({lease_duration:?}), or two processes could lead at once"
    )]
    RenewDeadline {
        /// As given.
        renew_deadline: Duration,
        /// As given.
        lease_duration: Duration,
    },
    /// One failed renewal would end the leadership.
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

    /// How long others wait after the last renewal that they saw.
    pub fn lease_duration(&self) -> Duration {
        self.lease_duration
    }

    /// How long the leader leads after its last successful renewal.
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

/// What the election reads and writes of a Lease's spec.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LeaseRecord {
    /// Who holds it; None or empty: nobody.
    pub holder: Option<String>,
    /// How long others wait after the last renewal that they saw, in seconds.
    pub duration_seconds: Option<i32>,
    /// When the holder took it, wall time of the holder.
    pub acquired: Option<Timestamp>,
    /// When the holder last renewed it, wall time of the holder. Others compare it for equality only.
    pub renewed: Option<Timestamp>,
    /// How often it changed hands.
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

/// The next thing to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Nothing for this long.
    Wait(Duration),
    /// Nothing, as someone else holds the Lease: call [`View::on_held_by_other`], then decide again.
    HeldByOther,
    /// Read the Lease.
    Read,
    /// Create the Lease with this record.
    Create(LeaseRecord),
    /// Replace the Lease; the metadata carries the `resourceVersion` that was read.
    Replace(Box<StoredLease>),
    /// Leadership is over; the process must not lead again.
    Stop(Loss),
}

/// Why leadership ended without being given up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Loss {
    /// No renewal succeeded for the renew deadline.
    #[error("no renewal of the lease succeeded within the renew deadline")]
    RenewDeadline,
    /// The Lease names someone else.
    #[error("the lease is held by {0:?}")]
    TakenBy(String),
}

/// Everything that this process knows about the election.
#[derive(Debug, Clone)]
pub struct View {
    seen: Option<Seen>,
    /// The Lease must be read before it is written: never read yet, or the last write failed.
    stale: bool,
    held_until: Option<Monotonic>,
    next_attempt: Monotonic,
}

#[derive(Debug, Clone)]
struct Seen {
    lease: StoredLease,
    /// When the record last changed, as far as we saw: the end of the read that first showed it.
    changed_at: Monotonic,
    /// The object is gone, but its holder may still lead.
    deleted: bool,
}

impl View {
    /// Knows nothing yet; the first attempt is due at `now`.
    pub fn new(now: Monotonic) -> Self {
        Self {
            seen: None,
            stale: true,
            held_until: None,
            next_attempt: now,
        }
    }

    /// Until when this process leads, if it does; counts from before the last successful write was sent.
    pub fn held_until(&self) -> Option<Monotonic> {
        self.held_until
    }

    /// A read ended at `now` with this Lease, or with none.
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

    /// A write sent at `started` succeeded; the API server answered with `lease`.
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

    /// A read or a write failed, or its answer was lost; `jitter` in 0..1 spreads the candidates.
    pub fn on_failure(&mut self, now: Monotonic, jitter: f64, config: &ElectionConfig) {
        self.stale = true;
        self.next_attempt = now.plus(self.pause(jitter, config));
    }

    /// Someone else holds the Lease: look again after a pause.
    pub fn on_held_by_other(&mut self, now: Monotonic, jitter: f64, config: &ElectionConfig) {
        self.on_failure(now, jitter, config);
    }

    /// This process gave leadership up or lost it.
    pub fn on_stopped(&mut self) {
        self.held_until = None;
    }

    /// What to write to give the Lease up, if it is ours and known to be unchanged.
    pub fn release(&self, wall: Timestamp, identity: &str) -> Option<StoredLease> {
        let seen = self.seen.as_ref().filter(|seen| !seen.deleted && !self.stale)?;
        (seen.lease.record.holder() == Some(identity)).then(|| StoredLease {
            record: LeaseRecord {
                holder: None,
                // What client-go writes: others of its kind treat it as expired at once.
                duration_seconds: Some(1),
                acquired: seen.lease.record.acquired,
                renewed: Some(later(wall, seen.lease.record.renewed)),
                transitions: seen.lease.record.transitions,
            },
            metadata: seen.lease.metadata.clone(),
        })
    }

    // The leader never jitters: its attempts within the deadline are few enough.
    fn pause(&self, jitter: f64, config: &ElectionConfig) -> Duration {
        match self.held_until {
            Some(_) => config.retry_period,
            None => config.retry_period.mul_f64(1.0 + jitter.clamp(0.0, 1.0)),
        }
    }
}

/// What to do at `now`. `wall` goes into records for people to read and is never decided on.
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

/// Whether nobody can lead by this record any more.
fn is_free(seen: &Seen, now: Monotonic, config: &ElectionConfig) -> bool {
    // The holder leads by the duration that it wrote, which may differ from ours while an upgrade rolls out.
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

/// `wall` in the microseconds that a Lease stores, but always after `before`: others know a renewal only by a changed
/// record, so a wall clock that stands still or went back must not make one look like none.
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
