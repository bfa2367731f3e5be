//! Finds contradictions between the blocks of a template. The schema's rules cannot find them: each sees one block. Pure.
//!
//! Each message names the fields, the contradiction and the remedy. The operator still reconciles the Tenants of such a
//! template: most of it works, and the template's status reports the rest.

use std::collections::BTreeSet;

use tenantry_api::{
    Quantity,
    v1alpha1::{Amounts, Containers, Quotas, TenantTemplateSpec},
};

type Rule = fn(&TenantTemplateSpec) -> Vec<String>;

const RULES: [Rule; 5] = [
    container_defaults_fit_the_quota,
    quotas_have_container_defaults,
    region_agrees_with_node_selector,
    hosts_need_a_service,
    lists_contain_no_duplicates,
];

/// All contradictions, in the order of the rules.
pub fn contradictions(spec: &TenantTemplateSpec) -> Vec<String> {
    RULES.iter().flat_map(|rule| rule(spec)).collect()
}

fn amounts(block: Option<&Amounts>) -> (Option<Quantity>, Option<Quantity>) {
    block.map_or((None, None), |Amounts { cpu, memory }| (*cpu, *memory))
}

/// The quota refuses a container whose default or minimum is above the whole tenant's amount.
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
                    "containers.{field}.{resource} is {one}, more than the whole tenant's quotas.{resource} of {whole}: the quota refuses such a container; lower it"
                ));
            }
        }
    }
    found
}

/// A quota on limits refuses every container that sets no limit and gets no default.
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
            format!("quotas.{resource} is set and containers.default.{resource} is not: the quota refuses pods without a {resource} limit; set containers.default.{resource}")
        })
        .collect()
}

fn region_agrees_with_node_selector(spec: &TenantTemplateSpec) -> Vec<String> {
    let placement = &spec.placement;
    let selected = placement.node_selector.get("topology.kubernetes.io/region");
    match selected {
        Some(region) if !placement.regions.is_empty() && !placement.regions.contains(region) => vec![format!(
            "placement.nodeSelector requires region {region}, which placement.regions does not list: no node matches both; change one of them"
        )],
        _ => Vec::new(),
    }
}

fn hosts_need_a_service(spec: &TenantTemplateSpec) -> Vec<String> {
    let none = spec.network.service_types.as_ref().is_some_and(Vec::is_empty);
    if none && !spec.network.ingress_hosts.is_empty() {
        vec![
            "network.ingressHosts is set and network.serviceTypes is empty: an Ingress needs a Service; add ClusterIP to network.serviceTypes".to_owned(),
        ]
    } else {
        Vec::new()
    }
}

fn lists_contain_no_duplicates(spec: &TenantTemplateSpec) -> Vec<String> {
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
                .map(|item| format!("{field} lists {item} twice; remove one")),
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
    fn a_plain_template_has_no_contradictions() {
        let template =
            json!({ "tier": "Free", "quotas": { "cpu": "1" }, "containers": { "default": { "cpu": "100m" } } });
        assert!(of(template).is_empty());
    }

    #[test]
    fn a_container_default_above_the_quota_is_reported() {
        let found =
            of(json!({ "tier": "Free", "quotas": { "cpu": "1" }, "containers": { "default": { "cpu": "2" } } }));
        assert_eq!(
            found,
            [
                "containers.default.cpu is 2, more than the whole tenant's quotas.cpu of 1: the quota refuses such a container; lower it"
            ]
        );
    }

    #[test]
    fn a_quota_without_a_container_default_is_reported() {
        let found = of(json!({ "tier": "Free", "quotas": { "memory": "1Gi" } }));
        assert!(
            found[0].starts_with("quotas.memory is set and containers.default.memory is not"),
            "{found:?}"
        );
    }

    #[test]
    fn a_region_outside_the_regions_list_is_reported() {
        let found = of(json!({ "tier": "Free", "placement": {
            "regions": ["eu-1"], "nodeSelector": { "topology.kubernetes.io/region": "us-1" },
        } }));
        assert!(found[0].contains("requires region us-1"), "{found:?}");
    }

    #[test]
    fn ingress_hosts_without_a_service_type_are_reported() {
        let found = of(json!({ "tier": "Free", "network": { "serviceTypes": [], "ingressHosts": ["a.example.com"] } }));
        assert!(found[0].starts_with("network.ingressHosts is set"), "{found:?}");
    }

    #[test]
    fn a_duplicate_list_entry_is_reported() {
        let found = of(json!({ "tier": "Free", "placement": { "regions": ["eu-1", "eu-1"] } }));
        assert_eq!(found, ["placement.regions lists eu-1 twice; remove one"]);
    }
}
