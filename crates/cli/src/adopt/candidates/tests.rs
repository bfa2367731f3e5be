use super::*;

fn tried(objects: &[(&'static str, Value)]) -> Vec<Candidate> {
    let mut contents = Contents::default();
    for (kind, object) in objects {
        contents.insert(kind, object.clone());
    }
    candidates(&contents)
}

fn owned_by(api: &str, kind: &str) -> Value {
    json!({ "metadata": {
        "name": "made",
        "ownerReferences": [{ "apiVersion": api, "kind": kind, "name": "maker", "controller": true }],
    }, "spec": {} })
}

#[test]
fn a_pod_is_tried_without_fields_that_the_cluster_sets() {
    let pod = json!({
        "metadata": {
            "name": "tool", "uid": "u", "resourceVersion": "7", "managedFields": [{}], "labels": { "app": "tool" },
            "annotations": { "kubectl.kubernetes.io/last-applied-configuration": "{}", "note": "kept" },
        },
        "spec": {
            "nodeName": "n1", "priority": 0, "preemptionPolicy": "PreemptLowerPriority", "overhead": {},
            "ephemeralContainers": [{}], "serviceAccountName": "default", "containers": [{ "name": "c", "image": "i" }],
        },
        "status": { "phase": "Running" },
    });
    let [candidate] = &tried(&[("Pod", pod)])[..] else {
        panic!("one candidate")
    };
    assert_eq!(candidate.object, "Pod/tool");
    assert_eq!(
        candidate.body,
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": "tool", "labels": { "app": "tool" }, "annotations": { "note": "kept" } },
            "spec": { "serviceAccountName": "default", "containers": [{ "name": "c", "image": "i" }] },
        })
    );
}

#[test]
fn a_kind_that_creates_pods_is_tried_by_its_pod_template() {
    let template = json!({ "metadata": { "labels": { "app": "x" } }, "spec": { "containers": [{ "name": "c" }] } });
    for (kind, _) in MAKERS {
        let spec = if kind == "CronJob" {
            json!({ "jobTemplate": { "spec": { "template": template } } })
        } else {
            json!({ "template": template })
        };
        let [candidate] = &tried(&[(kind, json!({ "metadata": { "name": "x" }, "spec": spec }))])[..] else {
            panic!("one candidate of {kind}")
        };
        assert_eq!(candidate.object, format!("{kind}/x"));
        assert_eq!(candidate.body["kind"], "Pod", "{kind}");
        assert_eq!(candidate.body["spec"], template["spec"], "{kind}");
        assert_eq!(candidate.body["metadata"]["labels"]["app"], "x", "{kind}");
    }
}

#[test]
fn objects_of_builtin_controllers_are_not_tried() {
    assert!(tried(&[("Pod", owned_by("apps/v1", "ReplicaSet"))]).is_empty());
    assert!(tried(&[("Pod", owned_by("v1", "Node"))]).is_empty());
    assert_eq!(
        tried(&[("Pod", owned_by("apps.kruise.io/v1alpha1", "StatefulSet"))]).len(),
        1
    );
}

#[test]
fn finished_pods_and_jobs_are_not_tried() {
    let pod = json!({ "metadata": { "name": "p" }, "spec": {}, "status": { "phase": "Succeeded" } });
    let done = json!([{ "type": "Complete", "status": "True" }]);
    let job = json!({ "metadata": { "name": "j" }, "spec": { "template": {} }, "status": { "conditions": done } });
    assert!(tried(&[("Pod", pod), ("Job", job)]).is_empty());
}

#[test]
fn a_service_is_tried_without_its_addresses_and_node_ports() {
    let service = |ip: &str| {
        json!({ "metadata": { "name": "s" }, "spec": {
            "type": "NodePort", "clusterIP": ip, "clusterIPs": [ip], "ports": [{ "port": 80, "nodePort": 30080 }],
        } })
    };
    let spec = |ip: &str| tried(&[("Service", service(ip))])[0].body["spec"].clone();
    assert_eq!(
        spec("10.0.0.7"),
        json!({ "type": "NodePort", "ports": [{ "port": 80 }] })
    );
    assert_eq!(spec("None")["clusterIP"], "None");
}

#[test]
fn a_volume_claim_is_tried_unbound_with_its_storage_class() {
    let claim = json!({
        "metadata": { "name": "data", "annotations": {
            "pv.kubernetes.io/bind-completed": "yes", "volume.beta.kubernetes.io/storage-class": "gold",
        } },
        "spec": { "volumeName": "pv-1", "storageClassName": "gold" },
        "status": { "phase": "Bound" },
    });
    let body = &tried(&[("PersistentVolumeClaim", claim)])[0].body;
    assert_eq!(body["spec"], json!({ "storageClassName": "gold" }));
    assert_eq!(
        body["metadata"]["annotations"],
        json!({ "volume.beta.kubernetes.io/storage-class": "gold" })
    );
}

#[test]
fn a_stateful_set_is_tried_with_its_volume_claims() {
    let set = json!({ "metadata": { "name": "db" }, "spec": {
        "template": { "spec": {} },
        "volumeClaimTemplates": [{ "metadata": { "name": "data" }, "spec": { "storageClassName": "gold" }, "status": {} }],
    } });
    let tried = tried(&[("StatefulSet", set)]);
    let seen: Vec<_> = tried
        .iter()
        .map(|it| (&*it.object, it.body["kind"].as_str().unwrap()))
        .collect();
    assert_eq!(
        seen,
        [("StatefulSet/db", "Pod"), ("StatefulSet/db", "PersistentVolumeClaim")]
    );
    assert_eq!(tried[1].body["spec"], json!({ "storageClassName": "gold" }));
}
