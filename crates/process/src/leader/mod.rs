//! Leader election over one `Lease`, after the algorithm of client-go, with its gaps closed.
//!
//! - [`election`] decides, without IO: what was read and when, in; the next [`election::Step`], out.
//! - [`lease_api`] is the seam to the API server: read, create, replace. Every write carries the `resourceVersion` that
//!   was read, so of two writers one gets a 409.
//! - [`elector`] runs the steps and publishes [`Leadership`].
//!
//! Why two never lead at once: a leader counts `renew_deadline` from *before* it sent its last successful write; another
//! takes the lease only `lease_duration` after it *saw* that write, each on its own monotonic clock. As the first point
//! is earlier and the first duration shorter, the leader has stopped before the other starts. The rest of this argument is
//! [`LeaderHandle::is_leading`]: it asks the clock, so a process that was frozen past its deadline knows so at once,
//! before any of its tasks ran again.
//!
//! Writes go through a client whose connections ask it once more right before they send (`runtime::client::build_for_leader`).
//!
//! What it cannot give: a write sent before the deadline may arrive after it. So every replace and
//! delete carries a precondition, and quotas are fenced (docs/decisions/0007). A monotonic clock that stands still while the machine sleeps, or an
//! admin who deletes the Lease just before another replica starts, also defeats it; as they do client-go.

pub mod election;
pub mod elector;
pub mod lease_api;

pub use election::{ElectionConfig, ElectionConfigError, Loss};
pub use elector::{Elector, Ended, LeaderHandle, Leadership, identity};
pub use lease_api::KubeLease;
