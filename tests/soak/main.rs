//! `make soak`: the operator under steady churn on a real control plane, for hours. It fails if the operator grows, if
//! a rule is broken at any revision, or if the last objects differ from those of a fresh cluster.
//!
//! Settings come from the environment: see [`Settings`].

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::default_trait_access,
    clippy::cast_precision_loss,
    clippy::float_cmp,
    reason = "it fails by panicking, prints a table, and its counts are whole numbers far below 2^52"
)]

mod churn;
mod judging;
mod sample;
mod scene;
mod settings;
mod verdict;

#[path = "../it/common/mod.rs"]
#[allow(
    dead_code,
    clippy::wildcard_imports,
    reason = "shared with the integration tests, which use all of it"
)]
mod common;

use std::{
    fs::File,
    io::Write as _,
    process::ExitCode,
    time::{Duration, Instant},
};

use controlplane::Audit;
use faultproxy::Proxy;
use lab::{Operator, OperatorOptions};
use tokio::time::MissedTickBehavior;

use self::{churn::Churn, judging::Judging, sample::Sample, sample::Sampler, settings::Settings};

fn main() -> ExitCode {
    let settings = match Settings::from_env() {
        Ok(settings) => settings,
        Err(why) => {
            eprintln!("soak: {why}");
            return ExitCode::from(2);
        }
    };
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let payload = panic.payload();
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let why = text
            .or_else(|| payload.downcast_ref::<&str>().copied())
            .unwrap_or_default();
        println!("soak: {why} ({place})");
    }));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    // A helper that waits in vain panics, which prints one line.
    match runtime.block_on(async { tokio::spawn(soak(settings)).await }) {
        Ok(failures) if failures.is_empty() => {
            println!("soak passed");
            ExitCode::SUCCESS
        }
        Ok(failures) => {
            for failure in &failures {
                println!("  {failure}");
            }
            println!("soak failed: {}", failures[0]);
            ExitCode::FAILURE
        }
        Err(_) => {
            println!("soak failed: it did not come to its end, see above");
            ExitCode::FAILURE
        }
    }
}

/// Returns the failures.
async fn soak(settings: Settings) -> Vec<String> {
    println!("{settings}");
    let (lab, admin) = common::own(Audit::Off).await;
    let olga = lab.as_user("olga", &[]).await.unwrap();
    let mut judging = Judging::start(&admin).await;
    let proxy = Proxy::start(lab.kubeconfig()).await.unwrap();
    let server = settings.break_watches.then(|| proxy.url().to_owned());
    let options = OperatorOptions {
        server,
        ..OperatorOptions::new(&settings.binary).arg("--status-interval=1s")
    };
    let operator = lab.operator(options).await.unwrap();
    scene::create(&admin, settings.tenants).await;
    common::all_ready(&admin).await;

    let probe = Sampler::new(&lab, &admin);
    let before = quiet(&probe, &operator, |_| true).await;
    println!("quiet: {before}");
    let mut file = File::create(settings.samples()).expect("the file of the samples");
    let mut churn = Churn::new(&settings, admin.clone(), olga, &proxy);
    let samples = run(&settings, &probe, &operator, &mut churn, &mut judging, &mut file).await;

    churn.restore().await;
    let tenants = scene::settled(&admin, settings.tenants).await;
    println!(
        "the churn is over, {} tenants are Ready and stand as rendered",
        tenants.len()
    );
    let after = quiet(&probe, &operator, |now| now.is_back_at(&before)).await;
    let mut failures = verdict::of(&before, &samples, &after);
    verdict::print_table(&before, &samples, &after, &churn.told());

    scene::delete_all(&admin).await;
    failures.extend(judging.finish(&admin).await);
    println!("nothing is left; {judging}");
    let ended = operator.stop().await.unwrap();
    if !ended.success() {
        failures.push(format!("the operator ended with {ended}"));
    }
    failures
}

/// Churns for the configured time and takes samples; prints a line a minute.
async fn run(
    settings: &Settings,
    sampler: &Sampler<'_>,
    operator: &Operator,
    churn: &mut Churn<'_>,
    judging: &mut Judging,
    file: &mut File,
) -> Vec<Sample> {
    let started = Instant::now();
    let ticking = |every: Duration| {
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    };
    let mut actions = ticking(Duration::from_secs_f64(1.0 / settings.rate));
    let mut measurements = ticking(settings.sample_every());
    let mut printed = 0;
    let mut taken = Vec::new();
    while started.elapsed() < settings.length {
        tokio::select! {
            _ = actions.tick() => churn.act(judging).await,
            _ = measurements.tick() => {
                let sample = sampler.take(operator, started.elapsed()).await;
                writeln!(file, "{}", sample.json()).expect("the file of the samples");
                judging.catch_up();
                let minute = started.elapsed().as_secs() / 60;
                if minute >= printed {
                    println!("{minute} min: {sample}; {}; {judging}", churn.told());
                    printed = minute + 1;
                }
                taken.push(sample);
            }
        }
    }
    taken
}

/// How long the counts must stay the same to count as quiet.
const STILL: Duration = Duration::from_secs(30);
const QUIET_AT_LAST: Duration = Duration::from_secs(600);

/// Waits until the counts stop changing and are as wanted, at most ten minutes; returns the last counts.
async fn quiet(sampler: &Sampler<'_>, operator: &Operator, wanted: impl Fn(&Sample) -> bool) -> Sample {
    let started = Instant::now();
    let mut since = Instant::now();
    let mut last = sampler.take(operator, Duration::ZERO).await;
    loop {
        tokio::time::sleep(STILL / 10).await;
        let now = sampler.take(operator, Duration::ZERO).await;
        if now.counts() != last.counts() || !wanted(&now) {
            since = Instant::now();
        }
        last = now;
        if since.elapsed() >= STILL || started.elapsed() >= QUIET_AT_LAST {
            return last;
        }
    }
}
