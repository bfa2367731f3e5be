use proptest::prelude::*;

use super::*;
use crate::{fixture, object::Key, tenant::build::NamespaceObjects};

fn content(template: &Value, tenant: &Value, kind: Kind) -> Value {
    let objects = fixture::built(template, tenant);
    fixture::find(&objects, &Key::new(kind, "acme-dev", names::OBJECT)).content["spec"].clone()
}

fn limits(containers: &Value) -> Value {
    content(&json!({ "containers": containers }), &json!({}), Kind::LimitRange)["limits"].clone()
}

fn weighted(template: &Value, weights: &[i32]) -> Vec<NamespaceObjects> {
    let namespace = |(index, weight): (usize, &i32)| json!({ "name": format!("n{index}"), "weight": weight });
    let namespaces: Vec<_> = weights.iter().enumerate().map(namespace).collect();
    fixture::built(template, &json!({ "namespaces": namespaces }))
}

/// The sum of a resource over all namespaces.
fn sum(objects: &[NamespaceObjects], resource: &str) -> Quantity {
    let amounts = objects.iter().map(|objects| {
        let name = &objects.namespace.key.name;
        let key = Key::new(Kind::ResourceQuota, name, names::OBJECT);
        let hard = &fixture::find(std::slice::from_ref(objects), &key).content["spec"]["hard"];
        hard[resource].as_str().unwrap().parse::<Quantity>().unwrap()
    });
    amounts.fold(Quantity::ZERO, Quantity::saturating_add)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn quotas_sum_to_the_grant_exactly(
        weights in prop::collection::vec(1..=1000_i32, 1..=20),
        millicores in 0..1_000_000_u32,
        bytes in 0..u64::MAX / 2,
        mebibytes in 0..10_000_000_u32,
        pods in 0..1_000_000_u32,
    ) {
        let template = json!({ "quotas": {
            "cpu": format!("{millicores}m"), "memory": bytes.to_string(), "storage": format!("{mebibytes}Mi"), "pods": pods,
        } });
        let expected = [
            ("requests.cpu", format!("{millicores}m")), ("limits.cpu", format!("{millicores}m")),
            ("requests.memory", bytes.to_string()), ("limits.memory", bytes.to_string()),
            ("requests.storage", format!("{mebibytes}Mi")), ("pods", pods.to_string()),
        ];
        let objects = weighted(&template, &weights);
        prop_assert_eq!(objects.len(), weights.len());
        for (resource, grant) in expected {
            prop_assert_eq!(sum(&objects, resource), grant.parse().unwrap(), "{}", resource);
        }
    }
}

#[test]
fn closed_service_types_are_0_in_the_quota_of_each_namespace() {
    let spec = content(&json!({ "quotas": { "pods": 3 } }), &json!({}), Kind::ResourceQuota);
    assert_eq!(
        spec,
        json!({ "hard": { "pods": "3", "services.loadbalancers": "0", "services.nodeports": "0" } })
    );
}

#[test]
fn a_quota_without_limits_exists_too() {
    let open = json!({ "network": { "serviceTypes": ["LoadBalancer", "NodePort"] } });
    assert_eq!(content(&open, &json!({}), Kind::ResourceQuota), json!({}));
}

/// How the API server sets these defaults: https://kubernetes.io/docs/concepts/policy/limit-range/
#[test]
fn defaults_are_filled_in_as_the_api_server_does() {
    let cases = [
        (
            json!({ "max": { "cpu": "2" } }),
            json!({ "max": { "cpu": "2" }, "default": { "cpu": "2" }, "defaultRequest": { "cpu": "2" } }),
        ),
        (
            json!({ "default": { "cpu": "1" } }),
            json!({ "default": { "cpu": "1" }, "defaultRequest": { "cpu": "1" } }),
        ),
        (
            json!({ "min": { "memory": "16Mi" } }),
            json!({ "min": { "memory": "16Mi" }, "defaultRequest": { "memory": "16Mi" } }),
        ),
        (
            json!({ "default": { "cpu": "1" }, "max": { "cpu": "2", "memory": "2Gi" }, "min": { "cpu": "10m" },
                    "defaultRequest": { "cpu": "100m" } }),
            json!({ "default": { "cpu": "1", "memory": "2Gi" }, "max": { "cpu": "2", "memory": "2Gi" },
                    "min": { "cpu": "10m" }, "defaultRequest": { "cpu": "100m", "memory": "2Gi" } }),
        ),
    ];
    for (containers, expected) in cases {
        let expected = fixture::merged(expected, &json!({ "type": "Container" }));
        assert_eq!(limits(&containers), json!([expected]), "{containers}");
    }
}

#[test]
fn volume_bounds_are_an_item_of_their_own() {
    assert_eq!(
        limits(&json!({ "volumes": { "min": "1Gi", "max": "5Gi" } })),
        json!([{ "type": "PersistentVolumeClaim", "min": { "storage": "1Gi" }, "max": { "storage": "5Gi" } }])
    );
    assert_eq!(limits(&json!({ "volumes": {} })), json!([]));
}
