//! Writes to the kinds that users write: only the status and our finalizers, never the spec.

use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{DynamicObject, ListParams, ObjectMeta, Patch, PatchParams, PostParams},
    core::ApiResource,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

use tenantry_api::{names, v1alpha1::TenantNamespace};
use tenantry_core::error_class::ErrorClass;
use tenantry_process::{controller::Classified, error_class::class_of, leader::LeaderHandle};

/// Writes to these kinds under one field manager, and only while this process leads.
#[derive(Clone)]
pub struct CustomWriter {
    client: Client,
    leader: LeaderHandle,
    manager: &'static str,
}

/// A write or a look-up failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused the write or could not be reached.
    #[error("failed to write the {field} of the {kind}: {source}")]
    Api {
        /// "status" or "finalizers".
        field: &'static str,
        /// Its kind.
        kind: String,
        /// The API server's answer.
        source: Box<kube::Error>,
    },
    /// The API server could not be asked whether the object exists.
    #[error("failed to look for the {kind}: {source}")]
    Read {
        /// Its kind.
        kind: String,
        /// The API server's answer.
        source: Box<kube::Error>,
    },
    /// The object changed or was deleted since it was seen; the watch will deliver the change.
    #[error("the {kind} changed since it was seen")]
    Outdated {
        /// Its kind.
        kind: String,
    },
    /// The status has no JSON form; a bug.
    #[error("failed to serialise the status of the {kind}: {source}")]
    Serialize {
        /// Its kind.
        kind: String,
        /// The serializer's error.
        source: serde_json::Error,
    },
    /// This process no longer leads: nothing was sent.
    #[error("another replica leads now")]
    NotLeading,
}

impl Classified for Error {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Api { source, .. } | Self::Read { source, .. } => class_of(source),
            Self::Outdated { .. } => ErrorClass::Conflict,
            Self::Serialize { .. } => ErrorClass::Malformed,
            Self::NotLeading => ErrorClass::NotLeader,
        }
    }
}

impl CustomWriter {
    /// A writer that uses the field manager `manager` while `leader` leads.
    pub fn new(client: Client, leader: LeaderHandle, manager: &'static str) -> Self {
        Self {
            client,
            leader,
            manager,
        }
    }

    /// Replaces the status of the object at the version of `seen`. Returns the object's new version.
    ///
    /// This is a replace, not a patch: for a patch the API server encodes the stored object, merges, and decodes the
    /// result, which is a fifth of the cost of the whole write (profiled, docs/benchmarks.md). The API server takes
    /// only the status from the body, so the spec is not sent.
    pub async fn status<K>(&self, seen: &K, status: &impl Serialize) -> Result<String, Error>
    where
        K: Resource<DynamicType = ()>,
    {
        let kind = || K::kind(&()).into_owned();
        let body =
            object(seen, json!({ "status": status })).map_err(|source| Error::Serialize { kind: kind(), source })?;
        let params = PostParams {
            field_manager: Some(self.manager.to_owned()),
            ..PostParams::default()
        };
        let resource = ApiResource::erase::<K>(&());
        let api: Api<DynamicObject> = match seen.namespace() {
            Some(namespace) => Api::namespaced_with(self.client.clone(), &namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        };
        self.check_leading()?;
        let answer = api.replace_status(&seen.name_any(), &params, &body).await;
        let written = answer.map_err(|source| failed("status", kind(), source))?;
        Ok(written.metadata.resource_version.unwrap_or_default())
    }

    /// Adds or removes a finalizer of the object at the version of `seen`. Returns the object as written.
    pub async fn finalizer<K>(&self, seen: &K, finalizer: &str, present: bool) -> Result<K, Error>
    where
        K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
    {
        let api: Api<K> = Api::all(self.client.clone());
        self.check_leading()?;
        api.patch(
            &seen.name_any(),
            &self.patch_params(),
            &finalizers(seen.meta(), finalizer, present),
        )
        .await
        .map_err(|source| failed("finalizers", K::kind(&()).into_owned(), source))
    }

    /// Adds or removes a finalizer of an object that this version of the operator cannot read, by its metadata.
    pub async fn finalizer_of_unreadable<K>(
        &self,
        seen: &ObjectMeta,
        finalizer: &str,
        present: bool,
    ) -> Result<(), Error>
    where
        K: Resource<DynamicType = ()>,
    {
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &ApiResource::erase::<K>(&()));
        let name = seen.name.clone().unwrap_or_default();
        self.check_leading()?;
        api.patch(&name, &self.patch_params(), &finalizers(seen, finalizer, present))
            .await
            .map_err(|source| failed("finalizers", K::kind(&()).into_owned(), source))?;
        Ok(())
    }

    /// Asks the API server whether an object has this name and this value of `field`. That works also for an object
    /// that this version of the operator cannot read. `field` must be one of the kind's selectable fields.
    pub async fn has<K>(&self, name: &str, field: &str, value: &str) -> Result<bool, Error>
    where
        K: Resource<DynamicType = ()>,
    {
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &ApiResource::erase::<K>(&()));
        let selected = ListParams::default().fields(&format!("metadata.name={name},{field}={value}"));
        let found = api.list_metadata(&selected).await.map_err(|source| Error::Read {
            kind: K::kind(&()).into_owned(),
            source: Box::new(source),
        })?;
        Ok(!found.items.is_empty())
    }

    fn patch_params(&self) -> PatchParams {
        PatchParams {
            field_manager: Some(self.manager.to_owned()),
            ..PatchParams::default()
        }
    }

    /// Adds or removes our finalizer of the TenantNamespace whose metadata was read as `seen`. Returns the metadata as
    /// written.
    pub async fn claim_finalizer(&self, seen: &ObjectMeta, present: bool) -> Result<ObjectMeta, Error> {
        let others = seen.finalizers.iter().flatten().map(String::as_str);
        let finalizers: Vec<_> = others
            .filter(|other| *other != names::CLAIM)
            .chain(present.then_some(names::CLAIM))
            .collect();
        let patch = json!({ "metadata": {
            "uid": seen.uid, "resourceVersion": seen.resource_version, "finalizers": finalizers,
        } });
        let params = PatchParams {
            field_manager: Some(self.manager.to_owned()),
            ..PatchParams::default()
        };
        let namespace = seen.namespace.as_deref().unwrap_or_default();
        let api: Api<TenantNamespace> = Api::namespaced(self.client.clone(), namespace);
        self.check_leading()?;
        let name = seen.name.as_deref().unwrap_or_default();
        let answer = api.patch_metadata(name, &params, &Patch::Merge(patch)).await;
        let kind = || TenantNamespace::kind(&()).into_owned();
        Ok(answer.map_err(|source| failed("finalizers", kind(), source))?.metadata)
    }

    fn check_leading(&self) -> Result<(), Error> {
        if self.leader.is_leading() {
            Ok(())
        } else {
            Err(Error::NotLeading)
        }
    }
}

/// A patch that adds or removes one finalizer of the object at the version of `seen`.
fn finalizers(seen: &ObjectMeta, finalizer: &str, present: bool) -> Patch<serde_json::Value> {
    let others = seen.finalizers.iter().flatten().map(String::as_str);
    let finalizers: Vec<_> = others
        .filter(|other| *other != finalizer)
        .chain(present.then_some(finalizer))
        .collect();
    Patch::Merge(json!({ "metadata": {
        "uid": seen.uid, "resourceVersion": seen.resource_version, "finalizers": finalizers,
    } }))
}

/// An object with the identity and version of `seen`, and with `content`.
fn object<K>(seen: &K, mut content: serde_json::Value) -> Result<DynamicObject, serde_json::Error>
where
    K: Resource<DynamicType = ()>,
{
    content["apiVersion"] = json!(K::api_version(&()));
    content["kind"] = json!(K::kind(&()));
    content["metadata"] = json!({
        "name": seen.meta().name, "namespace": seen.meta().namespace, "uid": seen.meta().uid, "resourceVersion": seen.meta().resource_version,
    });
    serde_json::from_value(content)
}

fn failed(field: &'static str, kind: String, source: kube::Error) -> Error {
    match &source {
        kube::Error::Api(answer) if answer.is_conflict() || answer.is_not_found() => Error::Outdated { kind },
        _ => Error::Api {
            field,
            kind,
            source: Box::new(source),
        },
    }
}
