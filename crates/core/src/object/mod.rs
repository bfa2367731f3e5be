//! Managed objects: the closed list of kinds, desired objects, live objects, and the drift between them.

pub mod desired;
pub mod drift;
pub mod kind;
pub mod live;
pub mod packed;

pub use desired::{Key, Object};
pub use kind::Kind;
pub use live::Live;
