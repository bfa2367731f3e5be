//! NetworkPolicies: one denies all traffic in both directions, one allows what the template opens.

use serde_json::{Map, Value, json};

use super::in_namespace;
use crate::{
    object::{Kind, Object},
    tenant::validate::{ValidNamespace, ValidTenant},
};
use tenantry_api::{
    names,
    v1alpha1::{EgressRule, IngressPeer, Isolation, NetworkPort, NetworkSpec, Traffic},
};

/// Ranges that are not the internet: RFC 1918, 6598, 3927 and 4193, 4291 link-local. Cloud metadata services
/// (169.254.169.254) are in these ranges, so opening the internet does not open them.
const PRIVATE_V4: [&str; 5] = [
    "10.0.0.0/8",
    "100.64.0.0/10",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.168.0.0/16",
];
const PRIVATE_V6: [&str; 2] = ["fc00::/7", "fe80::/10"];

pub(super) fn default_deny(tenant: &ValidTenant, namespace: &ValidNamespace) -> Object {
    let spec = json!({ "podSelector": {}, "policyTypes": ["Ingress", "Egress"] });
    in_namespace(
        tenant,
        namespace,
        Kind::NetworkPolicy,
        names::DEFAULT_DENY,
        json!({ "spec": spec }),
    )
}

pub(super) fn allow(tenant: &ValidTenant, namespace: &ValidNamespace) -> Object {
    let NetworkSpec {
        isolation,
        ingress_from,
        ..
    } = &tenant.template.network;
    let neighbours = match isolation {
        // Only namespaces of this tenant carry both labels; tenants cannot set them.
        Isolation::Tenant => {
            let ours = json!({ (names::MANAGED_BY): names::MANAGED_BY_US, (names::TENANT): tenant.name });
            json!({ "namespaceSelector": { "matchLabels": ours } })
        }
        Isolation::Namespace => json!({ "podSelector": {} }),
    };
    let mut ingress = vec![json!({ "from": [neighbours] })];
    ingress.extend(ingress_from.iter().map(
        |IngressPeer {
             namespace_labels,
             ports: open,
         }| {
            let from = json!([{ "namespaceSelector": { "matchLabels": namespace_labels } }]);
            rule("from", from, open)
        },
    ));

    let mut egress = vec![json!({ "to": [neighbours] }), dns()];
    if tenant.effective.internet_egress == Traffic::Allow {
        egress.push(json!({ "to": [
            { "ipBlock": { "cidr": "0.0.0.0/0", "except": PRIVATE_V4 } },
            { "ipBlock": { "cidr": "::/0", "except": PRIVATE_V6 } },
        ] }));
    }
    egress.extend(tenant.effective.egress.iter().map(
        |EgressRule {
             cidr,
             except,
             ports: open,
         }| {
            let mut block = Map::from_iter([("cidr".to_owned(), json!(cidr))]);
            if !except.is_empty() {
                block.insert("except".to_owned(), json!(except));
            }
            rule("to", json!([{ "ipBlock": block }]), open)
        },
    ));
    let spec = json!({ "podSelector": {}, "policyTypes": ["Ingress", "Egress"], "ingress": ingress, "egress": egress });
    in_namespace(
        tenant,
        namespace,
        Kind::NetworkPolicy,
        names::ALLOW,
        json!({ "spec": spec }),
    )
}

/// Name resolution: CoreDNS, selected by the labels that every distribution keeps, and the node-local cache.
/// https://kubernetes.io/docs/tasks/administer-cluster/nodelocaldns/
fn dns() -> Value {
    json!({
        "to": [
            {
                "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": "kube-system" } },
                "podSelector": { "matchLabels": { "k8s-app": "kube-dns" } },
            },
            { "ipBlock": { "cidr": "169.254.20.10/32" } },
        ],
        "ports": [{ "protocol": "UDP", "port": 53 }, { "protocol": "TCP", "port": 53 }],
    })
}

fn rule(direction: &str, peers: Value, open: &[NetworkPort]) -> Value {
    let mut rule = Map::from_iter([(direction.to_owned(), peers)]);
    if !open.is_empty() {
        rule.insert("ports".to_owned(), open.iter().map(port).collect());
    }
    Value::Object(rule)
}

fn port(
    NetworkPort {
        protocol,
        port,
        end_port,
    }: &NetworkPort,
) -> Value {
    let mut item = json!({ "protocol": protocol.as_str(), "port": port });
    if let Some(end) = end_port {
        item["endPort"] = json!(end);
    }
    item
}

#[cfg(test)]
mod tests;
