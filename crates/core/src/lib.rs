//! What a Tenant means: pure decisions on plain types.
//!
//! Everything here is a function of its arguments: no client, no command line, no clock, no random number. So the operator,
//! the offline `render` command and the tests all decide alike.
//!
//! - [`tenant`]: the pure steps of a reconcile: from facts to a valid tenant, to its objects, and from the applied objects to the status.
//! - [`template`]: the effect that each field of a template has on this cluster.
//! - [`object`]: the closed list of kinds that the operator writes; desired and live objects; drift.
//! - [`allocation`]: how a grant is spread over namespaces. [`effective`]: a template with a Tenant's overrides.
//! - [`conditions`], [`settings`].

pub mod allocation;
pub mod conditions;
pub mod effective;
pub mod error_class;
#[cfg(any(test, feature = "fixture"))]
#[allow(
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests fail by panicking"
)]
pub mod fixture;
pub mod object;
pub mod settings;
pub mod template;
pub mod tenant;
