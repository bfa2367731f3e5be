//! The cluster's objects, compared with the output of `tenantry render` and with their earlier state.

use std::collections::{BTreeMap, BTreeSet};

use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, ListParams},
};
use serde_json::Value;
use tenantry_api::{
    Quantity,
    v1alpha1::{Tenant, TenantNamespace, TenantTemplate},
};
use tenantry_cli::render;
use tenantry_core::{object::Kind, settings::Settings, tenant::facts::Served};

/// Every managed object of a kind that the cluster always serves, by kind, namespace and name.
pub async fn managed(admin: &Client) -> BTreeMap<String, Value> {
    labelled(admin, "app.kubernetes.io/managed-by=tenantry").await
}

/// As [`managed`], of these tenants only.
pub async fn managed_of(admin: &Client, tenants: &[&str]) -> BTreeMap<String, Value> {
    let of_tenants = format!("tenantry.dev/tenant in ({})", tenants.join(","));
    labelled(admin, &format!("app.kubernetes.io/managed-by=tenantry,{of_tenants}")).await
}

async fn labelled(admin: &Client, selector: &str) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    let ours = ListParams::default().labels(selector);
    for kind in Kind::ALL.into_iter().filter(|kind| !kind.is_optional()) {
        let api: Api<DynamicObject> = Api::all_with(admin.clone(), &kind.api_resource());
        for object in api.list(&ours).await.unwrap() {
            let key = key(
                kind.as_str(),
                &object.namespace().unwrap_or_default(),
                &object.name_any(),
            );
            found.insert(key, serde_json::to_value(object).unwrap());
        }
    }
    found
}

/// resourceVersions of every managed object, Tenant and TenantTemplate.
pub async fn versions(admin: &Client) -> BTreeMap<String, String> {
    let mut versions = versions_in(managed(admin).await);
    let all = ListParams::default();
    let tenants = Api::<Tenant>::all(admin.clone()).list(&all).await.unwrap();
    versions.extend(tenants.iter().map(|tenant| version("Tenant", tenant)));
    let templates = Api::<TenantTemplate>::all(admin.clone()).list(&all).await.unwrap();
    versions.extend(templates.iter().map(|template| version("TenantTemplate", template)));
    versions
}

/// As [`versions`], for one template, one tenant and its claims.
pub async fn versions_of(admin: &Client, template: &str, tenant: &str) -> BTreeMap<String, String> {
    let mut versions = versions_in(managed_of(admin, &[tenant]).await);
    let claims: Api<TenantNamespace> = Api::namespaced(admin.clone(), &format!("{tenant}-home"));
    let claims = claims.list(&ListParams::default()).await.unwrap();
    versions.extend(claims.iter().map(|claim| version("TenantNamespace", claim)));
    let tenant = Api::<Tenant>::all(admin.clone()).get(tenant).await.unwrap();
    let template = Api::<TenantTemplate>::all(admin.clone()).get(template).await.unwrap();
    versions.extend([version("Tenant", &tenant), version("TenantTemplate", &template)]);
    versions
}

fn versions_in(objects: BTreeMap<String, Value>) -> BTreeMap<String, String> {
    let version = |object: &Value| {
        object["metadata"]["resourceVersion"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    objects
        .into_iter()
        .map(|(key, object)| (key, version(&object)))
        .collect()
}

fn version(kind: &str, object: &impl ResourceExt) -> (String, String) {
    (key(kind, "", &object.name_any()), object.resource_version().unwrap())
}

/// The differences between two results of [`versions`].
pub fn changes(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<String> {
    let keys: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let changed = keys.into_iter().filter(|key| before.get(*key) != after.get(*key));
    changed
        .map(|key| format!("{key}: {:?}, then {:?}", before.get(key), after.get(key)))
        .collect()
}

/// How the cluster differs from what `tenantry render` prints for these templates and tenants.
pub async fn differences(admin: &Client, templates: &[TenantTemplate], tenants: &[Tenant]) -> Vec<String> {
    differences_from(&managed(admin).await, templates, tenants)
}

/// As [`differences`], where there are other tenants too.
pub async fn differences_of(admin: &Client, templates: &[TenantTemplate], tenants: &[Tenant]) -> Vec<String> {
    let names: Vec<String> = tenants.iter().map(ResourceExt::name_any).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    differences_from(&managed_of(admin, &names).await, templates, tenants)
}

/// The settings of the operator under test.
pub fn settings() -> Settings {
    Settings {
        accelerator_resources: vec!["nvidia.com/gpu".to_owned()],
        model_resource: "inferenceservices.serving.kserve.io".to_owned(),
        admission: BTreeSet::new(),
        status_interval: std::time::Duration::from_secs(1),
    }
}

fn differences_from(live: &BTreeMap<String, Value>, templates: &[TenantTemplate], tenants: &[Tenant]) -> Vec<String> {
    // JSON is YAML.
    let templates = templates
        .iter()
        .map(|template| serde_json::to_string(template).unwrap());
    let tenants = tenants.iter().map(|tenant| serde_json::to_string(tenant).unwrap());
    let files: Vec<_> = templates.chain(tenants).map(|text| ("test".to_owned(), text)).collect();
    let desired = render::render(&files, &Served::default(), &settings()).unwrap();
    let text = |object: &Value, pointer: &str| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let desired: BTreeMap<String, Value> = desired
        .into_iter()
        .map(|object| {
            let key = key(
                &text(&object, "/kind"),
                &text(&object, "/metadata/namespace"),
                &text(&object, "/metadata/name"),
            );
            (key, object)
        })
        .collect();
    let mut differences: Vec<String> = live
        .keys()
        .filter(|key| !desired.contains_key(*key))
        .map(|key| format!("{key} is too much"))
        .collect();
    for (key, desired) in &desired {
        match live.get(key) {
            None => differences.push(format!("{key} is missing")),
            Some(live) if !is_as_rendered(live, desired) => differences.push(format!("{key}: {live} is not {desired}")),
            Some(_) => {}
        }
    }
    differences
}

fn key(kind: &str, namespace: &str, name: &str) -> String {
    format!("{kind} {namespace}/{name}")
}

fn is_as_rendered(live: &Value, desired: &Value) -> bool {
    let labels = |object: &Value| object["metadata"]["labels"].as_object().cloned().unwrap_or_default();
    let live_labels = labels(live);
    let labelled = labels(desired)
        .iter()
        .all(|(label, value)| live_labels.get(label) == Some(value));
    let content = |object: &Value| {
        let mut object = object.as_object().cloned().unwrap_or_default();
        object.retain(|field, _| !matches!(&**field, "apiVersion" | "kind" | "metadata" | "status"));
        Value::Object(object)
    };
    let is_namespace = desired["kind"] == "Namespace";
    labelled && (is_namespace || same(&content(live), &content(desired)))
}

/// Equality, where an amount may be written in several ways.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .all(|(key, value)| right.get(key).is_some_and(|other| same(value, other)))
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        (Value::String(left), Value::String(right)) => {
            left == right
                || matches!((left.parse::<Quantity>(), right.parse::<Quantity>()), (Ok(left), Ok(right)) if left == right)
        }
        _ => left == right,
    }
}
