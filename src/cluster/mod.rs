//! How desired objects reach the cluster, and what is known of the live ones.
//!
//! - [`kinds`]: the closed list of kinds that the operator writes; RBAC is tested against it.
//! - [`object`]: a desired object.
//! - [`inventory`]: what the cluster holds, kept by watches and by the answers to our own writes.
//! - [`drift`]: whether a live object is as desired.
//! - [`served`]: which optional kinds the cluster has.
//! - [`writer`]: create, replace, delete, each with a precondition.
//! - [`custom`]: the status and the finalizer of what users write.
//! - [`together`]: requests whose order does not matter, a bounded number at a time.
//! - [`watch`]: the watches that feed the inventory and wake tenants.
//!
//! Writes are creates, replaces with a resourceVersion and deletes with a uid, never server-side apply: a stale cache
//! or an old leader that was resumed can then overwrite nothing (docs/decisions/0001).

pub mod custom;
pub mod drift;
pub mod inventory;
pub mod kinds;
pub mod object;
pub mod packed;
pub mod served;
pub mod together;
pub mod watch;
pub mod writer;

pub use inventory::{Inventory, Live};
pub use kinds::Kind;
pub use object::{Key, Object};
