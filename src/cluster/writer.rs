//! Create, replace, delete: each with a precondition, each answer taken into the inventory.

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
use tenantry_core::{error_class::ErrorClass, tenant::outcome::Failure};
use tenantry_process::{controller::Classified, error_class::class_of, leader::LeaderHandle, pages};

/// How long our own watch is waited for to tell of a new Namespace. Whoever creates an object in one that the API server's watch has
/// not brought it yet waits there for 50 ms (`missingNamespaceWait` in plugin/pkg/admission/namespace/lifecycle).
const ECHO: Duration = Duration::from_millis(30);

/// What the API server's watch may be behind ours: of 778 creates in the first 4 ms after the namespace 68 waited there, of 337 in the
/// 6 ms after that none.
const HEAD_START: Duration = Duration::from_millis(5);

/// How often a namespace is looked at for bindings before it goes, in one go.
const LOOKS: usize = 4;
/// Objects of tenants in one page: they can make each a megabyte large, which takes five here.
const AT_ONCE: u32 = 10;

/// Writes objects and keeps the inventory in step.
#[derive(Clone)]
pub struct Writer {
    client: Client,
    inventory: Arc<Inventory>,
    leader: LeaderHandle,
}

/// What became of a desired object.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It was as desired: no call was made.
    Unchanged(Arc<Live>),
    /// It was replaced, or stood and was not known.
    Changed(Arc<Live>),
    /// There was none.
    Created(Arc<Live>),
}

impl Outcome {
    /// The object as it now stands.
    pub fn live(&self) -> &Arc<Live> {
        match self {
            Self::Unchanged(live) | Self::Changed(live) | Self::Created(live) => live,
        }
    }
}

/// A write failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused or could not be reached.
    #[error("failed to {verb} {key}: {source}")]
    Api {
        /// create, replace, delete or get.
        verb: &'static str,
        /// The object.
        key: Key,
        /// The answer.
        source: Box<kube::Error>,
    },
    /// The object changed since it was seen; the next try sees the change.
    #[error("{key} changed since it was seen")]
    Outdated {
        /// The object.
        key: Key,
    },
    /// What users wrote could not be looked at, so nothing was deleted for it.
    #[error("failed to list {plural}: {source}")]
    Unknown {
        /// The kind, in plural.
        plural: String,
        /// The answer.
        source: Box<kube::Error>,
    },
    /// The answer was no Kubernetes object; a bug or a broken proxy.
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
    /// An object of that name exists and is not ours to write.
    #[error("{key} exists and does not belong to this tenant")]
    Foreign {
        /// The object.
        key: Key,
        /// The object that stands there.
        live: Arc<Live>,
    },
}

impl Error {
    /// The object, if it is about one.
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

    /// Whether the API server has nothing of that name, or does not serve the kind.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::Api { source, .. } | Self::Unknown { source, .. } => {
                matches!(&**source, kube::Error::Api(status) if status.is_not_found())
            }
            Self::Outdated { .. } | Self::Malformed { .. } | Self::NotLeading { .. } | Self::Foreign { .. } => false,
        }
    }

    /// Whether a new look at the cluster is all that is needed.
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
    /// A writer that keeps `inventory` in step and writes only while `leader` leads.
    pub fn new(client: Client, inventory: Arc<Inventory>, leader: LeaderHandle) -> Self {
        Self {
            client,
            inventory,
            leader,
        }
    }

    /// Asked right before every write: a process that was frozen past its lease must not finish what it had begun.
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

    /// Every live object of a tenant, with what was written just now.
    pub fn of_tenant(&self, tenant: &str) -> BTreeMap<Key, Arc<Live>> {
        self.inventory.of_tenant(tenant)
    }

    /// Makes `desired` stand: no call if `live` is as desired, a replace if it differs, a create if there is none.
    ///
    /// Inside our own namespaces an object that stands in the place of ours, unlabelled, is taken over. A Namespace
    /// never is: see [`Error::Foreign`].
    pub async fn ensure(&self, desired: &Object, live: Option<&Arc<Live>>) -> Result<Outcome, Error> {
        match live {
            Some(live) if drift::is_as_desired(&live.body(), desired) => Ok(Outcome::Unchanged(live.clone())),
            Some(live) => self.replace(desired, &live.body()).await.map(Outcome::Changed),
            None => match self.create(desired).await {
                Err(Error::Api { source, .. }) if is_already_exists(&source) => self.meet(desired).await,
                result => result.map(Outcome::Created),
            },
        }
    }

    /// An object that the inventory does not hold stands where ours should be.
    async fn meet(&self, desired: &Object) -> Result<Outcome, Error> {
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
        // Without the echo it only takes longer.
        let _ = tokio::time::timeout(ECHO, self.inventory.until_namespace_told(live.version)).await;
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

    /// Replaces an object by a body that carries the version it was computed from.
    async fn put(&self, key: &Key, body: Value) -> Result<Arc<Live>, Error> {
        let body = object(key, body)?;
        let replaced = self
            .api(key)?
            .replace(&key.name, &params(), &body)
            .await
            .map_err(|source| failed("replace", key, source))?;
        self.keep(key, replaced)
    }

    /// Metadata of objects that users write, as they stand and not as a watch told: a list without a resourceVersion is the most
    /// recent. A `name` asks for no more than a get does, by the right to list.
    pub async fn stand<K>(&self, namespace: Option<&str>, name: Option<&str>) -> Result<Vec<ObjectMeta>, Error>
    where
        K: Resource<DynamicType = ()>,
    {
        let resource = ApiResource::erase::<K>(&());
        let api: Api<DynamicObject> = match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        };
        let mut page = ListParams::default().limit(AT_ONCE);
        if let Some(name) = name {
            page = page.fields(&format!("metadata.name={name}"));
        }
        let mut stand = Vec::new();
        loop {
            let found = api.list_metadata(&page).await;
            let found = found.map_err(|source| Error::Unknown {
                plural: resource.plural.clone(),
                source: Box::new(source),
            })?;
            stand.extend(found.items.into_iter().map(|object| object.metadata));
            if !pages::turn(&mut page, &found.metadata) {
                return Ok(stand);
            }
        }
    }

    /// Takes the Tenant's owner reference off an object that is to outlive it, and what said that it may be this Tenant's: another
    /// of the same name is another tenant.
    pub async fn orphan(&self, key: &Key, live: &Live) -> Result<(), Error> {
        let mut body = live.body();
        body["metadata"]["ownerReferences"] = Value::Null;
        if let Some(annotations) = body["metadata"]["annotations"].as_object_mut() {
            annotations.remove(names::ADOPT_BY);
        }
        self.put(key, body).await.map(drop)
    }

    /// Takes away every binding of our roles in a namespace, such as those that owners made for ServiceAccounts.
    ///
    /// Looks again until there is none: whoever still had a right may have made another meanwhile. Who goes on making them is
    /// refused every write from the second look on.
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

    /// Takes away the bindings of our roles that stand; tells whether there were any.
    async fn withdraw_bindings(&self, namespace: &str) -> Result<bool, Error> {
        let roles = OwnerRole::ALL.map(OwnerRole::cluster_role);
        let ours = |binding: &DynamicObject| roles.iter().any(|role| binding.data["roleRef"]["name"] == *role);
        let listing = Key::new(Kind::RoleBinding, namespace, "*");
        let mut page = ListParams::default().limit(AT_ONCE);
        let mut any = false;
        loop {
            let found = match self.api(&listing)?.list(&page).await {
                Ok(found) => found,
                Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(false),
                // The pages took too long; whoever asks looks again.
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

    /// Has a TenantPolicy refuse the tenant's writes; tells whether it did not yet.
    pub async fn freeze(&self, key: &Key, live: &Live) -> Result<bool, Error> {
        let frozen = json!(TenantState::Frozen);
        let mut body = live.body();
        if body["spec"]["state"] == frozen {
            return Ok(false);
        }
        body["spec"]["state"] = frozen;
        self.put(key, body).await.map(|_| true)
    }

    /// Deletes exactly the object that was seen; one that is gone already is fine.
    pub async fn delete(&self, key: &Key, live: &Live) -> Result<(), Error> {
        self.delete_value(key, &live.body()).await
    }

    /// Takes everybody off a binding, and the finalizers: one that is only deleted gives its right for as long as they hold it.
    async fn empty(&self, key: &Key, mut body: Value) -> Result<Arc<Live>, Error> {
        body["subjects"] = json!([]);
        body["metadata"]["finalizers"] = Value::Null;
        self.put(key, body).await
    }

    /// Notes on a Namespace what its quota bounds; gives it as it stands then.
    pub async fn hold(&self, key: &Key, live: &Live, held: &str) -> Result<Arc<Live>, Error> {
        let mut body = live.body();
        body["metadata"]["annotations"][names::HELD] = json!(held);
        self.put(key, body).await
    }

    /// Deletes a Namespace when nobody has a role in it any more, by a look at what stands and not at what was told: guards go
    /// with their namespace, in no order.
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
        // The version of a Namespace too: who takes it from the tenant at this moment must not lose it.
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

/// The part of a failure that is stable: the same failure must give the same bytes.
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
            // A refused RoleBinding is answered with every rule of its role, a line each: three fill a message.
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

    fn said(error: Error) -> String {
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
            said(lost("connection 17 reset after 3.02s")),
            said(lost("deadline has elapsed"))
        );
    }

    #[test]
    fn a_refusal_of_many_lines_gives_one() {
        let rules = "\n{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"get\"]}".repeat(100);
        let message = format!(
            "\"tenantry-viewer\" is forbidden: user is attempting to grant RBAC permissions not currently held:{rules}"
        );
        let answer = json!({ "status": "Failure", "code": 403, "reason": "Forbidden", "message": message });
        let said = said(Error::Api {
            verb: "create",
            key: Key::new(Kind::RoleBinding, "acme-dev", "tenantry-viewer"),
            source: Box::new(kube::Error::Api(serde_json::from_value(answer).unwrap())),
        });
        assert!(
            said.contains("\"tenantry-viewer\" is forbidden") && !said.contains('\n'),
            "{said}"
        );
    }
}
