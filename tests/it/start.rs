//! What may hold up the operator's start, and its end. Each test of the start has a control plane of its own.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
};

use controlplane::Audit;
use k8s_openapi::{
    api::rbac::v1::ClusterRole, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client,
    api::{DynamicObject, Patch, PatchParams, PostParams},
    core::ApiResource,
};
use lab::Operator;
use serde_json::{Value, json};
use tenantry_core::object::Kind;

use crate::common::{
    self, PATIENCE,
    builders::{template, tenant},
    eventually,
};

const POD_MONITORS: &str = "podmonitors.monitoring.coreos.com";

/// A CRD of PodMonitors in these versions. The first is the stored version.
fn pod_monitors(versions: &[&str], conversion: &Value) -> Value {
    let version = |name: &&str| {
        json!({
            "name": name, "served": true, "storage": *name == versions[0],
            "schema": { "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } },
        })
    };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {
            "name": POD_MONITORS,
            "annotations": { "api-approved.kubernetes.io": "unapproved, a test" },
        },
        "spec": {
            "group": "monitoring.coreos.com", "scope": "Namespaced", "conversion": conversion,
            "names": { "kind": "PodMonitor", "listKind": "PodMonitorList", "plural": "podmonitors", "singular": "podmonitor" },
            "versions": versions.iter().map(version).collect::<Vec<_>>(),
        },
    })
}

async fn apply(admin: &Client, crd: &Value) {
    let crds: Api<CustomResourceDefinition> = Api::all(admin.clone());
    let params = PatchParams::apply("test").force();
    crds.patch(POD_MONITORS, &params, &Patch::Apply(crd)).await.unwrap();
}

/// A conversion webhook that nobody serves.
fn broken() -> Value {
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    json!({
        "strategy": "Webhook",
        "webhook": { "conversionReviewVersions": ["v1"], "clientConfig": { "url": format!("https://{dead}/convert") } },
    })
}

/// Waits until the metric says whether PodMonitors are missing.
async fn missing(operator: &Operator, wanted: u8) {
    eventually("tenantry_crd_missing to be as it should", PATIENCE, || async {
        let metrics = operator.metrics().await.map_err(|error| error.to_string())?;
        let line = metrics
            .lines()
            .find(|line| line.starts_with(r#"tenantry_crd_missing{kind="PodMonitor"}"#));
        if line.is_some_and(|line| line.ends_with(&format!(" {wanted}"))) {
            Ok(())
        } else {
            Err(format!("{line:?}"))
        }
    })
    .await;
}

async fn watched_tenant(admin: &Client, name: &str) {
    common::create(admin, &tenant(name, "watched").owner("amy").namespace("a").build()).await;
    common::condition(admin, name, "MonitoringReady", "False", Some("CRDNotInstalled")).await;
    common::ready(admin, name).await;
}

async fn watched_template(admin: &Client) {
    let spec = json!({ "tier": "Premium", "quotas": { "pods": 10 }, "monitoring": { "metrics": true } });
    common::create_template(admin, &template("watched", spec)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_optional_kind_holds_up_no_start() {
    let (lab, admin) = common::own(Audit::Off).await;
    watched_template(&admin).await;
    let none = json!({ "strategy": "None" });

    // The version that we use is not served.
    apply(&admin, &pod_monitors(&["v1alpha1"], &none)).await;
    let operator = lab.operator(common::binary()).await.unwrap();
    watched_tenant(&admin, "old").await;
    missing(&operator, 1).await;
    assert!(operator.stop().await.unwrap().success());

    // It is, but nobody converts what is stored into it.
    let resource = ApiResource {
        version: "v1alpha1".to_owned(),
        api_version: "monitoring.coreos.com/v1alpha1".to_owned(),
        ..Kind::PodMonitor.api_resource()
    };
    let monitors: Api<DynamicObject> = Api::namespaced_with(admin.clone(), "old-a", &resource);
    let stored = json!({
        "apiVersion": resource.api_version, "kind": "PodMonitor",
        "metadata": { "name": "stored", "labels": { "app.kubernetes.io/managed-by": "tenantry" } },
    });
    let stored: DynamicObject = serde_json::from_value(stored).unwrap();
    let create = PostParams::default();
    eventually("the PodMonitor to be stored", PATIENCE, || {
        monitors.create(&create, &stored)
    })
    .await;
    apply(&admin, &pod_monitors(&["v1alpha1", "v1"], &broken())).await;
    let as_v1: Api<DynamicObject> = Api::all_with(admin.clone(), &Kind::PodMonitor.api_resource());
    eventually("the list to fail", PATIENCE, || async {
        match as_v1.list(&Default::default()).await {
            Err(kube::Error::Api(status)) if status.message.contains("conversion webhook") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let operator = lab.operator(common::binary()).await.unwrap();
    watched_tenant(&admin, "broken").await;
    missing(&operator, 1).await;

    // It counts as served as soon as it can be listed.
    apply(&admin, &pod_monitors(&["v1alpha1", "v1"], &none)).await;
    missing(&operator, 0).await;
    let written: Api<DynamicObject> = Api::namespaced_with(admin.clone(), "broken-a", &Kind::PodMonitor.api_resource());
    eventually("the PodMonitor of the tenant", PATIENCE, || written.get("tenantry")).await;

    // And no longer when its version goes while the operator runs.
    apply(&admin, &pod_monitors(&["v1alpha1"], &none)).await;
    missing(&operator, 1).await;
    watched_tenant(&admin, "late").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_that_cannot_be_listed_hold_up_no_start() {
    let (lab, admin) = common::own(Audit::Off).await;
    watched_template(&admin).await;
    let api: Api<ClusterRole> = Api::all(admin.clone());
    let mut role = api.get("tenantry").await.unwrap();
    let rules = role.rules.as_mut().unwrap();
    let all = rules.len();
    rules.retain(|rule| rule.api_groups != Some(vec!["apiextensions.k8s.io".to_owned()]));
    assert_eq!(rules.len(), all - 1, "the right is in one rule");
    api.replace("tenantry", &PostParams::default(), &role).await.unwrap();

    let operator = lab.operator(common::binary()).await.unwrap();
    watched_tenant(&admin, "acme").await;
    missing(&operator, 1).await;
    let log = operator.log_text();
    assert!(log.contains("starting without optional kinds"), "{log}");
    let metrics = operator.metrics().await.unwrap();
    assert!(
        metrics.contains(r#"tenantry_watch_errors_total{kind="CustomResourceDefinition"}"#),
        "{metrics}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_the_process_at_once() {
    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let kubeconfig = std::env::temp_dir().join(common::name("tenantry-kubeconfig"));
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "dead",
        "clusters": [{ "name": "dead", "cluster": { "server": format!("http://{}", free()) } }],
        "users": [{ "name": "nobody", "user": {} }],
        "contexts": [{ "name": "dead", "context": { "cluster": "dead", "user": "nobody" } }],
    });
    std::fs::write(&kubeconfig, config.to_string()).unwrap();
    let listen = free();
    let mut process = Command::new(env!("CARGO_BIN_EXE_tenantry"))
        .args(["run", "--leader-elect=false", &format!("--listen={listen}")])
        .env("KUBECONFIG", &kubeconfig)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A request that is never finished keeps the endpoints open after the first signal; one after it shows that it is heard.
    let mut open = eventually("the endpoints to listen", PATIENCE, || async {
        TcpStream::connect(listen)
    })
    .await;
    open.write_all(b"GET /livez HTTP/1.1\r\n").unwrap();
    let mut whole = TcpStream::connect(listen).unwrap();
    whole
        .write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    whole.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    // Different ones, as two of the same may become one.
    for signal in ["-TERM", "-INT"] {
        lab::run(Command::new("kill").arg(signal).arg(process.id().to_string())).unwrap();
    }
    let status = eventually("the process to end", PATIENCE, || {
        let ended = process.try_wait().unwrap();
        async move { ended.ok_or("it runs") }
    })
    .await;
    std::fs::remove_file(kubeconfig).unwrap();
    let mut log = String::new();
    process.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("a second signal ended the process"), "{log}");
}
