//! Spreads a tenant's grant over the ResourceQuotas of its namespaces, so that the sum never exceeds the grant.
//!
//! The API server makes each namespace hold its quota under any concurrency; this module makes the quotas hold the
//! grant. Two questions, kept apart:
//!
//! - **Where to** ([`targets`], [`demand::targets`]): each namespace's part. It may be wrong without harm.
//! - **How to get there** ([`plan`]): the next `spec.hard` of each namespace, safe whatever the targets are.
//!
//! # Where to
//!
//! [`Spread::Demand`] moves the spread with use and with what was refused; see [`demand`] for how, and for why it comes
//! to rest.
//!
//! [`Spread::Fixed`] splits the grant by weight ([`split`]). A namespace that uses more than its share keeps what it
//! uses, and the others share the rest: `target = max(used, share)`, summing to the grant. It cannot take more, and what
//! it lets go goes to the others, so the spread moves to the shares as use does. Not lowering it to its share at once
//! has two reasons: pods that are replaced one by one find their place again, and the others are held to `grant - use`
//! and not to their full shares, which would let the tenant use more than its grant.
//!
//! If all use together is above the grant (a downgrade), every target is just what is used, no namespace grows, nothing
//! is evicted, and [`Plan::above_grant`] says by how much.
//!
//! # How to get there, and why the sum holds
//!
//! Admission lets a namespace use up to `status.hard`, which the quota controller copies from `spec.hard` at some later
//! revision. For one resource and namespace i let `count(i)` be the largest of `spec.hard`, `status.hard`, `used` and
//! `pending`, the values that writes may still bring. Let `free = grant - sum of count`.
//!
//! 1. `spec.hard` above the target: write the target. It frees nothing yet.
//! 2. `spec.hard` below the target and `free >= 0`: write at most `count(i) + gain(i)`, where the gains sum to at most
//!    `free`.
//! 3. `free < 0`: nobody's `spec.hard` is raised, not even over a lower value that is pending.
//!
//! *Claim:* `S = sum of max(spec.hard, status.hard, used, pending)` never rises above the grant; where it already is
//! above (the grant was lowered), it does not rise. So the same is true of `sum of max(spec.hard, status.hard)`, and of
//! the sum of use.
//!
//! *Proof:* Between two plans only these happen, in any order: a write lands or fails, or the quota controller copies
//! `spec.hard` into `status.hard`, or use changes to at most `status.hard`, or falls. So each term stays below the
//! largest of its `spec.hard`, `status.hard`, `used`, `pending` and the value newly written. For one that shrinks that
//! is `count(i)`; for one that grows `count(i) + gain(i)`; for all of them together at most `sum of count + free`,
//! which is the grant. In case 3 no written value is above what `spec.hard` may be by now, so no term rises. No write
//! depends on another, so every subset and order of them will do. What a shrink frees is counted by a later plan only,
//! when both `spec.hard` and `status.hard` are seen at the new value. A namespace that has no quota yet counts 0 and
//! starts with what is free. ∎
//!
//! The proof asks this of the caller:
//!
//! - One allocator at a time, and it looks before it plans: right after it starts, at a list that is not older than the
//!   last write of the one before it.
//! - A value that it wrote counts as `pending` until the watch has shown that write or its failure is certain. A request
//!   that ran into a timeout is neither.
//! - Every namespace that still has a quota of the tenant is passed in, also one on its way out (`weight: None`).
//!
//! The claim does not depend on the targets, so the spread may follow demand, and what tells of demand may be wrong,
//! late or forged.
//!
//! *Check:* the tests visit every state of small tenants, over all orders of plans, writes that land late or never, the
//! quota controller, the watch, admission, restarts and changing demand. The claim holds on every edge; while demand
//! stands still there is no cycle, so the spread comes to rest on every way; and where it rests, demand that has room
//! has got it. Each rule above that is broken on purpose is found to bring a tenant above its grant.

pub mod demand;
mod fill;
mod pod_size;
mod quota;
mod refusal;
mod split;
mod spread;
mod targets;

use std::collections::{BTreeMap, BTreeSet};

use tenantry_api::quantity::{Format, Quantity};

pub use quota::{Plans, QuotaObservation, plan_all};
pub use refusal::Refusal;
pub use split::split;
pub use spread::Spread;
pub use targets::targets;

/// The smallest step in which a resource is dealt out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A thousandth: cpu.
    Milli,
    /// One: bytes, and everything that is counted.
    Whole,
}

impl Unit {
    /// The unit of a key of `ResourceQuota.spec.hard`, such as `requests.cpu` or `pods`.
    pub fn of(resource: &str) -> Self {
        match resource {
            "cpu" | "requests.cpu" | "limits.cpu" => Self::Milli,
            _ => Self::Whole,
        }
    }

    /// In nano-units.
    const fn nanos(self) -> i128 {
        match self {
            Self::Milli => 1_000_000,
            Self::Whole => 1_000_000_000,
        }
    }
}

/// What is seen of one resource in one namespace. Amounts that are not there are `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    /// The part in the grant relative to the others; 0 takes no part unless all are 0, then all are equal.
    /// `None`: the namespace is on its way out, and only gives back.
    pub weight: Option<u32>,
    /// `spec.hard` of the quota.
    pub spec_hard: Option<Quantity>,
    /// `status.hard` of the quota.
    pub status_hard: Option<Quantity>,
    /// `status.used` of the quota.
    pub used: Option<Quantity>,
    /// Every `spec.hard` that a write may still bring: sent, and neither seen nor surely failed.
    pub pending: Vec<Quantity>,
    /// The largest single request that was refused lately, as far as it goes beyond `used`.
    pub asked: Option<Quantity>,
}

impl Observation {
    fn used(&self) -> i128 {
        nanos(self.used)
    }

    /// The most that the namespace may come to use, whatever happens before the next plan.
    fn count(&self) -> i128 {
        let pending = self.pending.iter().map(|amount| amount.nanos());
        pending
            .chain([nanos(self.spec_hard), nanos(self.status_hard)])
            .fold(self.used(), i128::max)
    }

    /// The least that `spec.hard` may be by now.
    fn floor(&self) -> i128 {
        self.pending
            .iter()
            .map(|amount| nanos(Some(*amount)))
            .fold(nanos(self.spec_hard), i128::min)
    }
}

/// An amount that is not there, or below zero, takes nothing from the grant.
fn nanos(amount: Option<Quantity>) -> i128 {
    amount.unwrap_or(Quantity::ZERO).nanos().max(0)
}

/// The next step for one resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The next `spec.hard` of each namespace, in every one of them. Empty if the grant is unlimited.
    pub hard: BTreeMap<String, Quantity>,
    /// Whether this is how it is, confirmed, and how it stays until something changes. If not, plan again when a quota
    /// has changed.
    pub settled: bool,
    /// By how much use is above the grant.
    pub above_grant: Option<Quantity>,
    /// Namespaces that take part and are to have nothing, though something is granted: there are more of them than units, or
    /// others use it all, or they have weight 0.
    pub left_out: BTreeSet<String>,
}

/// The next step for one resource; see the module for what it promises and what it asks.
///
/// `grant` is `None` if the resource is unlimited. Amounts print in the format of the grant. `pod_size` is what one pod
/// takes in nano-units, if that is known; a spread that follows demand then deals in whole pods.
pub fn plan(
    grant: Option<Quantity>,
    unit: Unit,
    pod_size: Option<i128>,
    spread: Spread,
    namespaces: &BTreeMap<String, Observation>,
) -> Plan {
    let Some(grant) = grant else {
        let settled = namespaces
            .values()
            .all(|seen| seen.spec_hard.is_none() && seen.pending.is_empty());
        return Plan {
            settled,
            ..Plan::default()
        };
    };
    let total = grant.nanos().max(0);
    let excess = sum(namespaces.values().map(Observation::used)).saturating_sub(total);
    let step = step(grant, unit, namespaces.len());
    let targets = match spread {
        Spread::Fixed => targets(total, step, namespaces),
        Spread::Demand { floor_percent } => {
            // Not where somebody would be left with nothing for it.
            let each = i128::try_from(namespaces.len()).unwrap_or(i128::MAX);
            let whole_pods = |size: &i128| *size > 0 && size % unit.nanos() == 0 && total / size >= each;
            let step = pod_size.filter(whole_pods).unwrap_or(step);
            demand::targets(total, step, unit, floor_percent, namespaces)
        }
    };
    let free = total.saturating_sub(sum(namespaces.values().map(Observation::count)));
    let next = if free < 0 {
        shrink(namespaces, &targets)
    } else {
        grow(free, unit, namespaces, &targets)
    };

    let settled = namespaces
        .values()
        .zip(&next)
        .zip(&targets)
        .all(|((seen, next), target)| {
            let next = Some(Quantity::from_nanos(*next, Format::DecimalSi));
            // Above the grant a namespace may stay below its use, as nobody grows.
            let confirmed = seen.spec_hard == next && seen.status_hard == next && seen.pending.is_empty();
            confirmed && (nanos(next) == *target || excess > 0)
        });
    let left_out = namespaces.iter().zip(&targets);
    let left_out = left_out.filter(|((_, seen), target)| total > 0 && **target == 0 && seen.weight.is_some());
    Plan {
        left_out: left_out.map(|((name, _), _)| name.clone()).collect(),
        hard: namespaces
            .keys()
            .cloned()
            .zip(next.iter().map(|n| Quantity::from_nanos(*n, grant.format())))
            .collect(),
        settled,
        above_grant: (excess > 0).then(|| Quantity::from_nanos(excess, grant.format())),
    }
}

fn shrink(namespaces: &BTreeMap<String, Observation>, targets: &[i128]) -> Vec<i128> {
    namespaces
        .values()
        .zip(targets)
        .map(|(seen, target)| seen.floor().min(*target))
        .collect()
}

/// Gives `free` to those below their target; first to those that have nothing yet and cannot open without it.
fn grow(free: i128, unit: Unit, namespaces: &BTreeMap<String, Observation>, targets: &[i128]) -> Vec<i128> {
    let seen: Vec<&Observation> = namespaces.values().collect();
    // What is counted anyway costs nothing.
    let mut next: Vec<i128> = seen
        .iter()
        .zip(targets)
        .map(|(seen, target)| seen.count().min(*target))
        .collect();
    let mut order: Vec<usize> = (0..seen.len()).collect();
    order.sort_by_key(|&i| nanos(seen[i].spec_hard) > 0);
    let mut left = free;
    for i in order {
        let want = targets[i] - next[i];
        let gain = if want <= left { want } else { left - left % unit.nanos() };
        next[i] += gain;
        left -= gain;
    }
    next
}

/// The step for the shares: the unit, or a larger one that divides the grant and is at most a hundredth of an equal
/// share, so that 4Gi over three namespaces gives `1366Mi` and not `1431655766`.
fn step(grant: Quantity, unit: Unit, namespaces: usize) -> i128 {
    let scales = match grant.format() {
        Format::BinarySi => [1 << 20, 1 << 10],
        Format::DecimalSi | Format::DecimalExponent => [1_000_000, 1_000],
    };
    let hundred_each = i128::try_from(namespaces).unwrap_or(i128::MAX).saturating_mul(100);
    let fits = |step: &i128| grant.nanos() % step == 0 && grant.nanos() / step >= hundred_each;
    scales
        .map(|scale| scale * Unit::Whole.nanos())
        .into_iter()
        .find(fits)
        .unwrap_or(unit.nanos())
}

/// Held at the end of the range: there nothing is free, which is safe.
fn sum(amounts: impl Iterator<Item = i128>) -> i128 {
    amounts.fold(0, i128::saturating_add)
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
