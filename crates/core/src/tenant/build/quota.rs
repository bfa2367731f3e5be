//! LimitRange and ResourceQuota.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::in_namespace;
use crate::{
    object::{Kind, Object},
    tenant::validate::{ValidNamespace, ValidTenant},
};
use tenantry_api::{
    names,
    quantity::Quantity,
    v1alpha1::{Amounts, Containers, VolumeBounds},
};

pub(super) fn resource_quota(tenant: &ValidTenant, namespace: &ValidNamespace) -> Object {
    let mut hard: BTreeMap<&str, Quantity> = BTreeMap::new();
    hard.extend(
        tenant
            .quota
            .closed
            .iter()
            .map(|(resource, zero)| (resource.as_str(), *zero)),
    );
    let planned = tenant.quota.plans.hard.get(&namespace.name).into_iter().flatten();
    hard.extend(planned.map(|(resource, amount)| (resource.as_str(), *amount)));
    let spec = if hard.is_empty() {
        json!({})
    } else {
        json!({ "hard": texts(hard) })
    };
    let mut quota = in_namespace(
        tenant,
        namespace,
        Kind::ResourceQuota,
        names::OBJECT,
        json!({ "spec": spec }),
    );
    let fence = tenant.quota.fence.iter();
    quota
        .annotations
        .extend(fence.map(|process| (names::FENCE.to_owned(), json!(process))));
    quota
}

fn texts<'a>(amounts: impl IntoIterator<Item = (&'a str, Quantity)>) -> Map<String, Value> {
    amounts
        .into_iter()
        .map(|(resource, amount)| (resource.to_owned(), json!(amount.to_string())))
        .collect()
}

pub(super) fn limit_range(tenant: &ValidTenant, namespace: &ValidNamespace) -> Object {
    let Containers {
        default,
        default_request,
        min,
        max,
        volumes,
    } = &tenant.template.containers;
    let mut limits = Vec::new();

    // The API server sets the same defaults. Setting them here keeps the live object equal to the desired one.
    // https://github.com/kubernetes/kubernetes/blob/v1.36.0/pkg/apis/core/v1/defaults.go (SetDefaults_LimitRangeItem)
    let (min, max) = (amounts(min.as_ref()), amounts(max.as_ref()));
    let mut default = amounts(default.as_ref());
    fill(&mut default, &max);
    let mut default_request = amounts(default_request.as_ref());
    fill(&mut default_request, &default);
    fill(&mut default_request, &min);
    let container = [
        ("default", default),
        ("defaultRequest", default_request),
        ("max", max),
        ("min", min),
    ]
    .into_iter()
    .filter(|(_, amounts)| !amounts.is_empty());
    let container: Map<_, _> = container
        .map(|(bound, amounts)| (bound.to_owned(), Value::Object(texts(amounts))))
        .collect();
    if !container.is_empty() {
        let mut item = container;
        item.insert("type".to_owned(), json!("Container"));
        limits.push(Value::Object(item));
    }
    if let Some(VolumeBounds { min, max }) = volumes {
        let bounds = [("min", min), ("max", max)].into_iter();
        let mut item: Map<_, _> = bounds
            .filter_map(|(bound, size)| size.map(|size| (bound.to_owned(), json!({ "storage": size.to_string() }))))
            .collect();
        if !item.is_empty() {
            item.insert("type".to_owned(), json!("PersistentVolumeClaim"));
            limits.push(Value::Object(item));
        }
    }
    in_namespace(
        tenant,
        namespace,
        Kind::LimitRange,
        names::OBJECT,
        json!({ "spec": { "limits": limits } }),
    )
}

fn amounts(amounts: Option<&Amounts>) -> BTreeMap<&'static str, Quantity> {
    let Some(Amounts { cpu, memory }) = amounts else {
        return BTreeMap::new();
    };
    [("cpu", cpu), ("memory", memory)]
        .into_iter()
        .filter_map(|(name, amount)| amount.map(|amount| (name, amount)))
        .collect()
}

fn fill(into: &mut BTreeMap<&'static str, Quantity>, from: &BTreeMap<&'static str, Quantity>) {
    for (name, amount) in from {
        into.entry(name).or_insert(*amount);
    }
}

#[cfg(test)]
mod tests;
