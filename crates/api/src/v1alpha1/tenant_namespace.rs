//! TenantNamespace: a team's own request for one more namespace.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Environment, schema};

/// A request for one more namespace of the tenant to which this home namespace belongs. If it is deleted, the Tenant's
/// `deletionPolicy` decides: the namespace is deleted, or stays with its guards and without owners' rights.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "tenantry.dev",
    version = "v1alpha1",
    kind = "TenantNamespace",
    plural = "tenantnamespaces",
    shortname = "tns",
    category = "tenantry",
    namespaced,
    status = "TenantNamespaceStatus",
    derive = "PartialEq",
    doc = "A TenantNamespace in a tenant's home namespace (<tenant>-home) requests one more namespace of that tenant, called <tenant>-<name>. A ResourceQuota in the home namespace limits their number. If it is deleted, the namespace is deleted, or kept if the Tenant's deletionPolicy is Retain.",
    printcolumn(name = "Namespace", type_ = "string", json_path = ".status.namespace", description = "The namespace that was created"),
    printcolumn(name = "Environment", type_ = "string", json_path = ".spec.environment", description = "Purpose of the namespace"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status", description = "Whether the namespace is ready"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason", description = "Reason of the Ready condition"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp", description = "Time since creation"),
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$') && size(self.metadata.name) <= 61").message("metadata.name must be a DNS label (a-z, 0-9, -): the namespace is called <tenant>-<name>"),
    validation = Rule::new("self.metadata.name != 'home' && !self.metadata.name.endsWith('-home')").message("metadata.name: home is the tenant's home namespace, and <name>-home may be another tenant's; choose another name")
)]
#[serde(rename_all = "camelCase")]
pub struct TenantNamespaceSpec {
    /// Purpose of the namespace. The operator writes it to the namespace's label `tenantry.dev/environment`. Default:
    /// Development.
    #[serde(default)]
    pub environment: Environment,
    /// Relative share of the tenant's quotas, compared with the weights of its other namespaces. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub weight: Option<i32>,
}

/// State of the request, written by the operator.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TenantNamespaceStatus {
    /// The metadata.generation that the operator last processed; -1 before the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, Reconciling and Stalled (kstatus).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// Full name of the namespace that the operator created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub namespace: Option<String>,
}
