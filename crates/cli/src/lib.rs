//! The subcommands that need no operator, as library functions with their arguments.
//!
//! - [`commands`]: `render` and `adopt`, as a binary calls them. [`args`]: their flags.
//! - [`render`]: prints a Tenant's objects offline, with the operator's own code.
//! - [`adopt`]: checks what would happen if a namespace were handed to a tenant, and hands it over.

pub mod adopt;
pub mod args;
pub mod commands;
pub mod render;
