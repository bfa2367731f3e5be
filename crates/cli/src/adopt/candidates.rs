//! The objects to try: each object that may have to be created again, without the fields that the API server and
//! controllers set.

use kube::core::ApiResource;
use serde_json::{Map, Value, json};

use super::contents::{Contents, resource};

/// One object to try.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// `<kind>/<name>` of its source object.
    pub object: String,
    /// Kind of `body`: Pod, if the source object creates pods.
    pub resource: ApiResource,
    /// The object to create.
    pub body: Value,
}

/// Kinds that create pods from a template, and where in the object the template is.
const MAKERS: [(&str, &str); 7] = [
    ("Deployment", "/spec/template"),
    ("StatefulSet", "/spec/template"),
    ("DaemonSet", "/spec/template"),
    ("ReplicaSet", "/spec/template"),
    ("ReplicationController", "/spec/template"),
    ("Job", "/spec/template"),
    ("CronJob", "/spec/jobTemplate/spec/template"),
];

/// Fields that the scheduler, admission or the kubelet sets; the author of a pod cannot or need not set them.
const SET_IN_PODS: [&str; 5] = [
    "nodeName",
    "priority",
    "preemptionPolicy",
    "overhead",
    "ephemeralContainers",
];

/// Prefixes of annotations in which tools and controllers keep their own state.
const STATE_ANNOTATIONS: [&str; 4] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    "pv.kubernetes.io/",
    "volume.kubernetes.io/",
    "volume.beta.kubernetes.io/storage-provisioner",
];

/// All objects to try, by kind and name.
pub fn candidates(contents: &Contents) -> Vec<Candidate> {
    contents
        .all()
        .filter(|(kind, object)| !is_recreated(object) && !has_finished(kind, object))
        .flat_map(|(kind, object)| candidate(kind, object).into_iter().chain(claims(kind, object)))
        .collect()
}

/// The volume claims that a StatefulSet creates with a new pod.
fn claims(kind: &'static str, object: &Value) -> Vec<Candidate> {
    let templates = object["spec"]["volumeClaimTemplates"].as_array();
    let templates = templates.filter(|_| kind == "StatefulSet").into_iter().flatten();
    templates
        .filter_map(|template| candidate("PersistentVolumeClaim", template))
        .map(|candidate| Candidate {
            object: format!("{kind}/{}", object["metadata"]["name"].as_str().unwrap_or_default()),
            ..candidate
        })
        .collect()
}

fn candidate(kind: &'static str, object: &Value) -> Option<Candidate> {
    let name = object["metadata"]["name"].as_str()?;
    let template = MAKERS.iter().find(|(maker, _)| *maker == kind).map(|(_, path)| *path);
    let (resource, body) = match (template, kind) {
        (Some(path), _) => (resource("Pod"), pod(name, object.pointer(path)?)),
        (None, "Pod") => (resource("Pod"), pod(name, object)),
        (None, "Service") => (resource(kind), service(name, object)),
        (None, "PersistentVolumeClaim") => (resource(kind), claim(name, object)),
        (None, "Ingress" | "HTTPRoute" | "GRPCRoute" | "RoleBinding") => (resource(kind), bare(kind, name, object)),
        _ => return None,
    };
    Some(Candidate {
        object: format!("{kind}/{name}"),
        resource,
        body,
    })
}

/// Whether a controller recreates the object: from an object that is tried, or from one that tenants cannot change.
fn is_recreated(object: &Value) -> bool {
    let mut owners = object["metadata"]["ownerReferences"].as_array().into_iter().flatten();
    let known = |kind: &Value| MAKERS.iter().any(|(maker, _)| kind == maker) || kind == "Node";
    let builtin = |api: &Value| {
        api.as_str()
            .is_some_and(|api| ["v1", "apps/v1", "batch/v1"].contains(&api))
    };
    owners.any(|owner| owner["controller"] == true && known(&owner["kind"]) && builtin(&owner["apiVersion"]))
}

/// Whether the pod or Job has finished.
fn has_finished(kind: &str, object: &Value) -> bool {
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    match kind {
        "Pod" => is_terminal(object),
        "Job" => conditions
            .filter(|condition| condition["status"] == "True")
            .any(|condition| condition["type"] == "Complete" || condition["type"] == "Failed"),
        _ => false,
    }
}

/// Whether a pod has finished; it then counts only in quotas for numbers of objects.
pub(super) fn is_terminal(pod: &Value) -> bool {
    pod["status"]["phase"] == "Succeeded" || pod["status"]["phase"] == "Failed"
}

/// The object without its status and the metadata that the API server sets.
fn bare(kind: &'static str, name: &str, object: &Value) -> Value {
    let mut body = object.clone();
    body["kind"] = json!(kind);
    body["apiVersion"] = json!(resource(kind).api_version);
    let mut metadata = Map::from_iter([("name".to_owned(), json!(name))]);
    for field in ["labels", "annotations"] {
        if let Some(entries) = object["metadata"][field].as_object() {
            let kept = entries
                .iter()
                .filter(|(key, _)| !STATE_ANNOTATIONS.iter().any(|note| key.starts_with(note)));
            let kept: Map<_, _> = kept.map(|(key, value)| (key.clone(), value.clone())).collect();
            metadata.insert(field.to_owned(), Value::Object(kept));
        }
    }
    body["metadata"] = Value::Object(metadata);
    if let Some(fields) = body.as_object_mut() {
        fields.remove("status");
    }
    body
}

fn without(mut body: Value, fields: &[&str]) -> Value {
    if let Some(spec) = body["spec"].as_object_mut() {
        spec.retain(|field, _| !fields.contains(&field.as_str()));
    }
    body
}

/// `source` is a pod or the template of one.
fn pod(name: &str, source: &Value) -> Value {
    without(bare("Pod", name, source), &SET_IN_PODS)
}

fn service(name: &str, service: &Value) -> Value {
    let headless = service["spec"]["clusterIP"] == "None";
    let addresses: &[&str] = if headless { &[] } else { &["clusterIP", "clusterIPs"] };
    let mut body = without(bare("Service", name, service), addresses);
    body = without(body, &["healthCheckNodePort"]);
    // The existing Service occupies its node ports, so a copy with the same ports would be refused.
    for port in body["spec"]["ports"].as_array_mut().into_iter().flatten() {
        if let Some(port) = port.as_object_mut() {
            port.remove("nodePort");
        }
    }
    body
}

fn claim(name: &str, claim: &Value) -> Value {
    // Kubernetes sets the volume when it binds the claim.
    without(bare("PersistentVolumeClaim", name, claim), &["volumeName"])
}

#[cfg(test)]
mod tests;
