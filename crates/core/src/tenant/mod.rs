//! The pure steps of a reconcile.
//!
//! ```text
//! facts -> validate -> build -> (the operator applies: outcome) -> status
//! ```

pub mod build;
pub mod facts;
pub mod held;
pub mod outcome;
pub mod status;
pub mod validate;
