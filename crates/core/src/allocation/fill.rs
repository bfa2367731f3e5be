//! Raises levels together in proportion to their weights, in whole steps, as water fills connected vessels.

/// Raises levels from `from` towards `to` by `room` steps in all; by fewer only if all reach `to`.
///
/// The level that is lowest for its weight rises first, as if water rose in vessels as wide as the weights: a level steps
/// from k to k + 1 when the water is at `(k + 1) / weight`. If several levels step at the same water, the first in
/// `order` steps first. A level with `from >= to` does not change. `from` is not negative, no weight is 0, all slices
/// are equally long, and `order` is a permutation of their indexes.
///
/// The steps have one fixed order, and the first `room` of them are taken. So three changes leave the outcome the same:
///
/// - a `to` is lowered to its outcome;
/// - a `to` that was not reached is raised;
/// - a `from` is raised to at most its outcome, and `room` is reduced by as much.
///
/// That is why a plan that is made again halfway, or afterwards, gives the same spread.
pub fn fill(room: i128, from: &[i128], to: &[i128], weights: &[u32], order: &[usize]) -> Vec<i128> {
    let vessels = || {
        from.iter()
            .zip(to)
            .zip(weights)
            .map(|((from, to), weight)| (*from, *to, *weight))
    };
    let full: Vec<i128> = vessels().map(|(from, to, _)| from.max(to)).collect();
    let cost = |levels: &[i128]| {
        let rises = levels.iter().zip(from).map(|(level, from)| level.saturating_sub(*from));
        rises.fold(0, i128::saturating_add)
    };
    if cost(&full) <= room {
        return full;
    }
    let room = room.max(0);
    // Water at `whole + part / 2^65`. Two different fractions of weights below 2^32 are at least 2^-64 apart.
    let at = |whole: i128, part: i128| -> Vec<i128> {
        let level = |(from, to, weight): (i128, i128, u32)| {
            let weight = i128::from(weight);
            let water = whole.saturating_mul(weight).saturating_add((part * weight) >> 65);
            from.max(to.min(water))
        };
        vessels().map(level).collect()
    };
    let fits = |levels: &[i128]| cost(levels) <= room;
    let highest = to.iter().copied().fold(0, i128::max);
    let whole = last(highest, |whole| fits(&at(whole, 0)));
    let part = last(1 << 65, |part| fits(&at(whole, part)));
    let mut levels = at(whole, part);
    let next = at(whole, part + 1);
    let mut left = room - cost(&levels);
    for &i in order {
        let step = (next[i] - levels[i]).min(left);
        levels[i] += step;
        left -= step;
    }
    levels
}

/// The last number below `end` that `holds`, which is true up to some number and false after it; 0 if there is none.
fn last(end: i128, holds: impl Fn(i128) -> bool) -> i128 {
    let (mut low, mut high) = (0, end.max(1));
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if holds(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn in_order(room: i128, from: &[i128], to: &[i128], weights: &[u32]) -> Vec<i128> {
        let order: Vec<usize> = (0..from.len()).collect();
        fill(room, from, to, weights, &order)
    }

    #[test]
    fn the_lowest_for_its_weight_rises_first() {
        assert_eq!(in_order(3, &[4, 0], &[9, 9], &[1, 1]), [4, 3]);
        assert_eq!(in_order(6, &[4, 0], &[9, 9], &[1, 1]), [5, 5]);
        assert_eq!(in_order(6, &[0, 0], &[9, 9], &[1, 2]), [2, 4]);
        assert_eq!(in_order(6, &[0, 0], &[9, 1], &[1, 2]), [5, 1]);
    }

    #[test]
    fn of_equal_levels_the_first_in_order_gets_the_odd_step() {
        assert_eq!(in_order(3, &[0, 0], &[9, 9], &[1, 1]), [2, 1]);
        assert_eq!(fill(3, &[0, 0], &[9, 9], &[1, 1], &[1, 0]), [1, 2]);
    }

    #[test]
    fn extreme_numbers_neither_panic_nor_overflow() {
        let many = vec![i128::MAX; 50];
        let filled = in_order(i128::MAX - 1, &[0; 50], &many, &[u32::MAX; 50]);
        assert_eq!(filled.iter().sum::<i128>(), i128::MAX - 1);
        assert_eq!(in_order(0, &[5], &[1], &[1]), [5]);
        assert_eq!(in_order(-1, &[5], &[9], &[1]), [5]);
        assert_eq!(in_order(7, &[], &[], &[]), [0_i128; 0]);
    }

    fn vessels() -> impl Strategy<Value = Vec<(i128, i128, u32)>> {
        let weight = prop_oneof![1_u32..4, 1..=u32::MAX];
        let amount = || prop_oneof![0_i128..20, 0_i128..1 << 90];
        prop::collection::vec((amount(), amount(), weight), 1..8)
    }

    /// The reference: takes the steps one by one, in their order.
    fn by_hand(room: i128, from: &[i128], to: &[i128], weights: &[u32]) -> Vec<i128> {
        let mut levels = from.to_vec();
        for _ in 0..room {
            let open = (0..levels.len()).filter(|&i| levels[i] < to[i]);
            let lowest = open.min_by(|&i, &j| {
                let cross = |a: usize, b: usize| (levels[a] + 1) * i128::from(weights[b]);
                cross(i, j).cmp(&cross(j, i))
            });
            let Some(i) = lowest else { break };
            levels[i] += 1;
        }
        levels
    }

    proptest! {
        #[test]
        fn fill_uses_all_room_up_to_the_targets(room in 0_i128..1 << 92, vessels in vessels()) {
            let (from, to, weights) = unzip(&vessels);
            let filled = in_order(room, &from, &to, &weights);
            let rise = |levels: &[i128]| levels.iter().zip(&from).map(|(l, f)| l - f).sum::<i128>();
            let full: Vec<i128> = from.iter().zip(&to).map(|(f, t)| *f.max(t)).collect();
            prop_assert_eq!(rise(&filled), room.min(rise(&full)));
            prop_assert!(filled.iter().zip(&from).zip(&full).all(|((l, f), t)| f <= l && l <= t));
        }

        #[test]
        fn fill_equals_the_step_by_step_reference(room in 0_i128..60, small in prop::collection::vec((0_i128..20, 0_i128..20, 1_u32..9), 1..6)) {
            let (from, to, weights) = unzip(&small);
            prop_assert_eq!(in_order(room, &from, &to, &weights), by_hand(room, &from, &to, &weights));
        }

        #[test]
        fn fill_gives_the_same_levels_halfway_and_afterwards(room in 0_i128..1 << 92, vessels in vessels(), part in 0_i128..100) {
            let (mut from, mut to, weights) = unzip(&vessels);
            let filled = in_order(room, &from, &to, &weights);
            prop_assert_eq!(&in_order(room, &from, &filled, &weights), &filled);
            let gain = (filled[0] - from[0]) / 100 * part;
            from[0] += gain;
            if to[0] > filled[0] {
                to[0] += 17;
            }
            prop_assert_eq!(in_order(room - gain, &from, &to, &weights), filled);
        }
    }

    fn unzip(vessels: &[(i128, i128, u32)]) -> (Vec<i128>, Vec<i128>, Vec<u32>) {
        let from = vessels.iter().map(|v| v.0).collect();
        let to = vessels.iter().map(|v| v.1).collect();
        (from, to, vessels.iter().map(|v| v.2).collect())
    }
}
