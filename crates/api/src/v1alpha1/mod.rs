//! Version `v1alpha1` of the API.

pub mod schema;

mod blocks;
mod network;
mod quotas;
mod security;
mod tenant;
mod tenant_namespace;
mod tenant_policy;
mod tenant_template;
mod tier;

pub use blocks::{
    AiLevel, AiSpec, MonitoringSpec, PlacementSpec, PricingSpec, RolloutSpec, RolloutStrategy, SloSpec, SupportLevel,
    SupportSpec, TaintEffect, Toleration, TolerationOperator,
};
pub use network::{EgressRule, IngressPeer, Isolation, NetworkPort, NetworkSpec, Protocol, ServiceType, Traffic};
pub use quotas::{Amounts, Containers, Quotas, VolumeBounds};
pub use security::{ComplianceSpec, Encryption, Framework, MissingMeans, PodSecurity, SecuritySpec};
pub use tenant::{
    Branding, DeletionPolicy, NamespaceState, NamespaceStatus, Overrides, Owner, OwnerKind, OwnerRole, QuotaStatus,
    TemplateRef, Tenant, TenantNamespaceEntry, TenantSpec, TenantState, TenantStatus,
};
pub use tenant_namespace::{TenantNamespace, TenantNamespaceSpec, TenantNamespaceStatus};
pub use tenant_policy::{TenantPolicy, TenantPolicySpec};
pub use tenant_template::{
    Control, ControlState, DirectOverflow, OverridableField, QuotaSpread, SelfService, TenantTemplate,
    TenantTemplateSpec, TenantTemplateStatus,
};
pub use tier::{Environment, Tier};
