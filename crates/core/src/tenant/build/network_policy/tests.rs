use super::*;
use crate::{fixture, object::Key};

fn spec(template: &Value, name: &str) -> Value {
    let objects = fixture::built(template, &json!({}));
    let key = Key::new(Kind::NetworkPolicy, "acme-dev", name);
    fixture::find(&objects, &key).content["spec"].clone()
}

fn allowed(network: &Value) -> Value {
    spec(&json!({ "network": network }), names::ALLOW)
}

fn inside_the_tenant() -> Value {
    json!({ "namespaceSelector": { "matchLabels": {
        "app.kubernetes.io/managed-by": "tenantry", "tenantry.dev/tenant": "acme",
    } } })
}

#[test]
fn the_default_deny_is_the_same_for_every_template() {
    let open = json!({ "network": { "internetEgress": "Allow", "egress": [{ "cidr": "0.0.0.0/0" }] } });
    for template in [json!({}), open] {
        assert_eq!(
            spec(&template, names::DEFAULT_DENY),
            json!({ "podSelector": {}, "policyTypes": ["Ingress", "Egress"] })
        );
    }
}

#[test]
fn by_default_only_the_tenant_itself_and_dns_are_open() {
    let allowed = allowed(&json!({}));
    assert_eq!(allowed["podSelector"], json!({}));
    assert_eq!(allowed["ingress"], json!([{ "from": [inside_the_tenant()] }]));
    let egress = allowed["egress"].as_array().unwrap();
    assert_eq!(egress.len(), 2);
    assert_eq!(egress[0], json!({ "to": [inside_the_tenant()] }));
    assert_eq!(
        egress[1]["ports"],
        json!([{ "protocol": "UDP", "port": 53 }, { "protocol": "TCP", "port": 53 }])
    );
    assert_eq!(
        egress[1]["to"][0],
        json!({
            "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": "kube-system" } },
            "podSelector": { "matchLabels": { "k8s-app": "kube-dns" } },
        }),
        "two separate peers would open every pod of kube-system"
    );
}

#[test]
fn with_isolation_namespace_only_its_own_pods_are_open() {
    let allowed = allowed(&json!({ "isolation": "Namespace" }));
    assert_eq!(allowed["ingress"], json!([{ "from": [{ "podSelector": {} }] }]));
    assert_eq!(allowed["egress"][0], json!({ "to": [{ "podSelector": {} }] }));
}

#[test]
fn the_internet_excludes_private_ranges_and_cloud_metadata() {
    let allowed = allowed(&json!({ "internetEgress": "Allow" }));
    let internet = allowed["egress"].as_array().unwrap().last().unwrap();
    assert_eq!(
        *internet,
        json!({ "to": [
            { "ipBlock": { "cidr": "0.0.0.0/0", "except":
                ["10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"] } },
            { "ipBlock": { "cidr": "::/0", "except": ["fc00::/7", "fe80::/10"] } },
        ] })
    );
}

#[test]
fn egress_destinations_have_their_exceptions_and_ports() {
    let allowed = allowed(&json!({ "egress": [
        { "cidr": "10.20.0.0/16", "except": ["10.20.9.0/24"],
          "ports": [{ "port": 5432 }, { "protocol": "UDP", "port": 8000, "endPort": 8010 }] },
        { "cidr": "10.30.0.0/16" },
    ] }));
    assert_eq!(
        allowed["egress"].as_array().unwrap()[2..],
        [
            json!({
                "to": [{ "ipBlock": { "cidr": "10.20.0.0/16", "except": ["10.20.9.0/24"] } }],
                "ports": [{ "protocol": "TCP", "port": 5432 }, { "protocol": "UDP", "port": 8000, "endPort": 8010 }],
            }),
            json!({ "to": [{ "ipBlock": { "cidr": "10.30.0.0/16" } }] }),
        ]
    );
}

#[test]
fn ingress_peers_are_selected_by_labels_of_their_namespace() {
    let labels = json!({ "kubernetes.io/metadata.name": "ingress-nginx" });
    let allowed = allowed(&json!({ "ingressFrom": [
        { "namespaceLabels": labels, "ports": [{ "protocol": "SCTP", "port": 80 }] },
        { "namespaceLabels": labels },
    ] }));
    let from = json!([{ "namespaceSelector": { "matchLabels": labels } }]);
    assert_eq!(
        allowed["ingress"].as_array().unwrap()[1..],
        [
            json!({ "from": from, "ports": [{ "protocol": "SCTP", "port": 80 }] }),
            json!({ "from": from })
        ]
    );
}

/// An empty list of peers or ports opens everything.
#[test]
fn no_list_of_peers_or_ports_is_empty() {
    fn empty(value: &Value) -> bool {
        match value {
            Value::Array(items) => items.is_empty() || items.iter().any(empty),
            Value::Object(fields) => fields.values().any(empty),
            _ => false,
        }
    }
    let networks = [
        json!({}),
        json!({ "isolation": "Namespace", "internetEgress": "Allow" }),
        json!({ "egress": [{ "cidr": "10.0.0.0/8", "except": [], "ports": [] }],
                "ingressFrom": [{ "namespaceLabels": { "a": "b" }, "ports": [] }] }),
    ];
    for network in networks {
        let allowed = allowed(&network);
        assert!(!empty(&allowed), "{allowed:#}");
    }
}
