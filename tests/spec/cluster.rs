//! A cluster in memory: the operator's pure steps, and minimal versions of the API server, the quota controller and the
//! namespace controller. The order of writes and failures are not modelled: tests/it tests those.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use kube::{Resource as _, core::DeserializeGuard};
use serde_json::{Value, json};
use tenantry::cluster::Inventory;
use tenantry_api::v1alpha1::{DirectOverflow, Tenant, TenantNamespace};
use tenantry_core::{
    object::{Key, Kind, Live, drift},
    settings::Settings,
    tenant::{
        build::{NamespaceObjects, build},
        facts::{Claim, Deletions, Facts, Served, Template, dereference},
        validate::{Invalid, validate},
    },
};

use crate::shared::start::TENANT;

/// More rounds than any change takes.
const ROUNDS: usize = 60;
/// Key of a ResourceQuota that counts claims.
const CLAIMS: &str = "count/tenantnamespaces.tenantry.dev";

/// The objects of a simulated cluster.
pub struct Cluster {
    inventory: Inventory,
    bodies: BTreeMap<Key, Value>,
    version: u64,
    /// `status.used` of a namespace's quota; a resource that is missing here has 0.
    pub used: Value,
    /// Names of TenantNamespaces, the oldest first.
    pub claims: Vec<String>,
    /// Those that somebody deleted and the operator has not released.
    pub deleted: Vec<String>,
}

/// The settings of the operator in tests.
pub fn settings() -> Settings {
    Settings {
        accelerator_resources: vec!["nvidia.com/gpu".to_owned()],
        model_resource: "inferenceservices.serving.kserve.io".to_owned(),
        admission: BTreeSet::new(),
        status_interval: Duration::ZERO,
    }
}

/// Every optional kind is served.
pub fn served() -> Served {
    Served {
        kinds: Kind::ALL.into_iter().filter(|kind| kind.is_optional()).collect(),
        models: true,
    }
}

/// The Tenant with this spec.
pub fn tenant(spec: &Value) -> Tenant {
    let metadata = json!({ "name": TENANT, "uid": "t1", "generation": 1 });
    let object = json!({ "apiVersion": "tenantry.dev/v1alpha1", "kind": "Tenant", "metadata": metadata, "spec": spec });
    serde_json::from_value(object).unwrap_or_else(|error| panic!("{error}: {spec}"))
}

/// The template with this spec, if there is one.
pub fn template(spec: Option<&Value>) -> Template {
    spec.map_or(Template::Missing, |spec| {
        Template::Found(Arc::new(
            serde_json::from_value(spec.clone()).unwrap_or_else(|error| panic!("{error}: {spec}")),
        ))
    })
}

fn claim(number: usize, name: &str) -> Claim {
    let created = format!("2026-01-01T00:00:{number:02}Z");
    let object = json!({
        "apiVersion": "tenantry.dev/v1alpha1", "kind": "TenantNamespace",
        "metadata": { "name": name, "namespace": format!("{TENANT}-home"), "uid": name, "generation": 1, "creationTimestamp": created },
        "spec": {},
    });
    let claim: TenantNamespace = serde_json::from_value(object).unwrap();
    Arc::new(DeserializeGuard(Ok(claim)))
}

/// A TenantNamespace that somebody deleted.
fn deleted(name: &str) -> Claim {
    let mut claim = (*claim(0, name)).clone();
    let timestamp = serde_json::from_value(json!("2026-01-03T00:00:00Z")).unwrap();
    claim.meta_mut().deletion_timestamp = timestamp;
    Arc::new(claim)
}

impl Cluster {
    /// An empty cluster.
    pub fn new() -> Self {
        Self {
            inventory: Inventory::default(),
            bodies: BTreeMap::new(),
            version: 0,
            used: json!({}),
            claims: Vec::new(),
            deleted: Vec::new(),
        }
    }

    /// A namespace that an owner created directly.
    pub fn made(&mut self, name: &str) {
        let labels = json!({ "tenantry.dev/tenant": TENANT });
        let metadata = json!({ "name": name, "labels": labels, "creationTimestamp": "2026-01-02T00:00:00Z" });
        self.put(
            &Key::namespace(name),
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": metadata }),
        );
    }

    /// Somebody deletes every TenantNamespace.
    pub fn delete_claims(&mut self) {
        self.deleted.append(&mut self.claims);
    }

    fn put(&mut self, key: &Key, mut body: Value) {
        self.version += 1;
        let uid = self.bodies.get(key).map_or_else(
            || json!(format!("o{}", self.version)),
            |live| live["metadata"]["uid"].clone(),
        );
        body["metadata"]["uid"] = uid;
        body["metadata"]["resourceVersion"] = json!(self.version.to_string());
        // The API server drops null fields.
        if let Some(fields) = body.as_object_mut() {
            fields.retain(|_, value| !value.is_null());
        }
        if let Some(metadata) = body["metadata"].as_object_mut() {
            metadata.retain(|_, value| !value.is_null() && *value != json!({}));
        }
        let live = Live::from_value(body.clone()).expect("an object");
        self.inventory.upsert(key.clone(), live);
        self.bodies.insert(key.clone(), body);
    }

    fn remove(&mut self, key: &Key) {
        self.bodies.remove(key);
        self.inventory.remove(key, u64::MAX);
    }

    fn remove_namespace(&mut self, namespace: &str) {
        let keys: Vec<Key> = self
            .bodies
            .keys()
            .filter(|key| key.home() == namespace)
            .cloned()
            .collect();
        for key in &keys {
            self.remove(key);
        }
    }

    /// One reconcile, and then the cluster's own controllers. Returns whether anything changed.
    fn round(&mut self, tenant: &Tenant, template: &Template) -> Result<bool, Invalid> {
        let before = self.version;
        let claims: Vec<Claim> = self
            .claims
            .iter()
            .enumerate()
            .map(|(number, name)| claim(number, name))
            .chain(self.deleted.iter().map(|name| deleted(name)))
            .collect();
        let facts = Facts {
            deletions: if self.deleted.is_empty() {
                Deletions::Unknown
            } else {
                Deletions::Asked
            },
            ..dereference(tenant, TENANT, template.clone(), claims, &self.inventory, served())
        };
        let valid = validate(tenant, &facts, &settings())?;
        let objects = build(&valid);
        let mut gone: Vec<&str> = valid.leaving.iter().map(|leaving| &*leaving.key.name).collect();
        let removed = valid
            .turned_away
            .iter()
            .filter(|away| away.overflow == DirectOverflow::Remove);
        gone.extend(removed.map(|away| &*away.key.name));
        for namespace in &gone {
            self.remove_namespace(namespace);
        }
        let all = || objects.iter().flat_map(NamespaceObjects::all);
        let desired: BTreeSet<&Key> = all().map(|object| &object.key).collect();
        let stays: BTreeSet<&str> = objects.iter().map(|objects| objects.namespace.key.home()).collect();
        for object in all() {
            match self.bodies.get(&object.key).cloned() {
                None => self.put(&object.key, object.manifest()),
                Some(live) if drift::is_as_desired(&live, object) => {}
                Some(live) => {
                    let mut body = drift::replacement(&live, object);
                    body["status"] = live["status"].clone();
                    self.put(&object.key, body);
                }
            }
        }
        let surplus = |key: &Key| key.kind != Kind::Namespace && stays.contains(key.home()) && !desired.contains(key);
        let surplus: Vec<Key> = self.bodies.keys().filter(|key| surplus(key)).cloned().collect();
        for key in &surplus {
            self.remove(key);
        }
        // The operator releases a TenantNamespace when its namespace is gone or stays without it.
        let is_marked = |name: &String| {
            let namespace = self.bodies.get(&Key::namespace(&format!("{TENANT}-{name}")));
            namespace.is_some_and(|live| live["metadata"]["annotations"]["tenantry.dev/claim-weight"].is_string())
        };
        let held = self.deleted.len();
        let deleted = self.deleted.iter().filter(|name| is_marked(name)).cloned().collect();
        self.deleted = deleted;
        let released = held > self.deleted.len();
        self.count();
        Ok(released || self.version != before || !gone.is_empty() || !surplus.is_empty())
    }

    /// The quota controller.
    fn count(&mut self) {
        let quotas: Vec<Key> = self
            .bodies
            .keys()
            .filter(|key| key.kind == Kind::ResourceQuota)
            .cloned()
            .collect();
        for key in quotas {
            let quota = &self.bodies[&key];
            let hard = quota["spec"]["hard"].as_object().cloned().unwrap_or_default();
            let used = hard.keys().map(|resource| {
                let used = match &self.used[key.home()][resource] {
                    Value::String(used) => used.clone(),
                    _ if resource == CLAIMS => (self.claims.len() + self.deleted.len()).to_string(),
                    _ => "0".to_owned(),
                };
                (resource.clone(), json!(used))
            });
            let status = json!({ "used": used.collect::<Value>(), "hard": hard });
            if quota["status"] != status {
                let mut quota = quota.clone();
                quota["status"] = status;
                self.put(&key, quota);
            }
        }
    }

    /// Reconciles until nothing changes. Panics if a refused spec changed anything.
    pub fn settle(&mut self, tenant: &Tenant, template: &Template) -> Result<(), Invalid> {
        for _ in 0..ROUNDS {
            let before = self.version;
            match self.round(tenant, template) {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(invalid) => {
                    assert_eq!(self.version, before, "something was written though {}", invalid.message);
                    return Err(invalid);
                }
            }
        }
        panic!("no end after {ROUNDS} rounds: {:#?}", tenant.spec);
    }

    /// All objects, without uid and resourceVersion, which differ from run to run.
    pub fn state(&self) -> BTreeMap<String, Value> {
        let strip = |body: &Value| {
            let mut body = body.clone();
            if let Some(metadata) = body["metadata"].as_object_mut() {
                metadata.remove("uid");
                metadata.remove("resourceVersion");
            }
            body
        };
        self.bodies
            .iter()
            .map(|(key, body)| (key.to_string(), strip(body)))
            .collect()
    }
}
