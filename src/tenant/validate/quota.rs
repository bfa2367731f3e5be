//! What the grants come to in each namespace's ResourceQuota.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Leaving, ValidNamespace};
use crate::{
    api::{
        names,
        v1alpha1::{ServiceType, Tenant},
    },
    apply::{Key, Kind},
    domain::{
        allocation::{Plans, QuotaObservation, Spread, plan_all},
        effective::Effective,
        quantity::{Format, Quantity},
    },
    tenant::{Settings, dereference::Facts},
};

/// The next ResourceQuota of each namespace.
#[derive(Clone, Debug, Default)]
pub struct QuotaPlan {
    /// What the template grants, by key of `ResourceQuota.spec.hard`.
    pub grants: BTreeMap<String, Quantity>,
    /// Keys that are 0 in every namespace and take no part in the spread.
    pub closed: BTreeMap<String, Quantity>,
    /// The spread.
    pub plans: Plans,
    /// What is seen of each namespace's quota.
    pub seen: BTreeMap<String, QuotaObservation>,
}

/// What the grants come to in each namespace's quota.
pub(super) fn plan(
    effective: &Effective,
    standing: &[ValidNamespace],
    leaving: &[Leaving],
    tenant: &Tenant,
    facts: &Facts,
    settings: &Settings,
) -> QuotaPlan {
    let grants = grants(effective, facts.served.models, settings);
    let zero = Quantity::from_nanos(0, Format::DecimalSi);
    let mut closed = BTreeMap::new();
    let allows = |kind| effective.service_types.contains(&kind);
    if !allows(ServiceType::LoadBalancer) {
        closed.insert("services.loadbalancers".to_owned(), zero);
        if !allows(ServiceType::NodePort) {
            closed.insert("services.nodeports".to_owned(), zero);
        }
    }
    let tenant_name = tenant.metadata.name.as_deref().unwrap_or_default();
    let weight = |name: &str| {
        let entry = tenant
            .spec
            .namespaces
            .iter()
            .find(|entry| names::namespace(tenant_name, &entry.name) == name);
        entry.map(|entry| entry.weight.and_then(|weight| u32::try_from(weight).ok()).unwrap_or(1))
    };
    let mut seen = BTreeMap::new();
    for namespace in standing {
        let weight = if namespace.listed {
            weight(&namespace.name)
        } else {
            None
        };
        seen.insert(namespace.name.clone(), observe(&namespace.name, weight, facts, &closed));
    }
    for Leaving { key, .. } in leaving {
        seen.insert(key.name.to_string(), observe(&key.name, None, facts, &closed));
    }
    let spread: BTreeMap<_, _> = grants
        .iter()
        .map(|(resource, grant)| (resource.clone(), Some(*grant)))
        .collect();
    let plans = plan_all(&spread, Spread::Fixed, &seen);
    QuotaPlan {
        grants,
        closed,
        plans,
        seen,
    }
}

/// Grants by key of `ResourceQuota.spec.hard`.
fn grants(effective: &Effective, models_served: bool, settings: &Settings) -> BTreeMap<String, Quantity> {
    let quotas = &effective.quotas;
    let count = |count: Option<i64>| count.and_then(|count| Quantity::from_units(i128::from(count), Format::DecimalSi));
    let accelerators = settings
        .accelerator_resources
        .iter()
        .map(|name| format!("requests.{name}"));
    let models = models_served.then(|| format!("count/{}", settings.model_resource));
    let fixed = [
        ("requests.cpu", quotas.cpu),
        ("limits.cpu", quotas.cpu),
        ("requests.memory", quotas.memory),
        ("limits.memory", quotas.memory),
        ("requests.storage", quotas.storage),
        ("pods", count(quotas.pods)),
    ];
    let fixed = fixed.into_iter().map(|(resource, grant)| (resource.to_owned(), grant));
    let accelerators = accelerators.map(|resource| (resource, count(quotas.ai_processing_units)));
    let models = models
        .into_iter()
        .map(|resource| (resource, count(quotas.ml_model_instances)));
    fixed
        .chain(accelerators)
        .chain(models)
        .filter_map(|(resource, grant)| grant.map(|grant| (resource, grant)))
        .collect()
}

/// What is seen of a namespace's quota, without the keys that take no part in the spread.
fn observe(
    namespace: &str,
    weight: Option<u32>,
    facts: &Facts,
    closed: &BTreeMap<String, Quantity>,
) -> QuotaObservation {
    let live = facts
        .live
        .get(&Key::new(Kind::ResourceQuota, namespace, names::OBJECT))
        .map(|live| live.body());
    let amounts = |path: &str| -> BTreeMap<String, Quantity> {
        let object = live
            .as_ref()
            .and_then(|live| live.pointer(path))
            .and_then(Value::as_object);
        let pairs = object.into_iter().flatten();
        pairs
            .filter(|(key, _)| !closed.contains_key(*key))
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.parse().ok()?)))
            .collect()
    };
    QuotaObservation {
        weight,
        spec_hard: amounts("/spec/hard"),
        status_hard: amounts("/status/hard"),
        used: amounts("/status/used"),
        pending: facts.pending.get(namespace).cloned().unwrap_or_default(),
        refusals: Vec::new(),
    }
}

#[cfg(test)]
mod tests;
