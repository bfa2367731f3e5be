//! Whether a template can be kept: contradictions that no schema rule sees, because they lie between its blocks. Pure.
//!
//! Each rule gives the fields, the contradiction and the remedy. Tenants of an unsound template are carried out all the
//! same: most of it works, and the template's status says what does not.

use std::collections::BTreeSet;

use tenantry_api::{
    Quantity,
    v1alpha1::{Amounts, Containers, Quotas, ServiceType, TenantTemplateSpec},
};

type Rule = fn(&TenantTemplateSpec) -> Vec<String>;

const RULES: [Rule; 5] = [
    container_defaults_fit_the_quota,
    quotas_have_container_defaults,
    region_agrees_with_node_selector,
    hosts_need_a_service,
    lists_name_each_thing_once,
];

/// Every contradiction, in the order of the rules.
pub fn contradictions(spec: &TenantTemplateSpec) -> Vec<String> {
    RULES.iter().flat_map(|rule| rule(spec)).collect()
}

fn amounts(block: Option<&Amounts>) -> (Option<Quantity>, Option<Quantity>) {
    block.map_or((None, None), |Amounts { cpu, memory }| (*cpu, *memory))
}

/// One container at its default must fit into the whole tenant.
fn container_defaults_fit_the_quota(spec: &TenantTemplateSpec) -> Vec<String> {
    let Quotas { cpu, memory, .. } = &spec.quotas;
    let Containers {
        default,
        default_request,
        min,
        ..
    } = &spec.containers;
    let mut found = Vec::new();
    for (field, block) in [("default", default), ("defaultRequest", default_request), ("min", min)] {
        let (container_cpu, container_memory) = amounts(block.as_ref());
        for (resource, one, whole) in [("cpu", container_cpu, *cpu), ("memory", container_memory, *memory)] {
            if let (Some(one), Some(whole)) = (one, whole)
                && one > whole
                && !whole.is_zero()
            {
                found.push(format!(
                    "containers.{field}.{resource} {one} is above quotas.{resource} {whole}: not one container would fit; lower it"
                ));
            }
        }
    }
    found
}

/// A quota on limits refuses every container that sets none, so there must be a default.
fn quotas_have_container_defaults(spec: &TenantTemplateSpec) -> Vec<String> {
    let Containers { default, max, .. } = &spec.containers;
    let ((default_cpu, default_memory), (max_cpu, max_memory)) = (amounts(default.as_ref()), amounts(max.as_ref()));
    let limited = [
        ("cpu", spec.quotas.cpu, default_cpu.or(max_cpu)),
        ("memory", spec.quotas.memory, default_memory.or(max_memory)),
    ];
    let missing = limited
        .into_iter()
        .filter(|(_, quota, default)| quota.is_some() && default.is_none());
    missing
        .map(|(resource, _, _)| {
            format!("quotas.{resource} is set and containers.default.{resource} is not: pods that name no limit are refused; set it")
        })
        .collect()
}

fn region_agrees_with_node_selector(spec: &TenantTemplateSpec) -> Vec<String> {
    let placement = &spec.placement;
    let selected = placement.node_selector.get("topology.kubernetes.io/region");
    match selected {
        Some(region) if !placement.regions.is_empty() && !placement.regions.contains(region) => vec![format!(
            "placement.nodeSelector asks for region {region}, which placement.regions does not list: no node fits; make them agree"
        )],
        _ => Vec::new(),
    }
}

fn hosts_need_a_service(spec: &TenantTemplateSpec) -> Vec<String> {
    let none = spec.network.service_types.as_ref().is_some_and(Vec::is_empty);
    if none && !spec.network.ingress_hosts.is_empty() {
        vec![format!(
            "network.ingressHosts is set and network.serviceTypes is empty: an Ingress needs a Service; add {:?}",
            ServiceType::ClusterIp
        )]
    } else {
        Vec::new()
    }
}

fn lists_name_each_thing_once(spec: &TenantTemplateSpec) -> Vec<String> {
    let registries = spec.security.registries.clone().unwrap_or_default();
    let classes = spec.security.storage_classes.clone().unwrap_or_default();
    let lists = [
        ("network.ingressHosts", &spec.network.ingress_hosts),
        ("security.registries", &registries),
        ("security.storageClasses", &classes),
        ("security.ipAllowList", &spec.security.ip_allow_list),
        ("placement.regions", &spec.placement.regions),
    ];
    let mut found = Vec::new();
    for (field, list) in lists {
        let mut seen = BTreeSet::new();
        found.extend(
            list.iter()
                .filter(|item| !seen.insert(*item))
                .map(|item| format!("{field} names {item} twice; remove one")),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(spec: serde_json::Value) -> Vec<String> {
        contradictions(&serde_json::from_value(spec).unwrap())
    }

    #[test]
    fn a_plain_template_is_sound() {
        let sound = json!({ "tier": "Free", "quotas": { "cpu": "1" }, "containers": { "default": { "cpu": "100m" } } });
        assert!(of(sound).is_empty());
    }

    #[test]
    fn a_container_that_fits_no_tenant_is_named() {
        let found =
            of(json!({ "tier": "Free", "quotas": { "cpu": "1" }, "containers": { "default": { "cpu": "2" } } }));
        assert_eq!(
            found,
            ["containers.default.cpu 2 is above quotas.cpu 1: not one container would fit; lower it"]
        );
    }

    #[test]
    fn a_quota_without_a_default_is_named() {
        let found = of(json!({ "tier": "Free", "quotas": { "memory": "1Gi" } }));
        assert!(
            found[0].starts_with("quotas.memory is set and containers.default.memory is not"),
            "{found:?}"
        );
    }

    #[test]
    fn a_region_that_no_node_can_have_is_named() {
        let found = of(json!({ "tier": "Free", "placement": {
            "regions": ["eu-1"], "nodeSelector": { "topology.kubernetes.io/region": "us-1" },
        } }));
        assert!(found[0].contains("asks for region us-1"), "{found:?}");
    }

    #[test]
    fn hosts_without_any_service_type_are_named() {
        let found = of(json!({ "tier": "Free", "network": { "serviceTypes": [], "ingressHosts": ["a.example.com"] } }));
        assert!(found[0].starts_with("network.ingressHosts is set"), "{found:?}");
    }

    #[test]
    fn a_thing_that_stands_twice_is_named() {
        let found = of(json!({ "tier": "Free", "placement": { "regions": ["eu-1", "eu-1"] } }));
        assert_eq!(found, ["placement.regions names eu-1 twice; remove one"]);
    }
}
