//! How fast quota follows demand, and how exact a total is while pods are created and deleted in parallel.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use futures::{StreamExt as _, future::join_all};
use k8s_openapi::api::core::v1::{Namespace, Pod, ResourceQuota};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, ListParams, PostParams, WatchEvent, WatchParams},
};
use lab::{Lab, eventually};
use serde_json::json;
use tenantry_api::v1alpha1::{Tenant, TenantTemplate};

use crate::{
    report::{Report, Target},
    watching::{PATIENCE, is_ready, reach, track},
};

const NAMESPACES: [&str; 4] = ["a", "b", "c", "d"];
/// Rounds in which one namespace after the other uses what its siblings do not.
const ROUNDS: usize = 40;
/// Pods that one namespace can have of 40: three siblings keep a quarter of their shares.
const REACHED: usize = 33;
/// The grant while pods are created and deleted.
const GRANTED: usize = 20;
const TRIALS: usize = 5;
const TRIAL: Duration = Duration::from_secs(10);
/// Clients that create and delete, a quarter of them in each namespace.
const CLIENTS: usize = 40;

/// A pod that every Pod Security Standard admits.
pub fn pod() -> Pod {
    let pod = json!({
        "metadata": { "generateName": "p-" },
        "spec": {
            "securityContext": { "runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": { "type": "RuntimeDefault" } },
            "containers": [{
                "name": "app", "image": "registry.example.com/app:1",
                "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
            }],
        },
    });
    serde_json::from_value(pod).unwrap()
}

/// A Tenant with four namespaces and a grant of so many pods.
async fn tenant(client: &Client, name: &'static str, pods: usize) {
    let template = json!({
        "apiVersion": "tenantry.dev/v1alpha1", "kind": "TenantTemplate", "metadata": { "name": name },
        "spec": { "tier": "Standard", "selfService": "Disabled", "quotas": { "pods": pods } },
    });
    let namespaces = NAMESPACES.map(|name| json!({ "name": name }));
    let tenant = json!({
        "apiVersion": "tenantry.dev/v1alpha1", "kind": "Tenant", "metadata": { "name": name },
        "spec": {
            "templateRef": { "name": name }, "namespaces": namespaces, "owners": [{ "kind": "User", "name": "olga" }],
        },
    });
    let template: TenantTemplate = serde_json::from_value(template).unwrap();
    let tenant: Tenant = serde_json::from_value(tenant).unwrap();
    let post = PostParams::default();
    Api::all(client.clone()).create(&post, &template).await.unwrap();
    Api::all(client.clone()).create(&post, &tenant).await.unwrap();
    let ready = track(Api::<Tenant>::all(client.clone()), move |tenant| {
        tenant.name_any() == name && is_ready(tenant)
    });
    reach("the Tenant to be Ready", ready, 1).await;
}

/// Deletes all pods and waits until they are gone.
pub async fn empty(pods: &Api<Pod>) {
    let now = DeleteParams::default().grace_period(0);
    pods.delete_collection(&now, &ListParams::default()).await.unwrap();
    eventually("the pods to be gone", PATIENCE, || async {
        match pods.list_metadata(&ListParams::default()).await.unwrap().items.len() {
            0 => Ok(()),
            left => Err(left),
        }
    })
    .await;
}

/// The time from a pod's first refusal until it is admitted; `None` if it is not refused.
async fn until_admitted(pods: &Api<Pod>, pod: &Pod) -> Option<Duration> {
    let mut refused = None;
    loop {
        match pods.create(&PostParams::default(), pod).await {
            Ok(_) => return refused.map(|since: Instant| since.elapsed()),
            Err(kube::Error::Api(answer)) if answer.message.contains("exceeded quota: tenantry") => {
                let since = *refused.get_or_insert_with(Instant::now);
                assert!(since.elapsed() < PATIENCE, "no room came");
            }
            Err(error) => panic!("{error}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// One namespace after the other fills, while the others are empty.
pub async fn headroom(lab: &Lab, client: &Client, report: &mut Report) {
    tenant(client, "headroom", 40).await;
    let olga = lab.as_user("olga", &[]).await.unwrap();
    let pod = pod();
    let mut waits = Vec::new();
    for round in 0..ROUNDS {
        let namespace = format!("headroom-{}", NAMESPACES[round % NAMESPACES.len()]);
        let pods: Api<Pod> = Api::namespaced(olga.clone(), &namespace);
        for _ in 0..REACHED {
            waits.extend(until_admitted(&pods, &pod).await);
        }
        empty(&Api::namespaced(client.clone(), &namespace)).await;
    }
    println!("headroom: {} waits in {ROUNDS} rounds", waits.len());
    report.latency(
        "headroom",
        "a pod in a full namespace, from its refusal until there is room",
        waits,
        Target::AtMost(250.0),
    );
}

/// Creates and deletes pods as fast as the API server can; reports the most pods at the same time. In turn for a tenant
/// with four namespaces, and for one namespace with a plain quota of the same size.
pub async fn churn(client: &Client, report: &mut Report) {
    tenant(client, "churn", GRANTED).await;
    let plain: Namespace = serde_json::from_value(json!({ "metadata": { "name": "plain" } })).unwrap();
    Api::all(client.clone())
        .create(&PostParams::default(), &plain)
        .await
        .unwrap();
    let quota = json!({ "metadata": { "name": "plain" }, "spec": { "hard": { "pods": GRANTED.to_string() } } });
    let quota: ResourceQuota = serde_json::from_value(quota).unwrap();
    let quotas: Api<ResourceQuota> = Api::namespaced(client.clone(), "plain");
    quotas.create(&PostParams::default(), &quota).await.unwrap();
    eventually("the plain quota to be counted", PATIENCE, || async {
        let status = quotas.get("plain").await.unwrap().status.unwrap_or_default();
        status.used.map(drop).ok_or("not yet")
    })
    .await;
    let ours = NAMESPACES.map(|name| format!("churn-{name}")).to_vec();
    let (mut tenant, mut single) = (Vec::new(), Vec::new());
    for _ in 0..TRIALS {
        tenant.push(most_at_once(client, &ours).await);
        single.push(most_at_once(client, &["plain".to_owned()]).await);
    }
    let describe = |most: &[(usize, usize)]| {
        let pairs = most
            .iter()
            .map(|(most, admitted)| format!("{most} ({admitted} admitted)"));
        pairs.collect::<Vec<_>>().join(", ")
    };
    println!(
        "churn: the tenant {}; one plain quota {}",
        describe(&tenant),
        describe(&single)
    );
    let worst = |most: &[(usize, usize)]| most.iter().map(|(most, _)| *most).max().unwrap();
    let plain = worst(&single) as f64;
    report.figure(
        "churn_plain",
        format!("most pods at once of {GRANTED}, under creates and deletes: one plain quota"),
        "",
        plain,
        Target::None,
    );
    report.figure(
        "churn_tenant",
        "the same: a tenant over four namespaces",
        "",
        worst(&tenant) as f64,
        Target::None,
    );
    report.ratio(
        "churn_over_plain",
        "the same: the tenant / the plain quota",
        worst(&tenant) as f64 / plain,
        Target::AtMost(1.0),
    );
}

/// The most pods at the same time in these namespaces together, and how many were admitted.
async fn most_at_once(client: &Client, namespaces: &[String]) -> (usize, usize) {
    let all: Api<Pod> = Api::all(client.clone());
    let since = all
        .list_metadata(&ListParams::default())
        .await
        .unwrap()
        .metadata
        .resource_version
        .unwrap();
    let mut events = all
        .watch(&WatchParams::default().timeout(60), &since)
        .await
        .unwrap()
        .boxed();
    let end = Instant::now() + TRIAL;
    let pod = pod();
    let come_and_go = join_all((0..CLIENTS).map(|number| {
        let pods: Api<Pod> = Api::namespaced(client.clone(), &namespaces[number % namespaces.len()]);
        let pod = &pod;
        async move {
            let mut admitted = 0;
            while Instant::now() < end {
                if let Ok(created) = pods.create(&PostParams::default(), pod).await {
                    admitted += 1;
                    tokio::time::sleep(Duration::from_millis(fastrand::u64(..30))).await;
                    let now = DeleteParams::default().grace_period(0);
                    pods.delete(&created.name_any(), &now).await.unwrap();
                }
            }
            admitted
        }
    }));
    let is_meant = |pod: &Pod| pod.namespace().is_some_and(|namespace| namespaces.contains(&namespace));
    let (mut standing, mut most) = (HashSet::new(), 0);
    let counting = async {
        while let Some(event) = events.next().await {
            match event.unwrap() {
                WatchEvent::Added(pod) if is_meant(&pod) => {
                    standing.insert(pod.metadata.uid);
                    most = most.max(standing.len());
                }
                WatchEvent::Deleted(pod) => {
                    standing.remove(&pod.metadata.uid);
                    if standing.is_empty() && Instant::now() > end {
                        break;
                    }
                }
                WatchEvent::Error(error) => panic!("the watch of pods has a gap: {error:?}"),
                _ => {}
            }
        }
    };
    let (admitted, ()) = futures::join!(come_and_go, counting);
    (most, admitted.iter().sum())
}
