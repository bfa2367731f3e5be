//! A namespace with content goes only when somebody asked for that. What is merely absent is no request.

use controlplane::Audit;
use k8s_openapi::{
    api::{
        admissionregistration::v1::ValidatingAdmissionPolicyBinding,
        core::v1::{ConfigMap, Namespace},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use lab::Lab;
use serde_json::{Value, json};
use tenantry_api::v1alpha1::{Tenant, TenantNamespace};

use crate::common::{
    self, PATIENCE,
    builders::{TenantBuilder, template, tenant},
    code, eventually,
};

const KEPT: &str = "NamespacesKept";

/// A tenant of olga's with namespace `dev`, of a template that grants three.
async fn granted(admin: &Client) -> (String, TenantBuilder) {
    let name = common::name("lost");
    let spec = json!({ "tier": "Standard", "quotas": { "namespaces": 3, "pods": 20 } });
    common::create_template(admin, &template(&name, spec)).await;
    let tenant = tenant(&name, &name).owner("olga").namespace("dev");
    (name, tenant)
}

/// A cluster and an operator of its own, with a tenant that is Ready and has the namespace `shop` by a TenantNamespace.
async fn alone() -> (Lab, lab::Operator, Client, String) {
    let (lab, admin) = common::own(Audit::Metadata).await;
    let operator = lab.operator(common::binary()).await.unwrap();
    let (name, tenant) = granted(&admin).await;
    common::create(&admin, &tenant.build()).await;
    ask(&lab, &admin, &name, "shop").await;
    (lab, operator, admin, name)
}

fn claims(client: &Client, tenant: &str) -> Api<TenantNamespace> {
    Api::namespaced(client.clone(), &format!("{tenant}-home"))
}

/// The owner asks for a namespace, gets it, and stores something there.
async fn ask(lab: &Lab, admin: &Client, tenant: &str, short: &str) {
    let olga = lab.as_user("olga", &[]).await.unwrap();
    common::condition(admin, tenant, "SelfServiceReady", "True", None).await;
    let claim: TenantNamespace = serde_json::from_value(json!({
        "apiVersion": "tenantry.dev/v1alpha1", "kind": "TenantNamespace", "metadata": { "name": short },
        "spec": { "weight": 2 },
    }))
    .unwrap();
    let asked = claims(&olga, tenant);
    let post = PostParams::default();
    eventually("a namespace to be asked for", 2 * PATIENCE, || {
        asked.create(&post, &claim)
    })
    .await;
    store(&olga, &format!("{tenant}-{short}")).await;
}

/// Stores something in a namespace as soon as the user may.
async fn store(client: &Client, namespace: &str) {
    let content: ConfigMap =
        serde_json::from_value(json!({ "metadata": { "name": "content" }, "data": { "a": "b" } })).unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    eventually("something to be stored", PATIENCE, || async {
        match maps.create(&PostParams::default(), &content).await {
            Err(kube::Error::Api(status)) if status.code != 409 => Err(status.message.clone()),
            _ => Ok(()),
        }
    })
    .await;
}

/// Fails unless a namespace and what was stored in it are there and not on their way out.
async fn stands(admin: &Client, namespace: &str) {
    let found = Api::<Namespace>::all(admin.clone()).get_opt(namespace).await.unwrap();
    let found = found.unwrap_or_else(|| panic!("{namespace} is gone"));
    assert!(
        found.metadata.deletion_timestamp.is_none(),
        "{namespace} is being deleted"
    );
    let maps: Api<ConfigMap> = Api::namespaced(admin.clone(), namespace);
    assert!(
        maps.get_opt("content").await.unwrap().is_some(),
        "{namespace} lost its content"
    );
}

async fn owns(client: &Client, namespace: &str) -> u16 {
    code(
        Api::<ConfigMap>::namespaced(client.clone(), namespace)
            .get("content")
            .await,
    )
}

async fn change(admin: &Client, name: &str, spec: Value) {
    let change = Patch::Merge(json!({ "spec": spec }));
    let tenants: Api<Tenant> = Api::all(admin.clone());
    tenants.patch(name, &PatchParams::default(), &change).await.unwrap();
}

/// Waits until the condition NamespacesKept is not there.
async fn nothing_kept(admin: &Client, name: &str) {
    let tenants: Api<Tenant> = Api::all(admin.clone());
    eventually("no namespace to be kept", PATIENCE, || async {
        let tenant = tenants.get(name).await.unwrap();
        let kept = tenant.status.iter().flat_map(|status| &status.conditions);
        let kept: Vec<_> = kept.filter(|condition| condition.type_ == KEPT).collect();
        if kept.is_empty() {
            Ok(())
        } else {
            Err(format!("{kept:?}"))
        }
    })
    .await;
}

async fn delete_definition(admin: &Client, plural: &str) {
    let definitions: Api<CustomResourceDefinition> = Api::all(admin.clone());
    let name = format!("{plural}.tenantry.dev");
    definitions.delete(&name, &DeleteParams::default()).await.unwrap();
    common::gone(&definitions, &name).await;
}

/// What somebody does who gets past an admission policy.
async fn take_off_policy(admin: &Client, name: &str) {
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(admin.clone());
    bindings.delete(name, &DeleteParams::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn protection_keeps_a_namespace_that_left_the_list() {
    let lab = common::shared().await;
    let admin = lab.admin().await.unwrap();
    let olga = lab.as_user("olga", &[]).await.unwrap();
    let (name, tenant) = granted(&admin).await;
    let tenant = tenant.namespace("old").with("deletionProtection", json!(true));
    common::create(&admin, &tenant.build()).await;
    let old = format!("{name}-old");
    store(&olga, &old).await;

    change(&admin, &name, json!({ "namespaces": [{ "name": "dev" }] })).await;
    common::condition(&admin, &name, KEPT, "True", Some("DeletionProtection")).await;
    common::ready(&admin, &name).await;
    stands(&admin, &old).await;
    eventually("the owner to be out, as with Retain", PATIENCE, || async {
        match owns(&olga, &old).await {
            403 => Ok(()),
            other => Err(other),
        }
    })
    .await;

    change(
        &admin,
        &name,
        json!({ "namespaces": [{ "name": "dev" }, { "name": "old" }] }),
    )
    .await;
    nothing_kept(&admin, &name).await;
    eventually("the owner to be back", PATIENCE, || async {
        match owns(&olga, &old).await {
            200 => Ok(()),
            other => Err(other),
        }
    })
    .await;

    let unprotected = json!({ "namespaces": [{ "name": "dev" }], "deletionProtection": false });
    change(&admin, &name, unprotected).await;
    common::gone(&Api::<Namespace>::all(admin), &old).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn protection_keeps_the_namespace_of_a_deleted_claim() {
    let lab = common::shared().await;
    let admin = lab.admin().await.unwrap();
    let (name, tenant) = granted(&admin).await;
    common::create(&admin, &tenant.with("deletionProtection", json!(true)).build()).await;
    ask(lab, &admin, &name, "shop").await;
    let asked = claims(&admin, &name);
    asked.delete("shop", &DeleteParams::default()).await.unwrap();
    common::gone(&asked, "shop").await;
    common::condition(&admin, &name, KEPT, "True", Some("DeletionProtection")).await;
    stands(&admin, &format!("{name}-shop")).await;

    change(&admin, &name, json!({ "deletionProtection": false })).await;
    common::gone(&Api::<Namespace>::all(admin), &format!("{name}-shop")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_is_merely_absent_deletes_nothing() {
    let (lab, operator, admin, name) = alone().await;
    let shop = format!("{name}-shop");
    let namespaces: Api<Namespace> = Api::all(admin.clone());
    let olga = lab.as_user("olga", &[]).await.unwrap();
    let tenants: Api<Tenant> = Api::all(admin.clone());
    let counts_both = async || {
        eventually("both namespaces to count", PATIENCE, || async {
            let status = tenants.get(&name).await.unwrap().status.unwrap();
            let pods = status.quota.iter().find(|quota| quota.resource == "pods");
            let allocated = pods.map(|quota| quota.allocated.to_string());
            match (allocated.as_deref(), status.namespaces_ready.as_deref()) {
                (Some("20"), Some("2/2")) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    };
    counts_both().await;

    // Its definition is deleted, and all of its kind with it.
    delete_definition(&admin, "tenantnamespaces").await;
    common::condition(&admin, &name, KEPT, "True", Some("ClaimMissing")).await;
    stands(&admin, &shop).await;
    assert_eq!(owns(&olga, &shop).await, 200, "rights stay");
    counts_both().await;

    // It is applied again, without any object of the kind.
    let mut apply = lab.kubectl().unwrap();
    apply.args(["apply", "--server-side", "--force-conflicts", "-f"]);
    lab::run(apply.arg(lab.root().join("crds/tenantnamespaces.tenantry.dev.yaml"))).unwrap();
    let mut wait = lab.kubectl().unwrap();
    wait.args([
        "wait",
        "--for=condition=Established",
        "--timeout=60s",
        "crd/tenantnamespaces.tenantry.dev",
    ]);
    lab::run(&mut wait).unwrap();
    // The operator has seen the list of none.
    common::condition(&admin, &name, "SelfServiceReady", "True", None).await;
    common::condition(&admin, &name, KEPT, "True", Some("ClaimMissing")).await;
    stands(&admin, &shop).await;
    ask(&lab, &admin, &name, "shop").await;
    nothing_kept(&admin, &name).await;
    stands(&admin, &shop).await;

    // While the operator is stopped, somebody removes the finalizer and the claim.
    let asked = claims(&admin, &name);
    operator.stop().await.unwrap();
    let nothing = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
    asked.patch("shop", &PatchParams::default(), &nothing).await.unwrap();
    asked.delete("shop", &DeleteParams::default()).await.unwrap();
    common::gone(&asked, "shop").await;
    let operator = lab.operator(common::binary()).await.unwrap();
    common::condition(&admin, &name, KEPT, "True", Some("ClaimMissing")).await;
    stands(&admin, &shop).await;
    ask(&lab, &admin, &name, "shop").await;
    nothing_kept(&admin, &name).await;

    // As an operator before this version left it: it gets the finalizer and the mark, and goes when it is given back.
    operator.stop().await.unwrap();
    asked.patch("shop", &PatchParams::default(), &nothing).await.unwrap();
    let unmarked = Patch::Merge(json!({ "metadata": { "annotations": { "tenantry.dev/claim-weight": null } } }));
    namespaces
        .patch(&shop, &PatchParams::default(), &unmarked)
        .await
        .unwrap();
    let operator = lab.operator(common::binary()).await.unwrap();
    eventually("the finalizer and the mark", PATIENCE, || async {
        let claim = asked.get("shop").await.unwrap();
        let namespace = namespaces.get(&shop).await.unwrap();
        let mark = namespace.annotations().get("tenantry.dev/claim-weight").cloned();
        match (claim.finalizers(), mark.as_deref()) {
            ([ours], Some("2")) if ours == "tenantry.dev/claim" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;

    // A request that nobody heard is not forgotten.
    operator.stop().await.unwrap();
    asked.delete("shop", &DeleteParams::default()).await.unwrap();
    let _operator = lab.operator(common::binary()).await.unwrap();
    common::gone(&namespaces, &shop).await;
    common::gone(&asked, "shop").await;
    nothing_kept(&admin, &name).await;

    // The home namespace is deleted, past the policy that refuses it.
    ask(&lab, &admin, &name, "shop").await;
    take_off_policy(&admin, "tenantry-namespaces").await;
    let home = namespaces.get(&format!("{name}-home")).await.unwrap();
    eventually("the home namespace to be deleted", PATIENCE, || async {
        namespaces
            .delete(&home.name_any(), &DeleteParams::default())
            .await
            .map(drop)
    })
    .await;
    eventually("a new home namespace", PATIENCE, || async {
        match namespaces.get_opt(&home.name_any()).await.unwrap() {
            Some(found) if found.uid() != home.uid() => Ok(()),
            found => Err(format!("{found:?}")),
        }
    })
    .await;
    common::condition(&admin, &name, KEPT, "True", Some("ClaimMissing")).await;
    stands(&admin, &shop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_nobody_may_delete_leaves_what_it_has() {
    let (lab, _operator, admin, name) = alone().await;
    let (guarded, tenant) = granted(&admin).await;
    let tenant = tenant.with("deletionProtection", json!(true));
    common::create(&admin, &tenant.build()).await;
    let olga = lab.as_user("olga", &[]).await.unwrap();
    store(&olga, &format!("{guarded}-dev")).await;
    store(&olga, &format!("{name}-dev")).await;
    ask(&lab, &admin, &guarded, "shop").await;
    let tenants: Api<Tenant> = Api::all(admin.clone());
    let namespaces: Api<Namespace> = Api::all(admin.clone());
    let kept = async |tenant: &str| {
        for short in ["dev", "shop"] {
            stands(&admin, &format!("{tenant}-{short}")).await;
        }
        for short in ["dev", "shop", "home"] {
            let namespace = namespaces.get(&format!("{tenant}-{short}")).await.unwrap();
            assert_eq!(namespace.owner_references(), [], "the garbage collector leaves {short}");
            assert!(namespace.metadata.deletion_timestamp.is_none(), "{short}");
        }
        assert_eq!(owns(&olga, &format!("{tenant}-dev")).await, 403, "owners are out");
        let claim = claims(&admin, tenant).get("shop").await.unwrap();
        assert_eq!(claim.finalizers(), [""; 0], "nobody would take it off later");
    };

    take_off_policy(&admin, "tenantry-tenant-deletion").await;
    eventually("the protected Tenant to be deleted", PATIENCE, || async {
        tenants.delete(&guarded, &DeleteParams::default()).await.map(drop)
    })
    .await;
    common::gone(&tenants, &guarded).await;
    kept(&guarded).await;

    delete_definition(&admin, "tenants").await;
    kept(&name).await;
}
