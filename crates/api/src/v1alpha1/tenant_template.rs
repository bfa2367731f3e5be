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
    doc = "A TenantTemplate defines what the tenants of a tier get: quotas, guards, network, security and monitoring. Tenants refer to it by name.",
    printcolumn(name = "Tier", type_ = "string", json_path = ".spec.tier", description = "Tier of the template"),
    printcolumn(name = "Tenants", type_ = "integer", json_path = ".status.tenants", description = "Tenants that use the template"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status", description = "Whether the template is valid"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason", description = "Reason of the Ready condition"),
    printcolumn(name = "CPU", type_ = "string", json_path = ".spec.quotas.cpu", description = "CPU that each tenant may use", priority = 1),
    printcolumn(name = "Memory", type_ = "string", json_path = ".spec.quotas.memory", description = "Memory that each tenant may use", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp", description = "Time since creation"),
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$') && size(self.metadata.name) <= 63").message("metadata.name must be a DNS label of at most 63 characters (a-z, 0-9, -): it becomes a label of the tenants' namespaces")
)]
#[serde(rename_all = "camelCase")]
pub struct TenantTemplateSpec {
    /// The tier that this template defines. Several templates may define the same tier.
    pub tier: Tier,
    /// Who this template is for, in a sentence. For readers only; the operator does not use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub description: Option<String>,
    /// How much a tenant may use in all its namespaces together (the grant). Amounts that are left out are unlimited.
    #[serde(default)]
    pub quotas: Quotas,
    /// How the operator divides the quotas among a tenant's namespaces. Default: Demand.
    #[serde(default)]
    pub quota_spread: QuotaSpread,
    /// Defaults and bounds of each container and each volume claim. The API server enforces them by a LimitRange.
    #[serde(default)]
    pub containers: Containers,
    /// Which traffic pods may send and receive, and how Services may be exposed.
    #[serde(default)]
    pub network: NetworkSpec,
    /// Pod Security Standard, encryption, images and sign-in.
    #[serde(default)]
    pub security: SecuritySpec,
    /// Has no effect in this version: no evidence is collected. Compliance frameworks of the tier; reported
    /// NotEnforced.
    #[serde(default)]
    pub compliance: ComplianceSpec,
    /// AI features of the tier. Only handed to workloads in the ConfigMap `tenant-limits`; nothing enforces them.
    #[serde(default)]
    pub ai: AiSpec,
    /// Metrics, alerts and dashboards. They need the CRDs of the prometheus-operator or a Grafana sidecar.
    #[serde(default)]
    pub monitoring: MonitoringSpec,
    /// Nodes, priority classes and runtime classes that the tenant's pods may use.
    #[serde(default)]
    pub placement: PlacementSpec,
    /// Has no effect in this version: cost reports do not exist yet. Prices of the tier; reported NotEnforced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pricing: Option<PricingSpec>,
    /// Support of the tier. Only handed to workloads in the ConfigMap `tenant-limits`; nothing enforces it.
    #[serde(default)]
    pub support: SupportSpec,
    /// Has no effect in this version: a change reaches all tenants at once. How a change of this template is rolled
    /// out.
    #[serde(default)]
    pub rollout: RolloutSpec,
    /// How owners get further namespaces. These and the namespaces that the Tenant lists are together at most
    /// `quotas.namespaces`. Namespaces that owners already have stay when this field changes. Default: Claim.
    #[serde(default)]
    pub self_service: SelfService,
    /// What the operator does with a namespace that an owner created beyond `quotas.namespaces`; only used with
    /// `selfService: Direct`. Default: Wait. A namespace that no owner can have created (by its name, or because it is
    /// older than the Tenant) is never deleted, no matter which labels it has.
    #[serde(default)]
    pub direct_overflow: DirectOverflow,
    /// Fields of a Tenant's `overrides` that may be looser than this template. All other overrides may only be
    /// stricter.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub overridable: Vec<OverridableField>,
}

/// How a tenant's quotas are divided among its namespaces. In both modes the sum never exceeds the grant.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QuotaSpread {
    /// Divided by weight at first. Then a namespace gives unused amounts to namespaces that need them, and keeps at
    /// least a quarter of its share.
    #[default]
    Demand,
    /// Divided by weight only, no matter how much each namespace uses.
    Fixed,
}

/// How owners get further namespaces.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SelfService {
    /// Owners create a TenantNamespace in the tenant's home namespace, `<tenant>-home`.
    #[default]
    Claim,
    /// As Claim; owners may also create a namespace `<tenant>-<name>` themselves, with the label `tenantry.dev/tenant:
    /// <tenant>`. For that the platform team must bind the ClusterRole `tenantry-direct` to the people whom it trusts
    /// to create namespaces.
    Direct,
    /// Only the platform team adds namespaces, in the Tenant.
    Disabled,
}

/// What the operator does with a namespace that an owner created when no place was left.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DirectOverflow {
    /// The namespace stays closed: nobody has rights in it until a place is free. The oldest 20 wait; the operator
    /// deletes the others.
    #[default]
    Wait,
    /// The operator deletes it.
    Remove,
}

/// A field of a Tenant's `overrides` that a template can allow to be looser than the template.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OverridableField {
    /// `overrides.quotas`: amounts above the template's amounts.
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
    /// `overrides.internetEgress`: Allow although the template says Deny.
    InternetEgress,
    /// `overrides.egress`: destinations that the template does not list.
    Egress,
    /// `overrides.nodeSelector`: different values for the labels in the template's `nodeSelector`.
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
    /// The metadata.generation that the operator last processed; -1 before the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, Reconciling, Stalled (kstatus) and AllFieldsEffective.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// How many Tenants use this template.
    #[serde(default)]
    pub tenants: i64,
    /// For each field that the template sets: whether it is enforced on this cluster, and by what.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub controls: Vec<Control>,
}

/// Whether one field of a template is enforced.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Control {
    /// The field of the template, for example `security.podSecurity`.
    #[schemars(length(max = 128))]
    pub field: String,
    /// Whether the field is enforced.
    pub state: ControlState,
    /// What enforces the field, or what is missing.
    #[schemars(length(max = 1024))]
    pub message: String,
}

/// How well a field of a template is enforced. This version reports Enforced, Configured and NotEnforced.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ControlState {
    /// The API server refuses a violation.
    Enforced,
    /// The operator created an object, and another program (such as the network plugin) must act on it.
    Configured,
    /// Not reported in this version. The effect was observed in the cluster.
    Verified,
    /// Not reported in this version. A person confirmed it, until a date.
    Attested,
    /// Nothing enforces the field.
    NotEnforced,
    /// Not reported in this version. The operator could not determine it.
    Unknown,
}
