//! `make bench`: the operator compared with the API server's own limit, in one run on one machine.
//!
//! Every figure is printed beside the raw limit: a minimal client writes the same objects in parallel to the same
//! server. Environment variables choose what to measure (docs/benchmarks.md lists them): BENCH_TENANTS (1000) or
//! BENCH_GROWTH (`250,500,1000`), BENCH_NAMESPACES (1), BENCH_RUNS (1), BENCH_STEADY (60 s), BENCH_PARTS, BENCH_OUT,
//! BENCH_GATE, BENCH_AUDIT. BENCH_TENANTS=0 measures the exact totals only, in two minutes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::format_push_string,
    reason = "a benchmark fails by panicking and prints"
)]

mod burst;
mod crowd;
mod fan_out;
mod measure;
mod own;
mod policies;
mod raw;
mod report;
mod restart;
mod results;
mod settings;
mod single;
mod tenants;
mod totals;
mod usage;
mod watching;

use std::{
    panic::AssertUnwindSafe,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Instant,
};

use futures::FutureExt as _;
use serde_json::{Value, json};

use self::{results::Results, settings::Settings};

/// Requests in flight; more did not raise the raw limit on 2 cores.
const PARALLEL: usize = 32;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::from(2)
        }
    }
}

/// Whether everything was measured and, with BENCH_GATE, within its targets. The error is one line.
async fn run() -> Result<bool, String> {
    let settings = Settings::read(std::env::vars())?;
    let default = || Path::new(env!("CARGO_TARGET_TMPDIR")).join("scale.json");
    let out = settings.out.clone().unwrap_or_else(default);
    let mut results = Results::new(about(&settings));
    // If the results cannot be written, fail now and not after an hour. The old file stays until the first measurement.
    let beside = beside(&out);
    let folder = beside.parent().unwrap_or(Path::new(""));
    // Creates one level only, so that a mistyped path is an error.
    if !folder.as_os_str().is_empty() && !folder.exists() {
        std::fs::create_dir(folder).map_err(|error| unwritable(&out, &error))?;
    }
    std::fs::write(&beside, "").map_err(|error| unwritable(&out, &error))?;
    std::fs::remove_file(&beside).map_err(|error| unwritable(&out, &error))?;
    let mut failed = false;
    // Every size once before any twice: if the machine's speed changes, it changes for all of them.
    for run in 1..=settings.runs {
        for &tenants in &settings.sizes {
            println!(
                "\n== {tenants} tenants with {} namespaces each, run {run} of {}",
                settings.namespaces, settings.runs
            );
            let started = Instant::now();
            // A failed size has printed its error; the others continue.
            let measured = AssertUnwindSafe(measure::measure(&settings, tenants)).catch_unwind();
            let Ok(report) = measured.await else {
                failed = true;
                eprintln!("bench: {tenants} tenants, run {run}: failed, see above");
                continue;
            };
            results.add(tenants, report?);
            save(&out, &results)?;
            let runs = results.sizes[&tenants].len();
            println!("\n{tenants} tenants, {runs} runs:\n{}", results.table(tenants));
            let seconds = started.elapsed().as_secs();
            println!("{seconds} s; figures so far: {}", out.display());
        }
    }
    let missed = if settings.gate { results.missed() } else { Vec::new() };
    for line in &missed {
        eprintln!("bench: missed: {line}");
    }
    Ok(!failed && missed.is_empty())
}

/// Replaces the file atomically.
fn save(out: &Path, results: &Results) -> Result<(), String> {
    let mut text = serde_json::to_string_pretty(&results.to_json()).unwrap();
    text.push('\n');
    let beside = beside(out);
    let written = std::fs::write(&beside, text).and_then(|()| std::fs::rename(&beside, out));
    written.map_err(|error| unwritable(out, &error))
}

fn beside(out: &Path) -> PathBuf {
    out.with_extension("json.new")
}

fn unwritable(out: &Path, error: &std::io::Error) -> String {
    let out = out.display();
    format!("failed to write {out}: {error}; BENCH_OUT must name a file that can be written")
}

/// The machine, the commit and the settings of a measurement.
fn about(settings: &Settings) -> Value {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
        (output.status.success() && !text.is_empty()).then_some(text)
    };
    let commit = git(&["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]);
    let load = std::fs::read_to_string("/proc/loadavg").ok();
    let load = load.and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    json!({
        "commit": commit.unwrap_or_else(|| "unknown".to_owned()),
        "date": jiff::Timestamp::now().to_string()[..10],
        "machine": {
            "cores": std::thread::available_parallelism().map_or(0, usize::from),
            "system": format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            // The load of the last minute before the start.
            "load_before": load,
        },
        "namespaces": settings.namespaces,
        "steady_seconds": settings.steady.as_secs(),
    })
}
