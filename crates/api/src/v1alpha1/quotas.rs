//! Amounts: what a whole tenant may use, and the bounds of one container.

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::schema;
use crate::quantity::Quantity;

/// What the tenant may use over all its namespaces together. A field that is left out sets no limit; 0 forbids.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Quotas {
    /// CPU in cores (`500m`, `8`): the sum of requests and, separately, of limits of all pods. The API server enforces
    /// it by ResourceQuotas (`requests.cpu`, `limits.cpu`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::cpu")]
    pub cpu: Option<Quantity>,
    /// Memory in bytes (`512Mi`, `16Gi`): the sum of requests and, separately, of limits of all pods. The API server
    /// enforces it by ResourceQuotas (`requests.memory`, `limits.memory`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::bytes")]
    pub memory: Option<Quantity>,
    /// Storage in bytes (`100Gi`, `1Ti`): the sum over all PersistentVolumeClaims. The API server enforces it by
    /// ResourceQuotas (`requests.storage`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::bytes")]
    pub storage: Option<Quantity>,
    /// Number of namespaces, without the home namespace. If a Tenant lists more, the operator changes nothing and
    /// reports Ready=False with reason TooManyNamespaces. Owners may request the rest, at most 100; a ResourceQuota
    /// (`count/tenantnamespaces.tenantry.dev`) in the home namespace enforces it. A namespace that is being deleted
    /// counts until it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub namespaces: Option<i64>,
    /// Number of pods that have not finished. The API server enforces it by ResourceQuotas (`pods`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub pods: Option<i64>,
    /// Network bandwidth in bits per second (`100M`, `2G`). It limits each pod, not the tenant as a whole: a
    /// MutatingAdmissionPolicy (Kubernetes 1.36 and later) writes it to the pod's annotations
    /// `kubernetes.io/ingress-bandwidth` and `egress-bandwidth`. The network plugin must act on them (state
    /// Configured).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::bits_per_second")]
    pub network_bandwidth: Option<Quantity>,
    /// Nothing enforces it in this version (state NotEnforced); workloads can read it in the ConfigMap `tenant-limits`.
    /// Number of concurrent connections through the tenant's gateways; nothing in Kubernetes counts them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub concurrent_connections: Option<i64>,
    /// Nothing enforces it in this version (state NotEnforced); workloads can read it in the ConfigMap `tenant-limits`.
    /// Requests per minute to the tenant's own APIs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub api_requests_per_minute: Option<i64>,
    /// Nothing enforces it in this version (state NotEnforced); workloads can read it in the ConfigMap `tenant-limits`.
    /// Number of connections to databases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub database_connections: Option<i64>,
    /// Nothing enforces it in this version (state NotEnforced); workloads can read it in the ConfigMap `tenant-limits`.
    /// Cache memory in bytes (`64Mi`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::bytes")]
    pub cache: Option<Quantity>,
    /// Number of ML model instances. If the cluster serves their kind, the API server enforces it by ResourceQuotas
    /// (`count/<resource>`, by default `count/inferenceservices.serving.kserve.io`). Otherwise nothing enforces it
    /// (state NotEnforced).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub ml_model_instances: Option<i64>,
    /// Number of accelerators. The API server enforces it by ResourceQuotas (`requests.<accelerator resource>`, by
    /// default `requests.nvidia.com/gpu`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub ai_processing_units: Option<i64>,
    /// Number of objects of other kinds. Each key is a key of a ResourceQuota: `services`, `services.loadbalancers`,
    /// `services.nodeports`, `configmaps`, `secrets`, `persistentvolumeclaims`, `replicationcontrollers`, or
    /// `count/<plural>.<group>` (`count/jobs.batch`). The API server enforces it. All objects count, including those
    /// that Kubernetes and the operator create in each namespace: two or three `configmaps` (kube-root-ca.crt,
    /// tenant-limits, a dashboard). Allow for them. Service types that the template does not allow stay forbidden.
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

/// Defaults and bounds of each container and each volume claim. The operator writes them to one LimitRange in each
/// namespace; the API server enforces it.
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
    /// Limits of a container that sets none. If this is left out, every container must set its own limits wherever a
    /// quota limits CPU or memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Amounts>,
    /// Requests of a container that sets none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_request: Option<Amounts>,
    /// Smallest amounts that a container may request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<Amounts>,
    /// Largest limits that a container may have.
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
    /// Smallest size of a claim in bytes, for example `1Gi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::bytes")]
    pub min: Option<Quantity>,
    /// Largest size of a claim in bytes, for example `100Gi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::bytes")]
    pub max: Option<Quantity>,
}
