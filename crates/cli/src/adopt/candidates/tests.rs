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
fn a_pod_is_tried_without_what_scheduler_admission_and_run_time_set() {
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
fn everything_that_makes_pods_is_tried_by_its_template() {
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
fn what_a_tried_controller_makes_is_not_tried_again_but_what_others_make_is() {
    assert!(tried(&[("Pod", owned_by("apps/v1", "ReplicaSet"))]).is_empty());
    assert!(tried(&[("Pod", owned_by("v1", "Node"))]).is_empty());
    assert_eq!(
        tried(&[("Pod", owned_by("apps.kruise.io/v1alpha1", "StatefulSet"))]).len(),
        1
    );
}

#[test]
fn what_has_run_to_its_end_is_not_tried() {
    let pod = json!({ "metadata": { "name": "p" }, "spec": {}, "status": { "phase": "Succeeded" } });
    let done = json!([{ "type": "Complete", "status": "True" }]);
    let job = json!({ "metadata": { "name": "j" }, "spec": { "template": {} }, "status": { "conditions": done } });
    assert!(tried(&[("Pod", pod), ("Job", job)]).is_empty());
}

#[test]
fn a_service_is_tried_without_addresses_and_ports_that_it_has_already_but_headless_stays_headless() {
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
fn a_claim_is_tried_unbound_with_the_class_that_it_names() {
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
fn a_stateful_set_is_tried_with_the_claims_that_it_makes() {
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
