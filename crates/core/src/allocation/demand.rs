//! How much each namespace should come to have when the spread follows demand.
//!
//! Every rule below looks at what is observed now, and `spec.hard` is the only memory: a restart plans the same.
//! Amounts are handed out in layers, each out of what those above it left, so that of two wishes the better founded
//! one wins whatever the spread is at the moment:
//!
//! 1. **Use**: what is used is never taken away.
//! 2. **Floor**: a part of the share by weight, so that nobody is starved.
//! 3. **Asked**: what would let a refused request in. Whole or not at all, as a part of it helps nobody; first who
//!    then has least for its weight. It takes all that siblings do not use above their floors, so that a large request
//!    finds room that lies scattered.
//! 4. **Least**: one step each, as nothing tells of a bare pod that a namespace with 0 refused. After what is asked, or
//!    where a share is a unit or two (GPUs) the idle steps of the first namespaces would keep the last waiting for ever.
//! 5. **Headroom**: who uses 4/5 of what it has wants to have 5/3 of its use; who uses less keeps as
//!    much of that as it has.
//! 6. **Hold**: everybody keeps what it has, those with least for their weight first. Who has more than its share and
//!    uses 2/5 of it or less keeps only its share or its headroom.
//! 7. **Rest**: what is left goes to headroom and then to the shares, so that nothing lies idle.
//!
//! Where all pods of a tenant take the same of cpu or memory, as use and the number of pods tell, a step is what one pod
//! takes: a piece that is smaller helps nobody, and a bare pod that finds none tells nobody how large it is.
//!
//! # Why it does not thrash
//!
//! With use and asks as they are, targets that are reached stay, and so does the step: it does not look at `spec.hard`. Layers 1 to 4 do not look at `spec.hard`. In 5 and 6 a
//! namespace that lost comes back with a lower wish that is just what it got, and one that won wishes no less than it
//! got, which filling does not mind. One that gained headroom uses 3/5 of what it has, one that gave back uses at
//! least that or is at its share: both lie between the thresholds, so use may move that far before anything
//! moves. The model check finds no cycle, for any order of events, while demand stands still.

use std::{cmp::Ordering, collections::BTreeMap};

use super::{Observation, Unit, fill::fill, split, sum};

/// A ratio of two small numbers.
type Ratio = (i128, i128);

/// Use in what a namespace has, from which on it wants more.
const HUNGRY: Ratio = (4, 5);
/// Use in what a namespace has, down to which it gives back what it has above its share.
const IDLE: Ratio = (2, 5);
/// What a hungry namespace wants to have in what it uses.
const HEADROOM: Ratio = (5, 3);

/// The target of each namespace in nano-units, in the order of `namespaces`.
///
/// They sum to `total` nano-units, and none is below what its namespace uses. If all use together is more than `total`,
/// they are just what is used. Who has weight 0 while others have more, or is on its way out, keeps what it uses. If
/// there are no others the rest lies idle. Targets are multiples of `step` nano-units where there is room to round up
/// what is used, else of `unit`; what `total` has beyond goes to the first that takes part.
pub fn targets(
    total: i128,
    step: i128,
    unit: Unit,
    floor_percent: u8,
    namespaces: &BTreeMap<String, Observation>,
) -> Vec<i128> {
    let mut targets: Vec<i128> = namespaces.values().map(Observation::used).collect();
    let used = sum(targets.iter().copied());
    let all_zero = namespaces
        .values()
        .all(|seen| seen.weight.is_none_or(|weight| weight == 0));
    let weigh = |seen: &Observation| match seen.weight {
        Some(0) if all_zero => Some(1),
        Some(0) | None => None,
        Some(weight) => Some(weight),
    };
    let taking: Vec<(usize, u32, &Observation)> = namespaces
        .values()
        .enumerate()
        .filter_map(|(i, seen)| Some((i, weigh(seen)?, seen)))
        .collect();
    let Some(&(first, ..)) = taking.first() else {
        return targets;
    };
    if used >= total {
        return targets;
    }
    let kept = used - sum(taking.iter().map(|(.., seen)| seen.used()));
    let room = total - kept;
    for step in [step, unit.nanos()] {
        let seats: Vec<Seat> = taking
            .iter()
            .map(|(_, weight, seen)| Seat::of(*weight, seen, step))
            .collect();
        if sum(seats.iter().map(|seat| seat.used)) <= room / step {
            let levels = Spreading::new(room / step, floor_percent, seats).levels();
            for ((i, ..), level) in taking.iter().zip(levels) {
                targets[*i] = level * step;
            }
            targets[first] += room % step;
            return targets;
        }
    }
    targets[first] += total - used;
    targets
}

/// What is seen of one namespace that takes part, in steps.
struct Seat {
    weight: u32,
    /// Rounded up.
    used: i128,
    /// `spec.hard`, rounded down.
    hard: i128,
    /// Use with what is asked for, rounded up; 0 if nothing is.
    need: i128,
}

impl Seat {
    fn of(weight: u32, seen: &Observation, step: i128) -> Self {
        let up = |nanos: i128| nanos / step + i128::from(nanos % step > 0);
        let asked = seen.asked.map_or(0, |asked| asked.nanos().max(0));
        Self {
            weight,
            used: up(seen.used()),
            hard: super::nanos(seen.spec_hard) / step,
            need: if asked > 0 {
                up(seen.used().saturating_add(asked))
            } else {
                0
            },
        }
    }

    fn headroom(&self) -> i128 {
        let (times, parts) = HEADROOM;
        let wanted = self.used.saturating_mul(times);
        wanted / parts + i128::from(wanted % parts > 0)
    }

    fn is_hungry(&self) -> bool {
        self.used > 0 && self.uses(HUNGRY) != Ordering::Less
    }

    /// How use compares to a part of what it has.
    fn uses(&self, (times, parts): Ratio) -> Ordering {
        self.used.saturating_mul(parts).cmp(&self.hard.saturating_mul(times))
    }
}

/// The layers, and what they have handed out so far.
struct Spreading {
    room: i128,
    seats: Vec<Seat>,
    weights: Vec<u32>,
    shares: Vec<i128>,
    floors: Vec<i128>,
    leasts: Vec<i128>,
    levels: Vec<i128>,
}

impl Spreading {
    fn new(room: i128, floor_percent: u8, seats: Vec<Seat>) -> Self {
        let weights: Vec<u32> = seats.iter().map(|seat| seat.weight).collect();
        let shares = split(room, 1, &weights);
        let percent = i128::from(floor_percent.min(100));
        let floor = |share: &i128| share / 100 * percent + share % 100 * percent / 100;
        Self {
            room,
            floors: shares.iter().map(floor).collect(),
            leasts: shares.iter().map(|share| percent.min(*share).min(1)).collect(),
            levels: seats.iter().map(|seat| seat.used).collect(),
            weights,
            shares,
            seats,
        }
    }

    fn levels(mut self) -> Vec<i128> {
        self.raise(self.floors.clone());
        self.admit();
        self.raise(self.leasts.clone());
        self.headroom();
        self.raise(self.holds());
        self.raise(self.seats.iter().map(Seat::headroom).collect());
        self.raise(self.shares.clone());
        self.levels
    }

    fn left(&self) -> i128 {
        self.room - sum(self.levels.iter().copied())
    }

    /// Towards `to` with what is left, the lowest for its weight first.
    fn raise(&mut self, to: Vec<i128>) {
        let order: Vec<usize> = (0..to.len()).collect();
        self.levels = fill(self.left(), &self.levels, &to, &self.weights, &order);
    }

    /// Indexes, by amount for weight.
    fn least_first(&self, amount: impl Fn(usize) -> i128) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.seats.len()).collect();
        // Whole part and remainder, as the product of amount and weight may overflow.
        let parts = |i: usize| {
            let weight = i128::from(self.weights[i]);
            (amount(i) / weight, amount(i) % weight, weight)
        };
        order.sort_by(|&i, &j| {
            let ((whole, rest, weight), (other, its_rest, its_weight)) = (parts(i), parts(j));
            whole.cmp(&other).then((rest * its_weight).cmp(&(its_rest * weight)))
        });
        order
    }

    fn admit(&mut self) {
        for i in self.least_first(|i| self.seats[i].need) {
            let gap = self.seats[i].need - self.levels[i];
            if gap > 0 && gap <= self.left() {
                self.levels[i] += gap;
            }
        }
    }

    /// By equal gains for equal weights, and not from the lowest up: a namespace that is full gets its part of the room
    /// also while a sibling of the same size has some.
    fn headroom(&mut self) {
        let want = |seat: &Seat| {
            let headroom = seat.headroom();
            if seat.is_hungry() {
                headroom
            } else {
                headroom.min(seat.hard)
            }
        };
        let gaps: Vec<i128> = self
            .seats
            .iter()
            .zip(&self.levels)
            .map(|(seat, level)| want(seat) - level)
            .collect();
        let order = self.least_first(|i| self.levels[i]);
        let gains = fill(self.left(), &vec![0; gaps.len()], &gaps, &self.weights, &order);
        for (level, gain) in self.levels.iter_mut().zip(gains) {
            *level += gain;
        }
    }

    fn holds(&self) -> Vec<i128> {
        let hold = |(seat, share): (&Seat, &i128)| {
            let idle = seat.hard > *share && seat.uses(IDLE) != Ordering::Greater;
            if idle {
                seat.headroom().max(*share).min(seat.hard)
            } else {
                seat.hard
            }
        };
        self.seats.iter().zip(&self.shares).map(hold).collect()
    }
}

#[cfg(test)]
mod tests;
