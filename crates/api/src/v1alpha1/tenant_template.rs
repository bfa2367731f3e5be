//! TenantTemplate: what a tier gets.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    AiSpec, ComplianceSpec, Containers, MonitoringSpec, NetworkSpec, PlacementSpec, PricingSpec, Quotas, RolloutSpec,
    SecuritySpec, SupportSpec, Tier, schema,
};

/// What every tenant of this template gets. A change reaches all its tenants.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "tenantry.dev",
    version = "v1alpha1",
    kind = "TenantTemplate",
    plural = "tenanttemplates",
    shortname = "tt",
    category = "tenantry",
    status = "TenantTemplateStatus",
    selectable = ".spec.tier",
    derive = "PartialEq",
    doc = "A TenantTemplate says what a tier gets: quotas, guards, network, security, monitoring. Tenants refer to it by name.",
    printcolumn(name = "Tier", type_ = "string", json_path = ".spec.tier", description = "Tier of the template"),
    printcolumn(name = "Tenants", type_ = "integer", json_path = ".status.tenants", description = "Tenants that use the template"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status", description = "Whether the template is sound"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason", description = "Why"),
    printcolumn(name = "CPU", type_ = "string", json_path = ".spec.quotas.cpu", description = "CPU of a tenant", priority = 1),
    printcolumn(name = "Memory", type_ = "string", json_path = ".spec.quotas.memory", description = "Memory of a tenant", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp", description = "Time since creation"),
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$') && size(self.metadata.name) <= 63").message("metadata.name must be a DNS label of at most 63 characters (a-z, 0-9, -): it becomes a label of the tenants' namespaces")
)]
#[serde(rename_all = "camelCase")]
pub struct TenantTemplateSpec {
    /// The tier that this template defines. Several templates may define the same tier.
    pub tier: Tier,
    /// For whom this template is, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub description: Option<String>,
    /// What a tenant may use as a whole, over all its namespaces together.
    #[serde(default)]
    pub quotas: Quotas,
    /// How the quotas are spread over a tenant's namespaces.
    #[serde(default)]
    pub quota_spread: QuotaSpread,
    /// Defaults and bounds of single containers and volume claims.
    #[serde(default)]
    pub containers: Containers,
    /// What pods may talk to and how services are exposed.
    #[serde(default)]
    pub network: NetworkSpec,
    /// Pod security, encryption, images, sign-in.
    #[serde(default)]
    pub security: SecuritySpec,
    /// Frameworks that evidence is wanted for.
    #[serde(default)]
    pub compliance: ComplianceSpec,
    /// AI features.
    #[serde(default)]
    pub ai: AiSpec,
    /// Metrics, alerts, dashboards, objectives.
    #[serde(default)]
    pub monitoring: MonitoringSpec,
    /// Where pods run.
    #[serde(default)]
    pub placement: PlacementSpec,
    /// Prices, for cost reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pricing: Option<PricingSpec>,
    /// Support that comes with the tier.
    #[serde(default)]
    pub support: SupportSpec,
    /// How a change of this template reaches its tenants.
    #[serde(default)]
    pub rollout: RolloutSpec,
    /// How owners get further namespaces, up to `quotas.namespaces` together with those that the Tenant lists. What was
    /// asked for stays when this changes.
    #[serde(default)]
    pub self_service: SelfService,
    /// With `selfService: Direct`: what becomes of a namespace for which there is no place. One that no owner can have made, by its
    /// name or as it is older than the Tenant, is never removed, whatever its labels.
    #[serde(default)]
    pub direct_overflow: DirectOverflow,
    /// Fields in which a Tenant's `overrides` may also loosen. All others can only be tightened.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub overridable: Vec<OverridableField>,
}

/// How a tenant's quotas are spread over its namespaces. The sum is exact either way.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QuotaSpread {
    /// By weight to begin with; then what a namespace does not use goes to one that needs it, down to a quarter of its share.
    #[default]
    Demand,
    /// By weight, whatever is used.
    Fixed,
}

/// How owners get further namespaces.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SelfService {
    /// By a TenantNamespace in the tenant's home namespace, `<tenant>-home`.
    #[default]
    Claim,
    /// That, or by creating a namespace called `<tenant>-<name>` with the label `tenantry.dev/tenant: <tenant>`. Needs the
    /// ClusterRole `tenantry-direct`, which the platform team binds to whom it trusts with creating namespaces.
    Direct,
    /// Only the platform team adds namespaces, in the Tenant.
    Disabled,
}

/// What becomes of a namespace that an owner made beyond what is granted.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DirectOverflow {
    /// It stays closed to everybody, and opens when there is a place for it. At most 20 wait, the oldest; more are deleted.
    #[default]
    Wait,
    /// It is deleted.
    Remove,
}

/// A field that a template can open for its tenants.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OverridableField {
    /// `overrides.quotas`: amounts above the template's.
    Quotas,
    /// `overrides.podSecurity`: a laxer standard.
    PodSecurity,
    /// `overrides.registries`: registries that the template does not list.
    Registries,
    /// `overrides.storageClasses`: classes that the template does not list.
    StorageClasses,
    /// `overrides.serviceTypes`: types that the template does not list.
    ServiceTypes,
    /// `overrides.ingressHosts`: hosts that the template does not list.
    IngressHosts,
    /// `overrides.internetEgress`: Allow where the template denies.
    InternetEgress,
    /// `overrides.egress`: further destinations.
    Egress,
    /// `overrides.nodeSelector`: other values for the template's labels.
    NodeSelector,
}

impl OverridableField {
    /// The value as written in YAML.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Quotas => "Quotas",
            Self::PodSecurity => "PodSecurity",
            Self::Registries => "Registries",
            Self::StorageClasses => "StorageClasses",
            Self::ServiceTypes => "ServiceTypes",
            Self::IngressHosts => "IngressHosts",
            Self::InternetEgress => "InternetEgress",
            Self::Egress => "Egress",
            Self::NodeSelector => "NodeSelector",
        }
    }
}

/// State of the template, written by the operator.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TenantTemplateStatus {
    /// The metadata.generation that this status was computed from; -1 until the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, Reconciling, Stalled (kstatus) and AllFieldsEffective.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// Number of tenants that use the template.
    #[serde(default)]
    pub tenants: i64,
    /// What every part of the template honestly comes to on this cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub controls: Vec<Control>,
}

/// What one part of a template comes to.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Control {
    /// The field, for example `security.podSecurity`.
    #[schemars(length(max = 128))]
    pub field: String,
    /// How far it is true.
    pub state: ControlState,
    /// Who enforces it, or what is missing.
    #[schemars(length(max = 1024))]
    pub message: String,
}

/// How far a promise is kept.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ControlState {
    /// The API server refuses the violation.
    Enforced,
    /// An object is in place; a data plane must act on it.
    Configured,
    /// Observed now.
    Verified,
    /// Someone says so, until a date.
    Attested,
    /// Nothing makes it true.
    NotEnforced,
    /// It could not be found out.
    Unknown,
}
