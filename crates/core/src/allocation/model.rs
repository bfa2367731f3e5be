//! Every state that a small tenant can reach, over all orders of events.
//!
//! The model world contains the allocator, its watch, its writes, the quota controller, admission and workloads. The watch
//! lags separately for each namespace. A write lands at any time, fails, or is still in flight after a crash. Workloads are
//! refused, retry, grow, shrink and give up.
//!
//! The search visits every reachable state. It checks that the sum never exceeds the grant, that the spread settles while
//! demand does not change, and that each settled state meets the demand. It also must find the error of each allocator that
//! breaks a rule: a search that misses those would prove nothing about the real one.
//!
//! The search is our own and not a library because it is only two hundred lines: breadth-first over a map of states, and a
//! topological sort of the edges that happen without a change of demand.

mod search;
mod state;
mod world;

use search::{Found, Search};
use world::{Allocator, Limits, World};

use super::Spread;

const DEMAND: Spread = Spread::Demand { floor_percent: 25 };

const SMALL: Limits = Limits {
    grant: 2,
    writes: 1,
    largest_request: 2,
    leaving: false,
    downgrade: false,
    pods_of_two: false,
};

const TINY: Limits = Limits {
    grant: 1,
    largest_request: 1,
    ..SMALL
};

fn visit<const N: usize>(allocator: Allocator, spread: Spread, weights: [u32; N], limits: Limits) -> Found<N> {
    let found = Search::run(World::new(allocator, spread, weights, limits));
    let end = found
        .violation
        .as_ref()
        .map_or_else(String::new, |v| format!(": {} after {:?}", v.what, v.trace));
    let Found { states, edges, .. } = found;
    println!("{allocator:?}, {spread:?}, weights {weights:?}, {limits:?}: {states} states, {edges} edges{end}");
    found
}

fn holds<const N: usize>(spread: Spread, weights: [u32; N], limits: Limits) {
    let found = visit(Allocator::Right, spread, weights, limits);
    assert!(found.violation.is_none(), "{}", found.violation.unwrap());
}

fn breaks(allocator: Allocator, how: &str) {
    let found = visit(allocator, DEMAND, [1, 1], SMALL);
    let what = found.violation.map(|violation| violation.what).unwrap_or_default();
    assert!(what.contains(how), "{allocator:?}: {what:?}");
}

#[test]
fn two_namespaces_stay_in_the_grant_and_settle_with_demand_met() {
    holds(DEMAND, [1, 1], SMALL);
    holds(DEMAND, [0, 1], Limits { grant: 3, ..SMALL });
}

#[test]
fn more_namespaces_than_units_stay_in_the_grant_and_settle() {
    holds(DEMAND, [1, 1, 1], TINY);
}

#[test]
fn a_fixed_spread_stays_in_the_grant_and_settles() {
    let three = Limits { grant: 3, ..SMALL };
    holds(Spread::Fixed, [1, 1], three);
    holds(Spread::Fixed, [1, 2, 1], three);
}

#[test]
fn an_allocator_with_two_open_writes_stays_in_the_grant() {
    let limits = Limits {
        grant: 2,
        writes: 2,
        ..TINY
    };
    holds(DEMAND, [1, 1], limits);
}

#[test]
#[ignore = "minutes and gigabytes, optimised: --config 'profile.dev.package.tenantry.opt-level=2' -- --ignored --nocapture"]
fn larger_worlds_stay_in_the_grant_and_settle() {
    let three = Limits { grant: 3, ..SMALL };
    holds(DEMAND, [1, 1], three);
    holds(DEMAND, [1, 2], three);
    holds(Spread::Demand { floor_percent: 0 }, [1, 1], three);
    // Each floor is one step.
    let floors = Spread::Demand { floor_percent: 50 };
    holds(floors, [1, 1], Limits { grant: 4, ..SMALL });
    holds(DEMAND, [1, 1], Limits { writes: 2, ..SMALL });
    let all = Limits {
        leaving: true,
        downgrade: true,
        ..SMALL
    };
    holds(DEMAND, [1, 1], all);
    holds(DEMAND, [1, 1], Limits { writes: 2, ..all });
    holds(
        DEMAND,
        [1, 1, 1],
        Limits {
            leaving: true,
            downgrade: true,
            ..TINY
        },
    );
    let pods = Limits {
        grant: 4,
        pods_of_two: true,
        ..TINY
    };
    holds(DEMAND, [1, 1], pods);
    holds(DEMAND, [1, 1], Limits { grant: 5, ..pods });
    holds(DEMAND, [1, 1, 1], Limits { grant: 2, ..TINY });
    holds(DEMAND, [1, 1, 1], SMALL);
}

#[test]
fn the_search_finds_a_shrink_that_is_counted_too_early() {
    breaks(Allocator::CountsShrinksAtOnce, "above its grant");
    breaks(Allocator::CountsShrinksWhenSent, "above its grant");
}

#[test]
fn the_search_finds_an_uncounted_write_or_use() {
    breaks(Allocator::IgnoresPending, "above its grant");
    breaks(Allocator::IgnoresUse, "above its grant");
}

#[test]
fn the_search_finds_a_restart_without_a_list_or_a_wait() {
    breaks(Allocator::RestartsBlind, "above its grant");
    breaks(Allocator::RestartsEarly, "above its grant");
}

#[test]
fn the_search_finds_a_request_that_is_ignored_or_forgotten() {
    breaks(Allocator::IgnoresRequests, "there is room for");
    breaks(Allocator::DropsRequestsThatFit, "in circles");
}
