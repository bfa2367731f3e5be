//! The events that can happen in each state.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
};

use super::state::{Namespace, Quota, State, Write};
use crate::allocation::{Observation, Spread, Unit, plan};
use tenantry_api::quantity::{Format, Quantity};

/// Limits that keep the number of states small.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub grant: u8,
    /// Writes that may be open for one namespace at a time.
    pub writes: usize,
    /// The largest amount of one request.
    pub largest_request: u8,
    /// Whether namespaces may leave the tenant.
    pub leaving: bool,
    /// Whether the grant may fall by one, once.
    pub downgrade: bool,
    /// Whether the pod size is taken to be two units whenever every use is even.
    pub pods_of_two: bool,
}

/// The allocator under test: the right one, or one that breaks a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allocator {
    Right,
    /// Counts a shrink as done when `spec.hard` shows it.
    CountsShrinksAtOnce,
    /// Counts a shrink as done when it has sent the write.
    CountsShrinksWhenSent,
    /// Forgets the values that its open writes may still set.
    IgnoresPending,
    /// Does not count use that is above the quota.
    IgnoresUse,
    /// Plans after a restart without a new list.
    RestartsBlind,
    /// After a restart does not wait until the writes of its predecessor have landed or failed.
    RestartsEarly,
    /// Follows use alone.
    IgnoresRequests,
    /// Forgets a refused request as soon as it would fit, before the retry.
    DropsRequestsThatFit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The allocator plans and sends what differs.
    Plan,
    Land(usize, u8),
    /// The failure of the write is certain.
    Fail(usize, u8),
    /// The quota controller copies `spec.hard`.
    Confirm(usize),
    Watch(usize),
    Create(usize),
    Delete(usize),
    Refuse(usize, u8),
    Retry(usize),
    GiveUp(usize),
    Leave(usize),
    /// The allocator restarts; of the writes in flight those land whose bit is set.
    Crash(u32),
    Downgrade,
}

impl Event {
    /// Whether it happens sooner or later without a change of demand.
    pub fn is_progress(self) -> bool {
        matches!(self, Self::Plan | Self::Land(..) | Self::Confirm(_) | Self::Watch(_))
    }
}

/// The next `spec.hard` of each namespace, and whether the spread is settled.
type Next<const N: usize> = ([u8; N], bool);

/// The allocator under test and the limits of the model.
pub struct World<const N: usize> {
    allocator: Allocator,
    pub spread: Spread,
    pub weights: [u32; N],
    pub limits: Limits,
    plans: RefCell<HashMap<State<N>, Next<N>>>,
}

fn amount(units: u8) -> Quantity {
    Quantity::from_nanos(i128::from(units) * 1_000_000_000, Format::DecimalSi)
}

impl<const N: usize> World<N> {
    pub fn new(allocator: Allocator, spread: Spread, weights: [u32; N], limits: Limits) -> Self {
        Self {
            allocator,
            spread,
            weights,
            limits,
            plans: RefCell::default(),
        }
    }

    pub fn start(&self) -> State<N> {
        State {
            grant: self.limits.grant,
            namespaces: [Namespace::default(); N],
        }
    }

    fn observe(&self, i: usize, namespace: &Namespace) -> Observation {
        let Quota { spec, status, used } = namespace.seen;
        let pending = namespace
            .writes
            .iter()
            .flatten()
            .filter(|write| !write.orphan)
            .map(|write| write.value);
        let right = Observation {
            weight: (!namespace.leaving).then_some(self.weights[i]),
            spec_hard: spec.map(amount),
            status_hard: status.map(amount),
            used: Some(amount(used)),
            pending: pending.clone().map(amount).collect(),
            asked: (namespace.asked > 0).then(|| amount(namespace.asked)),
        };
        match self.allocator {
            Allocator::Right | Allocator::RestartsBlind | Allocator::RestartsEarly => right,
            Allocator::CountsShrinksAtOnce => Observation {
                status_hard: right.spec_hard,
                ..right
            },
            Allocator::CountsShrinksWhenSent => Observation {
                spec_hard: pending.min().or(spec).map(amount),
                status_hard: None,
                pending: Vec::new(),
                ..right
            },
            Allocator::IgnoresPending => Observation {
                pending: Vec::new(),
                ..right
            },
            Allocator::IgnoresUse => Observation { used: None, ..right },
            Allocator::IgnoresRequests => Observation { asked: None, ..right },
            Allocator::DropsRequestsThatFit => {
                let fits = used + namespace.asked <= spec.unwrap_or(0);
                Observation {
                    asked: right.asked.filter(|_| !fits),
                    ..right
                }
            }
        }
    }

    /// What is wrong with the state after an event. For the right allocator this checks the claim of the proof; for one
    /// that breaks a rule only its purpose, that the tenant stays within its grant.
    pub fn unsafety(&self, event: Event, before: &State<N>, after: &State<N>) -> Option<String> {
        let lowered = after.grant < self.limits.grant;
        if !lowered && after.hard().max(after.used()) > after.grant {
            return Some(format!("{event:?} brought the tenant above its grant"));
        }
        let claim = after.sum() <= before.sum().max(after.grant);
        (self.allocator == Allocator::Right && !claim)
            .then(|| format!("{event:?} may bring the tenant above its grant"))
    }

    /// The next `spec.hard` of each namespace, and whether the spread is settled.
    pub fn plan(&self, state: &State<N>) -> Next<N> {
        let mut key = *state;
        for namespace in &mut key.namespaces {
            namespace.now = Quota::default();
        }
        *self.plans.borrow_mut().entry(key).or_insert_with(|| {
            let seen = state.namespaces.iter().enumerate();
            let seen: BTreeMap<String, Observation> = seen
                .map(|(i, namespace)| (i.to_string(), self.observe(i, namespace)))
                .collect();
            let used = || state.namespaces.iter().map(|namespace| namespace.seen.used);
            let of_two = self.limits.pods_of_two && used().sum::<u8>() > 0 && used().all(|used| used % 2 == 0);
            let plan = plan(
                Some(amount(state.grant)),
                Unit::Whole,
                of_two.then(|| amount(2).nanos()),
                self.spread,
                &seen,
            );
            let mut hard = plan
                .hard
                .values()
                .map(|hard| u8::try_from(hard.to_units().unwrap()).unwrap());
            ([(); N].map(|()| hard.next().unwrap()), plan.settled)
        })
    }

    fn send(&self, state: &State<N>) -> State<N> {
        let (next, _) = self.plan(state);
        let mut sent = *state;
        for (namespace, next) in sent.namespaces.iter_mut().zip(next) {
            let open: Vec<Write> = namespace.writes.into_iter().flatten().collect();
            let is_current = namespace.seen.spec == Some(next);
            let sends = !is_current && open.len() < self.limits.writes && !open.iter().any(|write| write.value == next);
            if sends {
                let write = Write {
                    value: next,
                    landed: false,
                    orphan: false,
                };
                *namespace = namespace.with_writes(open.into_iter().chain([write]));
            }
        }
        sent
    }

    /// Every possible event with the state after it, without events that change nothing.
    pub fn events(&self, state: &State<N>) -> Vec<(Event, State<N>)> {
        let mut events = vec![(Event::Plan, self.send(state))];
        for (i, namespace) in state.namespaces.iter().enumerate() {
            self.events_in(state, i, namespace, &mut events);
        }
        let open: usize = state
            .namespaces
            .iter()
            .map(|n| n.writes.iter().flatten().filter(|w| !w.landed).count())
            .sum();
        let fates = if self.allocator == Allocator::RestartsEarly {
            1
        } else {
            1 << open
        };
        events.extend((0..fates).map(|fates| (Event::Crash(fates), self.crash(state, fates))));
        if self.limits.downgrade && state.grant == self.limits.grant {
            let lower = State {
                grant: state.grant - 1,
                ..*state
            };
            events.push((Event::Downgrade, lower));
        }
        events.retain(|(_, next)| next != state);
        events
    }

    fn events_in(&self, state: &State<N>, i: usize, namespace: &Namespace, events: &mut Vec<(Event, State<N>)>) {
        let Quota { spec, status, used } = namespace.now;
        let open: Vec<Write> = namespace.writes.into_iter().flatten().collect();
        for (k, write) in open.iter().enumerate().filter(|(_, write)| !write.landed) {
            let others = open
                .iter()
                .enumerate()
                .filter(|(j, _)| *j != k)
                .map(|(_, write)| *write);
            let landed = Write { landed: true, ..*write };
            let landed = others.clone().chain((!write.orphan).then_some(landed));
            events.push((
                Event::Land(i, write.value),
                state.with(i, |n| {
                    n.now.spec = Some(write.value);
                    *n = n.with_writes(landed);
                }),
            ));
            events.push((
                Event::Fail(i, write.value),
                state.with(i, |n| *n = n.with_writes(others)),
            ));
        }
        if spec != status {
            events.push((Event::Confirm(i), state.with(i, |n| n.now.status = spec)));
        }
        events.push((Event::Watch(i), state.with(i, |n| *n = n.observed())));
        // Before the quota has a status, nobody has rights.
        let admits = |more: u8| status.is_some_and(|hard| used + more <= hard);
        if admits(1) {
            events.push((Event::Create(i), state.with(i, |n| n.now.used += 1)));
        }
        if used > 0 {
            events.push((Event::Delete(i), state.with(i, |n| n.now.used -= 1)));
        }
        for size in 1..=self.limits.largest_request {
            if status.is_some() && !admits(size) && namespace.asked == 0 {
                events.push((Event::Refuse(i, size), state.with(i, |n| n.asked = size)));
            }
        }
        if namespace.asked > 0 {
            events.push((Event::GiveUp(i), state.with(i, |n| n.asked = 0)));
            if admits(namespace.asked) {
                events.push((
                    Event::Retry(i),
                    state.with(i, |n| {
                        n.now.used += n.asked;
                        n.asked = 0;
                    }),
                ));
            }
        }
        if self.limits.leaving && !namespace.leaving {
            events.push((Event::Leave(i), state.with(i, |n| n.leaving = true)));
        }
    }

    /// The next allocator lists after every write in flight has landed or failed.
    fn crash(&self, state: &State<N>, mut fates: u32) -> State<N> {
        let mut next = *state;
        for namespace in &mut next.namespaces {
            let open: Vec<Write> = namespace
                .writes
                .into_iter()
                .flatten()
                .filter(|write| !write.landed)
                .collect();
            if self.allocator == Allocator::RestartsEarly {
                let orphans = open.into_iter().map(|write| Write { orphan: true, ..write });
                *namespace = namespace.with_writes(orphans);
            } else {
                for write in open {
                    if fates & 1 == 1 {
                        namespace.now.spec = Some(write.value);
                    }
                    fates >>= 1;
                }
                *namespace = namespace.with_writes([]);
            }
            if self.allocator != Allocator::RestartsBlind {
                namespace.seen = namespace.now;
            }
        }
        next
    }
}
