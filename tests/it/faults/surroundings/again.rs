//! A Tenant that is deleted and created again with the same name, in every way in which that can happen.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, PostParams},
};
use serde_json::json;
use tenantry_api::v1alpha1::Tenant;

use super::{PATIENCE, Stand, eventually, plain, plain_tenant, unguarded_rights};
use crate::common::{
    self,
    oracle::{breaches, strays},
    stands,
};

/// How the first Tenant of a name is deleted.
#[derive(Clone, Copy, Debug)]
enum Way {
    Background,
    Foreground,
    Orphan,
    /// Somebody removes the finalizer: the Tenant is gone at once and all its objects still exist.
    Torn,
    /// As `Torn`, while no operator runs.
    TornUnseen,
}

const WAYS: [(Way, &str); 5] = [
    (Way::Background, "back"),
    (Way::Foreground, "fore"),
    (Way::Orphan, "orphan"),
    (Way::Torn, "torn"),
    (Way::TornUnseen, "unseen"),
];

impl Way {
    fn params(self) -> DeleteParams {
        match self {
            Self::Background | Self::Torn | Self::TornUnseen => DeleteParams::background(),
            Self::Foreground => DeleteParams::foreground(),
            Self::Orphan => DeleteParams::orphan(),
        }
    }

    fn is_torn(self) -> bool {
        matches!(self, Self::Torn | Self::TornUnseen)
    }
}

impl Stand {
    /// Deletes a Tenant and creates it as soon as its name is free; returns the uid of the new one.
    async fn again(&self, way: Way, name: &str) -> String {
        let tenants: Api<Tenant> = Api::all(self.admin.clone());
        let old = tenants.get(name).await.unwrap().uid();
        tenants.delete(name, &way.params()).await.unwrap();
        if way.is_torn() {
            self.change_tenant(name, &json!({ "metadata": { "finalizers": null } }))
                .await;
        }
        let next = plain_tenant(name, &["a", "b"]).build();
        let post = PostParams::default();
        let created = eventually(&format!("the name {name} to be free"), PATIENCE, || {
            tenants.create(&post, &next)
        })
        .await;
        assert_ne!(created.uid(), old);
        created.uid().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn recreated_tenant_gets_new_objects_only() {
    let stand = Stand::new().await;
    let operator = stand.lab.operator(common::binary()).await.unwrap();
    for (_, name) in WAYS {
        common::create(&stand.admin, &plain_tenant(name, &["a", "b"]).build()).await;
    }
    stand.as_rendered(&[plain()]).await;
    let namespaces: Api<Namespace> = Api::all(stand.admin.clone());
    let uids = async || -> BTreeMap<String, Option<String>> {
        let listed = namespaces.list(&Default::default()).await.unwrap();
        listed
            .iter()
            .map(|namespace| (namespace.name_any(), namespace.uid()))
            .collect()
    };
    let before = uids().await;

    let (seen, unseen): (Vec<_>, Vec<_>) = WAYS.into_iter().partition(|(way, _)| !matches!(way, Way::TornUnseen));
    let mut owners: BTreeMap<&str, String> = BTreeMap::new();
    let seen = seen
        .into_iter()
        .map(async |(way, name)| (name, stand.again(way, name).await));
    owners.extend(futures::future::join_all(seen).await);
    assert!(operator.stop().await.unwrap().success());
    for (way, name) in unseen {
        owners.insert(name, stand.again(way, name).await);
    }
    let operator = stand.lab.operator(common::binary()).await.unwrap();

    stand.as_rendered(&[plain()]).await;
    let after = uids().await;
    for (_, name) in WAYS {
        for namespace in [format!("{name}-a"), format!("{name}-b")] {
            assert_ne!(before[&namespace], after[&namespace], "{namespace} is the old one");
        }
        for (key, object) in stands::managed_of(&stand.admin, &[name]).await {
            let owner = &object["metadata"]["ownerReferences"][0]["uid"];
            assert_eq!(*owner, json!(owners[name]), "the owner of {key}");
        }
    }
    let (events, steps) = stand.seen().await;
    // After a finalizer was removed, the garbage collector deletes guards and rights in any order, and each namespace
    // whole.
    let terminating = |breach: &&String| {
        WAYS.iter()
            .any(|(way, name)| way.is_torn() && breach.contains(&format!("{name}-")))
    };
    let of_operator: Vec<_> = breaches(&steps, &super::grants)
        .into_iter()
        .filter(|breach| !terminating(&breach))
        .collect();
    assert_eq!(of_operator, [""; 0]);
    assert_eq!(unguarded_rights(&steps), [""; 0]);
    assert_eq!(strays(&events, &steps), [""; 0]);
    assert_eq!(stand.witness.false_ready(&stand.admin, &steps).await, [""; 0]);
    assert!(operator.stop().await.unwrap().success());
}
