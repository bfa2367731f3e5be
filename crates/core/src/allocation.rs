//! Divides a tenant's grant among the ResourceQuotas of its namespaces, so that their sum never exceeds the grant.
//!
//! The API server enforces each namespace's quota under any concurrency. This module keeps the sum of the quotas within
//! the grant. It answers two separate questions:
//!
//! - **Which target** ([`targets`], [`demand::targets`]): the share that each namespace is to have in the end. A wrong
//!   target does no harm.
//! - **Which next step** ([`plan`]): the next `spec.hard` of each namespace. It is safe for any targets.
//!
//! # Targets
//!
//! [`Spread::Demand`] moves shares as use and refused requests change. [`demand`] explains how, and why the shares stop
//! moving.
//!
//! [`Spread::Fixed`] splits the grant by weight ([`split`]). A namespace that uses more than its share keeps what it
//! uses, and the others divide the rest: `target = max(used, share)`, and the targets sum to the grant. It gets no more,
//! and what it releases goes to the others, so the targets approach the shares as its use falls.
//!
//! It is not lowered to its share at once, for two reasons. Pods that are replaced one by one still find room. And the
//! others are limited to `grant - use`: with their full shares the tenant could use more than its grant.
//!
//! If total use is above the grant (after a downgrade), every target is what the namespace uses. No namespace grows,
//! nothing is evicted, and [`Plan::above_grant`] contains the excess.
//!
//! # Next step, and why the sum never exceeds the grant
//!
//! Admission lets a namespace use up to `status.hard`, which the quota controller copies from `spec.hard` at some later
//! revision. For one resource and namespace i let `count(i)` be the largest of `spec.hard`, `status.hard`, `used` and
//! `pending`, the values that unfinished writes may still set. Let `free = grant - sum of count`.
//!
//! 1. `spec.hard` above the target: write the target. This frees nothing yet.
//! 2. `spec.hard` below the target and `free >= 0`: write at most `count(i) + gain(i)`, where the gains sum to at most
//!    `free`.
//! 3. `free < 0`: raise no `spec.hard`, not even above a lower value that is pending.
//!
//! *Claim:* `S = sum of max(spec.hard, status.hard, used, pending)` never rises above the grant. If it already is above,
//! because the grant was lowered, it does not rise. So the same is true of `sum of max(spec.hard, status.hard)`, and of
//! the sum of use.
//!
//! *Proof:* Between two plans only these events happen, in any order: a write lands or fails; the quota controller copies
//! `spec.hard` into `status.hard`; use falls, or rises to at most `status.hard`. So each term stays within the largest of
//! its `spec.hard`, `status.hard`, `used`, `pending` and the value newly written. For a namespace that shrinks that is
//! `count(i)`; for one that grows `count(i) + gain(i)`; for all of them together at most `sum of count + free`, which is
//! the grant. In case 3 no written value is above the least that `spec.hard` may be by now, so no term rises. No write
//! depends on another, so any subset of them may land, in any order. Only a later plan counts what a shrink frees, when it
//! sees both `spec.hard` and `status.hard` at the new value. A namespace that has no quota yet counts 0 and starts with
//! what is free. ∎
//!
//! The proof requires three things of the caller:
//!
//! - Only one allocator runs at a time. After its start it lists before it plans, and that list is not older than the last
//!   write of the previous allocator.
//! - A value that it wrote counts as `pending` until the watch has shown that write or its failure is certain. A request
//!   that timed out is neither.
//! - The caller passes every namespace that still has a quota of the tenant, also one that gets no share any more
//!   (`weight: None`).
//!
//! The claim does not depend on the targets. So the spread may follow demand, and the signs of demand may be wrong, late
//! or forged.
//!
//! *Check:* the tests visit every state of small tenants, through all orders of plans, writes that land late or never, the
//! quota controller, the watch, admission, restarts and changing demand. The claim is true on every edge. While demand does
//! not change there is no cycle, so the spread always settles. In every settled state, demand that fits is met. For each
//! rule above, an allocator that breaks it on purpose brings a tenant above its grant, and the tests find that.

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

/// The smallest amount of a resource that a share can change by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A thousandth: cpu.
    Milli,
    /// One: bytes, and every resource that is counted in objects.
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

/// One resource in one namespace, as the watch shows it. An amount that the quota lacks is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    /// The namespace's part of the grant, relative to the other weights. 0 gets no share, unless all weights are 0: then
    /// they are equal. `None`: the namespace gets no share any more, and only gives back.
    pub weight: Option<u32>,
    /// `spec.hard` of the quota.
    pub spec_hard: Option<Quantity>,
    /// `status.hard` of the quota.
    pub status_hard: Option<Quantity>,
    /// `status.used` of the quota.
    pub used: Option<Quantity>,
    /// Every `spec.hard` that a write may still set: it was sent, the watch has not shown it, and its failure is not certain.
    pub pending: Vec<Quantity>,
    /// The largest single request that was refused recently: the amount that it needs in addition to `used`.
    pub asked: Option<Quantity>,
}

impl Observation {
    fn used(&self) -> i128 {
        nanos(self.used)
    }

    /// The most that the namespace can use before the next plan.
    fn count(&self) -> i128 {
        let pending = self.pending.iter().map(|amount| amount.nanos());
        pending
            .chain([nanos(self.spec_hard), nanos(self.status_hard)])
            .fold(self.used(), i128::max)
    }

    /// The least that `spec.hard` can be by now, if pending writes have landed.
    fn floor(&self) -> i128 {
        self.pending
            .iter()
            .map(|amount| nanos(Some(*amount)))
            .fold(nanos(self.spec_hard), i128::min)
    }
}

/// A missing or negative amount takes nothing from the grant.
fn nanos(amount: Option<Quantity>) -> i128 {
    amount.unwrap_or(Quantity::ZERO).nanos().max(0)
}

/// The next step for one resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The next `spec.hard`, one entry for each namespace. Empty if the grant is unlimited.
    pub hard: BTreeMap<String, Quantity>,
    /// Whether every quota already has its target and the quota controller has confirmed it. If not, plan again when a
    /// quota has changed.
    pub settled: bool,
    /// By how much use is above the grant.
    pub above_grant: Option<Quantity>,
    /// Namespaces with a weight whose target is 0 although the grant is not: there are more namespaces than units, or
    /// the others use everything, or their weight is 0.
    pub left_out: BTreeSet<String>,
}

/// The next step for one resource. The module documentation states what it guarantees and what it requires.
///
/// `grant` is `None` if the resource is unlimited. Amounts print in the format of the grant. `pod_size` is what one pod
/// takes in nano-units, if that is known; the shares of a spread that follows demand are then whole pods.
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
            // Not if there are fewer pods of this size in the grant than namespaces: then some would get nothing.
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
            // While use is above the grant nobody grows, so a namespace may stay below its use.
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

/// Gives `free` to namespaces below their target, first to those with a quota of 0: they stay closed until they get some.
fn grow(free: i128, unit: Unit, namespaces: &BTreeMap<String, Observation>, targets: &[i128]) -> Vec<i128> {
    let seen: Vec<&Observation> = namespaces.values().collect();
    // Up to its count a namespace can be raised without taking from `free`.
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

/// The step for the shares: the unit, or a larger step that divides the grant and is at most a hundredth of an equal
/// share. So 4Gi over three namespaces gives `1366Mi` and not `1431655766`.
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

/// Saturates at the end of the range. Nothing is free there, which is safe.
fn sum(amounts: impl Iterator<Item = i128>) -> i128 {
    amounts.fold(0, i128::saturating_add)
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
