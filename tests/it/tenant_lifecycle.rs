//! The life of a tenant: creation, changes, drift, deletion.

use std::collections::BTreeMap;

use k8s_openapi::api::{
    core::v1::{Namespace, ResourceQuota},
    networking::v1::NetworkPolicy,
    rbac::v1::RoleBinding,
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::json;
use tenantry_api::{Quantity, v1alpha1::Tenant};

use crate::common::{self, PATIENCE, builders::tenant, eventually};

async fn sums(admin: &Client, namespaces: &[String]) -> BTreeMap<String, Quantity> {
    let mut sums = BTreeMap::new();
    for namespace in namespaces {
        let quota = Api::<ResourceQuota>::namespaced(admin.clone(), namespace)
            .get("tenantry")
            .await
            .unwrap();
        for (resource, amount) in quota.spec.unwrap().hard.unwrap() {
            let amount: Quantity = amount.0.parse().unwrap();
            let sum = sums.entry(resource).or_insert(Quantity::ZERO);
            *sum = sum.checked_add(amount).unwrap();
        }
    }
    sums
}

#[tokio::test(flavor = "multi_thread")]
async fn quotas_of_three_premium_namespaces_sum_to_the_grant() {
    let admin = common::shared().await.admin().await.unwrap();
    let name = common::name("premium");
    let tenant = tenant(&name, "premium")
        .owner("paula")
        .namespace("dev")
        .namespace("test")
        .namespace("prod")
        .build();
    common::create(&admin, &tenant).await;
    common::ready(&admin, &name).await;
    let namespaces = ["dev", "test", "prod"].map(|short| format!("{name}-{short}"));
    let sums = sums(&admin, &namespaces).await;
    for (resource, grant) in [
        ("requests.cpu", "8"),
        ("limits.cpu", "8"),
        ("requests.memory", "16Gi"),
        ("limits.memory", "16Gi"),
        ("requests.storage", "1Ti"),
        ("pods", "100"),
        ("requests.nvidia.com/gpu", "20"),
    ] {
        assert_eq!(sums[resource], grant.parse().unwrap(), "{resource}");
    }
    for namespace in &namespaces {
        let policies: Api<NetworkPolicy> = Api::namespaced(admin.clone(), namespace);
        let deny = policies.get("tenantry-default-deny").await.unwrap().spec.unwrap();
        assert_eq!(deny.pod_selector, Some(Default::default()));
        assert_eq!(deny.policy_types.unwrap(), ["Ingress", "Egress"]);
        assert!(deny.ingress.is_none() && deny.egress.is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_and_changed_objects_are_restored() {
    let admin = common::shared().await.admin().await.unwrap();
    let name = common::name("drift");
    common::create(&admin, &tenant(&name, "standard").owner("dora").namespace("a").build()).await;
    common::ready(&admin, &name).await;
    let namespace = format!("{name}-a");

    let policies: Api<NetworkPolicy> = Api::namespaced(admin.clone(), &namespace);
    let before = policies.get("tenantry-allow").await.unwrap().uid();
    policies
        .delete("tenantry-allow", &DeleteParams::default())
        .await
        .unwrap();
    eventually("the policy to come back", PATIENCE, || async {
        let after = policies
            .get_opt("tenantry-allow")
            .await
            .unwrap()
            .ok_or("it is gone")?
            .uid();
        if after == before {
            Err("it is the old one")
        } else {
            Ok(())
        }
    })
    .await;

    // Somebody adds a rule to the default deny, which opens it; the operator removes the rule.
    let open = json!({ "spec": { "ingress": [{}] } });
    policies
        .patch("tenantry-default-deny", &PatchParams::default(), &Patch::Merge(open))
        .await
        .unwrap();
    eventually("the added rule to go", PATIENCE, || async {
        let spec = policies.get("tenantry-default-deny").await.unwrap().spec.unwrap();
        if spec.ingress.is_some() {
            Err("it is open")
        } else {
            Ok(())
        }
    })
    .await;

    let quotas: Api<ResourceQuota> = Api::namespaced(admin.clone(), &namespace);
    let raised = json!({ "spec": { "hard": { "pods": "1000", "secrets": "1" } } });
    quotas
        .patch("tenantry", &PatchParams::default(), &Patch::Merge(raised))
        .await
        .unwrap();
    eventually("the quota to come back", PATIENCE, || async {
        let hard = quotas.get("tenantry").await.unwrap().spec.unwrap().hard.unwrap();
        if hard["pods"].0 == "30" && !hard.contains_key("secrets") {
            Ok(())
        } else {
            Err(format!("{hard:?}"))
        }
    })
    .await;

    let namespaces: Api<Namespace> = Api::all(admin.clone());
    let relabel = json!({ "metadata": { "labels": {
        "pod-security.kubernetes.io/enforce": "privileged", "tenantry.dev/tier": null, "tools.example.com/colour": "blue",
    } } });
    namespaces
        .patch(&namespace, &PatchParams::default(), &Patch::Merge(relabel))
        .await
        .unwrap();
    eventually("the labels to come back", PATIENCE, || async {
        let namespace = namespaces.get(&namespace).await.unwrap();
        let labels = namespace.labels();
        let ours =
            labels["pod-security.kubernetes.io/enforce"] == "restricted" && labels.contains_key("tenantry.dev/tier");
        if ours && labels["tools.example.com/colour"] == "blue" {
            Ok(())
        } else {
            Err(format!("{labels:?}"))
        }
    })
    .await;

    let bindings: Api<RoleBinding> = Api::namespaced(admin.clone(), &namespace);
    bindings
        .delete("tenantry-owner", &DeleteParams::default())
        .await
        .unwrap();
    eventually("the binding to come back", PATIENCE, || async {
        bindings
            .get_opt("tenantry-owner")
            .await
            .unwrap()
            .map(drop)
            .ok_or("it is gone")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn removed_namespace_gives_its_share_to_the_others() {
    let admin = common::shared().await.admin().await.unwrap();
    let name = common::name("shrink");
    common::create(
        &admin,
        &tenant(&name, "premium")
            .owner("sam")
            .namespace("a")
            .namespace("b")
            .build(),
    )
    .await;
    common::ready(&admin, &name).await;
    let tenants: Api<Tenant> = Api::all(admin.clone());
    let only_a = json!({ "spec": { "namespaces": [{ "name": "a" }] } });
    tenants
        .patch(&name, &PatchParams::default(), &Patch::Merge(only_a))
        .await
        .unwrap();
    common::gone(&Api::<Namespace>::all(admin.clone()), &format!("{name}-b")).await;
    common::ready(&admin, &name).await;
    assert_eq!(
        sums(&admin, &[format!("{name}-a")]).await["pods"],
        "100".parse().unwrap()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_tenant_leaves_nothing_behind() {
    let admin = common::shared().await.admin().await.unwrap();
    let name = common::name("goner");
    common::create(
        &admin,
        &tenant(&name, "standard")
            .owner("gus")
            .namespace("a")
            .namespace("b")
            .build(),
    )
    .await;
    common::ready(&admin, &name).await;
    let tenants: Api<Tenant> = Api::all(admin.clone());
    tenants.delete(&name, &DeleteParams::default()).await.unwrap();
    common::gone(&tenants, &name).await;
    let namespaces: Api<Namespace> = Api::all(admin);
    for short in ["a", "b"] {
        assert!(namespaces.get_opt(&format!("{name}-{short}")).await.unwrap().is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn retained_namespace_stays_guarded_without_owners() {
    let admin = common::shared().await.admin().await.unwrap();
    let name = common::name("keeper");
    let keep = tenant(&name, "standard")
        .owner("kim")
        .namespace("a")
        .with("deletionPolicy", json!("Retain"))
        .build();
    common::create(&admin, &keep).await;
    common::ready(&admin, &name).await;
    let tenants: Api<Tenant> = Api::all(admin.clone());
    tenants.delete(&name, &DeleteParams::default()).await.unwrap();
    common::gone(&tenants, &name).await;
    let namespace = format!("{name}-a");
    let kept = Api::<Namespace>::all(admin.clone()).get(&namespace).await.unwrap();
    assert!(kept.metadata.deletion_timestamp.is_none() && kept.owner_references().is_empty());
    let policies = Api::<NetworkPolicy>::namespaced(admin.clone(), &namespace)
        .list(&Default::default())
        .await
        .unwrap();
    assert_eq!(policies.items.len(), 2);
    assert!(policies.iter().all(|policy| policy.owner_references().is_empty()));
    let bindings = Api::<RoleBinding>::namespaced(admin.clone(), &namespace)
        .list(&Default::default())
        .await
        .unwrap();
    assert!(bindings.items.is_empty(), "{bindings:?}");

    // A new Tenant of the same name does not take over the retained namespace.
    common::create(&admin, &tenant(&name, "standard").owner("kim").namespace("a").build()).await;
    common::condition(&admin, &name, "Ready", "False", Some("ConflictingOwner")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_namespace_is_untouched_until_an_admin_allows_it() {
    let admin = common::shared().await.admin().await.unwrap();
    let name = common::name("taker");
    let namespaces: Api<Namespace> = Api::all(admin.clone());
    let foreign = format!("{name}-web");
    let object: Namespace =
        serde_json::from_value(json!({ "metadata": { "name": foreign, "labels": { "team": "red" } } })).unwrap();
    namespaces.create(&Default::default(), &object).await.unwrap();
    let before = eventually("the namespace controller to be done with it", PATIENCE, || async {
        let namespace = namespaces.get(&foreign).await.unwrap();
        if namespace.labels().contains_key("kubernetes.io/metadata.name") {
            Ok(namespace)
        } else {
            Err("not yet")
        }
    })
    .await;

    common::create(
        &admin,
        &tenant(&name, "standard").owner("tina").namespace("web").build(),
    )
    .await;
    let conflicted = common::condition(&admin, &name, "Ready", "False", Some("ConflictingOwner")).await;
    assert!(
        conflicted
            .status
            .unwrap()
            .conditions
            .iter()
            .any(|condition| condition.type_ == "Stalled")
    );
    assert_eq!(
        namespaces.get(&foreign).await.unwrap().resource_version(),
        before.resource_version()
    );

    let hand_over = json!({ "metadata": { "annotations": { "tenantry.dev/adopt-by": name } } });
    namespaces
        .patch(&foreign, &PatchParams::default(), &Patch::Merge(hand_over))
        .await
        .unwrap();
    common::ready(&admin, &name).await;
    let adopted = namespaces.get(&foreign).await.unwrap();
    assert_eq!(adopted.labels()["team"], "red");
    assert_eq!(adopted.labels()["tenantry.dev/tenant"], name);
}
