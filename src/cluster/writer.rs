//! Create, replace, delete: each with a precondition, and each answer goes into the inventory.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{DeleteParams, DynamicObject, ListParams, ObjectMeta, PostParams, Preconditions},
    core::ApiResource,
};
use serde_json::{Value, json};

use super::{Inventory, together::together};
use tenantry_api::{
    names,
    v1alpha1::{OwnerRole, TenantState},
};
use tenantry_core::object::{Key, Kind, Live, Object, drift};
use tenantry_core::tenant::facts::LiveObjects as _;
use tenantry_core::{error_class::ErrorClass, tenant::outcome::Failure};
use tenantry_process::{controller::Classified, error_class::class_of, leader::LeaderHandle, pages};

/// How long a create waits for our own watch to deliver a new Namespace. The API server's admission has a watch of its
/// own. If that has not delivered the Namespace yet, a create in it waits 50 ms there (`missingNamespaceWait` in
/// plugin/pkg/admission/namespace/lifecycle).
const ECHO: Duration = Duration::from_millis(30);

/// How far the API server's own watch may be behind ours. Measured: of 778 creates in the first 4 ms after the
/// Namespace, 68 had that wait; of 337 creates in the 6 ms after that, none.
const HEAD_START: Duration = Duration::from_millis(5);

/// How often one call looks for bindings in a namespace before it gives up.
const LOOKS: usize = 4;
/// Objects of tenants in one page of a list: tenants can make each a megabyte large, which takes five megabytes here.
const PAGE: u32 = 10;

/// Writes objects and keeps the inventory up to date.
#[derive(Clone)]
pub struct Writer {
    client: Client,
    inventory: Arc<Inventory>,
    leader: LeaderHandle,
}

/// The result of writing a desired object.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The object was as desired: no call was made.
    Unchanged(Arc<Live>),
    /// The object was replaced; it existed already, whether or not the inventory contained it.
    Changed(Arc<Live>),
    /// The object did not exist.
    Created(Arc<Live>),
}

impl Outcome {
    /// The object as it is now in the cluster.
    pub fn live(&self) -> &Arc<Live> {
        match self {
            Self::Unchanged(live) | Self::Changed(live) | Self::Created(live) => live,
        }
    }
}

/// A write failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused the request or could not be reached.
    #[error("failed to {verb} {key}: {source}")]
    Api {
        /// create, replace, delete or get.
        verb: &'static str,
        /// The object.
        key: Key,
        /// The API server's answer.
        source: Box<kube::Error>,
    },
    /// The object changed since it was seen; the next reconcile sees the change.
    #[error("{key} changed since it was seen")]
    Outdated {
        /// The object.
        key: Key,
    },
    /// An object that users write could not be read, so nothing was deleted.
    #[error("failed to list {plural}: {source}")]
    Unknown {
        /// The kind, as a plural.
        plural: String,
        /// The API server's answer.
        source: Box<kube::Error>,
    },
    /// The answer was not a Kubernetes object; a bug or a broken proxy.
    #[error("failed to read the answer about {key}")]
    Malformed {
        /// The object.
        key: Key,
    },
    /// This process no longer leads: nothing was sent.
    #[error("{key} was not written: another replica leads now")]
    NotLeading {
        /// The object.
        key: Key,
    },
    /// An object of that name exists and does not belong to this tenant.
    #[error("{key} exists and does not belong to this tenant")]
    Foreign {
        /// The object.
        key: Key,
        /// The existing object.
        live: Arc<Live>,
    },
}

impl Error {
    /// The object that the error is about, if any.
    pub fn key(&self) -> Option<&Key> {
        match self {
            Self::Api { key, .. }
            | Self::Outdated { key }
            | Self::Malformed { key }
            | Self::NotLeading { key }
            | Self::Foreign { key, .. } => Some(key),
            Self::Unknown { .. } => None,
        }
    }

    /// Whether the API server has no object of that name, or does not serve the kind.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::Api { source, .. } | Self::Unknown { source, .. } => {
                matches!(&**source, kube::Error::Api(status) if status.is_not_found())
            }
            Self::Outdated { .. } | Self::Malformed { .. } | Self::NotLeading { .. } | Self::Foreign { .. } => false,
        }
    }

    /// Whether a new look at the cluster is enough to resolve the error.
    pub fn is_outdated(&self) -> bool {
        self.class() == ErrorClass::Conflict
    }
}

impl Classified for Error {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Outdated { .. } => ErrorClass::Conflict,
            Self::Api { source, .. } | Self::Unknown { source, .. } => class_of(source),
            Self::Malformed { .. } => ErrorClass::Malformed,
            Self::NotLeading { .. } => ErrorClass::NotLeader,
            Self::Foreign { .. } => ErrorClass::Invalid,
        }
    }
}

impl Writer {
    /// A writer that keeps `inventory` up to date and writes only while `leader` leads.
    pub fn new(client: Client, inventory: Arc<Inventory>, leader: LeaderHandle) -> Self {
        Self {
            client,
            inventory,
            leader,
        }
    }

    /// Checks leadership right before every write: a process that was frozen past its Lease must not finish what it
    /// began.
    fn api(&self, key: &Key) -> Result<Api<DynamicObject>, Error> {
        if !self.leader.is_leading() {
            return Err(Error::NotLeading { key: key.clone() });
        }
        let resource = key.kind.api_resource();
        Ok(match key.kind {
            Kind::Namespace => Api::all_with(self.client.clone(), &resource),
            _ => Api::namespaced_with(self.client.clone(), &key.namespace, &resource),
        })
    }

    /// Every live object of a tenant, including what was written just now.
    pub fn of_tenant(&self, tenant: &str) -> BTreeMap<Key, Arc<Live>> {
        self.inventory.of_tenant(tenant)
    }

    /// Brings the cluster to `desired`: no call if `live` is as desired, a replace if it differs, a create if there is
    /// none.
    ///
    /// In our own namespaces, an unlabelled object that has the name of ours is taken over. A Namespace never is: see
    /// [`Error::Foreign`].
    pub async fn ensure(&self, desired: &Object, live: Option<&Arc<Live>>) -> Result<Outcome, Error> {
        match live {
            Some(live) if drift::is_as_desired(&live.body(), desired) => Ok(Outcome::Unchanged(live.clone())),
            Some(live) => self.replace(desired, &live.body()).await.map(Outcome::Changed),
            None => match self.create(desired).await {
                Err(Error::Api { source, .. }) if is_already_exists(&source) => self.take_over(desired).await,
                result => result.map(Outcome::Created),
            },
        }
    }

    /// Handles an object that has the name of ours but was not in the inventory: takes it over, or refuses.
    async fn take_over(&self, desired: &Object) -> Result<Outcome, Error> {
        let key = &desired.key;
        let found = self
            .api(key)?
            .get(&key.name)
            .await
            .map_err(|source| failed("get", key, source))?;
        let found = Arc::new(read(key, found)?);
        let owner = desired.owner.as_ref().and_then(|owner| owner["uid"].as_str());
        if key.kind == Kind::Namespace && (owner.is_none() || found.owner.as_deref() != owner) {
            self.inventory.upsert(key.clone(), found.clone());
            return Err(Error::Foreign {
                key: key.clone(),
                live: found,
            });
        }
        self.replace(desired, &found.body()).await.map(Outcome::Changed)
    }

    async fn create(&self, desired: &Object) -> Result<Arc<Live>, Error> {
        let key = &desired.key;
        let manifest = object(key, desired.manifest())?;
        let created = self
            .api(key)?
            .create(&params(), &manifest)
            .await
            .map_err(|source| failed("create", key, source))?;
        if key.kind != Kind::Namespace {
            return self.keep(key, created);
        }
        let live = Arc::new(read(key, created)?);
        self.inventory.created_namespace(key.clone(), live.clone());
        // If the watch does not deliver the Namespace in time, creates in it are only slower.
        let _ = tokio::time::timeout(ECHO, self.inventory.until_namespace_seen(live.version)).await;
        tokio::time::sleep(HEAD_START).await;
        Ok(live)
    }

    async fn replace(&self, desired: &Object, live: &Value) -> Result<Arc<Live>, Error> {
        let key = &desired.key;
        if key.kind == Kind::RoleBinding && live["roleRef"] != desired.content["roleRef"] {
            // roleRef is immutable.
            self.delete_value(key, live).await?;
            return self.create(desired).await;
        }
        self.put(key, drift::replacement(live, desired)).await
    }

    /// Replaces an object. The body contains the version from which it was computed.
    async fn put(&self, key: &Key, body: Value) -> Result<Arc<Live>, Error> {
        let body = object(key, body)?;
        let replaced = self
            .api(key)?
            .replace(&key.name, &params(), &body)
            .await
            .map_err(|source| failed("replace", key, source))?;
        self.keep(key, replaced)
    }

    /// Metadata of objects that users write, read from the API server and not from a cache: a list without a
    /// resourceVersion returns the most recent state. With `name`, the list is equivalent to a get, but needs only the
    /// right to list.
    pub async fn list_fresh<K>(&self, namespace: Option<&str>, name: Option<&str>) -> Result<Vec<ObjectMeta>, Error>
    where
        K: Resource<DynamicType = ()>,
    {
        let resource = ApiResource::erase::<K>(&());
        let api: Api<DynamicObject> = match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        };
        let mut page = ListParams::default().limit(PAGE);
        if let Some(name) = name {
            page = page.fields(&format!("metadata.name={name}"));
        }
        let mut fresh = Vec::new();
        loop {
            let found = api.list_metadata(&page).await;
            let found = found.map_err(|source| Error::Unknown {
                plural: resource.plural.clone(),
                source: Box::new(source),
            })?;
            fresh.extend(found.items.into_iter().map(|object| object.metadata));
            if !pages::turn(&mut page, &found.metadata) {
                return Ok(fresh);
            }
        }
    }

    /// Removes the Tenant's owner reference from an object that is to outlive the Tenant. Also removes the annotation
    /// that hands the namespace to a Tenant of this name: a later Tenant of the same name is another tenant.
    pub async fn orphan(&self, key: &Key, live: &Live) -> Result<(), Error> {
        let mut body = live.body();
        body["metadata"]["ownerReferences"] = Value::Null;
        if let Some(annotations) = body["metadata"]["annotations"].as_object_mut() {
            annotations.remove(names::ADOPT_BY);
        }
        self.put(key, body).await.map(drop)
    }

    /// Deletes every RoleBinding to one of our roles in a namespace, including those that owners made for
    /// ServiceAccounts.
    ///
    /// Looks again until there is none, because somebody who still had a right may have made another meanwhile. From
    /// the second look on, the TenantPolicy refuses all writes, which stops somebody who keeps making them.
    pub async fn withdraw_roles(&self, namespace: &str) -> Result<(), Error> {
        for look in 0..LOOKS {
            if !self.withdraw_bindings(namespace).await? {
                return Ok(());
            }
            let policy = Key::new(Kind::TenantPolicy, namespace, names::EFFECTIVE);
            if look > 0
                && let Some(live) = self.inventory.get(&policy)
            {
                self.freeze(&policy, &live).await?;
            }
        }
        Err(Error::Outdated {
            key: Key::new(Kind::RoleBinding, namespace, "*"),
        })
    }

    /// Deletes the current RoleBindings to our roles; returns whether there were any.
    async fn withdraw_bindings(&self, namespace: &str) -> Result<bool, Error> {
        let roles = OwnerRole::ALL.map(OwnerRole::cluster_role);
        let ours = |binding: &DynamicObject| roles.iter().any(|role| binding.data["roleRef"]["name"] == *role);
        let listing = Key::new(Kind::RoleBinding, namespace, "*");
        let mut page = ListParams::default().limit(PAGE);
        let mut any = false;
        loop {
            let found = match self.api(&listing)?.list(&page).await {
                Ok(found) => found,
                Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(false),
                // The list took so long that its pages expired; the caller looks again.
                Err(kube::Error::Api(status)) if status.code == 410 => return Ok(true),
                Err(source) => return Err(failed("list", &listing, source)),
            };
            let deletes: Vec<_> = found
                .items
                .into_iter()
                .filter(ours)
                .map(async |binding| {
                    let key = Key::new(Kind::RoleBinding, namespace, &binding.name_any());
                    let live = read(&key, binding)?;
                    self.delete(&key, &live).await
                })
                .collect();
            any |= !deletes.is_empty();
            together(deletes).await.into_iter().collect::<Result<(), Error>>()?;
            if !pages::turn(&mut page, &found.metadata) {
                return Ok(any);
            }
        }
    }

    /// Sets a TenantPolicy to refuse the tenant's writes; returns whether it did not refuse them before.
    pub async fn freeze(&self, key: &Key, live: &Live) -> Result<bool, Error> {
        let frozen = json!(TenantState::Frozen);
        let mut body = live.body();
        if body["spec"]["state"] == frozen {
            return Ok(false);
        }
        body["spec"]["state"] = frozen;
        self.put(key, body).await.map(|_| true)
    }

    /// Deletes exactly the object that was seen. An object that is already gone is not an error.
    pub async fn delete(&self, key: &Key, live: &Live) -> Result<(), Error> {
        self.delete_value(key, &live.body()).await
    }

    /// Removes all subjects and finalizers from a RoleBinding: a deleted one grants its right for as long as finalizers
    /// keep it.
    async fn empty(&self, key: &Key, mut body: Value) -> Result<Arc<Live>, Error> {
        body["subjects"] = json!([]);
        body["metadata"]["finalizers"] = Value::Null;
        self.put(key, body).await
    }

    /// Writes the limits of its quota as an annotation on a Namespace; returns the Namespace as written.
    pub async fn note_limits(&self, key: &Key, live: &Live, limits: &str) -> Result<Arc<Live>, Error> {
        let mut body = live.body();
        body["metadata"]["annotations"][names::HELD] = json!(limits);
        self.put(key, body).await
    }

    /// Deletes a Namespace after a fresh look shows that nobody has a role in it: the API server deletes the contents
    /// of a namespace, guards included, in no order.
    pub async fn delete_namespace(&self, key: &Key, live: &Live) -> Result<(), Error> {
        self.withdraw_roles(&key.name).await?;
        self.delete(key, live).await
    }

    async fn delete_value(&self, key: &Key, live: &Value) -> Result<(), Error> {
        let emptied;
        let live = if key.kind == Kind::RoleBinding && live["metadata"]["finalizers"][0].is_string() {
            emptied = self.empty(key, live.clone()).await?.body();
            &emptied
        } else {
            live
        };
        let text = |field: &str| live["metadata"][field].as_str().map(str::to_owned);
        let Some(uid) = text("uid") else {
            return Err(Error::Malformed { key: key.clone() });
        };
        // Also the version, for a Namespace too: somebody who takes it from the tenant at this moment must not lose it.
        let preconditions = Preconditions {
            uid: Some(uid),
            resource_version: text("resourceVersion"),
        };
        let params = DeleteParams {
            preconditions: Some(preconditions),
            ..DeleteParams::default()
        };
        match self.api(key)?.delete(&key.name, &params).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            Err(source) => return Err(failed("delete", key, source)),
        }
        if key.kind != Kind::Namespace {
            self.inventory.remove(
                key,
                text("resourceVersion")
                    .and_then(|version| version.parse().ok())
                    .unwrap_or(u64::MAX),
            );
        }
        Ok(())
    }

    fn keep(&self, key: &Key, object: DynamicObject) -> Result<Arc<Live>, Error> {
        let live = Arc::new(read(key, object)?);
        self.inventory.upsert(key.clone(), live.clone());
        Ok(live)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self {
            key: error.key().cloned(),
            class: error.class(),
            message: message(&error),
            detail: error.to_string(),
        }
    }
}

/// The stable part of a failure: the same failure must give the same bytes.
fn message(error: &Error) -> String {
    match error {
        Error::Api { verb, key, source } => format!("failed to {verb} {key}: {}", answer(source)),
        Error::Unknown { plural, source } => format!("failed to list {plural}: {}", answer(source)),
        Error::Outdated { .. } | Error::Malformed { .. } | Error::NotLeading { .. } | Error::Foreign { .. } => {
            error.to_string()
        }
    }
}

fn answer(source: &kube::Error) -> String {
    match source {
        kube::Error::Api(status) => {
            // When a RoleBinding is refused, the answer lists every rule of its role, one a line. Three would fill a
            // message.
            let message = status.message.lines().next().unwrap_or_default();
            format!("{} ({})", message.trim_end_matches(':'), status.code)
        }
        _ => "the API server could not be reached".to_owned(),
    }
}

fn params() -> PostParams {
    PostParams {
        field_manager: Some(names::TENANT_MANAGER.to_owned()),
        ..PostParams::default()
    }
}

fn object(key: &Key, manifest: Value) -> Result<DynamicObject, Error> {
    serde_json::from_value(manifest).map_err(|_| Error::Malformed { key: key.clone() })
}

fn read(key: &Key, object: DynamicObject) -> Result<Live, Error> {
    let value = serde_json::to_value(object).ok();
    value
        .and_then(Live::from_value)
        .ok_or_else(|| Error::Malformed { key: key.clone() })
}

fn failed(verb: &'static str, key: &Key, source: kube::Error) -> Error {
    match &source {
        kube::Error::Api(status) if status.is_conflict() && !status.is_already_exists() => {
            Error::Outdated { key: key.clone() }
        }
        kube::Error::Api(status) if status.is_not_found() && verb == "replace" => Error::Outdated { key: key.clone() },
        _ => Error::Api {
            verb,
            key: key.clone(),
            source: Box::new(source),
        },
    }
}

fn is_already_exists(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_already_exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message_of(error: Error) -> String {
        Failure::from(error).message
    }

    #[test]
    fn an_unreachable_server_gives_the_same_message_each_time() {
        let lost = |text: &str| Error::Api {
            verb: "replace",
            key: Key::new(Kind::ResourceQuota, "acme-dev", "tenantry"),
            source: Box::new(kube::Error::Service(text.to_owned().into())),
        };
        assert_eq!(
            message_of(lost("connection 17 reset after 3.02s")),
            message_of(lost("deadline has elapsed"))
        );
    }

    #[test]
    fn a_refusal_of_many_lines_gives_a_message_of_one() {
        let rules = "\n{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"get\"]}".repeat(100);
        let message = format!(
            "\"tenantry-viewer\" is forbidden: user is attempting to grant RBAC permissions not currently held:{rules}"
        );
        let answer = json!({ "status": "Failure", "code": 403, "reason": "Forbidden", "message": message });
        let message = message_of(Error::Api {
            verb: "create",
            key: Key::new(Kind::RoleBinding, "acme-dev", "tenantry-viewer"),
            source: Box::new(kube::Error::Api(serde_json::from_value(answer).unwrap())),
        });
        assert!(
            message.contains("\"tenantry-viewer\" is forbidden") && !message.contains('\n'),
            "{message}"
        );
    }
}
