//! What a Tenant means: pure decisions on plain types.
//!
//! What is in here takes values and gives values: it knows neither a client nor a command line, reads no clock and draws no
//! random number. So the operator, the offline `render` command and the tests all decide alike.
//!
//! - [`tenant`]: the pure steps of a reconcile: facts in, a valid tenant, its objects, and the status of what was applied.
//! - [`template`]: what each field of a template has as effect on this cluster.
//! - [`object`]: the closed list of kinds that are written; desired and live objects; drift.
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
