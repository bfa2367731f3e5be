//! Visits every state, and reports a violation with the shortest trace to it.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt,
};

use super::{
    state::State,
    world::{Event, World},
};
use crate::allocation::{Spread, split};

pub struct Found<const N: usize> {
    pub states: usize,
    pub edges: usize,
    pub violation: Option<Violation<N>>,
}

pub struct Violation<const N: usize> {
    pub what: String,
    pub trace: Vec<Event>,
    pub state: State<N>,
}

impl<const N: usize> fmt::Display for Violation<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\nafter {:#?}\nin {:#?}", self.what, self.trace, self.state)
    }
}

pub struct Search<const N: usize> {
    world: World<N>,
    index: HashMap<State<N>, u32>,
    states: Vec<State<N>>,
    /// The state from which each state was first reached.
    from: Vec<u32>,
    edges: usize,
    /// Edges that happen without a change of demand.
    progress: Vec<(u32, u32)>,
}

impl<const N: usize> Search<N> {
    pub fn run(world: World<N>) -> Found<N> {
        let mut search = Self {
            world,
            index: HashMap::new(),
            states: Vec::new(),
            from: Vec::new(),
            edges: 0,
            progress: Vec::new(),
        };
        let violation = search.safety().or_else(|| search.liveness());
        let violation = violation.map(|(what, at)| Violation {
            what,
            trace: search.trace(at),
            state: search.states[at],
        });
        Found {
            states: search.states.len(),
            edges: search.edges,
            violation,
        }
    }

    fn number(&mut self, state: State<N>, from: usize) -> usize {
        let next = self.states.len();
        match self.index.entry(state) {
            Entry::Occupied(entry) => *entry.get() as usize,
            Entry::Vacant(entry) => {
                entry.insert(u32::try_from(next).unwrap());
                self.states.push(state);
                self.from.push(u32::try_from(from).unwrap());
                next
            }
        }
    }

    /// Breadth-first, so that a trace is as short as possible.
    fn safety(&mut self) -> Option<(String, usize)> {
        self.number(self.world.start(), 0);
        let mut at = 0;
        while at < self.states.len() {
            let state = self.states[at];
            for (event, next) in self.world.events(&state) {
                let to = self.number(next, at);
                self.edges += 1;
                if event.is_progress() {
                    self.progress
                        .push((u32::try_from(at).unwrap(), u32::try_from(to).unwrap()));
                }
                if let Some(what) = self.world.unsafety(event, &state, &next) {
                    return Some((what, to));
                }
            }
            at += 1;
        }
        None
    }

    /// Without a change of demand there is no cycle, and every state without further progress meets the demand.
    fn liveness(&self) -> Option<(String, usize)> {
        let mut incoming = vec![0_u32; self.states.len()];
        let mut outgoing = vec![0_u32; self.states.len()];
        for (from, to) in &self.progress {
            outgoing[*from as usize] += 1;
            incoming[*to as usize] += 1;
        }
        // Edges are grouped by their start, in order.
        let starts: Vec<usize> = outgoing
            .iter()
            .scan(0, |start, n| Some(std::mem::replace(start, *start + *n as usize)))
            .collect();
        let mut ready: Vec<usize> = (0..incoming.len()).filter(|&i| incoming[i] == 0).collect();
        let mut sorted = 0;
        while let Some(at) = ready.pop() {
            sorted += 1;
            for (_, to) in &self.progress[starts[at]..starts[at] + outgoing[at] as usize] {
                incoming[*to as usize] -= 1;
                if incoming[*to as usize] == 0 {
                    ready.push(*to as usize);
                }
            }
        }
        if sorted < self.states.len() {
            let (at, circle) = self.circle(&incoming);
            return Some((
                format!("the spread moves in circles while demand does not change: {circle:?}"),
                at,
            ));
        }
        let mut resting = (0..self.states.len()).filter(|&i| outgoing[i] == 0);
        resting.find_map(|i| Some((self.unmet(&self.states[i])?, i)))
    }

    /// A state on a cycle and the events of that cycle; some states could not be sorted topologically, so there is one.
    fn circle(&self, unsorted: &[u32]) -> (usize, Vec<Event>) {
        let stuck = |i: usize| unsorted[i] > 0;
        // Backwards: every unsorted state has an unsorted predecessor, so this walk ends on a cycle.
        let before: HashMap<usize, usize> = self
            .progress
            .iter()
            .map(|(from, to)| (*from as usize, *to as usize))
            .filter(|(from, to)| stuck(*from) && stuck(*to))
            .map(|(from, to)| (to, from))
            .collect();
        let back = |at: usize| before.get(&at).copied().unwrap_or(at);
        let start = (0..unsorted.len()).find(|&i| stuck(i)).unwrap_or_default();
        let on_it = (0..unsorted.len()).fold(start, |at, _| back(at));
        let mut events = Vec::new();
        let mut at = on_it;
        loop {
            let from = back(at);
            events.extend(self.led(from, at));
            at = from;
            if at == on_it {
                break;
            }
        }
        events.reverse();
        (on_it, events)
    }

    fn led(&self, from: usize, to: usize) -> Option<Event> {
        let events = self.world.events(&self.states[from]).into_iter();
        events
            .filter(|(_, next)| *next == self.states[to])
            .map(|(event, _)| event)
            .min_by_key(|event| !event.is_progress())
    }

    /// What is wrong with a state in which nothing happens without a change of demand.
    fn unmet(&self, state: &State<N>) -> Option<String> {
        let (hard, settled) = self.world.plan(state);
        if !settled {
            return Some("nothing moves but the spread is not settled".to_owned());
        }
        if state.used() > state.grant || state.namespaces.iter().all(|n| n.leaving) {
            return None;
        }
        if hard.iter().sum::<u8>() != state.grant {
            return Some("a part of the grant is idle".to_owned());
        }
        let Spread::Demand { floor_percent } = self.world.spread else {
            return None;
        };
        if self.world.limits.pods_of_two {
            // Pieces smaller than a pod may stay idle although another namespace needs that amount.
            return None;
        }
        let all_zero = self.world.weights == [0; N];
        let takes_part = |i: usize| !state.namespaces[i].leaving && (self.world.weights[i] > 0 || all_zero);
        let taking: Vec<usize> = (0..N).filter(|&i| takes_part(i)).collect();
        let weights: Vec<u32> = taking.iter().map(|&i| self.world.weights[i]).collect();
        let kept: u8 = (0..N)
            .filter(|&i| !takes_part(i))
            .map(|i| state.namespaces[i].now.used)
            .sum();
        let shares = split(i128::from(state.grant - kept), 1, &weights);
        let percent = i128::from(floor_percent);
        let used = |i: usize| i128::from(state.namespaces[i].now.used);
        let has = |i: usize| i128::from(hard[i]);
        let need = |i: usize| used(i) + i128::from(state.namespaces[i].asked);
        // What a namespace never gives: its use, its floor, and the room of a request that fits.
        let firm = |(&i, share): (&usize, &i128)| {
            let met = if need(i) <= has(i) { need(i) } else { 0 };
            used(i).max(share * percent / 100).max(met)
        };
        let firm: Vec<i128> = taking.iter().zip(&shares).map(firm).collect();
        let spare = i128::from(state.grant - kept) - firm.iter().sum::<i128>();
        // What it gives only for such a request.
        let leasts: Vec<i128> = shares.iter().map(|share| percent.min(*share).min(1)).collect();
        let keeps: Vec<i128> = firm.iter().zip(&leasts).map(|(firm, least)| *firm.max(least)).collect();
        let starves = |(&i, least): (&usize, &i128)| has(i) < *least;
        if taking.iter().zip(&leasts).any(starves) && taking.iter().zip(&keeps).any(|(&j, keeps)| has(j) > *keeps) {
            return Some("a namespace has nothing while another has more than it must".to_owned());
        }
        for (&i, own) in taking.iter().zip(&firm) {
            if need(i) > has(i) && need(i) - own <= spare {
                return Some(format!("namespace {i} waits for what there is room for"));
            }
            let headroom = |i: usize| (used(i) * 5 + 2) / 3;
            let hungry = used(i) > 0 && used(i) * 5 >= has(i) * 4 && has(i) < headroom(i);
            let gives = |(&j, keeps): (&usize, &i128)| has(j) > headroom(j).max(*keeps);
            if hungry && taking.iter().zip(&keeps).any(gives) {
                return Some(format!("namespace {i} is short while another has more than it needs"));
            }
        }
        None
    }

    fn trace(&self, mut at: usize) -> Vec<Event> {
        let mut events = Vec::new();
        while at != 0 {
            let from = self.from[at] as usize;
            let led = self
                .world
                .events(&self.states[from])
                .into_iter()
                .find(|(_, next)| *next == self.states[at]);
            events.extend(led.map(|(event, _)| event));
            at = from;
        }
        events.reverse();
        events
    }
}
