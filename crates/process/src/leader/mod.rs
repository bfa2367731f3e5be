//! Leader election on one `Lease`, with the algorithm of client-go without its known gaps.
//!
//! - [`election`] decides without IO: its input is what was read and when, its output the next [`election::Step`].
//! - [`lease_api`] is the interface to the API server: read, create, replace. Every write carries the `resourceVersion`
//!   that was read, so one of two simultaneous writers gets a 409.
//! - [`elector`] runs the steps and publishes [`Leadership`].
//!
//! Why two never lead at once: a leader counts `renew_deadline` from *before* it sent its last successful write;
//! another takes the lease only `lease_duration` after it *saw* that write, each on its own monotonic clock. The leader
//! counts from an earlier point and for a shorter time, so it has stopped before the other starts. A process that was
//! frozen past its deadline must also stop: [`LeaderHandle::is_leading`] reads the clock, so it returns false at once,
//! before any task has run again.
//!
//! Writes use a client whose connections check it again right before they send (`crate::client::build_for_leader`).
//!
//! What it cannot guarantee: a write sent before the deadline may arrive after it. So every replace and delete carries
//! a precondition, and quotas are fenced (docs/decisions/0007). Two more cases defeat it, as they do client-go: a
//! monotonic clock that stops while the machine sleeps, and an admin who deletes the Lease just before another replica
//! starts.

pub mod election;
pub mod elector;
pub mod lease_api;

pub use election::{ElectionConfig, ElectionConfigError, Loss};
pub use elector::{Elector, Ended, LeaderHandle, Leadership, identity};
pub use lease_api::KubeLease;
