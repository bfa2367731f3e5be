//! A tenant's total over several namespaces is exact, under any concurrency, and its spread follows demand.
//!
//! TENANTRY_ROUNDS is the number of rounds; the figures are printed (`cargo test --test it exact -- --nocapture`).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use controlplane::Audit;
use futures::{StreamExt as _, future::join_all};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Pod, ResourceQuota},
};
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, ListParams, PostParams, WatchEvent, WatchParams},
    core::ApiResource,
};
use serde_json::{Value, json};

use crate::common::{
    self, PATIENCE,
    builders::{pod, template, tenant},
    eventually, oracle,
    record::Record,
};

/// The grant of each tenant and resource; a client creates one.
const LIMIT: usize = 20;
const NAMESPACES: [&str; 4] = ["a", "b", "c", "d"];
/// Clients of each round, a quarter of them in each namespace.
const CLIENTS: usize = 80;

/// Something that a tenant is granted [`LIMIT`] of.
#[derive(Clone, Copy)]
struct Measure {
    tenant: &'static str,
    resource: &'static str,
    quotas: fn() -> Value,
    /// A spread that follows demand may leave pieces that are smaller than one object needs. For pods the operator
    /// knows the size if the template counts pods; for claims it does not.
    spread: &'static str,
    /// The object that a client creates.
    thing: fn() -> Value,
}

fn claim() -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "generateName": "c-" },
        "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } },
    })
}

const MEASURES: [Measure; 5] = [
    Measure {
        tenant: "pods",
        resource: "pods",
        quotas: || json!({ "pods": LIMIT }),
        spread: "Demand",
        thing: || pod(&json!({})),
    },
    Measure {
        tenant: "cpu",
        resource: "requests.cpu",
        quotas: || json!({ "cpu": "2", "pods": CLIENTS }),
        spread: "Demand",
        thing: || pod(&json!({ "cpu": "100m" })),
    },
    Measure {
        tenant: "memory",
        resource: "requests.memory",
        quotas: || json!({ "memory": "2000Mi", "pods": CLIENTS }),
        spread: "Demand",
        thing: || pod(&json!({ "memory": "100Mi" })),
    },
    Measure {
        tenant: "services",
        resource: "services",
        quotas: || json!({ "objects": { "services": LIMIT } }),
        spread: "Demand",
        thing: || {
            json!({
                "apiVersion": "v1", "kind": "Service", "metadata": { "generateName": "s-" },
                "spec": { "type": "ClusterIP", "ports": [{ "port": 80 }] },
            })
        },
    },
    Measure {
        tenant: "storage",
        resource: "requests.storage",
        quotas: || json!({ "storage": "20Gi" }),
        spread: "Fixed",
        thing: claim,
    },
];

fn things(client: &Client, namespace: &str, thing: &Value) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), namespace, &resource_of(thing))
}

/// Tries to create `thing` once a second until it succeeds or `stop` is set, and counts the quota's refusals in `refused`.
/// Returns any other refusal.
async fn insist(
    api: Api<DynamicObject>,
    thing: Value,
    stop: Arc<AtomicBool>,
    refused: Arc<AtomicUsize>,
) -> Option<String> {
    let thing: DynamicObject = serde_json::from_value(thing).unwrap();
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    while !stop.load(Ordering::Relaxed) {
        ticks.tick().await;
        match api.create(&PostParams::default(), &thing).await {
            Ok(_) => return None,
            Err(kube::Error::Api(answer))
                if answer.code == 403 && answer.message.contains("exceeded quota: tenantry") =>
            {
                refused.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => return Some(error.to_string()),
        }
    }
    None
}

/// The highest number of a tenant's objects at the same time, by a watch from `since` until all of them are deleted.
async fn most_at_once(client: &Client, thing: &Value, prefix: &str, since: String) -> usize {
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource_of(thing));
    let mut events = api
        .watch(&WatchParams::default().timeout(290), &since)
        .await
        .unwrap()
        .boxed();
    let (mut standing, mut most) = (BTreeSet::new(), 0);
    while let Some(event) = events.next().await {
        match event.unwrap() {
            WatchEvent::Added(object) if object.metadata.namespace.as_deref().unwrap().starts_with(prefix) => {
                standing.insert(object.metadata.uid);
                most = most.max(standing.len());
            }
            WatchEvent::Deleted(object) if standing.remove(&object.metadata.uid) && standing.is_empty() => break,
            WatchEvent::Error(error) => panic!("the watch of things has a gap: {error:?}"),
            _ => {}
        }
    }
    most
}

fn resource_of(thing: &Value) -> ApiResource {
    let kind = thing["kind"].as_str().unwrap();
    ApiResource {
        group: String::new(),
        version: "v1".to_owned(),
        api_version: "v1".to_owned(),
        kind: kind.to_owned(),
        plural: format!("{}s", kind.to_lowercase()),
    }
}

fn rounds() -> usize {
    std::env::var("TENANTRY_ROUNDS").map_or(2, |rounds| rounds.parse().expect("TENANTRY_ROUNDS is a number"))
}

/// Waits until no object is left and every quota has counted that.
async fn emptied(admin: &Client, measure: &Measure, thing: &Value) {
    for name in NAMESPACES {
        let namespace = format!("{}-{name}", measure.tenant);
        let api = things(admin, &namespace, thing);
        let now = DeleteParams::default().grace_period(0);
        api.delete_collection(&now, &ListParams::default()).await.unwrap();
        eventually("everything to be gone and counted so", PATIENCE, || async {
            let left = api.list(&ListParams::default()).await.unwrap().items;
            // No kubelet and no volume plugin takes finalizers off here.
            for held in left.iter().filter(|held| held.metadata.finalizers.is_some()) {
                let free = json!({ "metadata": { "finalizers": null } });
                let patch = kube::api::Patch::Merge(free);
                let _ = api
                    .patch(held.metadata.name.as_deref().unwrap(), &Default::default(), &patch)
                    .await;
            }
            let quota = Api::<ResourceQuota>::namespaced(admin.clone(), &namespace)
                .get("tenantry")
                .await
                .unwrap();
            let used = quota.status.and_then(|status| status.used).unwrap_or_default();
            let used = used.get(measure.resource).map(|used| used.0.clone());
            if left.is_empty() && used.as_deref() == Some("0") {
                Ok(())
            } else {
                Err(format!("{} left, {used:?} used", left.len()))
            }
        })
        .await;
    }
}

/// Waits until the grant is in equal shares again.
async fn at_rest(admin: &Client, measure: &Measure) {
    eventually("the spread to come to rest", PATIENCE, || async {
        let mut shares = Vec::new();
        for name in NAMESPACES {
            let quotas: Api<ResourceQuota> = Api::namespaced(admin.clone(), &format!("{}-{name}", measure.tenant));
            let quota = quotas.get("tenantry").await.unwrap();
            let hard = |hard: Option<BTreeMap<String, _>>| hard.unwrap_or_default().get(measure.resource).cloned();
            shares.push(hard(quota.spec.and_then(|spec| spec.hard)));
            shares.push(hard(quota.status.and_then(|status| status.hard)));
        }
        if shares.iter().all(|share| share.is_some() && *share == shares[0]) {
            Ok(())
        } else {
            Err(format!("{shares:?}"))
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_clients_get_exactly_the_grant() {
    let (lab, admin) = common::own(Audit::Off).await;
    let record = Record::start(&admin).await;
    let operator = lab.operator(common::binary()).await.unwrap();
    for measure in MEASURES {
        let name = measure.tenant;
        common::create_template(
            &admin,
            &template(
                name,
                json!({ "tier": "Standard", "quotas": (measure.quotas)(), "quotaSpread": measure.spread }),
            ),
        )
        .await;
        let mut crowded = tenant(name, name).owner("olga");
        for namespace in NAMESPACES {
            crowded = crowded.namespace(namespace);
        }
        common::create(&admin, &crowded.build()).await;
    }
    common::all_ready(&admin).await;
    let olga = lab.as_user("olga", &[]).await.unwrap();
    for measure in MEASURES {
        let thing = (measure.thing)();
        let mut slowest = Duration::ZERO;
        for _ in 0..rounds() {
            let all: Api<DynamicObject> = Api::all_with(admin.clone(), &resource_of(&thing));
            let since = all
                .list_metadata(&ListParams::default())
                .await
                .unwrap()
                .metadata
                .resource_version
                .unwrap();
            let watching = {
                let (admin, thing) = (admin.clone(), thing.clone());
                tokio::spawn(async move { most_at_once(&admin, &thing, &format!("{}-", measure.tenant), since).await })
            };
            let stop = Arc::new(AtomicBool::new(false));
            let refused = Arc::new(AtomicUsize::new(0));
            let started = Instant::now();
            let clients: Vec<_> = (0..CLIENTS)
                .map(|n| {
                    let namespace = format!("{}-{}", measure.tenant, NAMESPACES[n % NAMESPACES.len()]);
                    let things = things(&olga, &namespace, &thing);
                    tokio::spawn(insist(things, thing.clone(), stop.clone(), refused.clone()))
                })
                .collect();
            let mine = format!("{}-", measure.tenant);
            eventually("the grant to be used up", PATIENCE, || async {
                let list = all.list_metadata(&ListParams::default()).await.unwrap().items;
                let mine = |item: &&kube::core::PartialObjectMeta<DynamicObject>| {
                    item.metadata.namespace.as_deref().unwrap().starts_with(&mine)
                };
                let count = list.iter().filter(mine).count();
                if count == LIMIT {
                    Ok(())
                } else {
                    Err(format!("{} of {LIMIT} {}", count, measure.resource))
                }
            })
            .await;
            slowest = slowest.max(started.elapsed());
            // Every client that got nothing tries once more against a full tenant.
            let full = refused.load(Ordering::Relaxed);
            eventually("the clients to be refused once more", PATIENCE, || async {
                let more = refused.load(Ordering::Relaxed) - full;
                if more >= CLIENTS - LIMIT {
                    Ok(())
                } else {
                    Err(format!("{more} refusals"))
                }
            })
            .await;
            stop.store(true, Ordering::Relaxed);
            let errors: Vec<String> = join_all(clients).await.into_iter().filter_map(Result::unwrap).collect();
            assert!(errors.is_empty(), "{}: {errors:?}", measure.resource);
            emptied(&admin, &measure, &thing).await;
            at_rest(&admin, &measure).await;
            assert_eq!(watching.await.unwrap(), LIMIT, "{} at once", measure.resource);
        }
        println!(
            "{}: {} rounds, full after {slowest:?} at most",
            measure.resource,
            rounds()
        );
    }
    let grants = |tenant: &str| -> BTreeMap<String, tenantry_api::Quantity> {
        let measure = MEASURES.iter().find(|measure| measure.tenant == tenant).unwrap();
        let quotas = (measure.quotas)();
        let grant = quotas.get(tenant).unwrap_or(&quotas["objects"][tenant]).clone();
        let grant = grant.as_str().map_or_else(|| grant.to_string(), str::to_owned);
        BTreeMap::from([(measure.resource.to_owned(), grant.parse().unwrap())])
    };
    let steps = record.steps(&admin).await;
    assert_eq!(oracle::breaches(&steps, &grants), Vec::<String>::new());
    operator.stop().await.unwrap();
}

/// Milliseconds until a pod is admitted for which its namespace had no room.
async fn until_admitted(pods: &Api<Pod>) -> f64 {
    let wanted: Pod = serde_json::from_value(pod(&json!({}))).unwrap();
    let started = Instant::now();
    let mut refused = false;
    loop {
        match pods.create(&PostParams::default(), &wanted).await {
            Ok(_) if refused => return started.elapsed().as_secs_f64() * 1000.0,
            Ok(_) => return 0.0,
            Err(kube::Error::Api(answer))
                if answer.code == 403 && answer.message.contains("exceeded quota: tenantry") =>
            {
                refused = true;
            }
            Err(error) => panic!("{error}"),
        }
        assert!(started.elapsed() < PATIENCE, "no room came");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn full_namespace_gets_the_unused_quota_of_others() {
    let (lab, admin) = common::own(Audit::Off).await;
    let operator = lab.operator(common::binary()).await.unwrap();
    let small = json!({ "cpu": "10m" });
    let spec = json!({
        "tier": "Standard", "quotas": { "pods": 40, "cpu": "4" },
        "containers": { "default": small.clone(), "defaultRequest": small },
    });
    common::create_template(&admin, &template("moving", spec)).await;
    let mut moving = tenant("moving", "moving").owner("olga");
    for namespace in NAMESPACES {
        moving = moving.namespace(namespace);
    }
    common::create(&admin, &moving.build()).await;
    common::ready(&admin, "moving").await;
    let olga = lab.as_user("olga", &[]).await.unwrap();

    // One pod after the other, without pauses: 40 pods less three floors of two.
    let pods: Api<Pod> = Api::namespaced(olga.clone(), "moving-a");
    let mut waits = Vec::new();
    for _ in 0..34 {
        waits.push(until_admitted(&pods).await);
    }
    waits.retain(|wait| *wait > 0.0);
    waits.sort_by(f64::total_cmp);
    println!(
        "34 pods one after the other, {} of them waited for room: {waits:.0?} ms",
        waits.len()
    );
    let now = DeleteParams::default().grace_period(0);
    pods.delete_collection(&now, &ListParams::default()).await.unwrap();

    // A pod larger than any share gets the room of all namespaces: 3 of 4 cores, where each namespace has one.
    let large: Deployment = serde_json::from_value(json!({
        "metadata": { "name": "large" },
        "spec": {
            "selector": { "matchLabels": { "app": "large" } },
            "template": { "metadata": { "labels": { "app": "large" } }, "spec": pod(&json!({ "cpu": "3" }))["spec"] },
        },
    }))
    .unwrap();
    let started = Instant::now();
    Api::<Deployment>::namespaced(olga.clone(), "moving-b")
        .create(&PostParams::default(), &large)
        .await
        .unwrap();
    let large_pods: Api<Pod> = Api::namespaced(olga, "moving-b");
    eventually("the large pod to be admitted", PATIENCE, || async {
        match large_pods.list(&ListParams::default()).await.unwrap().items.len() {
            1 => Ok(()),
            count => Err(count),
        }
    })
    .await;
    println!(
        "a pod of 3 cores, where each of four namespaces had one: admitted after {:?}",
        started.elapsed()
    );
    operator.stop().await.unwrap();
}
