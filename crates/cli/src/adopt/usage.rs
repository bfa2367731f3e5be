//! What the namespace uses of its tenant's grants, counted as the quota of the API server counts.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    candidates::is_terminal,
    contents::Contents,
    report::{Effect, Finding},
};
use tenantry_api::{Format, Quantity};

/// Where the tenant would be above its grant. `elsewhere` is what its other namespaces use.
pub fn findings(
    namespace: &str,
    contents: &Contents,
    grants: &BTreeMap<String, Quantity>,
    elsewhere: &BTreeMap<String, Quantity>,
) -> Vec<Finding> {
    let finding = |(key, grant): (&String, &Quantity)| {
        let object = "ResourceQuota/tenantry";
        let Some(here) = used(key, contents) else {
            let message = format!("what {namespace} uses of {key} cannot be counted beforehand");
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

/// What a key of a ResourceQuota would count in the namespace; none for a key that is not known here.
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

/// What a pod asks for: its containers together, or its largest step of initialisation if that is more; sidecars run beside
/// both. https://github.com/kubernetes/kubernetes/blob/v1.36.0/staging/src/k8s.io/component-helpers/resource/helpers.go
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
    // What the pod says as a whole wins over what its containers say.
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
    fn a_pod_asks_for_its_containers_or_its_largest_step_of_initialisation() {
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
    fn use_above_what_is_left_of_the_grant_is_named_with_both_amounts() {
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
    fn a_tenant_that_is_above_its_grant_without_this_namespace_is_not_its_fault() {
        let grants = amounts(&[("pods", "1")]);
        let found = findings("acme-web", &Contents::default(), &grants, &amounts(&[("pods", "2")]));
        assert!(found.is_empty(), "{found:?}");
    }
}
