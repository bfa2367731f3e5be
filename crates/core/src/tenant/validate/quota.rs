//! The shares of the grant in each namespace's ResourceQuota.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;

use super::{Leaving, ValidNamespace};
use crate::{
    allocation::{Plans, QuotaObservation, Spread, plan_all},
    effective::Effective,
    object::{Key, Kind, Live},
    settings::Settings,
    tenant::facts::Facts,
};
use tenantry_api::{
    names,
    quantity::{Format, Quantity},
    v1alpha1::{QuotaSpread, ServiceType, TenantTemplateSpec},
};

/// The next ResourceQuota of each namespace.
#[derive(Clone, Debug, Default)]
pub struct QuotaPlan {
    /// What the template grants, by key of `ResourceQuota.spec.hard`.
    pub grants: BTreeMap<String, Quantity>,
    /// Keys that are 0 in every namespace and take no part in the spread.
    pub closed: BTreeMap<String, Quantity>,
    /// The next share of each namespace.
    pub plans: Plans,
    /// Each namespace's quota as the watch shows it.
    pub seen: BTreeMap<String, QuotaObservation>,
    /// The name of this process, if this run is a fence: it raises no quota, and its writes make the API server refuse every
    /// earlier write of another process; see `tenant::pending` of the operator.
    pub fence: Option<String>,
    /// Whether the tenant is not yet within its grant, or a namespace does not have any of its share yet. Shares that only
    /// follow demand do not count, because they move all the time.
    pub under_way: bool,
    /// How long until the first quota may be moved that was not moved because its use has just changed.
    pub look_again: Option<Duration>,
}

/// Plans the next quota of each namespace.
pub(super) fn plan(
    effective: &Effective,
    template: &TenantTemplateSpec,
    desired: &[ValidNamespace],
    leaving: &[Leaving],
    facts: &Facts,
    settings: &Settings,
) -> QuotaPlan {
    let mut grants = grants(effective, facts.served.models, settings);
    let zero = Quantity::from_nanos(0, Format::DecimalSi);
    let mut closed = BTreeMap::new();
    let allows = |kind| effective.service_types.contains(&kind);
    if !allows(ServiceType::LoadBalancer) {
        closed.insert("services.loadbalancers".to_owned(), zero);
        if !allows(ServiceType::NodePort) {
            closed.insert("services.nodeports".to_owned(), zero);
        }
    }
    grants.retain(|resource, _| !closed.contains_key(resource));
    let mut seen = BTreeMap::new();
    for namespace in desired {
        seen.insert(
            namespace.name.clone(),
            observe(&namespace.name, namespace.weight, facts, &closed),
        );
    }
    for Leaving { key, live } in leaving {
        let mut observation = observe(&key.name, None, facts, &closed);
        if live.deleting && observation.spec_hard.is_empty() {
            // Its quota can be deleted before the objects that it limits, such as a PersistentVolumeClaim whose finalizer nobody removes.
            observation.spec_hard = last_hard(live);
        }
        seen.insert(key.name.to_string(), observation);
    }
    let spread: BTreeMap<_, _> = grants
        .iter()
        .map(|(resource, grant)| (resource.clone(), Some(*grant)))
        .collect();
    let rule = match template.quota_spread {
        QuotaSpread::Demand => Spread::default(),
        QuotaSpread::Fixed => Spread::Fixed,
    };
    let mut plans = plan_all(&spread, rule, &seen);
    // Nothing can be created in a namespace that is being deleted, so an earlier write to its quota does no harm.
    let ends = |name: &str| {
        leaving
            .iter()
            .any(|Leaving { key, live }| live.deleting && *key.name == *name)
    };
    let alive = || seen.keys().filter(|name| !ends(name));
    let exposed = alive().count() > 1 && !alive().all(|name| facts.own_writes.covers(name));
    let fence = exposed && raises(&plans, &seen);
    if fence {
        undo_raises(&mut plans, &seen);
    }
    let above = above(&grants, &seen);
    let look_again = if above {
        None
    } else {
        leave_busy(&mut plans, &seen, &facts.busy)
    };
    let waits = desired
        .iter()
        .any(|namespace| namespace.is_wanted() && waits(&namespace.name, &grants, &plans));
    let under_way = !plans.settled && (rule == Spread::Fixed || above || waits);
    QuotaPlan {
        grants,
        closed,
        plans,
        seen,
        under_way,
        look_again,
        // A leaving namespace gets no writes any more, so it cannot be fenced. Until its deletion has begun, no quota is fenced or raised.
        fence: (fence && leaving.iter().all(|Leaving { live, .. }| live.deleting)).then(|| facts.process.clone()),
    }
}

/// Whether a namespace is to have some of a resource and does not have any yet.
fn waits(namespace: &str, grants: &BTreeMap<String, Quantity>, plans: &Plans) -> bool {
    let left_out = |resource: &str| {
        let names = plans.left_out.get(resource);
        names.is_some_and(|names| names.contains(namespace))
    };
    let has_nothing = |resource: &str| {
        let hard = plans.hard.get(namespace).and_then(|hard| hard.get(resource));
        hard == Some(&Quantity::ZERO)
    };
    grants
        .iter()
        .any(|(resource, grant)| *grant > Quantity::ZERO && has_nothing(resource) && !left_out(resource))
}

/// Whether the quotas together could still admit more than the grant.
fn above(grants: &BTreeMap<String, Quantity>, seen: &BTreeMap<String, QuotaObservation>) -> bool {
    grants.iter().any(|(resource, grant)| {
        let holds = |seen: &QuotaObservation| {
            let amounts = [&seen.spec_hard, &seen.status_hard].map(|hard| hard.get(resource).copied());
            amounts.into_iter().flatten().max().unwrap_or(Quantity::ZERO)
        };
        seen.values().map(holds).fold(Quantity::ZERO, Quantity::saturating_add) > *grant
    })
}

/// Keeps quotas unchanged whose use has just changed. Returns the time until the first of them may be moved.
///
/// A change of `spec.hard` makes the quota controller count again, from a cache that may lack the latest pods. For each
/// missing pod the API server then admits one too many: with moves during a burst of creates 24 of 20 (tests/it/exact_totals.rs).
fn leave_busy(
    plans: &mut Plans,
    seen: &BTreeMap<String, QuotaObservation>,
    busy: &BTreeMap<String, Duration>,
) -> Option<Duration> {
    let mut first: Option<Duration> = None;
    for (namespace, left) in busy {
        let (Some(hard), Some(seen)) = (plans.hard.get_mut(namespace), seen.get(namespace)) else {
            continue;
        };
        let mut moved = false;
        for (resource, next) in hard.iter_mut() {
            if let Some(now) = seen.spec_hard.get(resource).filter(|now| *now != next) {
                *next = *now;
                moved = true;
            }
        }
        if moved {
            plans.settled = false;
            first = Some(first.map_or(*left, |first| first.min(*left)));
        }
    }
    first
}

fn raises(plans: &Plans, seen: &BTreeMap<String, QuotaObservation>) -> bool {
    plans.hard.iter().any(|(namespace, hard)| {
        let now = seen.get(namespace).map(|seen| &seen.spec_hard);
        let above =
            |(resource, next): (&String, &Quantity)| now.and_then(|now| now.get(resource)).is_none_or(|now| next > now);
        hard.iter().any(above)
    })
}

/// Undoes every raise. A quota that does not exist yet starts at 0.
fn undo_raises(plans: &mut Plans, seen: &BTreeMap<String, QuotaObservation>) {
    plans.settled = false;
    for (namespace, hard) in &mut plans.hard {
        let now = seen.get(namespace).map(|seen| &seen.spec_hard);
        for (resource, next) in hard {
            let held = now.and_then(|now| now.get(resource)).copied();
            *next = held.unwrap_or(Quantity::ZERO).min(*next);
        }
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
    let objects = quotas
        .objects
        .iter()
        .map(|(key, limit)| (key.clone(), count(Some(*limit))));
    let all = fixed.chain(accelerators).chain(models).chain(objects);
    let mut grants = BTreeMap::new();
    for (resource, grant) in all {
        let Some(grant) = grant else { continue };
        // `quotas.objects` may limit the models too; the lower number applies.
        let least = grants.entry(resource).or_insert(grant);
        *least = grant.min(*least);
    }
    grants
}

/// The last `spec.hard` of the quota in a namespace that is being deleted, from its annotation.
fn last_hard(namespace: &Live) -> BTreeMap<String, Quantity> {
    let body = namespace.body();
    let held = body["metadata"]["annotations"].get(names::HELD).and_then(Value::as_str);
    held.and_then(|held| serde_json::from_str(held).ok())
        .unwrap_or_default()
}

/// A namespace's quota as the watch shows it, without the keys that take no part in the spread.
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
        refusals: facts.refusals.get(namespace).cloned().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests;
