//! Whether somebody requested a deletion, or it follows from another one. Decided by reads of the API server, not of a
//! cache.
//!
//! When a definition is deleted, the API server deletes every object of its kind; when a namespace is deleted, the
//! namespace controller deletes everything in it. In both cases nobody asked to delete the objects themselves. Both set
//! their own deletionTimestamp before those of the objects. So if a definition is read after an object's
//! deletionTimestamp was seen, and has none itself, the definition did not delete the object.

use k8s_openapi::{
    api::core::v1::Namespace, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{Resource, api::ObjectMeta};

use crate::cluster::writer::{Error, Writer};
use tenantry_api::v1alpha1::TenantNamespace;
use tenantry_core::tenant::facts::Deletions;

/// Why TenantNamespaces in `home` are being deleted; call it after their deletion was seen.
pub async fn of_claims(writer: &Writer, home: &str) -> Result<Deletions, Error> {
    let exist = is_defined::<TenantNamespace>(writer).await? && exists::<Namespace>(writer, home).await?;
    Ok(if exist { Deletions::Asked } else { Deletions::Cascaded })
}

/// Whether the definition of a kind exists and is not being deleted.
pub async fn is_defined<K>(writer: &Writer) -> Result<bool, Error>
where
    K: Resource<DynamicType = ()>,
{
    exists::<CustomResourceDefinition>(writer, &definition::<K>()).await
}

/// The metadata of TenantNamespaces in `home`, read from the API server; none if their definition is gone. Fails if the
/// API server has just started and does not serve them yet.
pub async fn claims(writer: &Writer, home: &str) -> Result<Vec<ObjectMeta>, Error> {
    match writer.list_fresh::<TenantNamespace>(Some(home), None).await {
        Err(error) if error.is_not_found() => {
            let name = definition::<TenantNamespace>();
            let found = writer.list_fresh::<CustomResourceDefinition>(None, Some(&name)).await?;
            if found.iter().any(|found| found.name.as_ref() == Some(&name)) {
                Err(error)
            } else {
                Ok(Vec::new())
            }
        }
        claims => claims,
    }
}

/// Name of the definition of a kind.
fn definition<K>() -> String
where
    K: Resource<DynamicType = ()>,
{
    format!("{}.{}", K::plural(&()), K::group(&()))
}

async fn exists<K>(writer: &Writer, name: &str) -> Result<bool, Error>
where
    K: Resource<DynamicType = ()>,
{
    let found = writer.list_fresh::<K>(None, Some(name)).await?;
    let mut found = found.iter();
    Ok(found.any(|object| object.name.as_deref() == Some(name) && object.deletion_timestamp.is_none()))
}
