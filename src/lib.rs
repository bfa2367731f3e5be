//! Tenantry: a Kubernetes operator that turns tenant templates into fenced, metered and watched namespaces.
//!
//! ```text
//!   TenantTemplate   Tenant                         what users write: [`api`]
//!          \\         /
//!   dereference -> validate -> build -> apply -> status      one step a file: [`tenant`]
//!                     |                   |
//!          decisions: [`domain`]          writes and live objects: [`apply`]
//! ```
//!
//! - [`api`]: the kinds, their schema and documentation, names on objects.
//! - [`domain`]: pure decisions on plain types: quantities, the allocator, overrides, conditions.
//! - [`apply`]: desired and live objects, drift, preconditioned writes, watches.
//! - [`tenant`]: the tenant controller. [`template`]: the template controller.
//! - [`runtime`]: how a process lives: client, leadership, endpoints, logs. [`operator`]: it all put together.
//! - [`render`]: the same build, offline. [`adopt`]: what handing a namespace over would mean. [`generate`]: files made from the code
//!   ([`api_reference`], [`chart_readme`], [`tiers`]).

pub mod adopt;
pub mod api;
pub mod api_reference;
pub mod apply;
pub mod args;
pub mod chart_readme;
pub mod cli;
pub mod commands;
pub mod domain;
pub mod generate;
pub mod operator;
pub mod render;
pub mod runtime;
pub mod settings;
pub mod template;
pub mod tenant;
pub mod tiers;
