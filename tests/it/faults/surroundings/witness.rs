//! Every status that claims Ready, compared with the objects at the same revision.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use futures::StreamExt as _;
use kube::{
    Api, Client, ResourceExt as _,
    api::ListParams,
    runtime::watcher::{self, Event, watcher},
};
use serde_json::Value;
use tenantry_api::v1alpha1::Tenant;
use tenantry_core::object::Kind;
use tokio::task::JoinSet;

use crate::common::{
    self, PATIENCE, eventually,
    oracle::GUARDS,
    record::{BETWEEN_TRIES, Key, Step},
};

/// Watches every Tenant until it is dropped.
pub struct Witness {
    heard: Arc<Mutex<BTreeMap<u64, Tenant>>>,
    _watch: JoinSet<()>,
}

impl Witness {
    pub fn start(admin: &Client) -> Self {
        let heard: Arc<Mutex<BTreeMap<u64, Tenant>>> = Arc::default();
        let mut watch = JoinSet::new();
        watch.spawn(hear(admin.clone(), heard.clone()));
        Self { heard, _watch: watch }
    }

    /// How many Tenants are Ready by now, as their status says.
    pub fn ready(&self) -> usize {
        let heard = self.heard.lock().unwrap();
        let latest: BTreeMap<String, bool> = heard
            .values()
            .map(|tenant| (tenant.name_any(), common::is_ready(tenant)))
            .collect();
        latest.into_values().filter(|ready| *ready).count()
    }

    /// Every revision at which a Tenant was Ready at its generation and an object was missing.
    pub async fn false_ready(&self, admin: &Client, steps: &[Step]) -> Vec<String> {
        let tenants: Api<Tenant> = Api::all(admin.clone());
        let listed = tenants.list(&ListParams::default()).await.unwrap();
        eventually("the witness to have heard all", PATIENCE, || async {
            let heard = self.heard.lock().unwrap();
            let missing = listed.iter().find(|tenant| !heard.contains_key(&revision(tenant)));
            missing.map_or(Ok(()), |tenant| Err(tenant.name_any()))
        })
        .await;
        let heard = self.heard.lock().unwrap();
        let mut standing: BTreeMap<&Key, &Value> = BTreeMap::new();
        let mut steps = steps.iter().peekable();
        let mut lies = Vec::new();
        for (revision, tenant) in heard.iter() {
            while let Some(step) = steps.next_if(|step| step.revision <= *revision) {
                match &step.object {
                    Some(object) => drop(standing.insert(&step.key, object)),
                    None => drop(standing.remove(&step.key)),
                }
            }
            if common::is_ready(tenant) && tenant.metadata.deletion_timestamp.is_none() {
                let missing = missing(tenant, &standing);
                lies.extend(
                    missing
                        .into_iter()
                        .map(|what| format!("revision {revision}: {} is Ready without {what}", tenant.name_any())),
                );
            }
        }
        lies
    }
}

fn missing(tenant: &Tenant, standing: &BTreeMap<&Key, &Value>) -> Vec<String> {
    let mut missing = Vec::new();
    for namespace in &tenant.spec.namespaces {
        let home = format!("{}-{}", tenant.name_any(), namespace.name);
        let wanted = GUARDS.into_iter().chain([(Kind::RoleBinding, "tenantry-owner")]);
        let wanted = wanted.map(|(kind, name)| (kind, home.clone(), name.to_owned()));
        let namespace = (Kind::Namespace, String::new(), home.clone());
        for key in wanted.chain([namespace]) {
            let object = standing.get(&key);
            let uncounted =
                key.0 == Kind::ResourceQuota && object.is_some_and(|quota| quota["status"]["hard"].is_null());
            if object.is_none() || uncounted {
                missing.push(format!("{} {}/{}", key.0.as_str(), key.1, key.2));
            }
        }
    }
    missing
}

async fn hear(admin: Client, heard: Arc<Mutex<BTreeMap<u64, Tenant>>>) {
    let mut events = watcher(Api::<Tenant>::all(admin), watcher::Config::default()).boxed();
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::InitApply(tenant) | Event::Apply(tenant)) => {
                heard.lock().unwrap().insert(revision(&tenant), tenant);
            }
            Ok(Event::Init | Event::InitDone | Event::Delete(_)) => {}
            Err(_) => tokio::time::sleep(BETWEEN_TRIES).await,
        }
    }
}

fn revision(tenant: &Tenant) -> u64 {
    tenant.resource_version().unwrap().parse().unwrap()
}
