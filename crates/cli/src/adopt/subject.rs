//! The namespace to adopt, its tenant, and the objects that the operator would write: computed by the operator's own
//! functions, as if the annotation were set.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client,
    api::{DynamicObject, ListParams},
    core::DeserializeGuard,
};
use serde_json::{Value, json};

use super::error::{Error, failed};
use tenantry_api::{
    Quantity, names,
    v1alpha1::{Tenant, TenantNamespace, TenantTemplate},
};
use tenantry_core::{
    object::{Key, Kind, Live},
    settings::Settings,
    tenant::{
        build::{NamespaceObjects, build},
        facts::{Claim, Served, Template, dereference, names_of},
        validate::{ValidTenant, validate},
    },
};

/// A namespace, and the objects that the operator would write in it.
pub struct Subject {
    /// Name of the tenant.
    pub tenant: String,
    /// Name of the namespace.
    pub namespace: String,
    /// The namespace as it is.
    pub live: Value,
    /// The objects that the operator would write in the namespace.
    pub objects: NamespaceObjects,
    /// The tenant's grant, by key of a ResourceQuota.
    pub grants: BTreeMap<String, Quantity>,
    /// Keys that are 0 in every namespace.
    pub closed: BTreeMap<String, Quantity>,
    /// What its other namespaces use.
    pub elsewhere: BTreeMap<String, Quantity>,
}

/// Reads the Tenant and the namespace, and runs the operator's functions on them.
pub async fn resolve(admin: &Client, namespace: &str, tenant: &str, settings: &Settings) -> Result<Subject, Error> {
    let found = Api::<Tenant>::all(admin.clone()).get_opt(tenant).await;
    let found = found.map_err(failed(format!("get Tenant {tenant}")))?;
    let owner = found.ok_or_else(|| Error::NoTenant(tenant.to_owned()))?;
    let live = read_namespace(admin, namespace).await?;
    let claims = claims(admin, &names::home(tenant)).await?;
    check_name(&owner, namespace, tenant, &claims)?;

    let template = &owner.spec.template_ref.name;
    let template = Api::<TenantTemplate>::all(admin.clone()).get_opt(template).await;
    let template = template.map_err(failed("get the TenantTemplate"))?;
    let template = template.map_or(Template::Missing, |template| Template::Found(Arc::new(template.spec)));
    let served = Served {
        models: is_served(admin, &settings.model_resource).await?,
        ..Served::default()
    };
    let mut objects = objects(admin, tenant).await?;
    if let Some(handed_over) = Live::from_value(handed_over(&live, tenant)) {
        objects.insert(Key::namespace(namespace), Arc::new(handed_over));
    }
    let facts = dereference(&owner, tenant, template, claims, &objects, served);
    let valid = validate(&owner, &facts, settings).map_err(|invalid| Error::Invalid {
        tenant: tenant.to_owned(),
        reason: invalid.reason.as_str(),
        message: invalid.message,
    })?;
    let objects = build(&valid)
        .into_iter()
        .find(|objects| *objects.namespace.key.name == *namespace);
    let objects = objects.ok_or_else(|| Error::NotTaken {
        namespace: namespace.to_owned(),
        tenant: tenant.to_owned(),
        message: obstacle(&valid, namespace),
    })?;
    Ok(Subject {
        tenant: tenant.to_owned(),
        namespace: namespace.to_owned(),
        live,
        objects,
        elsewhere: elsewhere(&valid, namespace),
        grants: valid.quota.grants,
        closed: valid.quota.closed,
    })
}

async fn read_namespace(admin: &Client, namespace: &str) -> Result<Value, Error> {
    let api = Api::<DynamicObject>::all_with(admin.clone(), &Kind::Namespace.api_resource());
    let found = api.get_opt(namespace).await;
    let found = found.map_err(failed(format!("get namespace {namespace}")))?;
    let found = found.ok_or_else(|| Error::NoNamespace(namespace.to_owned()))?;
    let live = serde_json::to_value(found).unwrap_or_default();
    let metadata = &live["metadata"];
    if !metadata["deletionTimestamp"].is_null() {
        return Err(Error::Deleting(namespace.to_owned()));
    }
    if Live::from_value(live.clone()).is_some_and(|live| live.owner.is_some()) {
        return Err(Error::Owned {
            namespace: namespace.to_owned(),
            owner: metadata["labels"][names::TENANT]
                .as_str()
                .map_or_else(|| "a tenant".to_owned(), |owner| format!("tenant {owner}")),
        });
    }
    Ok(live)
}

/// Checks that the tenant may have a namespace of this name, and that it is listed or requested.
fn check_name(owner: &Tenant, namespace: &str, tenant: &str, claims: &[Claim]) -> Result<(), Error> {
    let Some(short) = names::inside(tenant, namespace) else {
        return Err(Error::Name {
            namespace: namespace.to_owned(),
            tenant: tenant.to_owned(),
        });
    };
    if names::is_home(short) {
        return Err(Error::Home(namespace.to_owned()));
    }
    if names_of(owner, tenant, claims).iter().any(|name| name == namespace) {
        return Ok(());
    }
    Err(Error::NotListed {
        namespace: namespace.to_owned(),
        tenant: tenant.to_owned(),
        short: short.to_owned(),
    })
}

async fn claims(admin: &Client, home: &str) -> Result<Vec<Claim>, Error> {
    let api = Api::<DeserializeGuard<TenantNamespace>>::namespaced(admin.clone(), home);
    let found = api.list(&ListParams::default()).await;
    let found = found.map_err(failed(format!("list tenantnamespaces of {home}")))?;
    Ok(found.items.into_iter().map(Arc::new).collect())
}

async fn is_served(admin: &Client, resource: &str) -> Result<bool, Error> {
    let found = Api::<CustomResourceDefinition>::all(admin.clone())
        .get_metadata_opt(resource)
        .await;
    Ok(found.map_err(failed(format!("look up {resource}")))?.is_some())
}

/// All namespaces, and the quotas of this tenant: the input of `validate`.
async fn objects(admin: &Client, tenant: &str) -> Result<BTreeMap<Key, Arc<Live>>, Error> {
    let mut objects = BTreeMap::new();
    let ours = format!(
        "{}={},{}={tenant}",
        names::MANAGED_BY,
        names::MANAGED_BY_US,
        names::TENANT
    );
    for (kind, selector) in [(Kind::Namespace, String::new()), (Kind::ResourceQuota, ours)] {
        let api = Api::<DynamicObject>::all_with(admin.clone(), &kind.api_resource());
        let params = ListParams::default().labels(&selector);
        let found = api.list(&params).await;
        for object in found.map_err(failed(format!("list every {}", kind.as_str())))?.items {
            let name = object.metadata.name.clone().unwrap_or_default();
            let namespace = object.metadata.namespace.clone().unwrap_or_default();
            let live = serde_json::to_value(object).ok().and_then(Live::from_value);
            if let Some(live) = live {
                objects.insert(Key::new(kind, &namespace, &name), Arc::new(live));
            }
        }
    }
    Ok(objects)
}

/// The namespace as it would be with the annotation.
fn handed_over(live: &Value, tenant: &str) -> Value {
    let mut live = live.clone();
    live["metadata"]["annotations"][names::ADOPT_BY] = json!(tenant);
    live
}

/// The error for a namespace that the tenant would not get.
fn obstacle(valid: &ValidTenant, namespace: &str) -> String {
    let conflict = valid.conflicts.iter().find(|conflict| conflict.namespace == namespace);
    conflict.map_or_else(
        || "it has no place for one more: remove one from spec.namespaces, or choose a larger template".to_owned(),
        |conflict| conflict.message.clone(),
    )
}

fn elsewhere(valid: &ValidTenant, namespace: &str) -> BTreeMap<String, Quantity> {
    let mut sums = BTreeMap::new();
    for (_, seen) in valid.quota.seen.iter().filter(|(name, _)| *name != namespace) {
        for (key, used) in &seen.used {
            let sum = sums.entry(key.clone()).or_insert(Quantity::ZERO);
            *sum = sum.saturating_add(*used);
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenantry_core::fixture;

    fn checked(namespace: &str) -> Result<(), String> {
        let tenant = fixture::tenant(&json!({}));
        check_name(&tenant, namespace, "acme", &[]).map_err(|error| error.to_string())
    }

    #[test]
    fn a_namespace_must_have_its_tenants_prefix_and_be_listed() {
        assert_eq!(checked("acme-dev"), Ok(()));
        assert!(checked("web").unwrap_err().contains("are called acme-<name>"));
        assert!(checked("acme-").unwrap_err().contains("are called acme-<name>"));
        assert!(checked("acme-home").unwrap_err().contains("home namespace"));
        assert!(
            checked("acme-web")
                .unwrap_err()
                .contains("add {name: web} to its spec.namespaces")
        );
    }

    #[test]
    fn a_namespace_without_annotations_can_be_handed_over() {
        let live = handed_over(&json!({ "metadata": { "uid": "u", "resourceVersion": "3" } }), "acme");
        assert_eq!(live["metadata"]["annotations"][names::ADOPT_BY], "acme");
        assert!(Live::from_value(live).is_some());
    }
}
