//! Whether a deletion that was seen is a request, found out by reads of the API server and not of a cache.
//!
//! The API server deletes every object of a definition that is deleted, and the namespace controller everything in a namespace that
//! goes. Nobody asked about the objects then. Both set their own deletionTimestamp before those of the objects. So a definition that
//! is read after the object's deletionTimestamp was seen, and has none, did not delete the object.

use k8s_openapi::{
    api::core::v1::Namespace, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{Resource, api::ObjectMeta};

use crate::cluster::writer::{Error, Writer};
use tenantry_api::v1alpha1::TenantNamespace;
use tenantry_core::tenant::facts::Deletions;

/// What it means that TenantNamespaces in `home` are being deleted; call it after that was seen.
pub async fn of_claims(writer: &Writer, home: &str) -> Result<Deletions, Error> {
    let stands = is_defined::<TenantNamespace>(writer).await? && is_standing::<Namespace>(writer, home).await?;
    Ok(if stands { Deletions::Asked } else { Deletions::Cascaded })
}

/// Whether the definition of a kind is there and is not being deleted.
pub async fn is_defined<K>(writer: &Writer) -> Result<bool, Error>
where
    K: Resource<DynamicType = ()>,
{
    is_standing::<CustomResourceDefinition>(writer, &definition::<K>()).await
}

/// The TenantNamespaces in `home` as the API server has them; none if their definition is gone. One that has just started may not
/// serve them yet.
pub async fn claims(writer: &Writer, home: &str) -> Result<Vec<ObjectMeta>, Error> {
    match writer.stand::<TenantNamespace>(Some(home), None).await {
        Err(error) if error.is_not_found() => {
            let name = definition::<TenantNamespace>();
            let found = writer.stand::<CustomResourceDefinition>(None, Some(&name)).await?;
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

async fn is_standing<K>(writer: &Writer, name: &str) -> Result<bool, Error>
where
    K: Resource<DynamicType = ()>,
{
    let found = writer.stand::<K>(None, Some(name)).await?;
    let mut found = found.iter();
    Ok(found.any(|object| object.name.as_deref() == Some(name) && object.deletion_timestamp.is_none()))
}
