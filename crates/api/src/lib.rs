//! The kinds of the API group `tenantry.dev`.
//!
//! Types only: serde, schema, documentation, and the CEL rules that the API server checks on each write. The crate
//! `tenantry-core` decides what a field means. [`names`] has the names that the operator uses on managed objects.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;

pub mod conditions;
pub mod names;
pub mod quantity;
pub mod v1alpha1;

pub use conditions::Reason;
pub use quantity::{Format, ParseQuantityError, Quantity};

/// Every CRD of the group, in the order in which they are installed.
pub fn all_crds() -> Vec<CustomResourceDefinition> {
    [
        v1alpha1::TenantTemplate::crd(),
        v1alpha1::Tenant::crd(),
        v1alpha1::TenantNamespace::crd(),
        v1alpha1::TenantPolicy::crd(),
    ]
    .map(v1alpha1::schema::finish)
    .into()
}
