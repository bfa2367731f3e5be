//! Amounts: what the tenant as a whole may use, and what one container gets.

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::schema;
use crate::quantity::Quantity;

/// What the tenant may use over all its namespaces together. A field that is left out sets no limit; 0 forbids.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Quotas {
    /// CPU in cores (`500m`, `8`): the sum of requests and, separately, of limits of all pods. Lands in
    /// `requests.cpu` and `limits.cpu` of the ResourceQuotas. Enforced by the API server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::cpu")]
    pub cpu: Option<Quantity>,
    /// Memory in bytes (`512Mi`, `16Gi`): the sum of requests and, separately, of limits of all pods. Lands in
    /// `requests.memory` and `limits.memory`. Enforced by the API server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::bytes")]
    pub memory: Option<Quantity>,
    /// Storage in bytes (`100Gi`, `1Ti`): the sum over all PersistentVolumeClaims. Lands in `requests.storage`.
    /// Enforced by the API server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::bytes")]
    pub storage: Option<Quantity>,
    /// Number of namespaces, without the home namespace. A Tenant that lists more is refused as a whole (condition
    /// Ready=False, reason TooManyNamespaces) and keeps its last good state. What its owners may ask for beside that is a
    /// ResourceQuota `count/tenantnamespaces.tenantry.dev` in the home namespace, at most 100. A namespace that is still
    /// being deleted counts until it is gone. Enforced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub namespaces: Option<i64>,
    /// Number of pods that are not finished. Lands in `pods`. Enforced by the API server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub pods: Option<i64>,
    /// Network bandwidth in bits per second (`100M`, `2G`). Stamped on each pod as
    /// `kubernetes.io/ingress-bandwidth` and `egress-bandwidth`, so it bounds every single pod; the network plugin
    /// must act on it (state Configured).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::bits_per_second")]
    pub network_bandwidth: Option<Quantity>,
    /// Concurrent connections through the tenant's gateways. Nothing in Kubernetes counts connections: handed to
    /// workloads in the ConfigMap `tenant-limits` (state NotEnforced).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub concurrent_connections: Option<i64>,
    /// Requests per minute to the tenant's own APIs. Handed to workloads in the ConfigMap `tenant-limits` (state
    /// NotEnforced) until a gateway with a rate-limit policy is supported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub api_requests_per_minute: Option<i64>,
    /// Connections to databases. Handed to workloads in the ConfigMap `tenant-limits` (state NotEnforced).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub database_connections: Option<i64>,
    /// Cache memory in bytes (`64Mi`). Handed to workloads in the ConfigMap `tenant-limits` (state NotEnforced).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::bytes")]
    pub cache: Option<Quantity>,
    /// Number of served models. Lands in a `count/<resource>` quota (by default
    /// `count/inferenceservices.serving.kserve.io`) where that kind is served, else NotEnforced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub ml_model_instances: Option<i64>,
    /// Number of accelerators. Lands in `requests.<accelerator resource>` (by default
    /// `requests.nvidia.com/gpu`). Enforced by the API server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub ai_processing_units: Option<i64>,
    /// Number of other objects by key of a ResourceQuota: `services`, `services.loadbalancers`, `services.nodeports`,
    /// `configmaps`, `secrets`, `persistentvolumeclaims`, `replicationcontrollers`, or `count/<plural>.<group>`
    /// (`count/jobs.batch`). Enforced by the API server. All objects count, also those that Kubernetes and the operator
    /// put into each namespace: two or three `configmaps` (kube-root-ca.crt, tenant-limits, a dashboard); leave room for
    /// them. Service types that the template does not allow stay forbidden.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::object_counts")]
    pub objects: BTreeMap<String, i64>,
}

/// CPU and memory of one container.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Amounts {
    /// CPU in cores, for example `100m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::cpu")]
    pub cpu: Option<Quantity>,
    /// Memory in bytes, for example `128Mi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::bytes")]
    pub memory: Option<Quantity>,
}

/// Defaults and bounds of every single container, and of every volume claim. They become one LimitRange.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = schema::not_above("default", "max", "cpu"),
    validation = schema::not_above("default", "max", "memory"),
    validation = schema::not_above("defaultRequest", "max", "cpu"),
    validation = schema::not_above("defaultRequest", "max", "memory"),
    validation = schema::not_above("defaultRequest", "default", "cpu"),
    validation = schema::not_above("defaultRequest", "default", "memory"),
    validation = schema::not_above("min", "defaultRequest", "cpu"),
    validation = schema::not_above("min", "defaultRequest", "memory"),
    validation = schema::not_above("min", "default", "cpu"),
    validation = schema::not_above("min", "default", "memory"),
    validation = schema::not_above("min", "max", "cpu"),
    validation = schema::not_above("min", "max", "memory")
)]
pub struct Containers {
    /// Limits of a container that sets none. A quota refuses containers without limits, so leaving this out means
    /// that every pod must name its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Amounts>,
    /// Requests of a container that sets none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_request: Option<Amounts>,
    /// The least that a container may request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<Amounts>,
    /// The most that a container may be limited to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Amounts>,
    /// Bounds of one PersistentVolumeClaim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volumes: Option<VolumeBounds>,
}

/// Bounds of one PersistentVolumeClaim.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.min) || !has(self.max) || !quantity(string(self.min)).isGreaterThan(quantity(string(self.max)))").message("min is above max: lower min or raise max").field_path(".min"))]
pub struct VolumeBounds {
    /// The least size of a claim, for example `1Gi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::bytes")]
    pub min: Option<Quantity>,
    /// The greatest size of a claim, for example `100Gi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::bytes")]
    pub max: Option<Quantity>,
}
