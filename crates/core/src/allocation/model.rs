//! Every state that a small tenant can come to, over all orders of events.
//!
//! The world has the allocator with its watch, which lags by namespace; its writes, which land whenever they like, fail
//! or are left on the wire by a crash; the quota controller; admission; workloads that are refused, retry, grow, shrink
//! and give up. The search visits every state that they reach and checks in each that the sum holds, and that what
//! comes to rest while demand stands still has met it. It also has to find what goes wrong with an allocator that
//! breaks the rules: a search that finds nothing there would prove nothing here.
//!
//! Our own search and not a library, as it is two hundred lines: breadth first over a map of states, and a topological
//! sort of those edges that happen by themselves.

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
fn two_namespaces_stay_within_the_grant_and_come_to_rest_where_demand_is_met() {
    holds(DEMAND, [1, 1], SMALL);
    holds(DEMAND, [0, 1], Limits { grant: 3, ..SMALL });
}

#[test]
fn so_do_more_namespaces_than_there_are_units() {
    holds(DEMAND, [1, 1, 1], TINY);
}

#[test]
fn so_does_a_fixed_spread() {
    let three = Limits { grant: 3, ..SMALL };
    holds(Spread::Fixed, [1, 1], three);
    holds(Spread::Fixed, [1, 2, 1], three);
}

#[test]
fn so_does_an_allocator_that_sends_more_before_it_knows_what_became_of_the_last_write() {
    let limits = Limits {
        grant: 2,
        writes: 2,
        ..TINY
    };
    holds(DEMAND, [1, 1], limits);
}

#[test]
#[ignore = "minutes and gigabytes, optimised: --config 'profile.dev.package.tenantry.opt-level=2' -- --ignored --nocapture"]
fn so_do_larger_worlds() {
    let three = Limits { grant: 3, ..SMALL };
    holds(DEMAND, [1, 1], three);
    holds(DEMAND, [1, 2], three);
    holds(Spread::Demand { floor_percent: 0 }, [1, 1], three);
    // Floors of one step each.
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
fn a_shrink_that_is_counted_too_early_is_found() {
    breaks(Allocator::CountsShrinksAtOnce, "above its grant");
    breaks(Allocator::CountsShrinksWhenSent, "above its grant");
}

#[test]
fn a_write_or_a_use_that_is_not_counted_is_found() {
    breaks(Allocator::IgnoresPending, "above its grant");
    breaks(Allocator::IgnoresUse, "above its grant");
}

#[test]
fn a_restart_that_does_not_look_or_does_not_wait_is_found() {
    breaks(Allocator::RestartsBlind, "above its grant");
    breaks(Allocator::RestartsEarly, "above its grant");
}

#[test]
fn a_request_that_is_not_heard_or_not_remembered_is_found() {
    breaks(Allocator::IgnoresRequests, "there is room for");
    breaks(Allocator::DropsRequestsThatFit, "in circles");
}
