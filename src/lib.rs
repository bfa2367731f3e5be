//! Tenantry: a Kubernetes operator that turns tenant templates into fenced, metered and watched namespaces.
//!
//! ```text
//!   TenantTemplate   Tenant                         what users write: `tenantry_api`
//!          \\         /
//!   dereference -> validate -> build -> apply -> status      decided in `tenantry_core`, run by [`tenant`]
//!                                         |
//!                            writes and live objects: [`cluster`]
//! ```
//!
//! This crate is the operator itself: [`operator`] starts and ends it, [`tenant`] and [`template`] are its controllers,
//! [`cluster`] reads and writes the API server, and [`metrics`] counts. `tenantry_process` has what every process
//! needs: client, leader election, health and shutdown.

pub mod cli;
pub mod cluster;
pub mod metrics;
pub mod operator;
pub mod template;
pub mod tenant;
