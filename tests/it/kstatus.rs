//! The status of our objects as `kubectl wait`, Helm, Flux and Argo CD compute it: kstatus, by the rules of its
//! reference implementation, cli-utils, for kinds that it does not know.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde::Serialize;
use serde_json::{Value, json};
use tenantry_api::v1alpha1::{Tenant, TenantTemplate};

use crate::common::{
    self, PATIENCE,
    builders::{template, tenant},
    eventually,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    InProgress,
    Failed,
    Current,
    Terminating,
}

/// The status of an object of any kind.
fn status(object: &impl Serialize) -> Status {
    let object = serde_json::to_value(object).unwrap();
    if object["metadata"]["deletionTimestamp"].is_string() {
        return Status::Terminating;
    }
    let observed = &object["status"]["observedGeneration"];
    if !observed.is_null() && *observed != object["metadata"]["generation"] {
        return Status::InProgress;
    }
    let conditions = object["status"]["conditions"].as_array().map_or(&[][..], Vec::as_slice);
    let find = |type_: &str| conditions.iter().find(|condition| condition["type"] == type_);
    let holds = |type_: &str| find(type_).is_some_and(|condition| condition["status"] == "True");
    match (holds("Reconciling"), holds("Stalled"), find("Ready")) {
        (true, _, _) => Status::InProgress,
        (false, true, _) => Status::Failed,
        // Not failed: it may still become ready.
        (false, false, Some(ready)) if ready["status"] != "True" => Status::InProgress,
        // Kinds without conditions are current as soon as they exist.
        (false, false, _) => Status::Current,
    }
}

#[test]
fn kstatus_rules_equal_those_of_cli_utils() {
    let object = |observed: Value, conditions: &[(&str, &str)]| {
        let conditions: Vec<_> = conditions
            .iter()
            .map(|(type_, status)| json!({ "type": type_, "status": status }))
            .collect();
        json!({ "metadata": { "generation": 2 }, "status": { "observedGeneration": observed, "conditions": conditions } })
    };
    let ready = ("Ready", "True");
    for (expected, object) in [
        (Status::Current, json!({ "metadata": {} })),
        (Status::Current, object(json!(2), &[ready])),
        (Status::Current, object(Value::Null, &[ready])),
        (Status::InProgress, object(json!(1), &[ready])),
        (Status::InProgress, object(json!(-1), &[])),
        (Status::InProgress, object(json!(2), &[("Ready", "False")])),
        (Status::InProgress, object(json!(2), &[("Ready", "Unknown")])),
        (Status::InProgress, object(json!(2), &[ready, ("Reconciling", "True")])),
        (
            Status::Failed,
            object(json!(2), &[("Ready", "False"), ("Stalled", "True")]),
        ),
        (Status::Current, object(json!(2), &[ready, ("Stalled", "False")])),
        (
            Status::Terminating,
            json!({ "metadata": { "deletionTimestamp": "2030-01-01T00:00:00Z" } }),
        ),
    ] {
        assert_eq!(status(&object), expected, "{object}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kstatus_is_correct_in_every_state() {
    let lab = common::shared().await;
    let admin = lab.admin().await.unwrap();
    let name = common::name("kstatus");
    let tenants: Api<Tenant> = Api::all(admin.clone());
    let templates: Api<TenantTemplate> = Api::all(admin.clone());
    let patch = PatchParams::default();

    // The answer to the create is what a tool sees before the operator's first status.
    let fresh = tenants
        .create(&PostParams::default(), &tenant(&name, &name).namespace("a").build())
        .await
        .unwrap();
    assert_eq!(status(&fresh), Status::InProgress);
    let stalled = common::condition(&admin, &name, "Stalled", "True", Some("TemplateNotFound")).await;
    assert_eq!(status(&stalled), Status::Failed);

    let spec = json!({ "tier": "Free", "quotas": { "pods": 10 } });
    let fresh = templates
        .create(&PostParams::default(), &template(&name, spec))
        .await
        .unwrap();
    assert_eq!(status(&fresh), Status::InProgress);
    let mut wait = lab.kubectl().unwrap();
    wait.args(["wait", "--for=condition=Ready", "--timeout=60s"]);
    wait.args([format!("tenanttemplate/{name}"), format!("tenant/{name}")]);
    lab::run(&mut wait).unwrap();
    assert_eq!(status(&common::ready(&admin, &name).await), Status::Current);
    eventually("the template to be current", PATIENCE, || async {
        let template = templates.get(&name).await.unwrap();
        if status(&template) == Status::Current {
            Ok(())
        } else {
            Err(format!("{template:?}"))
        }
    })
    .await;

    let second = json!({ "spec": { "namespaces": [{ "name": "a" }, { "name": "b" }] } });
    let changed = tenants.patch(&name, &patch, &Patch::Merge(second)).await.unwrap();
    assert_eq!(status(&changed), Status::InProgress);
    assert_eq!(status(&common::ready(&admin, &name).await), Status::Current);

    let held = json!({ "metadata": { "name": "held", "finalizers": ["example.com/hold"] } });
    let configs: Api<ConfigMap> = Api::namespaced(admin.clone(), &format!("{name}-a"));
    configs
        .create(&PostParams::default(), &serde_json::from_value(held).unwrap())
        .await
        .unwrap();
    templates.delete(&name, &DeleteParams::default()).await.unwrap();
    assert_eq!(status(&templates.get(&name).await.unwrap()), Status::Terminating);
    tenants.delete(&name, &DeleteParams::default()).await.unwrap();
    assert_eq!(status(&tenants.get(&name).await.unwrap()), Status::Terminating);
    configs
        .patch(
            "held",
            &patch,
            &Patch::Merge(json!({ "metadata": { "finalizers": null } })),
        )
        .await
        .unwrap();
    common::gone(&tenants, &name).await;
    common::gone(&templates, &name).await;
}
