//! Tests of the allocator in a small simulated cluster in which events happen in any order.

use proptest::prelude::*;

use super::*;

const NANOS: i128 = 1_000_000_000;

/// One revision of a quota.
#[derive(Clone, Copy, Debug, Default)]
struct Revision {
    spec: Option<i128>,
    status: Option<i128>,
    used: i128,
}

#[derive(Clone, Copy, Debug)]
struct Write {
    value: i128,
    /// The revision that the write made, once it has landed.
    landed: Option<usize>,
}

/// All revisions of a namespace in the API server, and the last one that the allocator's watch has shown.
#[derive(Clone, Debug)]
struct Namespace {
    weight: Option<u32>,
    revisions: Vec<Revision>,
    seen: usize,
    writes: Vec<Write>,
    asked: Option<i128>,
}

impl Namespace {
    fn now(&self) -> Revision {
        self.revisions[self.revisions.len() - 1]
    }

    fn observe(&self) -> Observation {
        let Revision { spec, status, used } = self.revisions[self.seen];
        let amount = |n: i128| Quantity::from_nanos(n * NANOS, Format::DecimalSi);
        let pending = self
            .writes
            .iter()
            .filter(|write| write.landed.is_none_or(|at| at > self.seen));
        Observation {
            weight: self.weight,
            spec_hard: spec.map(amount),
            status_hard: status.map(amount),
            used: Some(amount(used)),
            pending: pending.map(|write| amount(write.value)).collect(),
            asked: self.asked.map(amount),
        }
    }

    /// The namespace's term of the claim: the largest of `spec.hard`, `status.hard`, use and writes in flight.
    fn term(&self) -> i128 {
        let Revision { spec, status, used } = self.now();
        let in_flight = self
            .writes
            .iter()
            .filter(|write| write.landed.is_none())
            .map(|write| write.value)
            .max();
        spec.into_iter()
            .chain(status)
            .chain(in_flight)
            .chain([used])
            .max()
            .unwrap_or(0)
    }

    fn push(&mut self, revision: Revision) {
        self.revisions.push(revision);
    }
}

#[derive(Clone, Debug)]
struct World {
    grant: i128,
    spread: Spread,
    pod_size: Option<i128>,
    namespaces: BTreeMap<String, Namespace>,
    added: usize,
}

#[derive(Clone, Debug)]
enum Event {
    Plan,
    Land(usize, usize),
    Fail(usize, usize),
    Confirm(usize),
    Use(usize, i128),
    Ask(usize, Option<i128>),
    Watch(usize, usize),
    Weigh(usize, Option<u32>),
    Grant(i128),
    PodSize(Option<i128>),
    Add(u32),
    Vanish(usize),
    Crash(Vec<bool>),
}

impl World {
    fn new(grant: i128, spread: Spread) -> Self {
        Self {
            grant,
            spread,
            pod_size: None,
            namespaces: BTreeMap::new(),
            added: 0,
        }
    }

    fn sum(&self) -> i128 {
        self.namespaces.values().map(Namespace::term).sum()
    }

    fn plan(&self) -> Plan {
        let seen = self
            .namespaces
            .iter()
            .map(|(name, n)| (name.clone(), n.observe()))
            .collect();
        plan(
            Some(Quantity::from_nanos(self.grant * NANOS, Format::DecimalSi)),
            Unit::Whole,
            self.pod_size.map(|units| units * NANOS),
            self.spread,
            &seen,
        )
    }

    fn pick(&mut self, i: usize) -> Option<&mut Namespace> {
        let n = self.namespaces.len().max(1);
        self.namespaces.values_mut().nth(i % n)
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Plan => self.send_plan(),
            Event::Land(i, w) => {
                if let Some(namespace) = self.pick(i) {
                    let at = namespace.revisions.len();
                    let count = namespace.writes.len().max(1);
                    if let Some(write) = namespace
                        .writes
                        .get_mut(w % count)
                        .filter(|write| write.landed.is_none())
                    {
                        write.landed = Some(at);
                        let spec = Some(write.value);
                        namespace.push(Revision {
                            spec,
                            ..namespace.now()
                        });
                    }
                }
            }
            Event::Fail(i, w) => {
                if let Some(namespace) = self.pick(i) {
                    let count = namespace.writes.len().max(1);
                    if namespace
                        .writes
                        .get(w % count)
                        .is_some_and(|write| write.landed.is_none())
                    {
                        namespace.writes.remove(w % count);
                    }
                }
            }
            Event::Confirm(i) => {
                if let Some(namespace) = self.pick(i) {
                    namespace.push(Revision {
                        status: namespace.now().spec,
                        ..namespace.now()
                    });
                }
            }
            Event::Use(i, wanted) => {
                if let Some(namespace) = self.pick(i) {
                    // Before the quota has a status, nobody has rights. Admission refuses a rise above `status.hard`.
                    let Revision { status, used, .. } = namespace.now();
                    if wanted <= used.max(status.unwrap_or(0)) {
                        namespace.push(Revision {
                            used: wanted,
                            ..namespace.now()
                        });
                    }
                }
            }
            Event::Ask(i, asked) => {
                if let Some(namespace) = self.pick(i) {
                    namespace.asked = asked;
                }
            }
            Event::Watch(i, by) => {
                if let Some(namespace) = self.pick(i) {
                    namespace.seen = (namespace.seen + by).min(namespace.revisions.len() - 1);
                }
            }
            Event::Weigh(i, weight) => {
                if let Some(namespace) = self.pick(i) {
                    namespace.weight = weight;
                }
            }
            Event::Grant(grant) => self.grant = grant,
            Event::PodSize(size) => self.pod_size = size,
            Event::Add(weight) => {
                self.added += 1;
                let revisions = vec![Revision::default()];
                let namespace = Namespace {
                    weight: Some(weight),
                    revisions,
                    seen: 0,
                    writes: Vec::new(),
                    asked: None,
                };
                self.namespaces.insert(format!("n{}", self.added * 7 % 100), namespace);
            }
            Event::Vanish(i) => {
                let name = self
                    .namespaces
                    .iter()
                    .filter(|(_, n)| n.now().used == 0)
                    .nth(i)
                    .map(|(name, _)| name.clone());
                self.namespaces.retain(|key, _| Some(key) != name.as_ref());
            }
            Event::Crash(fates) => self.crash(&fates),
        }
    }

    fn send_plan(&mut self) {
        for (name, hard) in self.plan().hard {
            let namespace = self.namespaces.get_mut(&name).unwrap();
            let value = hard.to_units().unwrap();
            if namespace.observe().spec_hard != Some(hard) {
                namespace.writes.push(Write { value, landed: None });
            }
        }
    }

    /// Writes in flight land or fail, in the order in which they were sent; then the next allocator lists.
    fn crash(&mut self, fates: &[bool]) {
        for (namespace, lands) in self.namespaces.values_mut().zip(fates) {
            for write in namespace
                .writes
                .drain(..)
                .filter(|write| *lands && write.landed.is_none())
            {
                let now = namespace.revisions[namespace.revisions.len() - 1];
                namespace.revisions.push(Revision {
                    spec: Some(write.value),
                    ..now
                });
            }
            namespace.seen = namespace.revisions.len() - 1;
        }
    }

    /// Every sent write lands, the quota controller confirms it and the watch shows it.
    fn calm(&mut self) {
        let fates = vec![true; self.namespaces.len()];
        self.happen(Event::Crash(fates));
        for i in 0..self.namespaces.len() {
            self.happen(Event::Confirm(i));
            self.happen(Event::Watch(i, usize::MAX >> 1));
        }
    }
}

fn event() -> impl Strategy<Value = Event> {
    let i = || 0_usize..6;
    prop_oneof![
        6 => Just(Event::Plan),
        6 => (i(), 0_usize..8).prop_map(|(i, w)| Event::Land(i, w)),
        1 => (i(), 0_usize..8).prop_map(|(i, w)| Event::Fail(i, w)),
        6 => i().prop_map(Event::Confirm),
        6 => (i(), 0_i128..30).prop_map(|(i, used)| Event::Use(i, used)),
        2 => (i(), prop::option::of(1_i128..20)).prop_map(|(i, asked)| Event::Ask(i, asked)),
        6 => (i(), 1_usize..4).prop_map(|(i, by)| Event::Watch(i, by)),
        1 => (i(), prop::option::weighted(0.8, 0_u32..5)).prop_map(|(i, weight)| Event::Weigh(i, weight)),
        1 => (0_i128..40).prop_map(Event::Grant),
        1 => prop::option::of(1_i128..9).prop_map(Event::PodSize),
        1 => (0_u32..5).prop_map(Event::Add),
        1 => i().prop_map(Event::Vanish),
        1 => prop::collection::vec(any::<bool>(), 12).prop_map(Event::Crash),
    ]
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let additions = prop::collection::vec((0_u32..5).prop_map(Event::Add), 1..5);
    (additions, prop::collection::vec(event(), 0..120)).prop_map(|(additions, rest)| [additions, rest].concat())
}

fn spread() -> impl Strategy<Value = Spread> {
    prop_oneof![
        Just(Spread::Fixed),
        any::<u8>().prop_map(|floor_percent| Spread::Demand { floor_percent })
    ]
}

proptest! {
    #[test]
    fn the_sum_never_rises_above_the_grant(grant in 0_i128..40, spread in spread(), events in events()) {
        let mut world = World::new(grant, spread);
        for event in events {
            let before = world.sum();
            world.happen(event.clone());
            let after = world.sum();
            prop_assert!(
                after <= before.max(world.grant) ,
                "{event:?} raised the sum from {before} to {after} of {}: {world:?}", world.grant
            );
        }
    }

    #[test]
    fn a_demand_spread_settles_from_any_state(
        grant in 0_i128..40, floor_percent in any::<u8>(), events in events(),
    ) {
        let mut world = World::new(grant, Spread::Demand { floor_percent });
        for event in events {
            world.happen(event);
        }
        world.calm();
        let hard = |plan: &Plan| -> Vec<Option<i128>> { plan.hard.values().map(|q| q.to_units()).collect() };
        for _ in 0..4 {
            world.happen(Event::Plan);
            world.calm();
        }
        let plan = world.plan();
        prop_assert!(plan.settled, "{plan:?} {world:?}");
        let now: Vec<Option<i128>> = world.namespaces.values().map(|n| n.now().spec).collect();
        prop_assert_eq!(hard(&plan), now, "a settled plan writes nothing");
        let used: i128 = world.namespaces.values().map(|n| n.now().used).sum();
        if used <= world.grant && world.namespaces.values().any(|n| n.weight.is_some()) {
            prop_assert_eq!(hard(&plan).into_iter().flatten().sum::<i128>(), world.grant, "nothing is idle");
        }
    }

    #[test]
    fn a_fixed_spread_settles_in_three_calm_rounds_from_any_state(grant in 0_i128..40, events in events(), fit in any::<bool>()) {
        let mut world = World::new(grant, Spread::Fixed);
        for event in events {
            world.happen(event);
        }
        world.calm();
        let weights: Vec<u32> = world.namespaces.values().filter_map(|n| n.weight).collect();
        let mut shares = split(world.grant, 1, &weights).into_iter();
        let shares: Vec<i128> =
            world.namespaces.values().map(|n| n.weight.and_then(|_| shares.next()).unwrap_or(0)).collect();
        if fit {
            for (namespace, share) in world.namespaces.values_mut().zip(&shares) {
                let used = namespace.now().used.min(*share);
                namespace.push(Revision { used, ..namespace.now() });
            }
            world.calm();
        }
        for _ in 0..3 {
            world.happen(Event::Plan);
            world.calm();
        }
        let plan = world.plan();
        prop_assert!(plan.settled, "{plan:?} {world:?}");
        let hard: Vec<i128> = plan.hard.values().map(|q| q.to_units().unwrap()).collect();
        let now: Vec<i128> = world.namespaces.values().filter_map(|n| n.now().spec).collect();
        prop_assert_eq!(&hard, &now, "a settled plan writes nothing");
        if fit {
            prop_assert_eq!(&hard, &shares);
        }
        let used: i128 = world.namespaces.values().map(|n| n.now().used).sum();
        prop_assert_eq!(plan.above_grant.is_some(), used > world.grant);
        if used <= world.grant && !weights.is_empty() {
            prop_assert_eq!(hard.iter().sum::<i128>(), world.grant, "nothing is idle");
        }
    }
}
