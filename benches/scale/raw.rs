//! The raw limit: a minimal client writes the objects that the operator has written at the end.
//!
//! There are two limits. The *children* are the objects that the operator writes into a tenant's namespaces. The
//! *whole* also has the Tenants with their statuses, which cost the API server as much as several children. They are
//! written to a copy of the Tenants' definition under another group, so that no operator sees them.

use std::{collections::BTreeSet, time::Duration};

use futures::{StreamExt as _, stream};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams},
    core::ApiResource,
    runtime::wait::{await_condition, conditions},
};
use serde_json::{Value, json};
use tenantry_api::{
    self as api,
    v1alpha1::{Tenant, TenantTemplate},
};
use tenantry_cli::render;
use tenantry_core::{object::Kind, settings::Settings, tenant::facts::Served};

use crate::{PARALLEL, settings::PODS, tenants::tenant};

/// The operator's objects for each tenant, under other names and without its managed-by label.
pub fn raw_objects(template: &TenantTemplate, tenants: usize, namespaces: usize) -> Vec<Vec<Value>> {
    let settings = Settings {
        accelerator_resources: vec!["nvidia.com/gpu".to_owned()],
        model_resource: "inferenceservices.serving.kserve.io".to_owned(),
        admission: BTreeSet::default(),
        status_interval: Duration::ZERO,
    };
    let template = serde_json::to_string(template).unwrap();
    let render = |index: usize| {
        let files = [
            ("template".to_owned(), template.clone()),
            (
                "tenant".to_owned(),
                tenant(&format!("raw-{index}"), namespaces).to_string(),
            ),
        ];
        let mut objects = render::render(&files, &Served::default(), &settings).unwrap();
        for object in &mut objects {
            object["metadata"]["labels"]["app.kubernetes.io/managed-by"] = json!("raw");
        }
        objects
    };
    (0..tenants).map(render).collect()
}

fn api_of(client: &Client, object: &Value) -> Api<DynamicObject> {
    let kind = Kind::ALL
        .into_iter()
        .find(|kind| kind.as_str() == object["kind"])
        .unwrap();
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &kind.api_resource()),
        None => Api::all_with(client.clone(), &kind.api_resource()),
    }
}

/// Applies them, tenants in parallel and the objects of each one after the other.
pub async fn write_raw(client: &Client, tenants: Vec<Vec<Value>>) {
    write(client, tenants, false).await;
}

/// As [`write_raw`], each deleted just before.
pub async fn write_raw_anew(client: &Client, tenants: Vec<Vec<Value>>) {
    write(client, tenants, true).await;
}

async fn write(client: &Client, tenants: Vec<Vec<Value>>, anew: bool) {
    let write = |objects: Vec<Value>, client: Client| async move {
        for object in &objects {
            let name = object["metadata"]["name"].as_str().unwrap();
            let api = api_of(&client, object);
            if anew {
                api.delete(name, &DeleteParams::default()).await.unwrap();
            }
            api.patch(name, &PatchParams::apply("raw").force(), &Patch::Apply(object))
                .await
                .unwrap();
        }
    };
    stream::iter(tenants)
        .for_each_concurrent(PARALLEL, |objects| {
            let task = tokio::spawn(write(objects, client.clone()));
            async { task.await.unwrap() }
        })
        .await;
}

/// Group of the copy.
pub const GROUP: &str = "bench.example.com";

/// Serves a copy of the Tenants' definition under [`GROUP`].
pub async fn install_copy(client: &Client) {
    let definition = api::all_crds()
        .into_iter()
        .find(|crd| crd.spec.names.kind == "Tenant")
        .unwrap();
    let mut copy = CustomResourceDefinition {
        spec: definition.spec,
        ..CustomResourceDefinition::default()
    };
    GROUP.clone_into(&mut copy.spec.group);
    (copy.spec.names.short_names, copy.spec.names.categories) = (None, None);
    let name = format!("{}.{GROUP}", copy.spec.names.plural);
    copy.metadata.name = Some(name.clone());
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    definitions.create(&PostParams::default(), &copy).await.unwrap();
    let established = await_condition(definitions, &name, conditions::is_crd_established());
    established.await.unwrap();
}

fn copies(client: &Client) -> Api<DynamicObject> {
    let mut resource = ApiResource::erase::<Tenant>(&());
    GROUP.clone_into(&mut resource.group);
    resource.api_version = format!("{GROUP}/{}", resource.version);
    Api::all_with(client.clone(), &resource)
}

/// Creates the copies with a status each; returns them.
pub async fn write_tenants(client: &Client, tenants: usize, namespaces: usize) -> Vec<DynamicObject> {
    let api = copies(client);
    stream::iter(0..tenants)
        .map(|index| {
            let api = api.clone();
            tokio::spawn(async move {
                let mut object = tenant(&format!("raw-{index}"), namespaces);
                object["apiVersion"] = json!(format!("{GROUP}/v1alpha1"));
                let object = serde_json::from_value(object).unwrap();
                let created = api.create(&PostParams::default(), &object).await.unwrap();
                write_status(&api, created, namespaces, PODS).await
            })
        })
        .buffer_unordered(PARALLEL)
        .map(Result::unwrap)
        .collect()
        .await
}

/// Writes every copy's status again, with another grant of pods.
pub async fn write_statuses(client: &Client, tenants: Vec<DynamicObject>, namespaces: usize, pods: u64) {
    let api = copies(client);
    stream::iter(tenants)
        .for_each_concurrent(PARALLEL, |tenant| {
            let api = api.clone();
            let task = tokio::spawn(async move { write_status(&api, tenant, namespaces, pods).await });
            async { drop(task.await.unwrap()) }
        })
        .await;
}

async fn write_status(
    api: &Api<DynamicObject>,
    mut tenant: DynamicObject,
    namespaces: usize,
    pods: u64,
) -> DynamicObject {
    let name = tenant.name_any();
    tenant.data["status"] = status(&name, namespaces, pods);
    api.replace_status(&name, &PostParams::default(), &tenant)
        .await
        .unwrap()
}

/// The operator's status for a Ready Tenant of the bench, identical except for the time.
fn status(name: &str, namespaces: usize, pods: u64) -> Value {
    let condition = |type_, reason, message: &str| {
        json!({
            "type": type_, "status": "True", "reason": reason, "message": message, "observedGeneration": 1,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        })
    };
    let amount =
        |resource, grant: &str| json!({ "resource": resource, "grant": grant, "allocated": grant, "used": "0" });
    let namespace = |index| json!({ "name": format!("{name}-n{index}"), "state": "Active" });
    json!({
        "observedGeneration": 1,
        "conditions": [
            condition("Ready", "Reconciled", "every object of the Tenant is applied"),
            condition("NamespacesReady", "NamespacesReady", &format!("{namespaces} namespaces exist with all their objects")),
            condition("QuotaEnforced", "WithinGrant", "Enforced: the API server refuses use above a namespace's quota, and the sum of the quotas is within the grant"),
            condition("PoliciesEnforced", "PoliciesApplied", "Enforced: Pod Security, limits and admission rules; Configured: network policies, on which the network plugin must act"),
            condition("AccessGranted", "Granted", "subjects of spec.owners with access: 1"),
        ],
        "tier": "Standard",
        "namespacesReady": format!("{namespaces}/{namespaces}"),
        "fullest": "limits.cpu 0%",
        "namespaces": (0..namespaces).map(namespace).collect::<Vec<_>>(),
        "quota": [
            amount("limits.cpu", "2"), amount("limits.memory", "4Gi"), amount("pods", &pods.to_string()),
            amount("requests.cpu", "2"), amount("requests.memory", "4Gi"), amount("requests.storage", "100Gi"),
        ],
    })
}

/// The first share of a count for one of `namespaces` equal namespaces, as in the rendered raw objects. The settings
/// guarantee that it divides evenly.
pub fn share(total: u64, namespaces: usize) -> String {
    (total / namespaces as u64).to_string()
}
