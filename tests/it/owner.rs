//! An owner's rights and limits: every request is made as the owner.

use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams},
    core::ApiResource,
};
use serde_json::{Value, json};
use tenantry_core::object::Kind;

use crate::common::{
    self,
    builders::{pod, tenant},
};

fn restricted_pod(name: &str) -> Pod {
    let mut pod: Pod = serde_json::from_value(pod(&json!({}))).unwrap();
    pod.metadata.name = Some(name.to_owned());
    pod
}

fn code<T: std::fmt::Debug>(result: Result<T, kube::Error>) -> u16 {
    match result {
        Ok(_) => 200,
        Err(kube::Error::Api(status)) => status.code,
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_runs_a_restricted_pod_and_not_a_privileged_one() {
    let lab = common::shared().await;
    let admin = lab.admin().await.unwrap();
    let name = common::name("runner");
    common::create(&admin, &tenant(&name, "premium").owner("ruth").namespace("app").build()).await;
    common::ready(&admin, &name).await;
    let pods: Api<Pod> = Api::namespaced(lab.as_user("ruth", &[]).await.unwrap(), &format!("{name}-app"));
    pods.create(&PostParams::default(), &restricted_pod("good"))
        .await
        .unwrap();
    let mut privileged = restricted_pod("bad");
    privileged.spec.as_mut().unwrap().containers[0].security_context =
        serde_json::from_value(json!({ "privileged": true })).unwrap();
    assert_eq!(code(pods.create(&PostParams::default(), &privileged).await), 403);
    pods.delete("good", &DeleteParams::default()).await.unwrap();
}

async fn refused(client: &Client, kind: Kind, namespace: &str, name: &str) {
    let resource: ApiResource = kind.api_resource();
    let api: Api<DynamicObject> = match kind {
        Kind::Namespace => Api::all_with(client.clone(), &resource),
        _ => Api::namespaced_with(client.clone(), namespace, &resource),
    };
    let label: Value = json!({ "metadata": { "labels": { "tenantry.dev/tenant": "other" } } });
    for patch in [Patch::Merge(label.clone()), Patch::Strategic(label)] {
        let answer = code(api.patch(name, &PatchParams::default(), &patch).await);
        assert!(answer == 403 || answer == 415, "patch of {kind:?} {name}: {answer}");
    }
    assert_eq!(
        code(api.delete(name, &DeleteParams::default()).await),
        403,
        "delete of {kind:?} {name}"
    );
    if kind != Kind::Namespace {
        let all = api
            .delete_collection(&DeleteParams::default(), &Default::default())
            .await;
        assert_eq!(code(all.map(|_| ())), 403, "deletecollection of {kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_cannot_touch_a_guard_a_label_or_another_tenant() {
    let lab = common::shared().await;
    let admin = lab.admin().await.unwrap();
    let (mine, other) = (common::name("mine"), common::name("other"));
    common::create(&admin, &tenant(&mine, "premium").owner("mia").namespace("app").build()).await;
    common::create(
        &admin,
        &tenant(&other, "premium").owner("otto").namespace("app").build(),
    )
    .await;
    common::ready(&admin, &mine).await;
    common::ready(&admin, &other).await;
    let mia = lab.as_user("mia", &[]).await.unwrap();
    let namespace = format!("{mine}-app");
    for (kind, name) in [
        (Kind::Namespace, namespace.as_str()),
        (Kind::ResourceQuota, "tenantry"),
        (Kind::LimitRange, "tenantry"),
        (Kind::NetworkPolicy, "tenantry-default-deny"),
        (Kind::NetworkPolicy, "tenantry-allow"),
        (Kind::TenantPolicy, "effective"),
    ] {
        refused(&mia, kind, &namespace, name).await;
    }
    // The owner may write ConfigMaps and RoleBindings, but not these of ours.
    let limits: Api<ConfigMap> = Api::namespaced(mia.clone(), &namespace);
    assert_eq!(
        code(
            limits
                .delete("tenant-limits", &DeleteParams::default())
                .await
                .map(|_| ())
        ),
        403
    );
    let bindings: Api<DynamicObject> = Api::namespaced_with(mia.clone(), &namespace, &Kind::RoleBinding.api_resource());
    assert_eq!(
        code(
            bindings
                .delete("tenantry-owner", &DeleteParams::default())
                .await
                .map(|_| ())
        ),
        403
    );

    let theirs = format!("{other}-app");
    assert_eq!(
        code(
            Api::<Pod>::namespaced(mia.clone(), &theirs)
                .list(&Default::default())
                .await
        ),
        403
    );
    assert_eq!(
        code(
            Api::<Secret>::namespaced(mia.clone(), &theirs)
                .list(&Default::default())
                .await
        ),
        403
    );
    assert_eq!(
        code(
            Api::<Pod>::namespaced(mia, &theirs)
                .create(&PostParams::default(), &restricted_pod("spy"))
                .await
        ),
        403
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_reads_no_secrets_and_writes_nothing() {
    let lab = common::shared().await;
    let admin = lab.admin().await.unwrap();
    let name = common::name("viewed");
    let viewed = tenant(&name, "standard")
        .owner("olga")
        .member("Group", "auditors", "Viewer")
        .namespace("app")
        .build();
    common::create(&admin, &viewed).await;
    common::ready(&admin, &name).await;
    let auditor = lab.as_user("vera", &["auditors"]).await.unwrap();
    let namespace = format!("{name}-app");
    assert_eq!(
        code(
            Api::<Pod>::namespaced(auditor.clone(), &namespace)
                .list(&Default::default())
                .await
        ),
        200
    );
    assert_eq!(
        code(
            Api::<Secret>::namespaced(auditor.clone(), &namespace)
                .list(&Default::default())
                .await
        ),
        403
    );
    assert_eq!(
        code(
            Api::<Pod>::namespaced(auditor, &namespace)
                .create(&PostParams::default(), &restricted_pod("no"))
                .await
        ),
        403
    );
}
