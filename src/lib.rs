//! Tenantry: a Kubernetes operator that turns tenant templates into fenced, metered and watched namespaces.

pub mod cli;
pub mod runtime;
