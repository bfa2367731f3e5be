//! The target of each namespace when the spread follows demand.
//!
//! Every rule below uses only the current observation, and `spec.hard` is the only memory: a restarted operator plans the
//! same. Amounts are given out in layers. Each layer uses what the layers above it left, so the better justified of two
//! wishes wins, independent of the current spread:
//!
//! 1. **Use**: no namespace loses what it uses.
//! 2. **Floor**: each namespace gets a part of its share by weight, so that none starves.
//! 3. **Asked**: a refused request gets all that it needs to be admitted, or nothing, because a part of it helps nobody.
//!    First comes the namespace that would then have least for its weight. A request may take everything that siblings do
//!    not use above their floors, so a large one can collect small idle amounts.
//! 4. **Least**: each namespace gets one step, because no event reports a bare pod that a quota of 0 refused. This layer
//!    comes after the requests: where a share is a unit or two (GPUs), the idle steps of the first namespaces would keep
//!    the last one waiting forever.
//! 5. **Headroom**: a namespace that uses 4/5 of its quota wants 5/3 of its use. One that uses less keeps as much of that
//!    as it has.
//! 6. **Hold**: each namespace keeps what it has, those with least for their weight first. A namespace whose quota is above
//!    its share, and that uses 2/5 of the quota or less, keeps only the larger of its share and its headroom.
//! 7. **Rest**: the remainder raises namespaces to their headroom and then to their shares, so that nothing stays idle.
//!
//! If all pods of a tenant take the same amount of cpu or memory, judged by use and the number of pods, a step is the
//! amount of one pod. A smaller step helps nobody, and nothing reports the size of a bare pod that was refused.
//!
//! # Why the shares do not oscillate
//!
//! While use and requests do not change, targets that are reached stay, and so does the step, because it does not depend on
//! `spec.hard`. Layers 1 to 4 do not depend on it either. In layers 5 and 6 a namespace that lost returns with a lower
//! wish, which is exactly what it got. One that gained wishes no less than it got. `fill` gives the same result for both.
//! A namespace that gained headroom uses 3/5 of its quota; one that gave back uses at least that or is at its share. Both
//! are between the thresholds, so use can move that far before any share moves. The model check finds no cycle, for any
//! order of events, while demand does not change.

use std::{cmp::Ordering, collections::BTreeMap};

use super::{Observation, Unit, fill::fill, split, sum};

/// A ratio of two small numbers.
type Ratio = (i128, i128);

/// Use as a part of the quota; from this ratio on a namespace wants more.
const HUNGRY: Ratio = (4, 5);
/// Use as a part of the quota; at this ratio or below, a namespace gives back what it has above its share.
const IDLE: Ratio = (2, 5);
/// The quota that a hungry namespace wants, as a multiple of its use.
const HEADROOM: Ratio = (5, 3);

/// The target of each namespace in nano-units, in the order of `namespaces`.
///
/// They sum to `total` nano-units, and none is below what its namespace uses. If total use is more than `total`, each
/// target is what is used. A namespace without a weight, or with weight 0 while others have more, keeps what it uses. If
/// there are only such namespaces, the rest stays idle. Targets are multiples of `step` nano-units if there is room to
/// round use up, else of `unit`. The first namespace that takes part also gets the remainder of `total`.
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

/// The observation of one namespace that takes part, in steps.
struct Seat {
    weight: u32,
    /// Rounded up.
    used: i128,
    /// `spec.hard`, rounded down.
    hard: i128,
    /// Use plus the refused request, rounded up; 0 without a request.
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

    /// How use compares to this part of the quota.
    fn uses(&self, (times, parts): Ratio) -> Ordering {
        self.used.saturating_mul(parts).cmp(&self.hard.saturating_mul(times))
    }
}

/// The layers, and the level that each namespace has reached so far.
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

    /// Raises levels towards `to` with the remaining units, the lowest for its weight first.
    fn raise(&mut self, to: Vec<i128>) {
        let order: Vec<usize> = (0..to.len()).collect();
        self.levels = fill(self.left(), &self.levels, &to, &self.weights, &order);
    }

    /// Indexes in order of amount divided by weight.
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

    /// Gains are equal for equal weights; the lowest level is not raised first. So a full namespace gets its part of the
    /// room even if a sibling of the same size has some.
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
