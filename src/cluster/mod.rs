//! How the operator reads and writes the cluster.
//!
//! - [`inventory`]: what the cluster holds, kept by watches and by the answers to our own writes.
//! - [`watch`]: the watches that feed the inventory and wake tenants. [`served`]: which optional kinds the cluster has.
//! - [`writer`]: create, replace, delete, each with a precondition. [`custom`]: the status and the finalizer of what users write.
//! - [`together`]: requests whose order does not matter, a bounded number at a time.
//!
//! Writes are creates, replaces with a resourceVersion and deletes with a uid, never server-side apply: a stale cache
//! or an old leader that was resumed can then overwrite nothing (docs/decisions/0001).

pub mod custom;
pub mod inventory;
pub mod served;
pub mod together;
pub mod watch;
pub mod writer;

pub use inventory::Inventory;
