//! The effective rules of a tenant: its template, with its overrides where they are allowed.
//!
//! An override may always tighten. It may loosen only a field that the template lists in `overridable`.

use std::collections::BTreeMap;

use tenantry_api::quantity::{Format, Quantity};
use tenantry_api::v1alpha1::{
    EgressRule, NetworkSpec, OverridableField, Overrides, PodSecurity, Quotas, SecuritySpec, ServiceType,
    TenantTemplateSpec, Traffic,
};

/// The fields of a template that an override may replace, resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct Effective {
    /// Amounts.
    pub quotas: Quotas,
    /// Pod Security Standard.
    pub pod_security: PodSecurity,
    /// Registries; `None` allows any.
    pub registries: Option<Vec<String>>,
    /// Storage classes; `None` allows any.
    pub storage_classes: Option<Vec<String>>,
    /// Service types.
    pub service_types: Vec<ServiceType>,
    /// Hosts, with `{tenant}` replaced.
    pub ingress_hosts: Vec<String>,
    /// Traffic to the internet.
    pub internet_egress: Traffic,
    /// Further destinations.
    pub egress: Vec<EgressRule>,
    /// Labels of nodes.
    pub node_selector: BTreeMap<String, String>,
}

/// An override that loosens a closed field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("spec.overrides.{field}: {problem}; choose a value that the template allows, or list {opens} in the template's overridable", opens = opens.as_str())]
pub struct Loosened {
    /// Path below `spec.overrides`.
    pub field: String,
    /// What is wrong.
    pub problem: String,
    /// The entry of `overridable` that would allow it.
    pub opens: OverridableField,
}

/// Resolves the template with the overrides of `tenant`, or returns every override that the template does not allow.
pub fn resolve(tenant: &str, template: &TenantTemplateSpec, overrides: &Overrides) -> Result<Effective, Vec<Loosened>> {
    let Overrides {
        quotas,
        pod_security,
        registries,
        storage_classes,
        service_types,
        ingress_hosts,
        internet_egress,
        egress,
        node_selector,
    } = overrides;
    let NetworkSpec {
        service_types: template_types,
        ingress_hosts: template_hosts,
        ..
    } = &template.network;
    let SecuritySpec {
        registries: template_registries,
        storage_classes: template_classes,
        ..
    } = &template.security;
    let mut check = Check {
        open: &template.overridable,
        loosened: Vec::new(),
    };

    let expand =
        |hosts: &[String]| -> Vec<String> { hosts.iter().map(|host| host.replace("{tenant}", tenant)).collect() };
    let template_types = template_types.clone().unwrap_or_else(|| vec![ServiceType::ClusterIp]);
    let template_hosts = expand(template_hosts);
    let effective = Effective {
        quotas: check.quotas(&template.quotas, quotas.as_ref()),
        pod_security: check.pod_security(template.security.pod_security, *pod_security),
        registries: check.registries(template_registries.as_deref(), registries.as_deref()),
        storage_classes: check.list(
            OverridableField::StorageClasses,
            "storageClasses",
            template_classes.as_deref(),
            storage_classes.as_deref(),
        ),
        service_types: check
            .list(
                OverridableField::ServiceTypes,
                "serviceTypes",
                Some(&template_types),
                service_types.as_deref(),
            )
            .unwrap_or_default(),
        ingress_hosts: check
            .list(
                OverridableField::IngressHosts,
                "ingressHosts",
                Some(&template_hosts),
                ingress_hosts.as_deref().map(expand).as_deref(),
            )
            .unwrap_or_default(),
        internet_egress: check.internet_egress(template.network.internet_egress, *internet_egress),
        egress: check
            .list(
                OverridableField::Egress,
                "egress",
                Some(&template.network.egress),
                egress.as_deref(),
            )
            .unwrap_or_default(),
        node_selector: check.node_selector(&template.placement.node_selector, node_selector.as_ref()),
    };
    if check.loosened.is_empty() {
        Ok(effective)
    } else {
        Err(check.loosened)
    }
}

struct Check<'a> {
    open: &'a [OverridableField],
    loosened: Vec<Loosened>,
}

impl Check<'_> {
    fn refuse_unless_open(&mut self, opens: OverridableField, field: &str, problem: impl FnOnce() -> String) {
        if !self.open.contains(&opens) {
            self.loosened.push(Loosened {
                field: field.to_owned(),
                problem: problem(),
                opens,
            });
        }
    }

    fn list<T: PartialEq + Clone + serde::Serialize>(
        &mut self,
        opens: OverridableField,
        field: &str,
        template: Option<&[T]>,
        wanted: Option<&[T]>,
    ) -> Option<Vec<T>> {
        let Some(wanted) = wanted else {
            return template.map(<[T]>::to_vec);
        };
        if let Some(template) = template
            && let Some(extra) = wanted.iter().find(|item| !template.contains(item))
        {
            self.refuse_unless_open(opens, field, || {
                let extra = serde_json::to_string(extra).unwrap_or_default();
                format!("{extra} is not in the template's list")
            });
        }
        Some(wanted.to_vec())
    }

    /// A path below a listed registry is allowed, as it is tighter than the registry.
    fn registries(&mut self, template: Option<&[String]>, wanted: Option<&[String]>) -> Option<Vec<String>> {
        let below = |inner: &str, outer: &str| {
            inner == outer || inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('/'))
        };
        let Some(wanted) = wanted else {
            return template.map(<[String]>::to_vec);
        };
        if let Some(template) = template
            && let Some(extra) = wanted
                .iter()
                .find(|inner| !template.iter().any(|outer| below(inner, outer)))
        {
            self.refuse_unless_open(OverridableField::Registries, "registries", || {
                format!("{extra:?} is not in the template's list")
            });
        }
        Some(wanted.to_vec())
    }

    fn pod_security(&mut self, template: PodSecurity, wanted: Option<PodSecurity>) -> PodSecurity {
        let wanted = wanted.unwrap_or(template);
        if wanted < template {
            self.refuse_unless_open(OverridableField::PodSecurity, "podSecurity", || {
                format!("{wanted:?} is laxer than the template's {template:?}")
            });
        }
        wanted
    }

    fn internet_egress(&mut self, template: Traffic, wanted: Option<Traffic>) -> Traffic {
        let wanted = wanted.unwrap_or(template);
        if (template, wanted) == (Traffic::Deny, Traffic::Allow) {
            self.refuse_unless_open(OverridableField::InternetEgress, "internetEgress", || {
                "Allow is laxer than the template's Deny".to_owned()
            });
        }
        wanted
    }

    fn node_selector(
        &mut self,
        template: &BTreeMap<String, String>,
        wanted: Option<&BTreeMap<String, String>>,
    ) -> BTreeMap<String, String> {
        let mut labels = template.clone();
        for (key, value) in wanted.into_iter().flatten() {
            if let Some(previous) = labels
                .insert(key.clone(), value.clone())
                .filter(|previous| previous != value)
            {
                self.refuse_unless_open(OverridableField::NodeSelector, "nodeSelector", || {
                    format!("{key}={value} differs from the template's {key}={previous}")
                });
            }
        }
        labels
    }

    fn quotas(&mut self, template: &Quotas, wanted: Option<&Quotas>) -> Quotas {
        let none = Quotas::default();
        let Quotas {
            cpu,
            memory,
            storage,
            namespaces,
            pods,
            network_bandwidth,
            concurrent_connections,
            api_requests_per_minute,
            database_connections,
            cache,
            ml_model_instances,
            ai_processing_units,
            objects,
        } = wanted.unwrap_or(&none);
        Quotas {
            cpu: self.amount("quotas.cpu", template.cpu, *cpu),
            memory: self.amount("quotas.memory", template.memory, *memory),
            storage: self.amount("quotas.storage", template.storage, *storage),
            namespaces: self.count("quotas.namespaces", template.namespaces, *namespaces),
            pods: self.count("quotas.pods", template.pods, *pods),
            network_bandwidth: self.amount(
                "quotas.networkBandwidth",
                template.network_bandwidth,
                *network_bandwidth,
            ),
            concurrent_connections: self.count(
                "quotas.concurrentConnections",
                template.concurrent_connections,
                *concurrent_connections,
            ),
            api_requests_per_minute: self.count(
                "quotas.apiRequestsPerMinute",
                template.api_requests_per_minute,
                *api_requests_per_minute,
            ),
            database_connections: self.count(
                "quotas.databaseConnections",
                template.database_connections,
                *database_connections,
            ),
            cache: self.amount("quotas.cache", template.cache, *cache),
            ml_model_instances: self.count(
                "quotas.mlModelInstances",
                template.ml_model_instances,
                *ml_model_instances,
            ),
            ai_processing_units: self.count(
                "quotas.aiProcessingUnits",
                template.ai_processing_units,
                *ai_processing_units,
            ),
            objects: self.objects(&template.objects, objects),
        }
    }

    fn objects(&mut self, template: &BTreeMap<String, i64>, wanted: &BTreeMap<String, i64>) -> BTreeMap<String, i64> {
        let mut objects = template.clone();
        for (key, count) in wanted {
            self.count(
                &format!("quotas.objects[{key}]"),
                template.get(key).copied(),
                Some(*count),
            );
            objects.insert(key.clone(), *count);
        }
        objects
    }

    fn amount(&mut self, field: &str, template: Option<Quantity>, wanted: Option<Quantity>) -> Option<Quantity> {
        let Some(wanted) = wanted else { return template };
        if let Some(template) = template.filter(|template| wanted > *template) {
            self.refuse_unless_open(OverridableField::Quotas, field, || {
                format!("{wanted} is above the template's {template}")
            });
        }
        Some(wanted)
    }

    fn count(&mut self, field: &str, template: Option<i64>, wanted: Option<i64>) -> Option<i64> {
        let quantity = |count: i64| Quantity::from_units(i128::from(count), Format::DecimalSi);
        self.amount(field, template.and_then(quantity), wanted.and_then(quantity));
        wanted.or(template)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn resolve_json(template: &Value, overrides: Value) -> Result<Effective, Vec<String>> {
        let mut spec = json!({ "tier": "Premium" });
        spec.as_object_mut()
            .unwrap()
            .extend(template.as_object().unwrap().clone());
        let template = serde_json::from_value(spec).unwrap();
        let overrides = serde_json::from_value(overrides).unwrap();
        resolve("acme", &template, &overrides).map_err(|loosened| loosened.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn without_overrides_the_template_applies() {
        let template =
            json!({ "quotas": { "cpu": "8", "pods": 100 }, "network": { "ingressHosts": ["*.{tenant}.example.com"] } });
        let effective = resolve_json(&template, json!({})).unwrap();
        assert_eq!(effective.quotas.cpu.unwrap().to_string(), "8");
        assert_eq!(effective.quotas.pods, Some(100));
        assert_eq!(effective.ingress_hosts, ["*.acme.example.com"]);
        assert_eq!(effective.service_types, [ServiceType::ClusterIp]);
    }

    #[test]
    fn every_override_can_tighten() {
        let template = json!({
            "quotas": { "cpu": "8", "pods": 100, "objects": { "services": 9, "secrets": 9 } },
            "security": { "podSecurity": "Baseline", "registries": ["a.example", "b.example"] },
            "network": { "internetEgress": "Allow", "serviceTypes": ["ClusterIP", "LoadBalancer"] },
        });
        let effective = resolve_json(
            &template,
            json!({
                "quotas": { "cpu": "4", "pods": 100, "memory": "1Gi", "objects": { "services": 5, "count/jobs.batch": 3 } },
                "podSecurity": "Restricted", "registries": ["b.example"],
                "internetEgress": "Deny", "serviceTypes": [], "storageClasses": ["gold"], "nodeSelector": { "pool": "blue" },
            }),
        )
        .unwrap();
        assert_eq!(effective.pod_security, PodSecurity::Restricted);
        assert_eq!(effective.registries.unwrap(), ["b.example"]);
        assert!(effective.service_types.is_empty());
        assert_eq!(effective.quotas.memory.unwrap().to_string(), "1Gi");
        let objects = effective.quotas.objects;
        assert_eq!(
            objects,
            [("services", 5), ("secrets", 9), ("count/jobs.batch", 3)]
                .map(|(key, count)| (key.to_owned(), count))
                .into()
        );
    }

    #[test]
    fn loosening_a_closed_field_is_refused_with_field_and_remedy() {
        let template = json!({
            "quotas": { "cpu": "8", "pods": 100, "objects": { "services": 9 } },
            "security": { "registries": ["a.example"], "storageClasses": ["gold"] },
            "placement": { "nodeSelector": { "pool": "blue" } },
        });
        let loosened = resolve_json(
            &template,
            json!({
                "quotas": { "cpu": "8001m", "pods": 101, "objects": { "services": 10 } }, "podSecurity": "Baseline", "registries": ["b.example"],
                "storageClasses": ["gold", "slow"], "serviceTypes": ["NodePort"], "ingressHosts": ["x.example.com"],
                "internetEgress": "Allow", "egress": [{ "cidr": "10.0.0.0/8" }], "nodeSelector": { "pool": "red" },
            }),
        )
        .unwrap_err();
        assert_eq!(loosened.len(), 11, "{loosened:#?}");
        let objects = "spec.overrides.quotas.objects[services]: 10 is above the template's 9; ";
        assert!(
            loosened.iter().any(|problem| problem.starts_with(objects)),
            "{loosened:#?}"
        );
        let egress = r#"spec.overrides.egress: {"cidr":"10.0.0.0/8"} is not in the template's list; "#;
        assert!(
            loosened.iter().any(|problem| problem.starts_with(egress)),
            "{loosened:#?}"
        );
        assert_eq!(
            loosened[0],
            "spec.overrides.quotas.cpu: 8001m is above the template's 8; choose a value that the template allows, or list Quotas in the template's overridable"
        );
    }

    #[test]
    fn an_open_field_may_be_loosened() {
        let template = json!({ "quotas": { "cpu": "8", "objects": { "secrets": 1 } }, "overridable": ["Quotas"] });
        let effective = resolve_json(
            &template,
            json!({ "quotas": { "cpu": "64", "objects": { "secrets": 2 } } }),
        )
        .unwrap();
        assert_eq!(effective.quotas.cpu.unwrap().to_string(), "64");
        assert_eq!(effective.quotas.objects["secrets"], 2);
    }
}
