//! Which traffic a tenant's pods may send and receive, and how Services may be exposed.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;

/// Network rules. A NetworkPolicy denies all traffic of a namespace in both directions, and this block allows some of
/// it. The traffic rules become NetworkPolicies, on which the network plugin must act (state Configured). The API
/// server enforces the rules on Services and Ingresses.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct NetworkSpec {
    /// Which pods of the tenant may reach each other: those of all its namespaces (Tenant) or only those of the same
    /// namespace (Namespace). Default: Tenant.
    #[serde(default)]
    pub isolation: Isolation,
    /// Whether pods may send traffic to the internet: addresses outside the private ranges (RFC 1918, RFC 6598, RFC
    /// 4193, link-local). Default: Deny.
    #[serde(default)]
    pub internet_egress: Traffic,
    /// Further address ranges to which pods may send traffic.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub egress: Vec<EgressRule>,
    /// Namespaces outside the tenant whose pods may send traffic to the tenant's pods, for example of an ingress
    /// controller or of monitoring.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub ingress_from: Vec<IngressPeer>,
    /// Types of Service that tenants may create. Left out: only ClusterIP. A ValidatingAdmissionPolicy enforces it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4))]
    pub service_types: Option<Vec<ServiceType>>,
    /// Host names that Ingresses, HTTPRoutes and the like may use: an exact name or `*.` and a domain. `{tenant}`
    /// stands for the tenant's name, for example `*.{tenant}.apps.example.com`. Left out or empty: no host at all. A
    /// ValidatingAdmissionPolicy enforces it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::hosts")]
    pub ingress_hosts: Vec<String>,
    /// Ingress classes that tenants may use. Left out: no restriction. A ValidatingAdmissionPolicy enforces it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::object_names::<16>")]
    pub ingress_classes: Option<Vec<String>>,
}

/// Which pods of one tenant may reach each other.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// Pods may reach all pods of the same tenant.
    #[default]
    Tenant,
    /// Pods may reach only pods of their own namespace.
    Namespace,
}

/// Whether traffic is allowed.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Traffic {
    /// The traffic is denied.
    #[default]
    Deny,
    /// The traffic is allowed.
    Allow,
}

/// One address range to which pods may send traffic.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!isCIDR(self.cidr) || !has(self.except) || self.except.all(e, !isCIDR(e) || (cidr(self.cidr).containsCIDR(e) && cidr(e).prefixLength() > cidr(self.cidr).prefixLength()))").message("except must hold ranges inside cidr and smaller than it; to close the whole range, leave the entry out").field_path(".except"))]
pub struct EgressRule {
    /// The address range, for example `10.20.0.0/16`.
    #[schemars(schema_with = "schema::address_range")]
    pub cidr: String,
    /// Ranges inside `cidr` to which pods may not send traffic.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::address_ranges::<16>")]
    pub except: Vec<String>,
    /// Ports. Left out: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub ports: Vec<NetworkPort>,
}

/// Pods outside the tenant that may send traffic to its pods, selected by the labels of their namespace.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("size(self.namespaceLabels) > 0").message("namespaceLabels must name at least one label: an empty selector would let every namespace in").field_path(".namespaceLabels"))]
pub struct IngressPeer {
    /// Labels of the namespace from which the traffic comes, for example `kubernetes.io/metadata.name: ingress-nginx`.
    #[schemars(schema_with = "schema::labels")]
    pub namespace_labels: BTreeMap<String, String>,
    /// Ports. Left out: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub ports: Vec<NetworkPort>,
}

/// A port or a range of ports.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.endPort) || self.endPort >= self.port").message("endPort must not be below port: give the last port of the range, or leave endPort out").field_path(".endPort"))]
pub struct NetworkPort {
    /// Transport protocol. Default: TCP.
    #[serde(default)]
    pub protocol: Protocol,
    /// First port.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// Last port of a range. Left out: only `port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub end_port: Option<i32>,
}

/// Protocol of a port.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// TCP.
    #[default]
    #[serde(rename = "TCP")]
    Tcp,
    /// UDP.
    #[serde(rename = "UDP")]
    Udp,
    /// SCTP.
    #[serde(rename = "SCTP")]
    Sctp,
}

impl Protocol {
    /// The value as written in YAML.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        }
    }
}

/// Type of a Service.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ServiceType {
    /// Reachable inside the cluster.
    #[serde(rename = "ClusterIP")]
    ClusterIp,
    /// Reachable on every node.
    NodePort,
    /// Reachable through the cloud's load balancer.
    LoadBalancer,
    /// An alias in DNS.
    ExternalName,
}
