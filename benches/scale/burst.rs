//! Deleted managed objects, until the operator has restored them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, DynamicObject, ListParams, WatchEvent, WatchParams},
};
use tenantry_core::object::Kind;
use tokio::{sync::mpsc, task::JoinSet};

use crate::{
    PARALLEL, raw,
    report::{Report, Target},
    tenants::template,
    watching::{PATIENCE, quotas_counted},
};

/// Tenants that lose all their objects at once.
const HIT: usize = 100;

/// One object deleted, until it is back, sixty times.
pub async fn one(client: &Client, tenants: usize, report: &mut Report) {
    let mut times = Vec::new();
    for index in 0..60.min(tenants) {
        let api: Api<NetworkPolicy> = Api::namespaced(client.clone(), &format!("t{index}-n0"));
        let uid = api.get("tenantry-default-deny").await.unwrap().metadata.uid;
        let started = Instant::now();
        api.delete("tenantry-default-deny", &DeleteParams::default())
            .await
            .unwrap();
        let back = kube::runtime::wait::await_condition(
            api,
            "tenantry-default-deny",
            move |policy: Option<&NetworkPolicy>| policy.is_some_and(|policy| policy.metadata.uid != uid),
        );
        back.await.unwrap();
        times.push(started.elapsed());
    }
    report.latency("drift", "a deleted NetworkPolicy is back", times, Target::AtMost(100.0));
}

/// Which object: kind, namespace and name.
type Key = (Kind, String, String);

/// An object appeared or was deleted.
struct Seen {
    key: Key,
    stands: bool,
    at: Instant,
}

/// Deletes all objects of many tenants at once, except the namespaces: deleting those takes the controller manager's
/// time and not the operator's. Compared with deleting and applying as many raw objects.
pub async fn all(client: &Client, tenants: usize, namespaces: usize, pods: u64, report: &mut Report) {
    let hit = HIT.min(tenants);
    let mut objects = raw::raw_objects(&template(pods), hit, namespaces);
    for objects in &mut objects {
        objects.retain(|object| object["kind"] != "Namespace");
    }
    // Each in a task of its own: no object waits for another.
    let objects = objects.into_iter().flatten().map(|object| vec![object]).collect();
    let started = Instant::now();
    raw::write_raw_anew(client, objects).await;
    quotas_counted(client, "raw-", tenants * namespaces, raw::share(pods, namespaces)).await;
    let raw_time = started.elapsed();

    let places: BTreeSet<String> = (0..hit)
        .flat_map(|tenant| (0..namespaces).map(move |namespace| format!("t{tenant}-n{namespace}")))
        .collect();
    let (sender, mut seen) = mpsc::unbounded_channel();
    let mut watches = JoinSet::new();
    let mut keys = Vec::new();
    let ours = "app.kubernetes.io/managed-by=tenantry";
    for kind in Kind::ALL {
        if kind.is_optional() || kind == Kind::Namespace {
            continue;
        }
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &kind.api_resource());
        let list = api.list_metadata(&ListParams::default().labels(ours)).await.unwrap();
        let found = list
            .items
            .iter()
            .map(|object| (object.namespace().unwrap(), object.name_any()));
        let found = found.filter(|(namespace, _)| places.contains(namespace));
        keys.extend(found.map(|(namespace, name)| (kind, namespace, name)));
        let version = list.metadata.resource_version.unwrap();
        watches.spawn(follow(api, kind, version, ours, sender.clone()));
    }
    drop(sender);

    let started = Instant::now();
    let deleting = stream::iter(&keys)
        .map(|key| async move {
            let (kind, namespace, name) = key;
            let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &kind.api_resource());
            let at = Instant::now();
            match api.delete(name, &DeleteParams::default()).await {
                Ok(_) => {}
                // If a guard was deleted, the operator first removes the owner's right.
                Err(kube::Error::Api(answer)) if answer.code == 404 => {}
                Err(error) => panic!("delete {key:?}: {error}"),
            }
            (key.clone(), at)
        })
        .buffer_unordered(PARALLEL)
        .collect::<BTreeMap<Key, Instant>>();
    // The state of each object: `None` while it is missing.
    let mut back: BTreeMap<Key, Option<Instant>> = BTreeMap::new();
    let mut waiting = keys.len();
    let returning = async {
        // An object that was not deleted yet does not count as restored.
        let mut gone = 0;
        while gone < keys.len() || waiting > 0 {
            let Some(Seen { key, stands, at }) = seen.recv().await else {
                panic!("the watches of deleted objects ended");
            };
            if !places.contains(&key.1) {
                continue;
            }
            let before = back.insert(key, stands.then_some(at));
            match (before, stands) {
                (None, false) => gone += 1,
                (Some(None), true) => waiting -= 1,
                (Some(Some(_)), false) => waiting += 1,
                _ => {}
            }
        }
    };
    let both = async { futures::join!(deleting, returning).0 };
    let deleted = tokio::time::timeout(PATIENCE, both)
        .await
        .expect("every deleted object is back in time");
    quotas_counted(client, "t", tenants * namespaces, raw::share(pods, namespaces)).await;
    let time = started.elapsed();
    let times: Vec<Duration> = deleted
        .iter()
        .filter_map(|(key, at)| Some(back.get(key)?.as_ref()?.saturating_duration_since(*at)))
        .collect();
    report.latency(
        "burst",
        &format!("{} objects of {hit} tenants deleted at once: each is back", keys.len()),
        times,
        Target::None,
    );
    report.seconds(
        "burst_s",
        "the same, until all are back and every quota is counted",
        time,
    );
    report.ratio(
        "burst_over_raw",
        "the same / as many objects deleted and applied straight",
        time.as_secs_f64() / raw_time.as_secs_f64(),
        Target::None,
    );
}

async fn follow(
    api: Api<DynamicObject>,
    kind: Kind,
    mut version: String,
    selector: &'static str,
    seen: mpsc::UnboundedSender<Seen>,
) {
    loop {
        let params = WatchParams::default().labels(selector).timeout(290);
        let mut events = api.watch_metadata(&params, &version).await.unwrap().boxed();
        while let Some(event) = events.next().await {
            let (object, stands) = match event {
                Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => (object, true),
                Ok(WatchEvent::Deleted(object)) => (object, false),
                Ok(WatchEvent::Bookmark(bookmark)) => {
                    version = bookmark.metadata.resource_version;
                    continue;
                }
                Ok(WatchEvent::Error(error)) => panic!("the watch of {kind:?} has a gap: {error:?}"),
                Err(_) => break,
            };
            version = object.resource_version().unwrap();
            let key = (kind, object.namespace().unwrap_or_default(), object.name_any());
            let at = Instant::now();
            if seen.send(Seen { key, stands, at }).is_err() {
                return;
            }
        }
    }
}
