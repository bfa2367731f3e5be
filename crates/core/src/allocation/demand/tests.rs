use proptest::prelude::*;

use super::*;
use tenantry_api::quantity::{Format, Quantity};

const NANOS: i128 = 1_000_000_000;
const QUARTER: u8 = 25;

fn amount(units: i128) -> Quantity {
    Quantity::from_nanos(units * NANOS, Format::DecimalSi)
}

/// Weight, hard, used and a refused request, in units.
fn seen(weight: u32, hard: i128, used: i128, asked: i128) -> Observation {
    Observation {
        weight: Some(weight),
        spec_hard: Some(amount(hard)),
        status_hard: Some(amount(hard)),
        used: Some(amount(used)),
        pending: Vec::new(),
        asked: (asked > 0).then(|| amount(asked)),
    }
}

fn named(seen: impl IntoIterator<Item = Observation>) -> BTreeMap<String, Observation> {
    seen.into_iter()
        .enumerate()
        .map(|(i, seen)| (format!("n{i:03}"), seen))
        .collect()
}

/// Targets in units.
fn spread<const N: usize>(total: i128, namespaces: [Observation; N]) -> Vec<i128> {
    let targets = targets(total * NANOS, NANOS, Unit::Whole, QUARTER, &named(namespaces));
    targets.into_iter().map(|target| target / NANOS).collect()
}

#[test]
fn new_namespaces_start_with_their_shares_by_weight() {
    let fresh = |weight| Observation {
        weight: Some(weight),
        ..Observation::default()
    };
    assert_eq!(spread(20, [fresh(1), fresh(1), fresh(2)]), [5, 5, 10]);
}

#[test]
fn a_namespace_at_four_fifths_gets_idle_amounts_of_siblings() {
    assert_eq!(spread(20, [seen(1, 10, 7, 0), seen(1, 10, 2, 0)]), [10, 10]);
    assert_eq!(spread(20, [seen(1, 10, 8, 0), seen(1, 10, 2, 0)]), [14, 6]);
    assert_eq!(
        spread(20, [seen(1, 14, 12, 0), seen(1, 6, 2, 0)]),
        [16, 4],
        "a sibling keeps its own headroom"
    );
    assert_eq!(
        spread(20, [seen(1, 16, 16, 0), seen(1, 4, 0, 0)]),
        [18, 2],
        "a sibling keeps its floor"
    );
}

#[test]
fn a_full_namespace_gets_headroom_although_its_sibling_has_some() {
    assert_eq!(spread(20, [seen(1, 10, 10, 0), seen(1, 10, 6, 0)]), [12, 8]);
    assert_eq!(spread(20, [seen(1, 12, 10, 0), seen(1, 8, 6, 0)]), [12, 8]);
    assert_eq!(spread(20, [seen(3, 10, 10, 0), seen(1, 10, 6, 0)]), [13, 7]);
}

#[test]
fn the_last_step_goes_to_the_lowest_share_by_weight() {
    assert_eq!(spread(20, [seen(1, 17, 17, 0), seen(1, 2, 2, 0)]), [17, 3]);
}

#[test]
fn a_large_request_collects_idle_amounts_of_siblings() {
    let siblings = || [seen(1, 5, 1, 0), seen(1, 5, 2, 0), seen(1, 5, 3, 0)];
    let [a, b, c] = siblings();
    assert_eq!(spread(20, [seen(1, 5, 2, 9), a, b, c])[0], 11);
    let [a, b, c] = siblings();
    assert_eq!(spread(20, [seen(1, 5, 2, 12), a, b, c]), [14, 1, 2, 3]);
}

#[test]
fn a_request_that_cannot_fit_moves_nothing() {
    let siblings = [seen(1, 5, 1, 0), seen(1, 5, 2, 0), seen(1, 5, 3, 0)];
    let [a, b, c] = siblings;
    assert_eq!(spread(20, [seen(1, 5, 2, 13), a, b, c]), [5, 5, 5, 5]);
}

#[test]
fn of_two_requests_the_one_with_the_smaller_total_is_met() {
    assert_eq!(spread(10, [seen(1, 5, 4, 4), seen(1, 5, 1, 4)]), [5, 5]);
    assert_eq!(
        spread(10, [seen(1, 8, 4, 4), seen(1, 2, 1, 4)]),
        [5, 5],
        "also if the other already has its room"
    );
}

#[test]
fn a_request_keeps_its_room_until_retried_or_given_up() {
    assert_eq!(spread(20, [seen(1, 14, 2, 12), seen(1, 6, 1, 0)]), [14, 6]);
    assert_eq!(
        spread(20, [seen(1, 14, 14, 0), seen(1, 6, 1, 0)]),
        [18, 2],
        "the retry came"
    );
    assert_eq!(
        spread(20, [seen(1, 14, 2, 0), seen(1, 6, 1, 0)]),
        [10, 10],
        "no retry came"
    );
}

#[test]
fn a_namespace_above_its_share_gives_back_only_when_idle() {
    assert_eq!(spread(20, [seen(1, 15, 7, 0), seen(1, 5, 1, 0)]), [15, 5]);
    assert_eq!(spread(20, [seen(1, 15, 6, 0), seen(1, 5, 1, 0)]), [10, 10]);
    assert_eq!(spread(30, [seen(1, 27, 10, 0), seen(1, 3, 1, 0)]), [17, 13]);
}

#[test]
fn a_new_namespace_starts_with_its_floor_and_idle_amounts() {
    let fresh = || Observation {
        weight: Some(1),
        ..Observation::default()
    };
    assert_eq!(spread(20, [seen(1, 10, 1, 0), seen(1, 10, 1, 0), fresh()]), [7, 7, 6]);
    assert_eq!(spread(20, [seen(1, 10, 6, 0), seen(1, 10, 6, 0), fresh()]), [10, 9, 1]);
}

#[test]
fn weight_zero_keeps_what_it_uses_unless_all_are_zero() {
    assert_eq!(spread(10, [seen(0, 5, 2, 3), seen(1, 5, 1, 0)]), [2, 8]);
    assert_eq!(spread(10, [seen(0, 5, 2, 3), seen(0, 5, 1, 0)]), [5, 5]);
    assert_eq!(spread(10, [seen(0, 5, 5, 3), seen(0, 5, 1, 0)]), [8, 2]);
}

#[test]
fn a_leaving_namespace_keeps_what_it_uses() {
    let out = || Observation {
        weight: None,
        ..seen(1, 5, 2, 3)
    };
    assert_eq!(spread(10, [out(), seen(1, 5, 1, 0)]), [2, 8]);
    assert_eq!(spread(10, [out(), out()]), [2, 2]);
}

#[test]
fn a_grant_below_one_each_covers_use_first_then_requests() {
    assert_eq!(
        spread(2, [seen(1, 1, 0, 0), seen(1, 1, 0, 0), seen(1, 0, 0, 1)]),
        [1, 0, 1]
    );
    assert_eq!(
        spread(2, [seen(1, 1, 0, 0), seen(1, 0, 0, 0), seen(1, 1, 1, 0)]),
        [1, 0, 1],
        "the retry came"
    );
    assert_eq!(spread(0, [seen(1, 0, 0, 1), seen(1, 0, 0, 0)]), [0, 0]);
    assert_eq!(
        spread(2, [seen(1, 1, 1, 0), seen(1, 1, 1, 1), seen(1, 0, 0, 1)]),
        [1, 1, 0]
    );
    assert_eq!(spread(1, [seen(1, 2, 2, 0), seen(1, 1, 0, 0)]), [2, 0]);
}

#[test]
fn floor_0_lets_one_take_all_and_floor_100_equals_fixed() {
    let namespaces = named([seen(1, 5, 5, 5), seen(1, 5, 0, 0)]);
    let with = |floor| targets(10 * NANOS, NANOS, Unit::Whole, floor, &namespaces);
    assert_eq!(with(0), [10 * NANOS, 0]);
    assert_eq!(with(100), [5 * NANOS, 5 * NANOS]);
    assert_eq!(with(200), with(100));
}

#[test]
fn bytes_move_in_readable_steps() {
    let mebi = NANOS << 20;
    let bytes = |hard: i128, used: i128, asked: i128| seen(1, hard << 20, (used << 20) + i128::from(used > 0), asked);
    let targets = targets(
        4096 * mebi,
        mebi,
        Unit::Whole,
        QUARTER,
        &named([bytes(2048, 1700, 0), bytes(2048, 0, 0)]),
    );
    assert_eq!(targets, [2835 * mebi, 1261 * mebi]);
}

#[test]
fn amounts_beyond_the_range_neither_panic_nor_overflow() {
    let huge = Quantity::from_nanos(i128::MAX, Format::DecimalSi);
    let wild = |used, asked| Observation {
        weight: Some(u32::MAX),
        spec_hard: Some(huge),
        used,
        asked,
        ..Observation::default()
    };
    let namespaces = named([
        wild(None, Some(huge)),
        wild(Some(amount(3)), Some(huge)),
        wild(None, None),
    ]);
    for total in [0, 1, NANOS, i128::MAX] {
        for floor in [0, QUARTER, 100] {
            let targets = targets(total, 1_000_000, Unit::Milli, floor, &namespaces);
            assert_eq!(sum(targets.into_iter()), total.max(3 * NANOS));
        }
    }
}

fn observation(max: i128) -> impl Strategy<Value = Observation> {
    let weight = prop::option::weighted(0.9, prop_oneof![8 => 1_u32..5, 1 => Just(0), 1 => any::<u32>()]);
    let asked = prop_oneof![2 => Just(0), 1 => 1..=max];
    (weight, 0..=max, 0..=max, asked).prop_map(|(weight, hard, used, asked)| Observation {
        weight,
        ..seen(1, hard, used, asked)
    })
}

fn namespaces(max: i128) -> impl Strategy<Value = BTreeMap<String, Observation>> {
    prop::collection::vec(observation(max), 1..7).prop_map(named)
}

fn with_hard(namespaces: &BTreeMap<String, Observation>, hard: &[i128]) -> BTreeMap<String, Observation> {
    let moved = namespaces.iter().zip(hard).map(|((name, seen), hard)| {
        let spec_hard = Some(Quantity::from_nanos(*hard, Format::DecimalSi));
        (
            name.clone(),
            Observation {
                spec_hard,
                ..seen.clone()
            },
        )
    });
    moved.collect()
}

/// Whether use is between the thresholds, and the quota is not below the floor.
fn holds(seen: &Observation, hard: i128, share: i128) -> bool {
    let used = seen.used();
    let hungry = used > 0 && used * 5 >= hard * 4;
    let idle = hard > share && used * 5 <= hard * 2;
    let least = (share / NANOS / 4).max(share.min(NANOS) / NANOS) * NANOS;
    !hungry && !idle && hard >= least
}

proptest! {
    #[test]
    fn targets_sum_to_the_grant_and_are_never_below_use(
        total in 0_i128..200, step in prop::sample::select(vec![1, 3, 7]), floor in any::<u8>(), namespaces in namespaces(60),
    ) {
        let total = total * NANOS;
        let targets = targets(total, step * NANOS, Unit::Whole, floor, &namespaces);
        let used: Vec<i128> = namespaces.values().map(Observation::used).collect();
        prop_assert!(targets.iter().zip(&used).all(|(target, used)| target >= used));
        let takes_part = namespaces.values().any(|seen| seen.weight.is_some());
        let expected = if takes_part { total.max(sum(used.into_iter())) } else { sum(used.into_iter()) };
        prop_assert_eq!(sum(targets.into_iter()), expected);
    }

    #[test]
    fn targets_do_not_change_once_reached(
        total in 0_i128..200, step in prop::sample::select(vec![1, 3, 7]), floor in any::<u8>(), namespaces in namespaces(60),
    ) {
        let plan = |namespaces: &_| targets(total * NANOS, step * NANOS, Unit::Whole, floor, namespaces);
        let reached = plan(&namespaces);
        prop_assert_eq!(plan(&with_hard(&namespaces, &reached)), reached);
    }

    #[test]
    fn use_that_moves_between_the_thresholds_moves_no_share(
        total in 1_i128..200, namespaces in namespaces(60), uses in prop::collection::vec(prop::collection::vec(0_i128..100, 7), 10),
    ) {
        let plan = |namespaces: &_| targets(total * NANOS, NANOS, Unit::Whole, QUARTER, namespaces);
        let hard = plan(&namespaces);
        prop_assume!(sum(hard.iter().copied()) == total * NANOS);
        let namespaces = with_hard(&namespaces, &hard);
        let weights: Vec<u32> = namespaces.values().filter_map(|seen| seen.weight).collect();
        prop_assume!(weights.len() == namespaces.len() && !weights.contains(&0));
        let shares = split(total * NANOS, NANOS, &weights);
        for percents in uses {
            let moved = namespaces.iter().zip(&hard).zip(percents).map(|(((name, seen), hard), percent)| {
                let used = Some(amount(hard / NANOS * percent / 100));
                (name.clone(), Observation { used, asked: None, ..seen.clone() })
            });
            let moved: BTreeMap<String, Observation> = moved.collect();
            if moved.values().zip(&hard).zip(&shares).all(|((seen, hard), share)| holds(seen, *hard, *share)) {
                prop_assert_eq!(plan(&moved), hard.clone(), "{:?}", moved);
            }
        }
    }

    #[test]
    fn a_request_that_fits_beside_use_and_floors_is_met(
        total in 1_i128..200, floor in 0_u8..=100, mut namespaces in namespaces(30), asked in 1_i128..100,
    ) {
        for seen in namespaces.values_mut() {
            seen.asked = None;
            seen.weight = seen.weight.map(|weight| weight.max(1));
        }
        let first = namespaces.values().position(|seen| seen.weight.is_some());
        prop_assume!(first.is_some());
        let first = first.unwrap();
        let weights: Vec<u32> = namespaces.values().filter_map(|seen| seen.weight).collect();
        let kept = sum(namespaces.values().filter(|seen| seen.weight.is_none()).map(Observation::used));
        let mut shares = split((total * NANOS - kept) / NANOS, 1, &weights).into_iter();
        let others = namespaces.values().enumerate().map(|(i, seen)| match seen.weight.and_then(|_| shares.next()) {
            Some(_) if i == first => 0,
            Some(share) => {
                (share * i128::from(floor) / 100).max(seen.used() / NANOS)
            }
            None => seen.used() / NANOS,
        });
        let room = total - others.sum::<i128>();
        let seen = namespaces.values_mut().nth(first).unwrap();
        seen.asked = Some(amount(asked));
        let need = seen.used() / NANOS + asked;
        prop_assume!(need <= room);
        prop_assert!(targets(total * NANOS, NANOS, Unit::Whole, floor, &namespaces)[first] >= need * NANOS);
    }
}
