//! All resources of a tenant at once.

use std::collections::{BTreeMap, BTreeSet};

use super::{Observation, Plan, Refusal, Spread, Unit, plan, pod_size::pod_size};
use tenantry_api::quantity::Quantity;

/// One namespace's quota as the watch shows it, with all resources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QuotaObservation {
    /// See [`Observation::weight`].
    pub weight: Option<u32>,
    /// `spec.hard`, empty if there is no quota yet.
    pub spec_hard: BTreeMap<String, Quantity>,
    /// `status.hard`.
    pub status_hard: BTreeMap<String, Quantity>,
    /// `status.used`.
    pub used: BTreeMap<String, Quantity>,
    /// See [`Observation::pending`]; each entry is a whole `spec.hard`.
    pub pending: Vec<BTreeMap<String, Quantity>>,
    /// Requests that this quota refused recently.
    pub refusals: Vec<Refusal>,
}

impl QuotaObservation {
    /// The most that this quota can admit, whether pending writes land or fail, or what is used if that is more.
    pub fn bound(&self) -> BTreeMap<String, Quantity> {
        let Self {
            weight: _,
            spec_hard,
            status_hard,
            used,
            pending,
            refusals: _,
        } = self;
        let mut bound: BTreeMap<String, Quantity> = BTreeMap::new();
        for (resource, amount) in [spec_hard, status_hard, used].into_iter().chain(pending).flatten() {
            let most = bound.entry(resource.clone()).or_insert(*amount);
            *most = (*most).max(*amount);
        }
        bound
    }

    fn of(&self, resource: &str) -> Observation {
        let Self {
            weight,
            spec_hard,
            status_hard,
            used,
            pending,
            refusals,
        } = self;
        let get = |amounts: &BTreeMap<String, Quantity>| amounts.get(resource).copied();
        let now = get(used).unwrap_or(Quantity::ZERO);
        Observation {
            weight: *weight,
            spec_hard: get(spec_hard),
            status_hard: get(status_hard),
            used: get(used),
            pending: pending.iter().filter_map(get).collect(),
            asked: refusals.iter().filter_map(|refusal| refusal.asked(resource, now)).max(),
        }
    }
}

/// The next step for all resources of a tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plans {
    /// The next `spec.hard`, whole, by namespace. Every namespace that was passed in is here.
    pub hard: BTreeMap<String, BTreeMap<String, Quantity>>,
    /// Whether every resource is settled, and no quota contains a resource that is unlimited now.
    pub settled: bool,
    /// By how much use is above the grant, by resource. Resources within their grant are omitted.
    pub above_grant: BTreeMap<String, Quantity>,
    /// See [`Plan::left_out`], by resource. Resources that leave out no namespace are omitted.
    pub left_out: BTreeMap<String, BTreeSet<String>>,
}

/// Plans each resource separately. The keys of `grants` are those of `ResourceQuota.spec.hard`; `None`, or no entry, means
/// unlimited.
pub fn plan_all(
    grants: &BTreeMap<String, Option<Quantity>>,
    spread: Spread,
    quotas: &BTreeMap<String, QuotaObservation>,
) -> Plans {
    let mut plans = Plans {
        settled: true,
        ..Plans::default()
    };
    plans
        .hard
        .extend(quotas.keys().map(|name| (name.clone(), BTreeMap::new())));
    for (resource, grant) in grants {
        let seen = quotas
            .iter()
            .map(|(name, quota)| (name.clone(), quota.of(resource)))
            .collect();
        let Plan {
            hard,
            settled,
            above_grant,
            left_out,
        } = plan(*grant, Unit::of(resource), pod_size(resource, quotas), spread, &seen);
        for (name, amount) in hard {
            plans.hard.entry(name).or_default().insert(resource.clone(), amount);
        }
        plans.settled &= settled;
        plans
            .above_grant
            .extend(above_grant.map(|excess| (resource.clone(), excess)));
        if !left_out.is_empty() {
            plans.left_out.insert(resource.clone(), left_out);
        }
    }
    plans.settled &= quotas
        .values()
        .all(|quota| quota.spec_hard.keys().all(|resource| grants.contains_key(resource)));
    plans
}
