//! Writes to the kinds that users write: their status and our finalizer, and nothing else of them ever.

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

/// Writes to Tenants or TenantTemplates under one field manager, and only while this process leads.
#[derive(Clone)]
pub struct CustomWriter {
    client: Client,
    leader: LeaderHandle,
    manager: &'static str,
}

/// A write was not made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused or could not be reached.
    #[error("failed to write the {field} of the {kind}: {source}")]
    Api {
        /// status or finalizers.
        field: &'static str,
        /// Its kind.
        kind: String,
        /// The answer.
        source: Box<kube::Error>,
    },
    /// The API server could not be asked about it.
    #[error("failed to look for the {kind}: {source}")]
    Read {
        /// Its kind.
        kind: String,
        /// The answer.
        source: Box<kube::Error>,
    },
    /// It changed or went since it was seen; the watch brings the news.
    #[error("the {kind} changed since it was seen")]
    Outdated {
        /// Its kind.
        kind: String,
    },
    /// What was to be written has no JSON form; a bug.
    #[error("failed to serialise the status of the {kind}: {source}")]
    Serialize {
        /// Its kind.
        kind: String,
        /// Why.
        source: serde_json::Error,
    },
    /// Nothing was sent.
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
    /// A writer that writes as `manager` while `leader` leads.
    pub fn new(client: Client, leader: LeaderHandle, manager: &'static str) -> Self {
        Self {
            client,
            leader,
            manager,
        }
    }

    /// Replaces the status of the object that was seen as `seen`.
    ///
    /// A replace and not a patch: for a patch the API server encodes the stored object, merges, and decodes the result, a
    /// fifth of what the whole write costs it (profiled, docs/benchmarks.md). Of the body it takes the status alone, so
    /// no spec is sent. Gives the version that the object has then.
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

    /// Adds or removes a finalizer of the object that was seen as `seen`; gives it as it then stands.
    pub async fn finalizer<K>(&self, seen: &K, finalizer: &str, held: bool) -> Result<K, Error>
    where
        K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
    {
        let api: Api<K> = Api::all(self.client.clone());
        self.check_leading()?;
        api.patch(
            &seen.name_any(),
            &self.patch_params(),
            &finalizers(seen.meta(), finalizer, held),
        )
        .await
        .map_err(|source| failed("finalizers", K::kind(&()).into_owned(), source))
    }

    /// Adds or removes a finalizer of an object that cannot be read, by the metadata that was seen of it.
    pub async fn finalizer_of_unreadable<K>(&self, seen: &ObjectMeta, finalizer: &str, held: bool) -> Result<(), Error>
    where
        K: Resource<DynamicType = ()>,
    {
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &ApiResource::erase::<K>(&()));
        let name = seen.name.clone().unwrap_or_default();
        self.check_leading()?;
        api.patch(&name, &self.patch_params(), &finalizers(seen, finalizer, held))
            .await
            .map_err(|source| failed("finalizers", K::kind(&()).into_owned(), source))?;
        Ok(())
    }

    /// Whether the API server finds an object of this name among those with `field` at `value`: it can say so of one that cannot be
    /// read here. `field` is one of the kind's selectable fields.
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

    /// Adds or removes our finalizer of the TenantNamespace that was seen live with this metadata; gives its metadata since then.
    pub async fn claim_finalizer(&self, seen: &ObjectMeta, held: bool) -> Result<ObjectMeta, Error> {
        let others = seen.finalizers.iter().flatten().map(String::as_str);
        let finalizers: Vec<_> = others
            .filter(|other| *other != names::CLAIM)
            .chain(held.then_some(names::CLAIM))
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

/// Adds a finalizer to the object that was seen, or takes it off.
fn finalizers(seen: &ObjectMeta, finalizer: &str, held: bool) -> Patch<serde_json::Value> {
    let others = seen.finalizers.iter().flatten().map(String::as_str);
    let finalizers: Vec<_> = others
        .filter(|other| *other != finalizer)
        .chain(held.then_some(finalizer))
        .collect();
    Patch::Merge(json!({ "metadata": {
        "uid": seen.uid, "resourceVersion": seen.resource_version, "finalizers": finalizers,
    } }))
}

/// The object that is meant, at the version that was seen, with `content`.
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
