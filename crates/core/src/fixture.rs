//! Fixtures of unit tests: tenant `acme` with uid `t1`, a template, live objects.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::tenant::{
    build::{NamespaceObjects, build},
    facts::{Claim, Facts, Served, Template},
    validate::{ValidTenant, validate},
};
use crate::{
    object::{Key, Kind, Live, Object},
    settings::{Admission, Settings},
};
use tenantry_api::v1alpha1::{Tenant, TenantTemplateSpec};

/// uid of the tenant.
pub const UID: &str = "t1";

/// The operator's settings in tests.
pub fn settings() -> Settings {
    Settings {
        accelerator_resources: vec!["nvidia.com/gpu".to_owned()],
        model_resource: "inferenceservices.serving.kserve.io".to_owned(),
        admission: [Admission::Validating, Admission::Mutating].into(),
        status_interval: Duration::from_secs(10),
    }
}

/// `base` overlaid with `with`: maps are merged, other values are replaced.
pub fn merged(mut base: Value, with: &Value) -> Value {
    match (&mut base, with) {
        (Value::Object(fields), Value::Object(with)) => {
            for (key, value) in with {
                let previous = fields.remove(key).unwrap_or_default();
                fields.insert(key.clone(), merged(previous, value));
            }
            base
        }
        _ => with.clone(),
    }
}

/// A Premium template without self-service, overlaid with `spec`.
pub fn template(spec: &Value) -> Arc<TenantTemplateSpec> {
    let base = json!({ "tier": "Premium", "selfService": "Disabled" });
    Arc::new(serde_json::from_value(merged(base, spec)).unwrap())
}

/// A TenantNamespace in the tenant's home namespace, created in this second.
pub fn claim(name: &str, second: u8) -> Claim {
    let metadata = json!({
        "name": name, "namespace": "acme-home", "uid": format!("claim {name}"), "generation": 1, "resourceVersion": "1",
        "creationTimestamp": format!("2026-01-01T00:00:{second:02}Z"),
    });
    let claim = json!({
        "apiVersion": "tenantry.dev/v1alpha1", "kind": "TenantNamespace", "metadata": metadata,
        "spec": { "environment": "Staging", "weight": 3 },
    });
    Arc::new(serde_json::from_value(claim).unwrap())
}

/// The tenant with namespace `dev` and owner `ann`, overlaid with `spec`.
pub fn tenant(spec: &Value) -> Tenant {
    let base = json!({
        "templateRef": { "name": "premium" },
        "owners": [{ "kind": "User", "name": "ann" }],
        "namespaces": [{ "name": "dev" }],
    });
    let metadata = json!({ "name": "acme", "uid": UID, "generation": 3, "resourceVersion": "1" });
    serde_json::from_value(json!({
        "apiVersion": "tenantry.dev/v1alpha1", "kind": "Tenant", "metadata": metadata, "spec": merged(base, spec),
    }))
    .unwrap()
}

/// The facts of a cluster that contains only the template.
pub fn facts(template_spec: &Value) -> Facts {
    Facts {
        template: Template::Found(template(template_spec)),
        ..Facts::default()
    }
}

/// Every optional kind is served.
pub fn everything_served() -> Served {
    Served {
        kinds: Kind::ALL.into_iter().filter(|kind| kind.is_optional()).collect(),
        models: true,
    }
}

/// The tenant on a cluster that serves every kind and contains no object of it.
pub fn valid(template_spec: &Value, tenant_spec: &Value) -> ValidTenant {
    let facts = Facts {
        served: everything_served(),
        ..facts(template_spec)
    };
    validate(&tenant(tenant_spec), &facts, &settings()).unwrap()
}

/// The objects that are built for the tenant.
pub fn built(template_spec: &Value, tenant_spec: &Value) -> Vec<NamespaceObjects> {
    build(&valid(template_spec, tenant_spec))
}

/// The one object of a kind and name in a namespace.
pub fn find<'a>(objects: &'a [NamespaceObjects], key: &Key) -> &'a Object {
    let mut found = objects
        .iter()
        .flat_map(NamespaceObjects::all)
        .filter(|object| object.key == *key);
    let object = found.next().unwrap_or_else(|| panic!("no {key}"));
    assert!(found.next().is_none(), "{key} twice");
    object
}

/// An owner reference to the Tenant with this uid.
pub fn owner(uid: &str) -> Value {
    json!([{ "apiVersion": "tenantry.dev/v1alpha1", "kind": "Tenant", "name": "some", "uid": uid }])
}

/// A live object with `content`, at version 5, with our labels and the tenant as its owner.
pub fn live(key: &Key, content: &Value) -> Arc<Live> {
    let ours = json!({ "metadata": {
        "name": key.name, "uid": format!("uid of {key}"), "resourceVersion": "5", "ownerReferences": owner(UID),
        "labels": { "app.kubernetes.io/managed-by": "tenantry", "tenantry.dev/tenant": "acme" },
    } });
    Arc::new(Live::from_value(merged(ours, content)).unwrap())
}

/// The live namespace `acme-dev` of the tenant, overlaid with `metadata`; `null` removes a field.
pub fn live_namespace(metadata: &Value) -> Arc<Live> {
    live(&Key::namespace("acme-dev"), &json!({ "metadata": metadata }))
}

/// A live quota of the tenant.
pub fn live_quota(namespace: &str, hard: &Value, status_hard: &Value, used: &Value) -> (Key, Arc<Live>) {
    let key = Key::new(Kind::ResourceQuota, namespace, "tenantry");
    let content = json!({ "spec": { "hard": hard }, "status": { "hard": status_hard, "used": used } });
    (key.clone(), live(&key, &content))
}

/// `text` as amounts by resource.
pub fn amounts(of: &[(&str, &str)]) -> BTreeMap<String, tenantry_api::Quantity> {
    of.iter()
        .map(|(resource, amount)| ((*resource).to_owned(), amount.parse().unwrap()))
        .collect()
}
