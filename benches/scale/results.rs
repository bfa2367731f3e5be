//! Several runs combined: medians and range, as JSON and as a table, compared with the targets. tests/benchmarks.rs
//! reads it too.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::report::{Report, Target, amount, wanted};

/// The figures measured so far, by number of tenants.
pub struct Results {
    /// Machine, commit, date and settings.
    pub about: Value,
    pub sizes: BTreeMap<usize, Vec<Report>>,
}

/// One figure over all runs of a size.
pub struct Summary {
    pub name: String,
    pub what: String,
    pub unit: &'static str,
    pub values: Vec<f64>,
    pub target: Target,
}

impl Summary {
    /// The median, the lowest and the highest.
    pub fn spread(&self) -> (f64, f64, f64) {
        let mut values = self.values.clone();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = if values.len().is_multiple_of(2) {
            f64::midpoint(values[middle - 1], values[middle])
        } else {
            values[middle]
        };
        (median, values[0], values[values.len() - 1])
    }

    /// Whether the median misses the target by more than half the range of the runs. Times are not judged: they depend
    /// on the machine as much as on the operator.
    pub fn is_missed(&self) -> bool {
        let (median, min, max) = self.spread();
        let margin = (max - min) / 2.0;
        match self.target {
            _ if matches!(self.unit, "ms" | "s") => false,
            Target::AtMost(most) => median > most + margin,
            Target::AtLeast(least) => median < least - margin,
            Target::None | Target::Least(_) => false,
        }
    }

    fn json(&self) -> Value {
        let (median, min, max) = self.spread();
        let mut figure = json!({
            "name": self.name, "what": self.what, "unit": self.unit,
            "median": short(median), "min": short(min), "max": short(max),
        });
        if self.values.len() > 1 {
            figure["values"] = self.values.iter().map(|value| short(*value)).collect();
        }
        match self.target {
            Target::None => {}
            Target::AtMost(most) => figure["at_most"] = short(most),
            Target::AtLeast(least) => figure["at_least"] = short(least),
            Target::Least(least) => figure["least_possible"] = short(least),
        }
        figure
    }
}

/// Four decimals: the files are stored, and the rest is noise.
fn short(value: f64) -> Value {
    json!((value * 1e4).round() / 1e4)
}

impl Results {
    pub fn new(about: Value) -> Self {
        Self {
            about,
            sizes: BTreeMap::new(),
        }
    }

    pub fn add(&mut self, tenants: usize, report: Report) {
        self.sizes.entry(tenants).or_default().push(report);
    }

    /// Each figure of a size, in the order in which it was first measured.
    pub fn summaries(&self, tenants: usize) -> Vec<Summary> {
        let mut summaries: Vec<Summary> = Vec::new();
        for figure in self.sizes[&tenants].iter().flat_map(|report| &report.figures) {
            match summaries.iter_mut().find(|summary| summary.name == figure.name) {
                Some(summary) => summary.values.push(figure.value),
                None => summaries.push(Summary {
                    name: figure.name.clone(),
                    what: figure.what.clone(),
                    unit: figure.unit,
                    values: vec![figure.value],
                    target: figure.target,
                }),
            }
        }
        summaries
    }

    pub fn to_json(&self) -> Value {
        let size = |tenants: usize| {
            let reports = &self.sizes[&tenants];
            let notes = |report: &Report| -> Value {
                let notes = report.notes.iter();
                notes.map(|(what, text)| (what.clone(), json!(text))).collect()
            };
            json!({
                "tenants": tenants,
                "runs": reports.len(),
                "figures": self.summaries(tenants).iter().map(Summary::json).collect::<Vec<_>>(),
                // From the last run: they hardly differ.
                "notes": reports.last().map(notes),
            })
        };
        let mut json = self.about.clone();
        let mut reports = self.sizes.values().flatten();
        json["kubernetes"] = reports.next().map(|report| report.kubernetes.clone()).into();
        json["sizes"] = self.sizes.keys().map(|tenants| size(*tenants)).collect();
        json
    }

    /// The table of a size for a terminal.
    pub fn table(&self, tenants: usize) -> String {
        let mut table = "| what | median (min - max) | target |\n| --- | --- | --- |\n".to_owned();
        for summary in self.summaries(tenants) {
            let (median, min, max) = summary.spread();
            let mut value = amount(median, summary.unit);
            if summary.values.len() > 1 {
                value += &format!(" ({} - {})", amount(min, summary.unit), amount(max, summary.unit));
            }
            let wanted = wanted(summary.target, summary.unit);
            table += &format!("| {} | {value} | {wanted} |\n", summary.what);
        }
        for (what, text) in self.sizes[&tenants].last().iter().flat_map(|report| &report.notes) {
            table += &format!("| {what} | {text} | |\n");
        }
        table
    }

    /// One line for each target that is missed by more than the range of the runs.
    pub fn missed(&self) -> Vec<String> {
        let mut missed = Vec::new();
        for tenants in self.sizes.keys() {
            for summary in self.summaries(*tenants).iter().filter(|summary| summary.is_missed()) {
                let (median, min, max) = summary.spread();
                missed.push(format!(
                    "{} tenants: {}: {} ({} - {}), wanted {}",
                    tenants,
                    summary.what,
                    amount(median, summary.unit),
                    amount(min, summary.unit),
                    amount(max, summary.unit),
                    wanted(summary.target, summary.unit)
                ));
            }
        }
        missed
    }
}
