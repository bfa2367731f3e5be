//! The templates and tenants at the start and at the end.

use std::{collections::BTreeMap, time::Duration};

use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, ListParams},
};
use serde_json::{Value, json};
use tenantry_api::{
    Quantity,
    v1alpha1::{Tenant, TenantNamespace, TenantTemplate},
};

use crate::common::{
    self,
    builders::{template, tenant},
    eventually,
    oracle::four_cores_and,
    stands,
};

/// Several templates, so that a change of one does not reach every tenant.
pub const TEMPLATES: usize = 4;
/// A template's grant of pods: the higher and the lower one.
pub const PODS: u64 = 30;
pub const FEWER: u64 = 24;
/// Long enough to create and delete the whole fleet on a shared machine.
const PATIENCE: Duration = Duration::from_secs(900);

/// A template's spec with one of the two grants.
pub fn template_spec(changed: bool) -> Value {
    let small = json!({ "cpu": if changed { "20m" } else { "10m" }, "memory": "16Mi" });
    json!({
        "tier": "Standard",
        "quotas": { "cpu": "4", "memory": "8Gi", "pods": if changed { FEWER } else { PODS }, "namespaces": 8 },
        "containers": { "default": small, "defaultRequest": small },
        "network": { "internetEgress": if changed { "Allow" } else { "Deny" } },
        "security": { "podSecurity": "Restricted" },
    })
}

/// The larger of the two grants of each tenant.
pub fn grants(_: &str) -> BTreeMap<String, Quantity> {
    four_cores_and(&PODS.to_string())
}

pub fn template_name(number: usize) -> String {
    format!("soak-{}", number % TEMPLATES)
}

/// The tenant of this number, as it is at the start.
pub fn at_start(number: usize) -> Tenant {
    let tenant = tenant(&format!("t{number}"), &template_name(number))
        .owner("olga")
        .namespace("a");
    if number.is_multiple_of(2) {
        tenant
    } else {
        tenant.namespace("b")
    }
    .build()
}

pub async fn create(admin: &Client, tenants: usize) {
    for number in 0..TEMPLATES {
        common::create_template(admin, &template(&template_name(number), template_spec(false))).await;
    }
    for number in 0..tenants {
        common::create(admin, &at_start(number)).await;
    }
}

/// Polls every two seconds: each probe lists the whole fleet.
async fn slowly<T, F>(what: &str, probe: impl Fn() -> F) -> T
where
    F: Future<Output = Result<T, String>>,
{
    eventually(what, PATIENCE, || {
        let asked = probe();
        async move {
            let answer = asked.await;
            if answer.is_err() {
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
            answer
        }
    })
    .await
}

async fn none_left<K>(what: &str, api: &Api<K>)
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    slowly(what, || async {
        let left = api.list(&ListParams::default()).await;
        match left.map_err(|error| error.to_string())?.items.len() {
            0 => Ok(()),
            left => Err(format!("{left} are left")),
        }
    })
    .await;
}

/// Waits until so many tenants are Ready and the objects are exactly those that `tenantry render` prints.
pub async fn settled(admin: &Client, tenants: usize) -> Vec<Tenant> {
    let claims: Api<TenantNamespace> = Api::all(admin.clone());
    none_left("every request for a namespace to be gone", &claims).await;
    let templates: Vec<_> = (0..TEMPLATES)
        .map(|number| template(&template_name(number), template_spec(false)))
        .collect();
    slowly("every Tenant to be Ready and as rendered", || async {
        let api: Api<Tenant> = Api::all(admin.clone());
        let all = api
            .list(&ListParams::default())
            .await
            .map_err(|error| error.to_string())?
            .items;
        if let Some(waiting) = all.iter().find(|tenant| !common::is_ready(tenant)) {
            return Err(format!("{}: {:#?}", waiting.name_any(), waiting.status));
        }
        if all.len() != tenants {
            return Err(format!("{} of {tenants} stand", all.len()));
        }
        let differences = stands::differences(admin, &templates, &all).await;
        if differences.is_empty() {
            Ok(all)
        } else {
            Err(differences[..differences.len().min(5)].join("\n"))
        }
    })
    .await
}

/// Deletes every Tenant and every template, and waits until nothing is left.
pub async fn delete_all(admin: &Client) {
    let tenants: Api<Tenant> = Api::all(admin.clone());
    for tenant in tenants.list(&ListParams::default()).await.unwrap() {
        tenants
            .delete(&tenant.name_any(), &DeleteParams::default())
            .await
            .unwrap();
    }
    none_left("every Tenant to be gone", &tenants).await;
    let templates: Api<TenantTemplate> = Api::all(admin.clone());
    for number in 0..TEMPLATES {
        templates
            .delete(&template_name(number), &DeleteParams::default())
            .await
            .unwrap();
    }
    slowly("every managed object and every template to be gone", || async {
        let templates = templates
            .list(&ListParams::default())
            .await
            .map_err(|error| error.to_string())?
            .items
            .len();
        let left: Vec<_> = stands::managed(admin).await.into_keys().collect();
        if left.is_empty() && templates == 0 {
            Ok(())
        } else {
            Err(format!("{templates} templates and {left:?}"))
        }
    })
    .await;
}
