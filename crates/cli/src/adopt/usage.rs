//! How much the namespace would use of its tenant's grant, counted as the API server counts for a ResourceQuota.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    candidates::is_terminal,
    contents::Contents,
    report::{Effect, Finding},
};
use tenantry_api::{Format, Quantity};

/// One finding for each resource whose use would exceed the tenant's grant. `elsewhere` is the use of its other
/// namespaces.
pub fn findings(
    namespace: &str,
    contents: &Contents,
    grants: &BTreeMap<String, Quantity>,
    elsewhere: &BTreeMap<String, Quantity>,
) -> Vec<Finding> {
    let finding = |(key, grant): (&String, &Quantity)| {
        let object = "ResourceQuota/tenantry";
        let Some(here) = used(key, contents) else {
            let message = format!("adopt cannot count how much {namespace} uses of {key}");
            return Some(Finding::new(Effect::NotTried, object, "nobody", message));
        };
        let others = elsewhere.get(key).copied().unwrap_or(Quantity::ZERO);
        let together = here.saturating_add(others);
        if here.is_zero() || together <= *grant {
            return None;
        }
        let others = if others.is_zero() {
            String::new()
        } else {
            format!(", {others} of it in its other namespaces")
        };
        let message = format!(
            "would use {together} of the tenant's {grant} {key}{others}; nothing more is admitted until it uses less or is granted more"
        );
        Some(Finding::new(Effect::Refused, object, "QuotaAboveGrant", message))
    };
    grants.iter().filter_map(finding).collect()
}

/// How much a ResourceQuota would count for a key in the namespace; none for an unknown key.
fn used(key: &str, contents: &Contents) -> Option<Quantity> {
    if let Some(count) = contents.counts.get(key) {
        return units(*count);
    }
    let sum = |amounts: &mut dyn Iterator<Item = Quantity>| amounts.fold(Quantity::ZERO, Quantity::saturating_add);
    let pods = || contents.of("Pod").iter().filter(|pod| !is_terminal(pod));
    let services = contents.of("Service");
    let is_balancer = |service: &&Value| service["spec"]["type"] == "LoadBalancer";
    match key {
        "pods" => units(pods().count()),
        "services" => units(services.len()),
        "services.loadbalancers" => units(services.iter().filter(is_balancer).count()),
        "services.nodeports" => units(services.iter().map(node_ports).sum()),
        "persistentvolumeclaims" => units(contents.of("PersistentVolumeClaim").len()),
        "requests.storage" => Some(sum(&mut contents
            .of("PersistentVolumeClaim")
            .iter()
            .map(|claim| amount(&claim["spec"]["resources"]["requests"], "storage")))),
        _ => {
            let (bound, resource) = key.split_once('.')?;
            matches!(bound, "requests" | "limits").then(|| sum(&mut pods().map(|pod| of_pod(pod, bound, resource))))
        }
    }
}

fn units(count: usize) -> Option<Quantity> {
    Quantity::from_units(i128::try_from(count).ok()?, Format::DecimalSi)
}

/// https://github.com/kubernetes/kubernetes/blob/v1.36.0/pkg/quota/v1/evaluator/core/services.go
fn node_ports(service: &Value) -> usize {
    let ports = service["spec"]["ports"].as_array().map_or(&[][..], Vec::as_slice);
    match service["spec"]["type"].as_str() {
        Some("NodePort") => ports.len(),
        Some("LoadBalancer") => ports.iter().filter(|port| port["nodePort"].as_u64() > Some(0)).count(),
        _ => 0,
    }
}

fn amount(amounts: &Value, resource: &str) -> Quantity {
    let text = amounts[resource].as_str();
    text.and_then(|text| text.parse().ok()).unwrap_or(Quantity::ZERO)
}

/// What a pod requests: the sum of its containers, or its largest init container if that is more; sidecars count in
/// both cases.
/// https://github.com/kubernetes/kubernetes/blob/v1.36.0/staging/src/k8s.io/component-helpers/resource/helpers.go
fn of_pod(pod: &Value, bound: &str, resource: &str) -> Quantity {
    let spec = &pod["spec"];
    let of = |holder: &Value| amount(&holder["resources"][bound], resource);
    let list = |field: &str| spec[field].as_array().map_or(&[][..], Vec::as_slice).iter();
    let mut running = list("containers")
        .map(of)
        .fold(Quantity::ZERO, Quantity::saturating_add);
    let (mut sidecars, mut starting) = (Quantity::ZERO, Quantity::ZERO);
    for container in list("initContainers") {
        let step = sidecars.saturating_add(of(container));
        if container["restartPolicy"] == "Always" {
            running = running.saturating_add(of(container));
            sidecars = step;
        }
        starting = starting.max(step);
    }
    // Pod-level resources take precedence over those of its containers.
    let whole = spec["resources"][bound].get(resource).map(|_| of(spec));
    let overhead = amount(&spec["overhead"], resource);
    whole.unwrap_or(running.max(starting)).saturating_add(overhead)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn asks(cpu: &str) -> Value {
        json!({ "resources": { "requests": { "cpu": cpu } } })
    }

    fn sidecar(cpu: &str) -> Value {
        json!({ "restartPolicy": "Always", "resources": { "requests": { "cpu": cpu } } })
    }

    fn contents(objects: &[(&'static str, Value)]) -> Contents {
        let mut contents = Contents::default();
        for (kind, object) in objects {
            contents.insert(kind, object.clone());
        }
        contents
    }

    fn amounts(pairs: &[(&str, &str)]) -> BTreeMap<String, Quantity> {
        pairs
            .iter()
            .map(|(key, amount)| ((*key).to_owned(), amount.parse().unwrap()))
            .collect()
    }

    #[test]
    fn a_pod_requests_its_containers_or_its_largest_init_step() {
        let cpu = |spec: Value| of_pod(&json!({ "spec": spec }), "requests", "cpu").to_string();
        assert_eq!(cpu(json!({ "containers": [asks("100m"), asks("200m")] })), "300m");
        let large_init = json!({ "containers": [asks("100m")], "initContainers": [asks("1"), asks("2")] });
        assert_eq!(cpu(large_init), "2");
        let beside = json!({ "containers": [asks("1")], "initContainers": [sidecar("500m"), asks("1")] });
        assert_eq!(cpu(beside), "1500m");
        let before = json!({ "containers": [asks("1")], "initContainers": [asks("3"), sidecar("500m")] });
        assert_eq!(cpu(before), "3");
        let whole =
            json!({ "containers": [asks("1")], "resources": asks("4")["resources"], "overhead": { "cpu": "1" } });
        assert_eq!(cpu(whole), "5");
    }

    #[test]
    fn finished_pods_do_not_count() {
        let done = json!({ "status": { "phase": "Failed" }, "spec": { "containers": [asks("1")] } });
        let runs = json!({ "status": { "phase": "Running" }, "spec": { "containers": [asks("1")] } });
        let contents = contents(&[("Pod", done), ("Pod", runs)]);
        assert_eq!(used("pods", &contents).unwrap().to_string(), "1");
        assert_eq!(used("requests.cpu", &contents).unwrap().to_string(), "1");
    }

    #[test]
    fn node_ports_are_counted_by_port() {
        let node_port = json!({ "spec": { "type": "NodePort", "ports": [{ "nodePort": 1 }, {}] } });
        let balancer = json!({ "spec": { "type": "LoadBalancer", "ports": [{ "nodePort": 1 }, {}] } });
        let contents = contents(&[("Service", node_port), ("Service", balancer)]);
        assert_eq!(used("services.nodeports", &contents).unwrap().to_string(), "3");
        assert_eq!(used("services.loadbalancers", &contents).unwrap().to_string(), "1");
    }

    #[test]
    fn use_above_the_grant_is_reported_with_both_amounts() {
        let pod = json!({ "spec": { "containers": [asks("1500m")] } });
        let claim = json!({ "spec": { "resources": { "requests": { "storage": "5Gi" } } } });
        let contents = contents(&[("Pod", pod), ("PersistentVolumeClaim", claim)]);
        let grants = amounts(&[("requests.cpu", "2"), ("requests.storage", "10Gi"), ("pods", "1")]);
        assert!(findings("acme-web", &contents, &grants, &BTreeMap::new()).is_empty());
        let found = findings("acme-web", &contents, &grants, &amounts(&[("requests.cpu", "1500m")]));
        let [found] = &found[..] else { panic!("one finding") };
        assert_eq!((found.effect, &*found.by), (Effect::Refused, "QuotaAboveGrant"));
        let text = "would use 3 of the tenant's 2 requests.cpu, 1500m of it in its other namespaces; ";
        assert!(found.message.starts_with(text), "{}", found.message);
    }

    #[test]
    fn a_tenant_above_its_grant_elsewhere_is_not_reported() {
        let grants = amounts(&[("pods", "1")]);
        let found = findings("acme-web", &Contents::default(), &grants, &amounts(&[("pods", "2")]));
        assert!(found.is_empty(), "{found:?}");
    }
}
