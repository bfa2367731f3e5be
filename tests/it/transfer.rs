//! A tenant changes its owner, tier and size while its workloads run.

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Namespace, Pod},
    rbac::v1::RoleBinding,
};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tenantry_api::v1alpha1::{Tenant, TenantNamespace, TenantTemplate};

use crate::common::{
    self, PATIENCE,
    builders::{pod, template, tenant},
    code, eventually,
};

async fn change(admin: &Client, name: &str, spec: Value) {
    let change = Patch::Merge(json!({ "spec": spec }));
    let tenants: Api<Tenant> = Api::all(admin.clone());
    tenants.patch(name, &PatchParams::default(), &change).await.unwrap();
    common::ready(admin, name).await;
}

fn deployment(replicas: i32) -> Deployment {
    serde_json::from_value(json!({
        "metadata": { "name": "web" },
        "spec": {
            "replicas": replicas, "selector": { "matchLabels": { "app": "web" } },
            "template": { "metadata": { "labels": { "app": "web" } }, "spec": pod(&json!({}))["spec"] },
        },
    }))
    .unwrap()
}

async fn has_pods(client: &Client, namespace: &str, count: usize) {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    eventually(&format!("{count} pods in {namespace}"), PATIENCE, || async {
        let seen = pods.list_metadata(&ListParams::default()).await.unwrap().items.len();
        if seen == count { Ok(()) } else { Err(seen) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn previous_owner_loses_every_right_after_a_transfer() {
    let lab = common::shared().await;
    let admin = lab.admin().await.unwrap();
    let name = common::name("sold");
    let account = "system:serviceaccount:ci:deployer";
    let old = tenant(&name, "premium")
        .owner("olaf")
        .member("Group", "old-squad", "Editor")
        .member("ServiceAccount", account, "Owner")
        .namespace("app");
    common::create(&admin, &old.build()).await;
    common::condition(&admin, &name, "SelfServiceReady", "True", None).await;
    common::ready(&admin, &name).await;
    let (namespace, home) = (format!("{name}-app"), format!("{name}-home"));
    let olaf = lab.as_user("olaf", &[]).await.unwrap();
    let groups = ["system:serviceaccounts", "system:serviceaccounts:ci"];
    let before = [
        olaf.clone(),
        lab.as_user("someone", &["old-squad"]).await.unwrap(),
        lab.as_user(account, &groups).await.unwrap(),
    ];
    for client in &before {
        let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
        assert_eq!(code(pods.list(&ListParams::default()).await), 200);
    }
    // An owner may leave behind a binding for a ServiceAccount of the namespace: it belongs to the namespace, not to
    // the owner.
    let binding: RoleBinding = serde_json::from_value(json!({
        "metadata": { "name": "ci" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "tenantry-editor" },
        "subjects": [{ "kind": "ServiceAccount", "name": "default", "namespace": namespace }],
    }))
    .unwrap();
    let bindings: Api<RoleBinding> = Api::namespaced(olaf.clone(), &namespace);
    bindings.create(&PostParams::default(), &binding).await.unwrap();
    // A binding for a user from outside is refused.
    let mut stranger = binding.clone();
    stranger.metadata.name = Some("friend".to_owned());
    stranger.subjects.as_mut().unwrap()[0].namespace = Some("default".to_owned());
    assert_eq!(code(bindings.create(&PostParams::default(), &stranger).await), 403);

    change(&admin, &name, json!({ "owners": [{ "kind": "User", "name": "nora" }] })).await;
    for client in &before {
        let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
        let claims: Api<TenantNamespace> = Api::namespaced(client.clone(), &home);
        // RBAC reads bindings through a cache of the API server.
        eventually("the rights to be gone", PATIENCE, || async {
            let codes = (
                code(pods.list(&ListParams::default()).await),
                code(claims.list(&ListParams::default()).await),
            );
            if codes == (403, 403) {
                Ok(())
            } else {
                Err(format!("{codes:?}"))
            }
        })
        .await;
    }
    let nora = lab.as_user("nora", &[]).await.unwrap();
    let theirs: Api<RoleBinding> = Api::namespaced(nora, &namespace);
    eventually("the new owner to be in", PATIENCE, || async {
        theirs.delete("ci", &DeleteParams::default()).await.map(drop)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tier_downgrade_and_upgrade_lose_no_pod() {
    let lab = common::shared().await;
    let admin = lab.admin().await.unwrap();
    let name = common::name("tiers");
    common::create(&admin, &tenant(&name, "premium").owner("toni").namespace("app").build()).await;
    common::ready(&admin, &name).await;
    let namespace = format!("{name}-app");
    let toni = lab.as_user("toni", &[]).await.unwrap();
    let deployments: Api<Deployment> = Api::namespaced(toni.clone(), &namespace);
    deployments
        .create(&PostParams::default(), &deployment(12))
        .await
        .unwrap();
    has_pods(&toni, &namespace, 12).await;

    // Free grants 10 pods: with two too many, none is evicted and none is admitted.
    let down = Patch::Merge(json!({ "spec": { "templateRef": { "name": "free" } } }));
    Api::<Tenant>::all(admin.clone())
        .patch(&name, &PatchParams::default(), &down)
        .await
        .unwrap();
    common::condition(&admin, &name, "Stalled", "True", Some("QuotaAboveGrant")).await;
    has_pods(&toni, &namespace, 12).await;
    let one: Pod = serde_json::from_value(pod(&json!({}))).unwrap();
    let pods: Api<Pod> = Api::namespaced(toni.clone(), &namespace);
    assert_eq!(code(pods.create(&PostParams::default(), &one).await), 403);
    let level = Api::<Namespace>::all(toni.clone())
        .get(&namespace)
        .await
        .unwrap()
        .metadata
        .labels
        .unwrap();
    assert_eq!(level["pod-security.kubernetes.io/enforce"], "baseline");

    change(&admin, &name, json!({ "templateRef": { "name": "premium" } })).await;
    has_pods(&toni, &namespace, 12).await;
    pods.create(&PostParams::default(), &one).await.unwrap();
    let level = Api::<Namespace>::all(toni)
        .get(&namespace)
        .await
        .unwrap()
        .metadata
        .labels
        .unwrap();
    assert_eq!(level["pod-security.kubernetes.io/enforce"], "restricted");
}

#[tokio::test(flavor = "multi_thread")]
async fn grant_below_one_pod_each_is_reported_and_serves_demand() {
    let lab = common::shared().await;
    let admin = lab.admin().await.unwrap();
    let name = common::name("tiny");
    let spec = json!({ "tier": "Free", "quotas": { "pods": 2 }, "selfService": "Disabled" });
    common::create_template(&admin, &template(&name, spec)).await;
    let mut tiny = tenant(&name, &name).owner("tina");
    for namespace in ["a", "b", "c", "d"] {
        tiny = tiny.namespace(namespace);
    }
    common::create(&admin, &tiny.build()).await;
    let ready = common::ready(&admin, &name).await;
    let enforced = ready
        .status
        .unwrap()
        .conditions
        .into_iter()
        .find(|condition| condition.type_ == "QuotaEnforced");
    let message = enforced.unwrap().message;
    assert!(
        message.contains(&format!("no share of pods at the moment: {name}-c, {name}-d")),
        "{message}"
    );
    let owner = lab.as_user("tina", &[]).await.unwrap();
    for namespace in ["c", "d"] {
        let namespace = format!("{name}-{namespace}");
        let deployments: Api<Deployment> = Api::namespaced(owner.clone(), &namespace);
        deployments
            .create(&PostParams::default(), &deployment(1))
            .await
            .unwrap();
        has_pods(&owner, &namespace, 1).await;
    }
    // All pods of the grant are in use now, and the first two namespaces have none.
    let pods: Api<Pod> = Api::namespaced(owner, &format!("{name}-a"));
    let one: Pod = serde_json::from_value(pod(&json!({}))).unwrap();
    assert_eq!(code(pods.create(&PostParams::default(), &one).await), 403);
    let templates: Api<TenantTemplate> = Api::all(admin.clone());
    let none = Patch::Merge(json!({ "spec": { "quotas": { "pods": 0 } } }));
    templates.patch(&name, &PatchParams::default(), &none).await.unwrap();
    common::condition(&admin, &name, "Stalled", "True", Some("QuotaAboveGrant")).await;
}
