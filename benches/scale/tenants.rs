//! The objects that users write in the bench.

use futures::{StreamExt as _, stream};
use kube::{
    Api, Client,
    api::{DynamicObject, PostParams},
};
use serde_json::{Value, json};
use tenantry_api::v1alpha1::{Tenant, TenantTemplate};

use crate::{
    PARALLEL,
    settings::PODS,
    watching::{is_ready, reach, track},
};

/// Name of the template of all tenants but those of [`ROOMY`].
pub const TEMPLATE: &str = "bench";
/// Name of a template with room for all pods that an owner creates.
pub const ROOMY: &str = "roomy";

/// The template with so many pods.
pub fn template(pods: u64) -> TenantTemplate {
    serde_json::from_value(json!({
        "apiVersion": "tenantry.dev/v1alpha1", "kind": "TenantTemplate", "metadata": { "name": TEMPLATE },
        "spec": {
            "tier": "Standard",
            // One namespace of a tenant is one namespace.
            "selfService": "Disabled",
            "quotas": { "cpu": "2", "memory": "4Gi", "storage": "100Gi", "pods": pods },
            "containers": { "default": { "cpu": "100m", "memory": "128Mi" }, "defaultRequest": { "cpu": "50m", "memory": "64Mi" } },
        },
    }))
    .unwrap()
}

/// Creates both templates.
pub async fn create_templates(client: &Client) {
    let roomy = json!({
        "apiVersion": "tenantry.dev/v1alpha1", "kind": "TenantTemplate", "metadata": { "name": ROOMY },
        "spec": { "tier": "Standard", "quotas": { "pods": 4000 } },
    });
    let templates: Api<TenantTemplate> = Api::all(client.clone());
    for template in [template(PODS), serde_json::from_value(roomy).unwrap()] {
        templates.create(&PostParams::default(), &template).await.unwrap();
    }
}

/// A Tenant of the template with an owner `owner-<name>`.
pub fn tenant(name: &str, namespaces: usize) -> Value {
    let namespaces: Vec<_> = (0..namespaces)
        .map(|index| json!({ "name": format!("n{index}") }))
        .collect();
    json!({
        "apiVersion": "tenantry.dev/v1alpha1", "kind": "Tenant", "metadata": { "name": name },
        "spec": {
            "templateRef": { "name": TEMPLATE },
            "owners": [{ "kind": "User", "name": format!("owner-{name}"), "role": "Owner" }],
            "namespaces": namespaces,
        },
    })
}

pub async fn create_tenants(client: &Client, tenants: usize, namespaces: usize) {
    let api: Api<DynamicObject> = tenants_api(client);
    stream::iter(0..tenants)
        .for_each_concurrent(PARALLEL, |index| {
            let api = api.clone();
            async move {
                let object = serde_json::from_value(tenant(&format!("t{index}"), namespaces)).unwrap();
                api.create(&PostParams::default(), &object).await.unwrap();
            }
        })
        .await;
}

/// Creates a Tenant of the roomy template and waits until it is Ready.
pub async fn create_roomy(client: &Client, name: &'static str, namespaces: usize) {
    let mut roomy = tenant(name, namespaces);
    roomy["spec"]["templateRef"]["name"] = json!(ROOMY);
    let roomy = serde_json::from_value(roomy).unwrap();
    tenants_api(client)
        .create(&PostParams::default(), &roomy)
        .await
        .unwrap();
    let ready = track(Api::<Tenant>::all(client.clone()), move |tenant| {
        tenant.metadata.name.as_deref() == Some(name) && is_ready(tenant)
    });
    reach("the roomy Tenant to be Ready", ready, 1).await;
}

pub fn tenants_api(client: &Client) -> Api<DynamicObject> {
    Api::all_with(client.clone(), &kube::core::ApiResource::erase::<Tenant>(&()))
}
