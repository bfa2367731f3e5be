//! Tenantry: a Kubernetes operator that turns tenant templates into fenced, metered and watched namespaces.

pub mod api;
pub mod apply;
pub mod cli;
pub mod domain;
pub mod generate;
pub mod runtime;
pub mod tenant;
