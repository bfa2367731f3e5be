//! Finalizers: every user may put one on objects that they write, and so delay the deletion as long as they like.

use k8s_openapi::api::{
    core::v1::{ConfigMap, Namespace, PersistentVolumeClaim, ResourceQuota, Service},
    networking::v1::NetworkPolicy,
    rbac::v1::RoleBinding,
};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use lab::{Lab, Writable};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tenantry_api::v1alpha1::{Tenant, TenantNamespace};

use crate::common::{
    self, PATIENCE,
    builders::{binding, template, tenant},
    code, eventually,
};

const HOLD: &str = "example.com/hold";

/// A tenant of olga's with namespace `a`, that may have one more and 100Gi of storage.
async fn roomy() -> (&'static Lab, Client, String) {
    let lab = common::shared().await;
    let admin = lab.admin().await.unwrap();
    let name = common::name("held");
    let spec = json!({ "tier": "Standard", "quotaSpread": "Fixed", "quotas": { "namespaces": 2, "pods": 20, "storage": "100Gi" } });
    common::create_template(&admin, &template(&name, spec)).await;
    common::create(&admin, &tenant(&name, &name).owner("olga").namespace("a").build()).await;
    common::ready(&admin, &name).await;
    (lab, admin, name)
}

async fn create<K: Writable>(client: &Client, namespace: &str, object: Value) -> Result<K, kube::Error> {
    let object: K = serde_json::from_value(object).unwrap();
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    api.create(&PostParams::default(), &object).await
}

/// Gives a ServiceAccount of the namespace the role of an owner.
fn grant(name: &str, role: &str, namespace: &str) -> Value {
    let metadata = json!({ "name": name, "finalizers": [HOLD] });
    binding(&metadata, role, "default", namespace)
}

/// Removes the finalizers of an object.
async fn release<K>(api: &Api<K>, name: &str)
where
    K: Resource + Clone + std::fmt::Debug + DeserializeOwned,
{
    let nothing = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
    api.patch(name, &PatchParams::default(), &nothing).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn finalizer_in_deleted_namespace_gives_no_right_and_counts() {
    let (lab, admin, name) = roomy().await;
    let olga = lab.as_user("olga", &[]).await.unwrap();
    let claims: Api<TenantNamespace> = Api::namespaced(olga.clone(), &format!("{name}-home"));
    let claim = json!({ "apiVersion": "tenantry.dev/v1alpha1", "kind": "TenantNamespace", "metadata": { "name": "b" }, "spec": {} });
    let claim: TenantNamespace = serde_json::from_value(claim).unwrap();
    let post = PostParams::default();
    eventually("a namespace to be asked for", PATIENCE, || claims.create(&post, &claim)).await;
    let (a, b) = (format!("{name}-a"), format!("{name}-b"));
    let bindings: Api<RoleBinding> = Api::namespaced(admin.clone(), &b);
    eventually("the owner to be let in", PATIENCE, || bindings.get("tenantry-owner")).await;
    let of_a: Api<ResourceQuota> = Api::namespaced(admin.clone(), &a);
    let storage_of_a = || async {
        let hard = of_a.get("tenantry").await.unwrap().spec.unwrap().hard.unwrap();
        hard["requests.storage"].0.clone()
    };

    // The owner cannot hold a right; GitOps tools, which write what owners wrote, are not bound by that.
    let refused = create::<RoleBinding>(&olga, &b, grant("ci", "tenantry-owner", &b)).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("must not have finalizers"), "{refused}");
    create::<RoleBinding>(&admin, &b, grant("ci", "tenantry-owner", &b))
        .await
        .unwrap();
    let service = json!({ "metadata": { "name": "s", "finalizers": [HOLD] }, "spec": { "ports": [{ "port": 80 }] } });
    create::<Service>(&olga, &b, service).await.unwrap();
    let volume = json!({
        "metadata": { "name": "v", "finalizers": [HOLD] },
        "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "50Gi" } } },
    });
    eventually("room for a volume", PATIENCE, || {
        create::<PersistentVolumeClaim>(&olga, &b, volume.clone())
    })
    .await;
    assert_eq!(storage_of_a().await, "50Gi");

    claims.delete("b", &DeleteParams::default()).await.unwrap();
    let policies: Api<NetworkPolicy> = Api::namespaced(admin.clone(), &b);
    let quotas: Api<ResourceQuota> = Api::namespaced(admin.clone(), &b);
    common::gone(&policies, "tenantry-default-deny").await;
    common::gone(&quotas, "tenantry").await;
    common::gone(&bindings, "ci").await;

    let account = format!("system:serviceaccount:{b}:default");
    let robot = lab.as_user(&account, &["system:serviceaccounts"]).await.unwrap();
    let services = |client: &Client| Api::<Service>::namespaced(client.clone(), &b);
    let exposed = Patch::Merge(json!({ "spec": { "externalIPs": ["10.0.0.53"] } }));
    let expose = async |client: &Client| services(client).patch("s", &PatchParams::default(), &exposed).await;
    assert_eq!(code(expose(&robot).await), 403);
    let refused = expose(&admin).await.unwrap_err().to_string();
    assert!(
        refused.contains("is being deleted: you can change only finalizers and labels of services"),
        "{refused}"
    );
    let volumes: Api<PersistentVolumeClaim> = Api::namespaced(admin.clone(), &b);

    // The operator has seen all that by now, as its next status shows.
    common::condition(&admin, &name, "DeletionBlocked", "True", None).await;
    assert_eq!(storage_of_a().await, "50Gi", "the rest is still taken");

    release(&services(&admin), "s").await;
    release(&volumes, "v").await;
    common::gone(&Api::<Namespace>::all(admin.clone()), &b).await;
    eventually("what it held to come over", PATIENCE, || async {
        match storage_of_a().await.as_str() {
            "100Gi" => Ok(()),
            other => Err(other.to_owned()),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leaver_keeps_no_right_through_a_held_binding() {
    let (lab, admin, name) = roomy().await;
    let a = format!("{name}-a");
    // The names of our objects, before they exist.
    create::<RoleBinding>(&admin, &a, grant("tenantry-editor", "tenantry-editor", &a))
        .await
        .unwrap();
    let tenants: Api<Tenant> = Api::all(admin.clone());
    let owned_by = async |owners: Value| {
        let change = Patch::Merge(json!({ "spec": { "owners": owners } }));
        tenants.patch(&name, &PatchParams::default(), &change).await.unwrap();
    };
    let user = |name: &str, role: &str| json!({ "kind": "User", "name": name, "role": role });
    owned_by(json!([user("olga", "Editor"), user("otto", "Owner")])).await;
    let bindings: Api<RoleBinding> = Api::namespaced(admin.clone(), &a);
    eventually("the binding to be ours", PATIENCE, || async {
        let binding = bindings
            .get("tenantry-editor")
            .await
            .map_err(|error| error.to_string())?;
        let subjects = binding.subjects.iter().flatten().map(|subject| &*subject.name);
        match (subjects.collect::<Vec<_>>().as_slice(), binding.finalizers()) {
            (["olga"], []) => Ok(()),
            _ => Err(format!("{binding:#?}")),
        }
    })
    .await;
    // The same once more, after they exist.
    let held = Patch::Merge(json!({ "metadata": { "finalizers": [HOLD] } }));
    bindings
        .patch("tenantry-editor", &PatchParams::default(), &held)
        .await
        .unwrap();
    owned_by(json!([user("otto", "Owner")])).await;
    common::gone(&bindings, "tenantry-editor").await;
    let olga = lab.as_user("olga", &[]).await.unwrap();
    let left = create::<ConfigMap>(&olga, &a, json!({ "metadata": { "name": "after-leaving" } })).await;
    assert_eq!(code(left), 403);
}
