//! The table and the figures.

use std::{collections::BTreeMap, path::Path, time::Duration};

use serde_json::Value;

/// One line of the table.
pub struct Row {
    what: &'static str,
    value: String,
    target: &'static str,
}

#[derive(Default)]
pub struct Report {
    rows: Vec<Row>,
    figures: BTreeMap<String, Value>,
}

impl Report {
    pub fn row(&mut self, what: &'static str, value: impl Into<String>, target: &'static str) {
        let value = value.into();
        println!(
            "{what}: {value}{}",
            if target.is_empty() {
                String::new()
            } else {
                format!("   (target {target})")
            }
        );
        self.rows.push(Row { what, value, target });
    }

    /// A row that is a figure too.
    pub fn ratio(&mut self, what: &'static str, name: &str, value: f64, target: &'static str) {
        self.row(what, format!("{value:.2}"), target);
        self.figure(name, value);
    }

    /// A row of percentiles, of which the 99th should be within `target` milliseconds.
    pub fn latency(&mut self, what: &'static str, name: &str, times: Vec<Duration>, target: &'static str) {
        let (p50, p99) = percentiles(times);
        self.row(what, format!("p50 {p50:.0} ms, p99 {p99:.0} ms"), target);
        self.figure(&format!("{name}_p50_ms"), p50);
        self.figure(&format!("{name}_p99_ms"), p99);
    }

    pub fn figure(&mut self, name: &str, value: impl Into<Value>) {
        self.figures.insert(name.to_owned(), value.into());
    }
}

pub fn per_second(count: usize, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

fn percentiles(mut times: Vec<Duration>) -> (f64, f64) {
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize].as_secs_f64() * 1000.0;
    (at(0.5), at(0.99))
}

pub fn finish(report: &Report) {
    println!("\n| what | measured | target |\n| --- | --- | --- |");
    for Row { what, value, target } in &report.rows {
        println!("| {what} | {value} | {target} |");
    }
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("scale.json");
    std::fs::write(&path, serde_json::to_string_pretty(&report.figures).unwrap()).unwrap();
    println!("\nfigures: {}", path.display());
}
