//! Specs that are valid but cannot be carried out: a condition says why and what to do, and existing objects stay.

use controlplane::Audit;
use k8s_openapi::{
    api::{
        core::v1::{ConfigMap, Namespace, Pod, ResourceQuota},
        events::v1::Event,
        rbac::v1::RoleBinding,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
    core::ApiResource,
};
use serde_json::{Value, json};
use tenantry_api::v1alpha1::{Tenant, TenantTemplate};

use crate::common::{
    self, PATIENCE,
    builders::{template, tenant},
    code, eventually,
};

/// A template of `pods` pods in at most `namespaces` namespaces, that serves plain pods.
fn spec(namespaces: i64, pods: i64) -> Value {
    json!({ "tier": "Standard", "quotas": { "namespaces": namespaces, "pods": pods } })
}

async fn change_template(admin: &Client, name: &str, spec: Value) {
    let templates: Api<TenantTemplate> = Api::all(admin.clone());
    let change = Patch::Merge(json!({ "spec": spec }));
    templates.patch(name, &PatchParams::default(), &change).await.unwrap();
}

async fn change(admin: &Client, name: &str, spec: Value) {
    let tenants: Api<Tenant> = Api::all(admin.clone());
    let change = Patch::Merge(json!({ "spec": spec }));
    tenants.patch(name, &PatchParams::default(), &change).await.unwrap();
}

async fn hard_pods(admin: &Client, namespace: &str) -> String {
    let quota = Api::<ResourceQuota>::namespaced(admin.clone(), namespace)
        .get("tenantry")
        .await
        .unwrap();
    quota.spec.unwrap().hard.unwrap()["pods"].0.clone()
}

async fn bound_users(admin: &Client, namespace: &str) -> Vec<String> {
    let bindings: Api<RoleBinding> = Api::namespaced(admin.clone(), namespace);
    let bindings = bindings.list(&ListParams::default()).await.unwrap();
    let subjects = bindings
        .into_iter()
        .flat_map(|binding| binding.subjects.unwrap_or_default());
    subjects.map(|subject| subject.name).collect()
}

fn message(tenant: &Tenant, type_: &str) -> String {
    let conditions = tenant.status.iter().flat_map(|status| &status.conditions);
    conditions
        .filter(|condition| condition.type_ == type_)
        .map(|condition| condition.message.clone())
        .collect()
}

fn pod(name: &str) -> Pod {
    let context = json!({
        "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] },
        "runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": { "type": "RuntimeDefault" },
    });
    let container = json!({ "name": "app", "image": "registry.example.com/app:1", "securityContext": context });
    serde_json::from_value(json!({ "metadata": { "name": name }, "spec": { "containers": [container] } })).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn tenant_can_be_created_before_its_template() {
    let admin = common::shared().await.admin().await.unwrap();
    let name = common::name("early");
    common::create(&admin, &tenant(&name, &name).namespace("a").build()).await;
    let stalled = common::condition(&admin, &name, "Stalled", "True", Some("TemplateNotFound")).await;
    assert!(message(&stalled, "Ready").contains(&name), "{stalled:?}");
    common::create_template(&admin, &template(&name, spec(1, 10))).await;
    let ready = common::ready(&admin, &name).await;
    assert_eq!(message(&ready, "Stalled"), "", "Stalled is there only while it holds");
}

#[tokio::test(flavor = "multi_thread")]
async fn override_must_be_opened_by_the_template_and_stay_open() {
    let admin = common::shared().await.admin().await.unwrap();
    let name = common::name("loose");
    common::create_template(&admin, &template(&name, spec(1, 10))).await;
    let loose = tenant(&name, &name)
        .owner("lou")
        .namespace("a")
        .with("overrides", json!({ "quotas": { "pods": 20 } }))
        .build();
    let tenants: Api<Tenant> = Api::all(admin.clone());
    let refused = tenants
        .create(&PostParams::default(), &loose)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("spec.overrides.quotas.pods") && refused.contains("overridable"),
        "{refused}"
    );

    change_template(&admin, &name, json!({ "overridable": ["Quotas"] })).await;
    // Policies see templates through a cache of the API server.
    eventually("the open field to be seen", PATIENCE, || async {
        tenants.create(&PostParams::default(), &loose).await
    })
    .await;
    common::ready(&admin, &name).await;
    let namespace = format!("{name}-a");
    assert_eq!(hard_pods(&admin, &namespace).await, "20");

    change_template(&admin, &name, json!({ "overridable": [] })).await;
    let stalled = common::condition(&admin, &name, "Stalled", "True", Some("OverrideNotAllowed")).await;
    assert!(
        message(&stalled, "Ready").contains("spec.overrides.quotas.pods"),
        "{stalled:?}"
    );
    assert_eq!(hard_pods(&admin, &namespace).await, "20");
    assert_eq!(bound_users(&admin, &namespace).await, ["lou"]);

    change(&admin, &name, json!({ "overrides": null })).await;
    common::ready(&admin, &name).await;
    assert_eq!(hard_pods(&admin, &namespace).await, "10");
}

#[tokio::test(flavor = "multi_thread")]
async fn lower_namespace_grant_removes_no_namespace() {
    let admin = common::shared().await.admin().await.unwrap();
    let name = common::name("many");
    common::create_template(&admin, &template(&name, spec(2, 10))).await;
    common::create(
        &admin,
        &tenant(&name, &name).owner("max").namespace("a").namespace("b").build(),
    )
    .await;
    common::ready(&admin, &name).await;
    change_template(&admin, &name, json!({ "quotas": { "namespaces": 1 } })).await;
    common::condition(&admin, &name, "Stalled", "True", Some("TooManyNamespaces")).await;
    for short in ["a", "b"] {
        assert_eq!(hard_pods(&admin, &format!("{name}-{short}")).await, "5");
        assert_eq!(bound_users(&admin, &format!("{name}-{short}")).await, ["max"]);
    }
    change_template(&admin, &name, json!({ "quotas": { "namespaces": 2 } })).await;
    common::ready(&admin, &name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn grant_below_use_evicts_no_pod_and_admits_none() {
    let lab = common::shared().await;
    let admin = lab.admin().await.unwrap();
    let name = common::name("down");
    common::create_template(&admin, &template(&name, spec(1, 4))).await;
    common::create(&admin, &tenant(&name, &name).owner("dan").namespace("a").build()).await;
    common::ready(&admin, &name).await;
    let namespace = format!("{name}-a");
    let pods: Api<Pod> = Api::namespaced(lab.as_user("dan", &[]).await.unwrap(), &namespace);
    for pod_name in ["p0", "p1", "p2"] {
        pods.create(&PostParams::default(), &pod(pod_name)).await.unwrap();
    }
    // The API server counts use when it admits a pod; the operator sees it a moment later.
    eventually("use to be reported", PATIENCE, || async {
        let tenant = Api::<Tenant>::all(admin.clone()).get(&name).await.unwrap();
        let status = serde_json::to_value(tenant.status).unwrap();
        let quota = status["quota"].as_array().cloned().unwrap_or_default();
        if quota
            .iter()
            .any(|entry| entry["resource"] == "pods" && entry["used"] == "3")
        {
            Ok(())
        } else {
            Err(status)
        }
    })
    .await;

    change_template(&admin, &name, json!({ "quotas": { "pods": 2 } })).await;
    let stalled = common::condition(&admin, &name, "Stalled", "True", Some("QuotaAboveGrant")).await;
    assert!(message(&stalled, "Ready").contains("pods by 1"), "{stalled:?}");
    assert_eq!(pods.list(&ListParams::default()).await.unwrap().items.len(), 3);
    assert_eq!(hard_pods(&admin, &namespace).await, "3");
    let one_more = pods
        .create(&PostParams::default(), &pod("p3"))
        .await
        .unwrap_err()
        .to_string();
    assert!(one_more.contains("exceeded quota"), "{one_more}");

    for pod_name in ["p0", "p1"] {
        pods.delete(pod_name, &DeleteParams::default()).await.unwrap();
    }
    common::ready(&admin, &name).await;
    assert_eq!(hard_pods(&admin, &namespace).await, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn former_owner_loses_rights_while_template_is_missing() {
    let lab = common::shared().await;
    let admin = lab.admin().await.unwrap();
    let name = common::name("leaver");
    common::create(
        &admin,
        &tenant(&name, "standard")
            .owner("stay")
            .owner("leave")
            .namespace("a")
            .build(),
    )
    .await;
    common::ready(&admin, &name).await;
    let namespace = format!("{name}-a");
    change(&admin, &name, json!({ "templateRef": { "name": "no-such-template" } })).await;
    common::condition(&admin, &name, "Stalled", "True", Some("TemplateNotFound")).await;
    assert_eq!(bound_users(&admin, &namespace).await, ["leave", "stay"]);

    change(
        &admin,
        &name,
        json!({ "owners": [{ "kind": "User", "name": "stay", "role": "Owner" }] }),
    )
    .await;
    common::condition(&admin, &name, "Stalled", "True", Some("TemplateNotFound")).await;
    assert_eq!(bound_users(&admin, &namespace).await, ["stay"]);
    let leaver: Api<Pod> = Api::namespaced(lab.as_user("leave", &[]).await.unwrap(), &namespace);
    // RBAC reads bindings through a cache of the API server.
    eventually("the right to be gone", PATIENCE, || async {
        if code(leaver.list(&ListParams::default()).await) == 403 {
            Ok(())
        } else {
            Err("still there")
        }
    })
    .await;
    change(&admin, &name, json!({ "owners": [] })).await;
    common::condition(&admin, &name, "Stalled", "True", Some("TemplateNotFound")).await;
    assert_eq!(bound_users(&admin, &namespace).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_prerequisite_keeps_owners_out_under_deny() {
    let admin = common::shared().await.admin().await.unwrap();
    let name = common::name("means");
    let mut strict = spec(1, 10);
    strict["security"] = json!({ "encryption": "Maximum", "onMissingMeans": "Deny" });
    common::create_template(&admin, &template(&name, strict)).await;
    common::create(&admin, &tenant(&name, &name).owner("mel").namespace("a").build()).await;
    let stalled = common::condition(&admin, &name, "Stalled", "True", Some("PrerequisiteMissing")).await;
    assert!(message(&stalled, "Ready").contains("onMissingMeans"), "{stalled:?}");
    let namespace = format!("{name}-a");
    assert_eq!(hard_pods(&admin, &namespace).await, "10");
    let policies: Api<DynamicObject> = Api::namespaced_with(
        admin.clone(),
        &namespace,
        &tenantry_core::object::Kind::TenantPolicy.api_resource(),
    );
    policies.get("effective").await.unwrap();
    assert_eq!(bound_users(&admin, &namespace).await, [""; 0]);

    change_template(&admin, &name, json!({ "security": { "onMissingMeans": "Degrade" } })).await;
    common::ready(&admin, &name).await;
    assert_eq!(bound_users(&admin, &namespace).await, ["mel"]);
    // And back: rights are the first to go.
    change_template(&admin, &name, json!({ "security": { "onMissingMeans": "Deny" } })).await;
    common::condition(&admin, &name, "Ready", "False", Some("PrerequisiteMissing")).await;
    assert_eq!(bound_users(&admin, &namespace).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_tenant_writes_nothing_until_it_is_thawed() {
    let lab = common::shared().await;
    let admin = lab.admin().await.unwrap();
    let name = common::name("frozen");
    common::create(&admin, &tenant(&name, "standard").owner("fred").namespace("a").build()).await;
    common::ready(&admin, &name).await;
    let configs: Api<ConfigMap> = Api::namespaced(lab.as_user("fred", &[]).await.unwrap(), &format!("{name}-a"));
    let config = |name: &str| serde_json::from_value(json!({ "metadata": { "name": name } })).unwrap();
    configs.create(&PostParams::default(), &config("before")).await.unwrap();

    change(&admin, &name, json!({ "state": "Frozen" })).await;
    let frozen = common::condition(&admin, &name, "Frozen", "True", None).await;
    assert_eq!(message(&frozen, "Stalled"), "", "freezing is no trouble");
    // Policies see their parameter through a cache of the API server.
    eventually("writes to be refused", PATIENCE, || async {
        let refused = configs
            .create(&PostParams::default(), &config(&common::name("during")))
            .await;
        if code(refused) == 403 { Ok(()) } else { Err("admitted") }
    })
    .await;
    assert_eq!(code(configs.delete("before", &DeleteParams::default()).await), 403);
    configs.get("before").await.unwrap();

    change(&admin, &name, json!({ "state": "Active" })).await;
    eventually("writes to be admitted", PATIENCE, || async {
        configs.create(&PostParams::default(), &config("after")).await
    })
    .await;
    let thawed = common::ready(&admin, &name).await;
    assert_eq!(message(&thawed, "Frozen"), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_template_in_use_is_removed_after_its_last_tenant() {
    let admin = common::shared().await.admin().await.unwrap();
    let name = common::name("used");
    common::create_template(&admin, &template(&name, spec(1, 10))).await;
    common::create(&admin, &tenant(&name, &name).namespace("a").build()).await;
    common::ready(&admin, &name).await;
    let templates: Api<TenantTemplate> = Api::all(admin.clone());
    eventually("the template to be held", PATIENCE, || async {
        let finalizers = templates
            .get(&name)
            .await
            .unwrap()
            .metadata
            .finalizers
            .unwrap_or_default();
        if finalizers.is_empty() {
            Err("nothing holds it")
        } else {
            Ok(())
        }
    })
    .await;
    templates.delete(&name, &DeleteParams::default()).await.unwrap();
    eventually("the template to say InUse", PATIENCE, || async {
        let status = templates.get(&name).await.unwrap().status.unwrap();
        let in_use = status
            .conditions
            .iter()
            .any(|condition| condition.type_ == "Ready" && condition.reason == "InUse");
        if in_use { Ok(()) } else { Err(format!("{status:?}")) }
    })
    .await;
    let tenants: Api<Tenant> = Api::all(admin.clone());
    tenants.delete(&name, &DeleteParams::default()).await.unwrap();
    common::gone(&tenants, &name).await;
    common::gone(&templates, &name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn template_without_tenants_counts_none_and_can_be_deleted() {
    let admin = common::shared().await.admin().await.unwrap();
    let (left, taken) = (common::name("left"), common::name("taken"));
    for name in [&left, &taken] {
        common::create_template(&admin, &template(name, spec(1, 10))).await;
    }
    common::create(&admin, &tenant(&left, &left).namespace("a").build()).await;
    common::ready(&admin, &left).await;
    common::counts_tenants(&admin, &left, 1).await;
    change(&admin, &left, json!({ "templateRef": { "name": taken } })).await;
    common::counts_tenants(&admin, &taken, 1).await;
    common::counts_tenants(&admin, &left, 0).await;
    let templates: Api<TenantTemplate> = Api::all(admin.clone());
    templates.delete(&left, &DeleteParams::default()).await.unwrap();
    common::gone(&templates, &left).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_protected_tenant_is_not_deleted() {
    let admin = common::shared().await.admin().await.unwrap();
    let name = common::name("safe");
    let protected = tenant(&name, "free")
        .namespace("a")
        .with("deletionProtection", json!(true))
        .build();
    common::create(&admin, &protected).await;
    common::ready(&admin, &name).await;
    let tenants: Api<Tenant> = Api::all(admin.clone());
    let refused = tenants
        .delete(&name, &DeleteParams::default())
        .await
        .unwrap_err()
        .to_string();
    assert!(refused.contains("spec.deletionProtection"), "{refused}");
    assert!(tenants.get(&name).await.unwrap().metadata.deletion_timestamp.is_none());
    change(&admin, &name, json!({ "deletionProtection": false })).await;
    tenants.delete(&name, &DeleteParams::default()).await.unwrap();
    common::gone(&tenants, &name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blocked_namespace_is_reported_with_its_blocker() {
    let admin = common::shared().await.admin().await.unwrap();
    let name = common::name("stuck");
    common::create(&admin, &tenant(&name, "free").owner("stu").namespace("a").build()).await;
    common::ready(&admin, &name).await;
    let namespace = format!("{name}-a");
    let configs: Api<ConfigMap> = Api::namespaced(admin.clone(), &namespace);
    let held = json!({ "metadata": { "name": "held", "finalizers": ["example.com/hold"] } });
    configs
        .create(&PostParams::default(), &serde_json::from_value(held).unwrap())
        .await
        .unwrap();
    let tenants: Api<Tenant> = Api::all(admin.clone());
    tenants.delete(&name, &DeleteParams::default()).await.unwrap();
    let blocked = common::condition(&admin, &name, "DeletionBlocked", "True", None).await;
    let why = message(&blocked, "DeletionBlocked");
    let command = format!("kubectl get configmaps --namespace {namespace}");
    assert!(why.contains("example.com/hold") && why.contains(&command), "{why}");
    assert_eq!(bound_users(&admin, &namespace).await, [""; 0], "rights go first");
    let release = json!({ "metadata": { "finalizers": null } });
    configs
        .patch("held", &PatchParams::default(), &Patch::Merge(release))
        .await
        .unwrap();
    common::gone(&tenants, &name).await;
    assert!(
        Api::<Namespace>::all(admin)
            .get_opt(&namespace)
            .await
            .unwrap()
            .is_none()
    );
}

/// Replaces the allowed values of `spec.state` of a Tenant; returns the old ones.
async fn exchange_states(admin: &Client, states: Value) -> Value {
    exchange_values(admin, "tenants.tenantry.dev", "state", states).await
}

/// Replaces what values a field of a spec may have; gives what they were.
async fn exchange_values(admin: &Client, crd: &str, field: &str, values: Value) -> Value {
    let path = format!("/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/{field}/enum");
    let crds: Api<CustomResourceDefinition> = Api::all(admin.clone());
    let before = serde_json::to_value(crds.get(crd).await.unwrap()).unwrap();
    let exchange = serde_json::from_value(json!([{ "op": "replace", "path": path, "value": values }])).unwrap();
    crds.patch(crd, &PatchParams::default(), &Patch::<()>::Json(exchange))
        .await
        .unwrap();
    before.pointer(&path).unwrap().clone()
}

/// Writes a value that no type of the operator knows into a field of stored objects, past the schema, which is then as before.
async fn spoil(admin: &Client, resource: &ApiResource, names: &[&str], field: &str, known: &[&str]) {
    let crd = format!("{}.{}", resource.plural, resource.group);
    let values = exchange_values(admin, &crd, field, json!([known, &["Molten"][..]].concat())).await;
    let objects: Api<DynamicObject> = Api::all_with(admin.clone(), resource);
    let change = Patch::Merge(json!({ "spec": { (field): "Molten" } }));
    for name in names {
        eventually("the looser schema to be served", PATIENCE, || async {
            objects.patch(name, &PatchParams::default(), &change).await
        })
        .await;
    }
    exchange_values(admin, &crd, field, values).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_objects_that_nobody_can_read_come_to_an_end() {
    let (lab, admin) = common::own(Audit::Off).await;
    for name in ["used", "spare"] {
        let mut held = template(name, spec(1, 10));
        held.metadata.finalizers = Some(vec!["tenantry.dev/in-use".to_owned()]);
        common::create_template(&admin, &held).await;
    }
    let bad = tenant("bad", "used").owner("gil").namespace("a").build();
    common::create(&admin, &bad).await;
    let operator = lab.operator(common::binary()).await.unwrap();
    common::ready(&admin, "bad").await;
    let tenant_resource = ApiResource::erase::<Tenant>(&());
    let template_resource = ApiResource::erase::<TenantTemplate>(&());
    spoil(&admin, &tenant_resource, &["bad"], "state", &["Active", "Frozen"]).await;
    spoil(&admin, &template_resource, &["used", "spare"], "tier", &["Standard"]).await;
    // A process that has read none of them.
    operator.kill();
    let _operator = lab.operator(common::binary()).await.unwrap();

    let templates: Api<DynamicObject> = Api::all_with(admin.clone(), &template_resource);
    for name in ["used", "spare"] {
        templates.delete(name, &DeleteParams::default()).await.unwrap();
    }
    eventually("the template that no Tenant names to be gone", PATIENCE, || async {
        templates
            .get_opt("spare")
            .await
            .unwrap()
            .map_or(Ok(()), |_| Err("it is there"))
    })
    .await;
    assert!(templates.get_opt("used").await.unwrap().is_some(), "a Tenant names it");

    let tenants: Api<DynamicObject> = Api::all_with(admin.clone(), &tenant_resource);
    tenants.delete("bad", &DeleteParams::default()).await.unwrap();
    eventually("the Tenant and then its template to be gone", PATIENCE, || async {
        let left = (
            tenants.get_opt("bad").await.unwrap(),
            templates.get_opt("used").await.unwrap(),
        );
        match left {
            (None, None) => Ok(()),
            (tenant, template) => Err(format!(
                "Tenant: {}, template: {}",
                tenant.is_some(),
                template.is_some()
            )),
        }
    })
    .await;
    let kept = Api::<Namespace>::all(admin.clone()).get("bad-a").await.unwrap();
    assert!(kept.metadata.deletion_timestamp.is_none() && kept.metadata.owner_references.is_none());
    assert_eq!(bound_users(&admin, "bad-a").await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn undecodable_tenant_does_not_stop_others() {
    let (lab, admin) = common::own(Audit::Off).await;
    common::create_template(&admin, &template("plain", spec(1, 10))).await;
    common::create(&admin, &tenant("good", "plain").owner("gil").namespace("a").build()).await;
    let operator = lab.operator(common::binary()).await.unwrap();
    common::ready(&admin, "good").await;

    let states = exchange_states(&admin, json!(["Active", "Frozen", "Molten"])).await;
    let resource = ApiResource::erase::<Tenant>(&());
    let tenants: Api<DynamicObject> = Api::all_with(admin.clone(), &resource);
    let mut bad = serde_json::to_value(tenant("bad", "plain").namespace("a").build()).unwrap();
    bad["spec"]["state"] = json!("Molten");
    let bad: DynamicObject = serde_json::from_value(bad).unwrap();
    eventually("the looser schema to be served", PATIENCE, || async {
        tenants.create(&PostParams::default(), &bad).await
    })
    .await;
    exchange_states(&admin, states).await;

    common::create(&admin, &tenant("later", "plain").owner("gil").namespace("a").build()).await;
    common::ready(&admin, "later").await;
    let events: Api<Event> = Api::all(admin.clone());
    eventually("an Event about the bad one", PATIENCE, || async {
        let events = events.list(&ListParams::default()).await.unwrap();
        let told = |event: &Event| {
            event.reason.as_deref() == Some("Undecodable")
                && event.regarding.as_ref().and_then(|about| about.name.as_deref()) == Some("bad")
        };
        if events.iter().any(told) {
            Ok(())
        } else {
            Err(format!("{} others", events.items.len()))
        }
    })
    .await;

    // A new process that finds the bad Tenant when it starts.
    operator.kill();
    let _operator = lab.operator(common::binary()).await.unwrap();
    change(&admin, "good", json!({ "owners": [] })).await;
    common::ready(&admin, "good").await;
    assert_eq!(bound_users(&admin, "good-a").await, [""; 0]);
    // Once it is written in its current form, it is handled like any other.
    let heal = json!({ "spec": { "state": "Active" } });
    tenants
        .patch("bad", &PatchParams::default(), &Patch::Merge(heal))
        .await
        .unwrap();
    common::ready(&admin, "bad").await;
}
