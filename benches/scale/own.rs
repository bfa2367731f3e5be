//! The cost of a tenant's own writes, by the same user with the same role: in a tenant, outside any tenant, and outside
//! with a ResourceQuota and a LimitRange, which cost time by themselves.

use std::time::{Duration, Instant};

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, LimitRange, Namespace, ResourceQuota, ServiceAccount},
    rbac::v1::RoleBinding,
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use lab::{Lab, Writable, eventually};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{
    report::{Report, Target, percentiles},
    tenants::create_roomy,
    totals,
    watching::PATIENCE,
};

/// Writes of each kind on each side.
const SAMPLES: usize = 500;
/// Uncounted writes before those, to fill connections and caches.
const WARM_UP: usize = 30;

pub const INSIDE: &str = "writer-n0";
const OUTSIDE: &str = "outside";
const BOUNDED: &str = "bounded";
const USER: &str = "owner-writer";

/// Which side a write goes to.
#[derive(Clone, Copy)]
enum Side {
    Inside,
    Outside,
    Bounded,
}

impl Side {
    const ALL: [Self; 3] = [Self::Inside, Self::Outside, Self::Bounded];

    const fn namespace(self) -> &'static str {
        match self {
            Self::Inside => INSIDE,
            Self::Outside => OUTSIDE,
            Self::Bounded => BOUNDED,
        }
    }
}

/// An owner with a namespace on each side.
pub struct Writer<'a> {
    pub admin: &'a Client,
    pub user: Client,
}

impl<'a> Writer<'a> {
    pub async fn prepare(lab: &Lab, admin: &'a Client) -> Self {
        prepare(admin).await;
        let user = lab.as_user(USER, &[]).await.unwrap();
        Self { admin, user }
    }

    pub async fn writes(&self, report: &mut Report) {
        let config_map =
            typed::<ConfigMap>(json!({ "metadata": { "generateName": "c-" }, "data": { "key": "value" } }));
        let times = self.create_all(&config_map).await;
        tell(report, "config_map", "ConfigMap, create", times, Target::AtMost(1.3));
        let times = self.create_all(&totals::pod()).await;
        tell(report, "pod", "Pod, create", times, Target::AtMost(2.0));
        let times = self.scale_all().await;
        tell(report, "scale", "Deployment, patch of its scale", times, Target::None);
    }

    /// Deletes all pods and waits, so that changing use does not disturb the next measurement.
    pub async fn remove_pods(&self) {
        for side in Side::ALL {
            totals::empty(&Api::namespaced(self.admin.clone(), side.namespace())).await;
        }
    }

    pub async fn create_all<K: Writable>(&self, object: &K) -> Times {
        let post = PostParams::default();
        let post = &post;
        in_turns(|side, _| {
            let api: Api<K> = Api::namespaced(self.user.clone(), side.namespace());
            async move { drop(api.create(post, object).await.unwrap()) }
        })
        .await
    }

    async fn scale_all(&self) -> Times {
        in_turns(|side, round| {
            let api: Api<Deployment> = Api::namespaced(self.user.clone(), side.namespace());
            let replicas = json!({ "spec": { "replicas": 2 + round % 2 } });
            async move {
                let patch = Patch::Merge(&replicas);
                drop(api.patch_scale("app", &PatchParams::default(), &patch).await.unwrap());
            }
        })
        .await
    }
}

pub fn typed<K: DeserializeOwned>(object: Value) -> K {
    serde_json::from_value(object).unwrap()
}

/// A tenant, a plain namespace where its owner has the same role, and a Deployment in each.
async fn prepare(client: &Client) {
    let post = PostParams::default();
    create_roomy(client, "writer", 1).await;
    for name in [OUTSIDE, BOUNDED] {
        let namespace: Namespace = typed(json!({ "metadata": { "name": name } }));
        Api::all(client.clone()).create(&post, &namespace).await.unwrap();
        let binding: RoleBinding = typed(json!({
            "metadata": { "name": "writer" },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "tenantry-owner" },
            "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": USER }],
        }));
        let bindings: Api<RoleBinding> = Api::namespaced(client.clone(), name);
        bindings.create(&post, &binding).await.unwrap();
    }
    // The same objects as in the tenant, created by hand.
    copy::<LimitRange>(client).await;
    copy::<ResourceQuota>(client).await;
    let quotas: Api<ResourceQuota> = Api::namespaced(client.clone(), BOUNDED);
    eventually("the plain quota to be counted", PATIENCE, || async {
        let quota = quotas.get("tenantry").await.map_err(|error| error.to_string())?;
        let counted = quota.status.and_then(|status| status.used).is_some();
        if counted { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await;
    let mut deployment = json!({
        "metadata": { "name": "app" },
        // Paused from the start: it can be scaled, and no controller creates pods for it.
        "spec": {
            "paused": true, "replicas": 1, "selector": { "matchLabels": { "app": "app" } },
            "template": { "metadata": { "labels": { "app": "app" } } },
        },
    });
    deployment["spec"]["template"]["spec"] = serde_json::to_value(totals::pod().spec).unwrap();
    let deployment: Deployment = typed(deployment);
    for side in Side::ALL {
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), side.namespace());
        eventually("the namespace to have its ServiceAccount", PATIENCE, || {
            accounts.get("default")
        })
        .await;
        let deployments: Api<Deployment> = Api::namespaced(client.clone(), side.namespace());
        deployments.create(&post, &deployment).await.unwrap();
    }
}

/// Copies the object `tenantry` of the tenant's namespace to the plain namespace with a quota.
async fn copy<K: Writable>(client: &Client) {
    let from: Api<K> = Api::namespaced(client.clone(), INSIDE);
    let mut object = serde_json::to_value(from.get("tenantry").await.unwrap()).unwrap();
    object["metadata"] = json!({ "name": "tenantry" });
    object["status"] = Value::Null;
    let to: Api<K> = Api::namespaced(client.clone(), BOUNDED);
    to.create(&PostParams::default(), &typed(object)).await.unwrap();
}

/// Times of each side, in the order of [`Side::ALL`].
pub type Times = [Vec<Duration>; 3];

/// Writes in turns, so that other load on the machine hits all sides alike; the order of the sides rotates too.
async fn in_turns<F>(mut write: impl FnMut(Side, usize) -> F) -> Times
where
    F: Future<Output = ()>,
{
    let mut times = Times::default();
    for round in 0..WARM_UP + SAMPLES {
        let mut order = Side::ALL;
        order.rotate_left(round % Side::ALL.len());
        for side in order {
            let started = Instant::now();
            write(side, round).await;
            if round >= WARM_UP {
                times[side as usize].push(started.elapsed());
            }
        }
    }
    times
}

/// The ratio of the medians: in a tenant over outside.
pub fn times_over_outside([inside, outside, _bounded]: Times) -> f64 {
    percentiles(inside).0 / percentiles(outside).0
}

fn tell(report: &mut Report, name: &str, what: &str, [inside, outside, bounded]: Times, target: Target) {
    let (inside_p50, inside_p99) = percentiles(inside.clone());
    let (outside_p50, outside_p99) = percentiles(outside.clone());
    report.latency(
        &format!("own_{name}_inside"),
        &format!("{what}, in a tenant"),
        inside,
        Target::None,
    );
    report.latency(
        &format!("own_{name}_outside"),
        &format!("{what}, outside any tenant"),
        outside,
        Target::None,
    );
    report.ratio(
        &format!("own_{name}_p50_ratio"),
        &format!("{what}, in a tenant / outside, p50"),
        inside_p50 / outside_p50,
        target,
    );
    report.ratio(
        &format!("own_{name}_bounded_ratio"),
        &format!("{what}, in a tenant / outside with a plain quota, p50"),
        inside_p50 / percentiles(bounded).0,
        Target::None,
    );
    report.ratio(
        &format!("own_{name}_p99_ratio"),
        &format!("{what}, in a tenant / outside, p99"),
        inside_p99 / outside_p99,
        Target::None,
    );
}
