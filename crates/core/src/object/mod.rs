//! Managed objects: which kinds there are, what is desired, what is live, and whether the two differ.

pub mod desired;
pub mod drift;
pub mod kind;
pub mod live;
pub mod packed;

pub use desired::{Key, Object};
pub use kind::Kind;
pub use live::Live;
