//! Every revision of every guard and right, as watches report them.
//!
//! The audit log records who asked for what. It has neither the revision of a deletion nor the result of a request
//! whose sender was killed. Watches have both.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::StreamExt as _;
use kube::{
    Api, Client, ResourceExt as _,
    api::{DynamicObject, ListParams, WatchEvent, WatchParams},
    runtime::watcher::{self, Event, watcher},
};
use serde_json::Value;
use tenantry_core::object::Kind;
use tokio::task::JoinSet;

use super::{PATIENCE, eventually};

/// The kinds of guards and rights.
pub const KINDS: [Kind; 6] = [
    Kind::Namespace,
    Kind::LimitRange,
    Kind::ResourceQuota,
    Kind::NetworkPolicy,
    Kind::TenantPolicy,
    Kind::RoleBinding,
];

/// Pause between two tries to reach an API server that is down.
pub const BETWEEN_TRIES: Duration = Duration::from_millis(200);

/// Which object: kind, namespace (empty for a Namespace) and name.
pub type Key = (Kind, String, String);

/// One object at one revision.
#[derive(Clone, Debug)]
pub struct Step {
    pub revision: u64,
    pub key: Key,
    /// `None`: it is gone.
    pub object: Option<Value>,
}

/// What the watches have reported.
#[derive(Default)]
struct Told {
    steps: Vec<Step>,
    /// By kind, the revision up to which its watch has reported everything.
    up_to: BTreeMap<Kind, u64>,
}

/// Watches until it is dropped.
pub struct Record {
    told: Arc<Mutex<Told>>,
    _watches: JoinSet<()>,
}

impl Record {
    /// Starts with what happens from now on.
    pub async fn start(admin: &Client) -> Self {
        let told = Arc::new(Mutex::new(Told::default()));
        let mut watches = JoinSet::new();
        for kind in KINDS {
            let api: Api<DynamicObject> = Api::all_with(admin.clone(), &kind.api_resource());
            let list = api.list(&ListParams::default()).await.unwrap();
            watches.spawn(follow(api, kind, list.metadata.resource_version.unwrap(), told.clone()));
        }
        Self {
            told,
            _watches: watches,
        }
    }

    /// As [`Record::start`], for tests in which the API server or etcd goes down. The record then continues from a
    /// list: changes just before the outage may be missing, and an object that is missing in the list counts as deleted
    /// at the last known revision.
    pub fn start_over_gaps(admin: &Client) -> Self {
        let told = Arc::new(Mutex::new(Told::default()));
        let mut watches = JoinSet::new();
        for kind in KINDS {
            let api: Api<DynamicObject> = Api::all_with(admin.clone(), &kind.api_resource());
            watches.spawn(bridge(api, kind, told.clone()));
        }
        Self {
            told,
            _watches: watches,
        }
    }

    /// The changes that the watches have reported so far, in order of revision.
    pub fn so_far(&self) -> Vec<Step> {
        self.sorted()
    }

    /// All steps so far in order of revision, including every change made before this call.
    pub async fn steps(&self, admin: &Client) -> Vec<Step> {
        for kind in KINDS {
            let api: Api<DynamicObject> = Api::all_with(admin.clone(), &kind.api_resource());
            let list = api.list(&ListParams::default()).await.unwrap();
            let listed: BTreeMap<Key, u64> = list
                .iter()
                .map(|object| (key(kind, object), revision(object)))
                .collect();
            eventually("the watches to have told all", PATIENCE, || async {
                let mut told = listed.clone();
                for step in self.sorted().iter().filter(|step| step.key.0 == kind) {
                    match &step.object {
                        Some(_) => drop(told.insert(step.key.clone(), step.revision)),
                        None => drop(told.remove(&step.key)),
                    }
                }
                if told == listed {
                    Ok(())
                } else {
                    Err(format!("{kind:?}: {told:?} is not {listed:?}"))
                }
            })
            .await;
        }
        self.sorted()
    }

    /// Takes out the steps up to the revision that every watch has reached, in order, so that a record can run for
    /// hours; returns that revision too. The watch of an idle kind advances about once a minute.
    #[allow(dead_code, reason = "only the soak runs for hours")]
    pub fn settled(&self) -> (u64, Vec<Step>) {
        let mut told = self.told.lock().unwrap();
        let up_to = KINDS
            .iter()
            .map(|kind| told.up_to.get(kind).copied().unwrap_or_default());
        let up_to = up_to.min().unwrap_or_default();
        let (mut settled, rest): (Vec<_>, Vec<_>) = told.steps.drain(..).partition(|step| step.revision <= up_to);
        told.steps = rest;
        settled.sort_by_key(|step| step.revision);
        (up_to, settled)
    }

    fn sorted(&self) -> Vec<Step> {
        let mut steps = self.told.lock().unwrap().steps.clone();
        steps.sort_by_key(|step| step.revision);
        steps
    }
}

async fn follow(api: Api<DynamicObject>, kind: Kind, mut version: String, told: Arc<Mutex<Told>>) {
    loop {
        let params = WatchParams::default().timeout(290);
        let mut events = api.watch(&params, &version).await.expect("a watch").boxed();
        while let Some(event) = events.next().await {
            let (object, stands) = match event {
                Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => (object, true),
                Ok(WatchEvent::Deleted(object)) => (object, false),
                Ok(WatchEvent::Bookmark(bookmark)) => {
                    version = bookmark.metadata.resource_version;
                    told.lock().unwrap().up_to.insert(kind, version.parse().unwrap());
                    continue;
                }
                Ok(WatchEvent::Error(error)) => panic!("the record of {kind:?} has a gap: {error:?}"),
                Err(_) => break,
            };
            version = object.resource_version().unwrap();
            let (key, revision) = (key(kind, &object), revision(&object));
            let object = stands.then(|| serde_json::to_value(object).unwrap());
            let mut told = told.lock().unwrap();
            told.up_to.insert(kind, revision);
            told.steps.push(Step { revision, key, object });
        }
    }
}

async fn bridge(api: Api<DynamicObject>, kind: Kind, told: Arc<Mutex<Told>>) {
    let mut events = watcher(api, watcher::Config::default()).boxed();
    let mut standing: BTreeMap<Key, u64> = BTreeMap::new();
    let mut listed: BTreeMap<Key, u64> = BTreeMap::new();
    while let Some(event) = events.next().await {
        if event.is_err() {
            tokio::time::sleep(BETWEEN_TRIES).await;
            continue;
        }
        let steps = &mut told.lock().unwrap().steps;
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(object) | Event::Apply(object)) => {
                let (key, revision) = (key(kind, &object), revision(&object));
                listed.insert(key.clone(), revision);
                if standing.insert(key.clone(), revision) != Some(revision) {
                    let object = Some(serde_json::to_value(object).unwrap());
                    steps.push(Step { revision, key, object });
                }
            }
            Ok(Event::InitDone) => {
                let latest = steps.iter().map(|step| step.revision).max().unwrap_or_default();
                let gone = standing.keys().filter(|key| !listed.contains_key(*key));
                steps.extend(gone.map(|key| Step {
                    revision: latest,
                    key: key.clone(),
                    object: None,
                }));
                standing.clone_from(&listed);
            }
            Ok(Event::Delete(object)) => {
                let (key, revision) = (key(kind, &object), revision(&object));
                standing.remove(&key);
                steps.push(Step {
                    revision,
                    key,
                    object: None,
                });
            }
            Err(_) => {}
        }
    }
}

fn key(kind: Kind, object: &DynamicObject) -> Key {
    (kind, object.namespace().unwrap_or_default(), object.name_any())
}

fn revision(object: &DynamicObject) -> u64 {
    object.resource_version().unwrap().parse().unwrap()
}
