//! The tables and plots in docs/benchmarks.md are made from docs/benchmarks/*.json, and the bench's own reading and
//! arithmetic. Needs no cluster and measures nothing.
//!
//! Write them with `make bench-docs`, which is `UPDATE=1 cargo test --test benchmarks`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::format_push_string,
    dead_code,
    reason = "helpers of tests fail by panicking; of the bench's files only parts are used here"
)]

#[path = "benchmarks/page.rs"]
mod page;
#[path = "../benches/scale/report.rs"]
mod report;
#[path = "../benches/scale/results.rs"]
mod results;
#[path = "../benches/scale/settings.rs"]
mod settings;

use std::{path::Path, time::Duration};

use serde_json::json;

use self::{
    page::{BEGIN, END, page, section},
    report::{Report, Target},
    results::Results,
    settings::Settings,
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn page_has_the_figures_of_the_stored_results() {
    let path = root().join("docs/benchmarks.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let current = page(&text, &page::kept(&root().join("docs/benchmarks")));
    if std::env::var_os("UPDATE").is_some_and(|update| update == "1") {
        std::fs::write(&path, current).unwrap();
    } else {
        assert!(text == current, "docs/benchmarks.md is stale: run `make bench-docs`");
    }
}

fn run(ratio: f64, p99: f64) -> Report {
    let mut report = Report {
        kubernetes: "v1.36.3".to_owned(),
        ..Report::default()
    };
    report.ratio(
        "ready_over_whole",
        "time to Ready / raw limit",
        ratio,
        Target::AtMost(1.3),
    );
    report.figure("single_p99_ms", "one Tenant: p99", "ms", p99, Target::AtMost(100.0));
    report.figure("writes", "writes per tenant", "calls", 10.04, Target::Least(10.0));
    report.note("which writes", "none");
    report
}

fn results(ratios: &[f64]) -> Results {
    let mut results = Results::new(json!({
        "commit": "0123456789ab", "date": "2030-01-01", "machine": { "cores": 2, "system": "linux x86_64" },
        "namespaces": 1, "steady_seconds": 60,
    }));
    for ratio in ratios {
        results.add(250, run(*ratio, 120.0));
    }
    results
}

#[test]
fn the_median_and_the_spread_of_several_runs_are_kept() {
    let json = results(&[1.4, 1.1, 1.2]).to_json();
    let figure = &json["sizes"][0]["figures"][0];
    assert_eq!(figure["median"], 1.2);
    assert_eq!((&figure["min"], &figure["max"]), (&json!(1.1), &json!(1.4)));
    assert_eq!(figure["values"], json!([1.4, 1.1, 1.2]));
    assert_eq!(
        (&figure["at_most"], &json["kubernetes"]),
        (&json!(1.3), &json!("v1.36.3"))
    );
    assert_eq!(results(&[1.0, 2.0]).to_json()["sizes"][0]["figures"][0]["median"], 1.5);
}

#[test]
fn gate_ignores_misses_within_the_range_of_the_runs() {
    assert!(
        results(&[1.25, 1.32, 1.35]).missed().is_empty(),
        "1.32 with a margin of 0.05"
    );
    let missed = results(&[1.40, 1.42, 1.41]).missed();
    assert_eq!(missed.len(), 1, "{missed:?}");
    assert!(
        missed[0].contains("time to Ready / raw limit: 1.41 (1.40 - 1.42), wanted <= 1.30"),
        "{missed:?}"
    );
}

#[test]
fn one_size_gives_a_table_and_several_give_rows_and_plots() {
    let mut results = results(&[1.1]);
    let text = section(&results.to_json());
    assert!(
        text.contains("### 250 tenants with one namespace each, one run"),
        "{text}"
    );
    assert!(
        text.contains("| time to Ready / raw limit | 1.10 | <= 1.30 |"),
        "{text}"
    );
    assert!(text.contains("| one Tenant: p99 | 120 ms | <= 100 ms |"), "{text}");
    assert!(
        text.contains("commit 0123456789ab") && !text.contains("xychart"),
        "{text}"
    );

    results.add(500, run(1.2, 99.0));
    results.add(500, run(1.3, 99.0));
    let text = section(&results.to_json());
    assert!(text.contains("### Growth"), "{text}");
    assert!(text.contains("| 500 | 1.25 (1.20 - 1.30) |"), "{text}");
    assert!(text.contains("    x-axis \"tenants\" [250, 500]\n"), "{text}");
    assert!(text.contains("    line [1.1, 1.25]\n"), "{text}");
}

#[test]
fn text_outside_the_marks_stays() {
    let text = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
    let new = page(&text, &[results(&[1.1]).to_json()]);
    assert!(
        new.starts_with(&format!("before\n{BEGIN}\n")) && new.ends_with(&format!("{END}\nafter\n")),
        "{new}"
    );
    assert!(!new.contains("old") && new.contains("1.10"), "{new}");
    assert_eq!(page(&new, &[results(&[1.1]).to_json()]), new);
}

fn read(variables: &[(&str, &str)]) -> Result<Settings, String> {
    Settings::read(
        variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
    )
}

#[test]
fn settings_that_are_left_out_have_defaults() {
    let settings = read(&[("PATH", "/bin"), ("BENCH_TENANTS", "")]).unwrap();
    assert_eq!(
        (&*settings.sizes, settings.namespaces, settings.runs),
        (&[1000][..], 1, 1)
    );
    assert_eq!(settings.steady, Duration::from_secs(60));
    let growth = read(&[("BENCH_GROWTH", "250, 500"), ("BENCH_RUNS", "3")]).unwrap();
    assert_eq!(growth.sizes, [250, 500]);
    assert!(!growth.has(settings::Part::Steady) && growth.has(settings::Part::FanOut));
    assert_eq!(read(&[("BENCH_TENANTS", "0")]).unwrap().sizes, [0]);
}

#[test]
fn wrong_settings_are_refused_in_one_line_that_names_them() {
    for (variables, wanted) in [
        (
            &[("BENCH_TENANTS", "abc")][..],
            "BENCH_TENANTS=\"abc\" is not a number from 0",
        ),
        (&[("BENCH_TENANTS", "-1")], "is not a number"),
        (
            &[("BENCH_GROWTH", "250,x")],
            "BENCH_GROWTH=\"x\" is not a number from 1",
        ),
        (&[("BENCH_GROWTH", "500,250")], "must grow"),
        (&[("BENCH_GROWTH", "250,")], "BENCH_GROWTH=\"\""),
        (
            &[("BENCH_GROWTH", "250"), ("BENCH_TENANTS", "1")],
            "leave one of them out",
        ),
        (&[("BENCH_NAMESPACES", "2")], "use 1 or 3"),
        (&[("BENCH_STEADY", "0")], "BENCH_STEADY"),
        (&[("BENCH_RUNS", "0")], "BENCH_RUNS"),
        (&[("BENCH_PARTS", "singel")], "BENCH_PARTS=\"singel\" is no part"),
        (&[("BENCH_GATE", "1")], "set 3 or more"),
        (&[("BENCH_TENANT", "5")], "BENCH_TENANT is no setting"),
    ] {
        let error = read(variables).unwrap_err();
        assert!(
            error.contains(wanted) && !error.contains('\n'),
            "{variables:?}: {error}"
        );
    }
}
