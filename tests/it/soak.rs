//! The verdict of `make soak`, on invented samples: a soak takes an hour, so its failures are tested here.

#![allow(
    clippy::cast_precision_loss,
    clippy::print_stdout,
    reason = "the soak measures and prints a table"
)]

#[path = "../soak/sample.rs"]
#[allow(dead_code, reason = "nothing is measured here")]
mod sample;
#[path = "../soak/verdict.rs"]
#[allow(dead_code, reason = "nothing is printed here")]
mod verdict;

use std::time::Duration;

use self::sample::{NAMES, Sample};

fn sample(minute: u64, of: &[(&str, f64)]) -> Sample {
    let value = |name: &str| {
        of.iter()
            .find(|(known, _)| *known == name)
            .map_or(10.0, |(_, value)| *value)
    };
    Sample {
        at: Duration::from_secs(60 * minute),
        values: NAMES.map(value),
    }
}

/// An hour in which the memory grows by so much a minute.
fn hour(growth: f64) -> Vec<Sample> {
    let memory = |minute: u32| 60.0 + growth * f64::from(minute);
    (0..60_u32)
        .map(|minute| sample(minute.into(), &[("memory_mb", memory(minute))]))
        .collect()
}

#[test]
fn flat_counts_pass_and_growing_counts_fail() {
    let quiet = sample(0, &[]);
    assert_eq!(verdict::of(&quiet, &hour(0.0), &quiet), [""; 0]);
    assert_eq!(
        verdict::of(&quiet, &hour(0.2), &quiet),
        [""; 0],
        "6 MB in half an hour are within a tenth and 4 MB"
    );
    let grown = verdict::of(&quiet, &hour(0.5), &quiet);
    assert_eq!(
        grown,
        ["the memory grew from 71.0 MB in the second quarter to 86.0 MB in the last"]
    );
}

#[test]
fn leftovers_at_rest_fail_and_idle_connections_do_not() {
    let before = sample(0, &[]);
    let idle = [("fds", 60.0), ("tasks", 60.0), ("sockets", 60.0)];
    assert_eq!(verdict::of(&before, &hour(0.0), &sample(0, &idle)), [""; 0]);
    for name in ["fds", "tasks", "watches", "objects"] {
        let wrong = verdict::of(&before, &hour(0.0), &sample(0, &[(name, 11.0)]));
        assert_eq!(wrong.len(), 1, "{name}");
        assert!(wrong[0].starts_with(name), "{wrong:?}");
    }
}

#[test]
fn connections_that_pile_up_fail_and_bursts_do_not() {
    let quiet = sample(0, &[]);
    let hour = |sockets: fn(u64) -> f64| -> Vec<Sample> {
        (0..60)
            .map(|minute| sample(minute, &[("sockets", sockets(minute))]))
            .collect()
    };
    let bursts = hour(|minute| if minute % 5 == 0 { 30.0 } else { 120.0 });
    assert_eq!(verdict::of(&quiet, &bursts, &quiet), [""; 0]);
    let leak = hour(|minute| f64::from(u32::try_from(minute).unwrap()));
    assert_eq!(
        verdict::of(&quiet, &leak, &quiet),
        ["the fewest sockets rose from 15 in the second quarter to 45 in the last"]
    );
}
