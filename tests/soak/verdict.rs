//! The verdict on the samples.

use std::time::Duration;

use super::sample::{NAMES, Sample};

/// The first part of the samples, in which memory is still filling.
const WARM_UP: f64 = 0.1;
/// Growth of memory from the second quarter to the last that is no leak: as a fraction, and in MB.
const GROWTH: f64 = 1.1;
const SLACK: f64 = 4.0;
/// So many more sockets are allowed at the quietest moment of the last quarter. After a burst many connections are
/// idle, until the next burst closes the old ones.
const MORE_SOCKETS: f64 = 8.0;

/// The failures.
pub fn of(before: &Sample, samples: &[Sample], after: &Sample) -> Vec<String> {
    let mut wrong = after.not_back_at(before);
    let quarter = samples.len() / 4;
    let memory = |samples: &[Sample]| median(samples.iter().map(|sample| sample.get("memory_mb")));
    let (early, late) = (
        memory(&samples[quarter..2 * quarter]),
        memory(&samples[samples.len() - quarter..]),
    );
    if late > early * GROWTH + SLACK {
        wrong.push(format!(
            "the memory grew from {early:.1} MB in the second quarter to {late:.1} MB in the last"
        ));
    }
    let calmest = |samples: &[Sample]| {
        let sockets = samples.iter().map(|sample| sample.get("sockets"));
        sockets.reduce(f64::min).unwrap_or_default()
    };
    let (early, late) = (
        calmest(&samples[quarter..2 * quarter]),
        calmest(&samples[samples.len() - quarter..]),
    );
    if late > early + MORE_SOCKETS {
        wrong.push(format!(
            "the fewest sockets rose from {early} in the second quarter to {late} in the last"
        ));
    }
    wrong
}

/// With fewer samples, the slope is chance.
const ENOUGH_FOR_A_SLOPE: Duration = Duration::from_secs(600);

pub fn print_table(before: &Sample, samples: &[Sample], after: &Sample, churn: &str) {
    println!("{churn}");
    println!("| | quiet before | start | median | max | end | slope an hour | quiet after |");
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    let length = samples.last().map(|last| last.at).unwrap_or_default();
    let warm = &samples[warm_up(samples.len())..];
    for name in NAMES {
        let points: Vec<(f64, f64)> = warm
            .iter()
            .map(|sample| (sample.at.as_secs_f64() / 3600.0, sample.get(name)))
            .collect();
        let values = || points.iter().map(|(_, value)| *value);
        let slope = match length {
            // The last sample is taken a moment before the end.
            length if length + ENOUGH_FOR_A_SLOPE / 20 < ENOUGH_FOR_A_SLOPE => "-".to_owned(),
            _ => format!("{:+.2}", slope(&points)),
        };
        println!(
            "| {name} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} | {slope} | {:.1} |",
            before.get(name),
            values().next().unwrap_or_default(),
            median(values()),
            values().fold(f64::MIN, f64::max),
            values().next_back().unwrap_or_default(),
            after.get(name)
        );
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a tenth of a length"
)]
fn warm_up(samples: usize) -> usize {
    (samples as f64 * WARM_UP) as usize
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        length if length % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// The slope by least squares.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let spread: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    if spread == 0.0 {
        return 0.0;
    }
    points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum::<f64>() / spread
}
