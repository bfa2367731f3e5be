//! How the operator reads and writes the cluster.
//!
//! - [`inventory`]: the live objects, kept up to date by watches and by the answers to our own writes.
//! - [`watch`]: the watches that feed the inventory and wake tenants. [`served`]: which optional kinds the cluster
//!   serves.
//! - [`writer`]: create, replace, delete, each with a precondition. [`custom`]: status and finalizers of the kinds that
//!   users write.
//! - [`together`]: runs requests whose order does not matter, a bounded number at a time.
//!
//! Writes are creates, replaces with a resourceVersion and deletes with a uid, never server-side apply. So a stale
//! cache, or a former leader that resumes, can overwrite nothing (docs/decisions/0001).

pub mod custom;
pub mod inventory;
pub mod served;
pub mod together;
pub mod watch;
pub mod writer;

pub use inventory::Inventory;
