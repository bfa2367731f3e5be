//! TenantPolicy: the resolved rules of one namespace, as admission policies read them.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{Environment, ServiceType, TenantState, Tier, Toleration, schema};
use crate::quantity::Quantity;

/// The resolved rules of this namespace, always named `effective`. Only the operator writes it. The chart's admission
/// policies read it as their parameter. In a namespace that lacks it, they refuse every write that they check.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[kube(
    group = "tenantry.dev",
    version = "v1alpha1",
    kind = "TenantPolicy",
    plural = "tenantpolicies",
    shortname = "tp",
    category = "tenantry",
    namespaced,
    derive = "PartialEq",
    doc = "The TenantPolicy named effective contains the resolved rules of its namespace. The operator writes it; admission policies read it. A list that is left out sets no rule; an empty list allows nothing.",
    printcolumn(name = "Tenant", type_ = "string", json_path = ".spec.tenant", description = "The tenant"),
    printcolumn(name = "Tier", type_ = "string", json_path = ".spec.tier", description = "Its tier"),
    printcolumn(name = "State", type_ = "string", json_path = ".spec.state", description = "Active or Frozen"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp", description = "Time since creation"),
    validation = Rule::new("self.metadata.name == 'effective'").message("metadata.name must be effective: a namespace has one TenantPolicy")
)]
#[serde(rename_all = "camelCase")]
pub struct TenantPolicySpec {
    /// Name of the tenant.
    #[schemars(length(min = 1, max = 63))]
    pub tenant: String,
    /// Tier of the tenant.
    pub tier: Tier,
    /// Purpose of the namespace.
    pub environment: Environment,
    /// If Frozen, the API server refuses every write of the tenant.
    pub state: TenantState,
    /// Registries from which images may come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), inner(length(max = 253)))]
    pub registries: Option<Vec<String>>,
    /// Whether pods must name images by digest.
    pub image_digests: bool,
    /// Storage classes that volume claims may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), inner(length(max = 253)))]
    pub storage_classes: Option<Vec<String>>,
    /// Types of Service that may be created.
    #[schemars(length(max = 4))]
    pub service_types: Vec<ServiceType>,
    /// Address ranges that load balancers may serve. Left out: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(max = 49)))]
    pub source_ranges: Option<Vec<String>>,
    /// Hosts that may be exposed: exact names, or `*.` and a domain for every host below it.
    #[schemars(length(max = 32), inner(length(max = 253)))]
    pub ingress_hosts: Vec<String>,
    /// Ingress classes that may be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), inner(length(max = 253)))]
    pub ingress_classes: Option<Vec<String>>,
    /// Whether exposed hosts must have TLS.
    pub ingress_tls: bool,
    /// Whether writes need a multi-factor sign-in.
    pub mfa_for_writes: bool,
    /// Labels that the nodes of every pod must have.
    #[schemars(schema_with = "schema::labels")]
    pub node_selector: BTreeMap<String, String>,
    /// Tolerations that every pod gets. Pods may have no others.
    #[schemars(length(max = 16))]
    pub tolerations: Vec<Toleration>,
    /// Priority classes that pods may use.
    #[schemars(length(max = 16), inner(length(max = 253)))]
    pub priority_classes: Vec<String>,
    /// Runtime classes that pods may use; each pod must name one of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), inner(length(max = 253)))]
    pub runtime_classes: Option<Vec<String>>,
    /// Bandwidth of one pod in bits per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::bits_per_second")]
    pub pod_bandwidth: Option<Quantity>,
}
