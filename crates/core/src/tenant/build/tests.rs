use proptest::prelude::*;

use super::*;
use crate::{
    fixture,
    tenant::validate::{Rights, validate},
};

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

fn manifests(objects: &[NamespaceObjects]) -> Vec<Value> {
    objects
        .iter()
        .flat_map(NamespaceObjects::all)
        .map(Object::manifest)
        .collect()
}

/// A template that uses every kind of object.
fn everything() -> Value {
    json!({
        "quotas": { "cpu": "8", "memory": "16Gi", "pods": 100, "aiProcessingUnits": 3, "mlModelInstances": 2 },
        "containers": { "default": { "cpu": "1" }, "volumes": { "max": "1Gi" } },
        "network": { "internetEgress": "Allow" },
        "monitoring": { "metrics": true, "alerts": true, "dashboard": true, "labels": { "release": "x", "tenantry.dev/tenant": "y" } },
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_lists_in_a_tenant_changes_nothing(
        namespaces in Just((0..5).collect::<Vec<usize>>()).prop_shuffle(),
        owners in Just((0..5).collect::<Vec<usize>>()).prop_shuffle(),
    ) {
        let role = |index: usize| ["Owner", "Editor", "Viewer"][index % 3];
        let spec = |namespaces: &[usize], owners: &[usize]| json!({
            "namespaces": namespaces.iter().map(|i| json!({ "name": NAMES[*i], "weight": i + 1 })).collect::<Vec<_>>(),
            "owners": owners.iter().map(|i| json!({ "kind": "User", "name": NAMES[*i], "role": role(*i) })).collect::<Vec<_>>(),
        });
        let shuffled = fixture::built(&everything(), &spec(&namespaces, &owners));
        let sorted = fixture::built(&everything(), &spec(&[0, 1, 2, 3, 4], &[0, 1, 2, 3, 4]));
        let text = |objects| serde_json::to_string(&manifests(objects)).unwrap();
        prop_assert_eq!(text(&shuffled), text(&sorted));
    }
}

#[test]
fn every_object_has_our_labels_and_the_tenant_as_only_owner() {
    let spec = json!({ "namespaces": [{ "name": "a" }, { "name": "b" }] });
    let objects = fixture::built(&everything(), &spec);
    let manifests = manifests(&objects);
    assert_eq!(
        manifests.len(),
        2 * 11 + 1,
        "eleven objects in each namespace, and one dashboard"
    );
    for manifest in manifests {
        let metadata = &manifest["metadata"];
        assert_eq!(metadata["labels"][names::MANAGED_BY], "tenantry", "{manifest:#}");
        assert_eq!(metadata["labels"][names::TENANT], "acme", "{manifest:#}");
        let expected =
            json!([{ "apiVersion": "tenantry.dev/v1alpha1", "kind": "Tenant", "name": "acme", "uid": fixture::UID }]);
        assert_eq!(metadata["ownerReferences"], expected, "{manifest:#}");
    }
}

#[test]
fn objects_rendered_offline_have_no_owner() {
    let mut tenant = fixture::tenant(&json!({}));
    tenant.metadata.uid = None;
    let valid = validate(&tenant, &fixture::facts(&json!({})), &fixture::settings()).unwrap();
    assert!(
        manifests(&build(&valid))
            .iter()
            .all(|manifest| manifest["metadata"].get("ownerReferences").is_none())
    );
}

#[test]
fn objects_are_in_order_of_application() {
    for namespace in fixture::built(&everything(), &json!({})) {
        let kinds: Vec<_> = namespace.all().map(|object| object.key.kind).collect();
        let monitors = kinds.iter().position(|kind| *kind == Kind::ConfigMap).unwrap();
        assert!(kinds[..monitors].is_sorted(), "{kinds:?}");
        assert!(namespace.guards.iter().all(|object| object.key.kind.is_guard()));
        assert!(namespace.extras.iter().all(|object| !object.key.kind.is_guard()));
        assert!(
            namespace
                .rights
                .iter()
                .all(|object| object.key.kind == Kind::RoleBinding)
        );
        assert_eq!(kinds.last(), Some(&Kind::RoleBinding));
    }
}

#[test]
fn a_namespace_is_created_with_every_label_that_protects_it() {
    let template = json!({ "tier": "Free", "security": { "podSecurity": "Baseline" } });
    let spec = json!({ "namespaces": [{ "name": "dev", "environment": "Staging", "labels": { "team": "blue" } }] });
    let objects = fixture::built(&template, &spec);
    let labels = json!({
        "app.kubernetes.io/managed-by": "tenantry", "tenantry.dev/tenant": "acme", "tenantry.dev/tier": "Free",
        "tenantry.dev/template": "premium", "tenantry.dev/environment": "Staging", "team": "blue",
        "pod-security.kubernetes.io/enforce": "baseline", "pod-security.kubernetes.io/enforce-version": "v1.34",
        "pod-security.kubernetes.io/audit": "baseline", "pod-security.kubernetes.io/audit-version": "v1.34",
        "pod-security.kubernetes.io/warn": "baseline", "pod-security.kubernetes.io/warn-version": "v1.34",
    });
    assert_eq!(Value::Object(objects[0].namespace.labels.clone()), labels);
    assert_eq!(objects[0].namespace.annotations["tenantry.dev/labels"], "team");
}

#[test]
fn labels_of_the_tenant_never_replace_those_that_protect() {
    let plain = fixture::built(&json!({}), &json!({}))[0].namespace.labels.clone();
    let hostile: Map<_, _> = plain.keys().map(|key| (key.clone(), json!("mine"))).collect();
    assert_eq!(hostile.len(), 11);
    let spec = json!({ "namespaces": [{ "name": "dev", "labels": hostile }] });
    assert_eq!(fixture::built(&json!({}), &spec)[0].namespace.labels, plain);
}

#[test]
fn labels_of_the_template_for_monitors_never_replace_ours() {
    let objects = fixture::built(&everything(), &json!({}));
    let rule = fixture::find(&objects, &Key::new(Kind::PrometheusRule, "acme-dev", names::OBJECT));
    assert_eq!(
        (&rule.labels["release"], &rule.labels[names::TENANT]),
        (&json!("x"), &json!("acme"))
    );
}

#[test]
fn rights_are_bindings_to_the_closed_roles() {
    let spec = json!({ "owners": [
        { "kind": "Group", "name": "leads" },
        { "kind": "ServiceAccount", "name": "system:serviceaccount:ci:bot", "role": "Editor" },
    ] });
    let objects = fixture::built(&json!({}), &spec);
    let rights: Vec<_> = objects[0].rights.iter().map(Object::manifest).collect();
    assert_eq!(rights.len(), 2, "a role that nobody has is not bound");
    for (right, role, subject) in [
        (
            &rights[0],
            "tenantry-owner",
            json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "leads" }),
        ),
        (
            &rights[1],
            "tenantry-editor",
            json!({ "kind": "ServiceAccount", "namespace": "ci", "name": "bot" }),
        ),
    ] {
        assert_eq!(right["metadata"]["name"], role);
        assert_eq!(
            right["roleRef"],
            json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role })
        );
        assert_eq!(right["subjects"], json!([subject]));
    }
}

#[test]
fn rights_are_absent_if_withheld_or_the_namespace_is_retained() {
    let mut valid = fixture::valid(&json!({}), &json!({}));
    assert_eq!(build(&valid)[0].rights.len(), 1);
    valid.namespaces[0].weight = None;
    assert!(build(&valid)[0].rights.is_empty());
    assert_eq!(build(&valid)[0].guards.len(), 5, "the guards stay");
    valid.namespaces[0].weight = Some(1);
    valid.rights = Rights::Withheld("a mesh".to_owned());
    assert!(build(&valid)[0].rights.is_empty());
}

#[test]
fn tenant_limits_contains_what_kubernetes_cannot_enforce() {
    let template = json!({
        "tier": "WhiteLabel",
        "quotas": {
            "cpu": "8", "memory": "16Gi", "storage": "1Ti", "namespaces": 9, "pods": 100, "networkBandwidth": "500M",
            "concurrentConnections": 1, "apiRequestsPerMinute": 2, "databaseConnections": 3, "cache": "64Mi",
            "mlModelInstances": 0, "aiProcessingUnits": 4,
        },
        "ai": { "level": "Full", "models": ["small", "large"] },
        "support": { "level": "Premium", "responseMinutes": 60, "contact": "help@example.com" },
    });
    let spec = json!({
        "namespaces": [{ "name": "dev", "environment": "Production" }],
        "overrides": { "quotas": { "databaseConnections": 2 } },
        "branding": {
            "displayName": "Blue", "domain": "blue.example", "logoUrl": "https://blue.example/l.svg",
            "primaryColor": "#0000ff", "supportEmail": "help@blue.example",
        },
    });
    let objects = fixture::built(&template, &spec);
    let limits = fixture::find(&objects, &Key::new(Kind::ConfigMap, "acme-dev", names::LIMITS));
    let expected = json!({
        "tenant": "acme", "tier": "WhiteLabel", "environment": "Production", "cpu": "8", "memory": "16Gi",
        "storage": "1Ti", "namespaces": "9", "pods": "100", "networkBandwidth": "500M", "concurrentConnections": "1",
        "apiRequestsPerMinute": "2", "databaseConnections": "2", "cache": "64Mi", "mlModelInstances": "0",
        "aiProcessingUnits": "4", "ai.level": "Full", "ai.models": "small,large", "support.level": "Premium",
        "support.responseMinutes": "60", "support.contact": "help@example.com", "branding.displayName": "Blue",
        "branding.domain": "blue.example", "branding.logoUrl": "https://blue.example/l.svg",
        "branding.primaryColor": "#0000ff", "branding.supportEmail": "help@blue.example",
    });
    assert_eq!(limits.content["data"], expected);
    let bare = fixture::built(&json!({}), &json!({}));
    let bare = fixture::find(&bare, &Key::new(Kind::ConfigMap, "acme-dev", names::LIMITS));
    assert!(
        bare.content["data"].get("cpu").is_none(),
        "an unlimited amount is left out"
    );
}

#[test]
fn the_tenant_policy_contains_the_rules_for_admission() {
    let template = json!({
        "quotas": { "networkBandwidth": "500M" },
        "network": { "ingressHosts": ["*.{tenant}.example.com"], "ingressClasses": ["nginx"], "serviceTypes": ["NodePort"] },
        "security": { "encryption": "Basic", "registries": ["r.example"], "imageDigests": true, "mfaForWrites": true,
                      "storageClasses": ["gold"], "ipAllowList": ["10.0.0.0/8"] },
        "placement": { "nodeSelector": { "pool": "blue", "topology.kubernetes.io/region": "nowhere" }, "regions": ["eu-1"],
                       "tolerations": [{ "key": "k", "operator": "Exists" }], "priorityClasses": ["high"], "runtimeClasses": ["kata"] },
    });
    let spec = json!({ "state": "Frozen", "namespaces": [{ "name": "dev", "environment": "Testing" }] });
    let objects = fixture::built(&template, &spec);
    let policy = fixture::find(&objects, &Key::new(Kind::TenantPolicy, "acme-dev", names::EFFECTIVE));
    let expected = json!({
        "tenant": "acme", "tier": "Premium", "environment": "Testing", "state": "Frozen", "registries": ["r.example"],
        "imageDigests": true, "storageClasses": ["gold"], "serviceTypes": ["NodePort"], "sourceRanges": ["10.0.0.0/8"],
        "ingressHosts": ["*.acme.example.com"], "ingressClasses": ["nginx"], "ingressTls": true, "mfaForWrites": true,
        "nodeSelector": { "pool": "blue", "topology.kubernetes.io/region": "eu-1" },
        "tolerations": [{ "key": "k", "operator": "Exists" }], "priorityClasses": ["high"], "runtimeClasses": ["kata"],
        "podBandwidth": "500M",
    });
    assert_eq!(policy.content["spec"], expected);
}

#[test]
fn the_tenant_policy_omits_unset_rules_but_not_empty_ones() {
    let template = json!({ "security": { "registries": [] }, "placement": { "regions": ["eu-1", "eu-2"] } });
    let objects = fixture::built(&template, &json!({}));
    let policy = fixture::find(&objects, &Key::new(Kind::TenantPolicy, "acme-dev", names::EFFECTIVE));
    let expected = json!({
        "tenant": "acme", "tier": "Premium", "environment": "Development", "state": "Active", "registries": [],
        "imageDigests": false, "serviceTypes": ["ClusterIP"], "ingressHosts": [], "ingressTls": false,
        "mfaForWrites": false, "nodeSelector": {}, "tolerations": [], "priorityClasses": [],
    });
    assert_eq!(policy.content["spec"], expected);
}

#[test]
fn owners_of_a_frozen_tenant_cannot_create_namespaces() {
    let template = json!({ "quotas": { "namespaces": 5 }, "selfService": "Direct" });
    let bound = |state: &str| {
        let objects = fixture::built(&template, &json!({ "state": state }));
        manifests(&objects)
            .iter()
            .any(|manifest| manifest["roleRef"]["name"] == names::HOME_DIRECT)
    };
    assert!(bound("Active"));
    assert!(!bound("Frozen"));
}
