//! A namespace to adopt, and helpers that read it.

use std::{collections::BTreeMap, process::Output};

use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, DynamicObject, ListParams, PostParams},
    core::ApiResource,
};
use serde_json::{Value, json};
use tenantry_api::v1alpha1::TenantTemplate;

use crate::common::{
    self, Lab, PATIENCE,
    builders::{pod, template, tenant},
    eventually,
};

/// Runs `tenantry adopt` as a cluster admin.
pub(super) fn adopt(lab: &Lab, args: &[&str]) -> Output {
    std::process::Command::new(env!("CARGO_BIN_EXE_tenantry"))
        .arg("adopt")
        .args(args)
        .arg("--kubeconfig")
        .arg(lab.kubeconfig())
        .output()
        .unwrap()
}

pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Everything that it printed, for the message of a failed assertion.
pub(super) fn all_of(output: &Output) -> String {
    format!("{}{}{}", output.status, text(&output.stdout), text(&output.stderr))
}

pub(super) fn resource(api_version: &str, kind: &str, plural: &str) -> ApiResource {
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    }
}

pub(super) fn kinds() -> [ApiResource; 14] {
    [
        resource("v1", "Pod", "pods"),
        resource("v1", "Service", "services"),
        resource("v1", "ServiceAccount", "serviceaccounts"),
        resource("v1", "ConfigMap", "configmaps"),
        resource("v1", "ResourceQuota", "resourcequotas"),
        resource("v1", "LimitRange", "limitranges"),
        resource("v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
        resource("v1", "PodTemplate", "podtemplates"),
        resource("apps/v1", "Deployment", "deployments"),
        resource("batch/v1", "CronJob", "cronjobs"),
        resource("networking.k8s.io/v1", "Ingress", "ingresses"),
        resource("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"),
        resource("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings"),
        resource("tenantry.dev/v1alpha1", "TenantPolicy", "tenantpolicies"),
    ]
}

pub(super) fn api(admin: &Client, namespace: &str, plural: &str) -> Api<DynamicObject> {
    let kind = kinds().into_iter().find(|kind| kind.plural == plural).unwrap();
    Api::namespaced_with(admin.clone(), namespace, &kind)
}

pub(super) async fn create(admin: &Client, namespace: &str, plural: &str, object: Value) {
    let object = serde_json::from_value(object).unwrap();
    let api = api(admin, namespace, plural);
    // A bare pod needs the ServiceAccount that Kubernetes puts there.
    let params = PostParams::default();
    eventually(&format!("one of {plural} to be created"), PATIENCE, || {
        api.create(&params, &object)
    })
    .await;
}

pub(super) async fn delete(admin: &Client, namespace: &str, plural: &str, name: &str) {
    let api = api(admin, namespace, plural);
    let now = DeleteParams::default().grace_period(0);
    api.delete(name, &now).await.unwrap();
    common::gone(&api, name).await;
}

/// Every object of the namespace with its version, the Namespace included.
pub(super) async fn versions(admin: &Client, namespace: &str) -> BTreeMap<String, String> {
    let object = Api::<Namespace>::all(admin.clone()).get(namespace).await.unwrap();
    let mut versions = BTreeMap::from([("Namespace".to_owned(), object.resource_version().unwrap())]);
    for kind in kinds() {
        let found = api(admin, namespace, &kind.plural).list(&ListParams::default()).await;
        for object in found.unwrap() {
            let name = format!("{}/{}", kind.plural, object.name_any());
            versions.insert(name, object.resource_version().unwrap());
        }
    }
    versions
}

/// The scratch namespaces of a namespace, without those under deletion.
pub(super) async fn scratches(admin: &Client, namespace: &str) -> Vec<String> {
    let label = format!("tenantry.dev/adoption={namespace}");
    let found = Api::<Namespace>::all(admin.clone())
        .list(&ListParams::default().labels(&label))
        .await
        .unwrap();
    let standing = found
        .items
        .into_iter()
        .filter(|it| it.metadata.deletion_timestamp.is_none());
    standing.map(|it| it.name_any()).collect()
}

pub(super) fn deployment(name: &str, container: &Value) -> Value {
    let mut template = pod(&json!({ "cpu": "100m", "memory": "64Mi" }));
    let base = &mut template["spec"]["containers"][0];
    for (field, value) in container.as_object().unwrap() {
        base[field] = value.clone();
    }
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name },
        "spec": {
            "replicas": 0, "selector": { "matchLabels": { "app": name } },
            "template": { "metadata": { "labels": { "app": name } }, "spec": template["spec"] },
        },
    })
}

pub(super) fn bare_pod(name: &str, image: &str, cpu: &str) -> Value {
    let mut pod = pod(&json!({ "cpu": cpu, "memory": "64Mi" }));
    pod["metadata"] = json!({ "name": name });
    pod["spec"]["containers"][0]["image"] = json!(image);
    pod
}

/// A namespace, a tenant that lists it, and a template that admits images of one registry.
pub(super) async fn scene(admin: &Client, prefix: &str) -> (String, String) {
    let name = common::name(prefix);
    let spec = json!({
        "tier": "Standard", "quotas": { "cpu": "2", "memory": "4Gi", "pods": 10 },
        "containers": { "default": { "cpu": "100m", "memory": "64Mi" }, "volumes": { "max": "50Gi" } },
        "security": { "podSecurity": "Restricted", "registries": ["registry.example.com"] },
    });
    let template: TenantTemplate = template(&name, spec);
    common::create_template(admin, &template).await;
    let namespace = format!("{name}-web");
    let object: Namespace = serde_json::from_value(json!({ "metadata": { "name": namespace } })).unwrap();
    let namespaces: Api<Namespace> = Api::all(admin.clone());
    namespaces.create(&PostParams::default(), &object).await.unwrap();
    common::create(admin, &tenant(&name, &name).owner("ada").namespace("web").build()).await;
    common::condition(admin, &name, "Ready", "False", Some("ConflictingOwner")).await;
    (name, namespace)
}

/// Makes the API server refuse PodTemplates in scratch namespaces of this namespace, and waits until it does so in
/// `scratch`. A run then waits for the answer to its quota probe.
pub(super) async fn hold(admin: &Client, name: &str, namespace: &str, scratch: &str) {
    let policy = json!({
        "matchConstraints": {
            "namespaceSelector": { "matchLabels": { "tenantry.dev/adoption": namespace } },
            "resourceRules": [{
                "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["podtemplates"],
            }],
        },
        "validations": [{ "expression": "false", "message": "held by a test" }],
    });
    let binding = json!({ "policyName": name, "validationActions": ["Deny"] });
    for (kind, plural, spec) in [
        ("ValidatingAdmissionPolicy", "validatingadmissionpolicies", policy),
        (
            "ValidatingAdmissionPolicyBinding",
            "validatingadmissionpolicybindings",
            binding,
        ),
    ] {
        let resource = resource("admissionregistration.k8s.io/v1", kind, plural);
        let object = json!({
            "apiVersion": resource.api_version, "kind": kind, "metadata": { "name": name }, "spec": spec,
        });
        let object = serde_json::from_value(object).unwrap();
        let api = Api::<DynamicObject>::all_with(admin.clone(), &resource);
        api.create(&PostParams::default(), &object).await.unwrap();
    }
    let probe = json!({
        "apiVersion": "v1", "kind": "PodTemplate", "metadata": { "name": "probe" },
        "template": { "spec": { "containers": [{ "name": "c", "image": "i" }] } },
    });
    let probe: DynamicObject = serde_json::from_value(probe).unwrap();
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let templates = api(admin, scratch, "podtemplates");
    eventually("the test's policy to hold", PATIENCE, || async {
        match templates.create(&dry, &probe).await {
            Err(error) if error.to_string().contains("held by a test") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

/// The scratch namespace that a killed run leaves behind.
pub(super) async fn leftover(admin: &Client, name: &str, namespace: &str) -> String {
    let left = format!("{name}-adopt-left");
    let labels = json!({ "tenantry.dev/adoption": namespace });
    let object = json!({ "metadata": { "name": left, "labels": labels } });
    let object: Namespace = serde_json::from_value(object).unwrap();
    let namespaces: Api<Namespace> = Api::all(admin.clone());
    namespaces.create(&PostParams::default(), &object).await.unwrap();
    left
}
