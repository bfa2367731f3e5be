//! The figures of one run of one size. tests/benchmarks.rs reads it too.

use std::time::Duration;

/// The target of a figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// None: the figure is only reported.
    None,
    AtMost(f64),
    AtLeast(f64),
    /// The least possible number of calls. It is printed but not judged, as a retry is no fault.
    Least(f64),
}

/// One number.
#[derive(Clone, Debug)]
pub struct Figure {
    /// A name that does not change between versions.
    pub name: String,
    /// Its description for people.
    pub what: String,
    /// `x` is a ratio; only ratios can be compared between machines.
    pub unit: &'static str,
    pub value: f64,
    pub target: Target,
}

/// All of one run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub figures: Vec<Figure>,
    /// Facts that are no numbers: which writes, which reads.
    pub notes: Vec<(String, String)>,
    /// Version of the API server.
    pub kubernetes: String,
}

impl Report {
    pub fn figure(&mut self, name: &str, what: impl Into<String>, unit: &'static str, value: f64, target: Target) {
        let what = what.into();
        // An empty sum is -0.
        let value = value + 0.0;
        println!("{what}: {}{}", amount(value, unit), in_brackets(target, unit));
        self.figures.push(Figure {
            name: name.to_owned(),
            what,
            unit,
            value,
            target,
        });
    }

    pub fn ratio(&mut self, name: &str, what: &str, value: f64, target: Target) {
        self.figure(name, what, "x", value, target);
    }

    pub fn seconds(&mut self, name: &str, what: &str, time: Duration) {
        self.figure(name, what, "s", time.as_secs_f64(), Target::None);
    }

    /// The median and the 99th percentile, which should be within `target` milliseconds.
    pub fn latency(&mut self, name: &str, what: &str, times: Vec<Duration>, target: Target) {
        let (p50, p99) = percentiles(times);
        self.figure(
            &format!("{name}_p50_ms"),
            format!("{what}: p50"),
            "ms",
            p50,
            Target::None,
        );
        self.figure(&format!("{name}_p99_ms"), format!("{what}: p99"), "ms", p99, target);
    }

    pub fn note(&mut self, what: &str, text: impl Into<String>) {
        let text = text.into();
        println!("{what}: {text}");
        self.notes.push((what.to_owned(), text));
    }
}

/// A value with its unit, for people.
pub fn amount(value: f64, unit: &str) -> String {
    match unit {
        "x" | "calls" => format!("{value:.2}"),
        "ms" if value >= 20.0 => format!("{value:.0} ms"),
        "ms" => format!("{value:.1} ms"),
        "s" => format!("{value:.1} s"),
        "" => format!("{value:.0}"),
        unit => format!("{value:.1} {unit}"),
    }
}

/// The target for people; empty if there is none.
pub fn wanted(target: Target, unit: &str) -> String {
    match target {
        Target::None => String::new(),
        Target::AtMost(most) => format!("<= {}", amount(most, unit)),
        Target::AtLeast(least) => format!(">= {}", amount(least, unit)),
        Target::Least(least) => format!("least possible {least:.0}"),
    }
}

fn in_brackets(target: Target, unit: &str) -> String {
    match wanted(target, unit) {
        wanted if wanted.is_empty() => wanted,
        wanted => format!("   ({wanted})"),
    }
}

pub fn per_second(count: usize, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

/// The median and the 99th percentile in milliseconds; `times` must not be empty.
pub fn percentiles(mut times: Vec<Duration>) -> (f64, f64) {
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize].as_secs_f64() * 1000.0;
    (at(0.5), at(0.99))
}
