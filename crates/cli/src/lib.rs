//! The verbs that need no operator, as library functions with their arguments.
//!
//! - [`commands`]: `render` and `adopt` as a binary calls them. [`args`]: their flags.
//! - [`render`]: a Tenant's objects, offline, by the operator's own steps.
//! - [`adopt`]: what handing a namespace over to a tenant would mean.

pub mod adopt;
pub mod args;
pub mod commands;
pub mod render;
