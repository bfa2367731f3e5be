//! The `tenantry` binary: `run`, `render`, `adopt`, `generate`, `version`.

use std::{collections::BTreeSet, io::Write as _, path::Path, process::ExitCode, time::Duration};

use anyhow::{Context as _, bail};
use clap::Parser as _;
use tenantry::{
    cli::{Cli, Command, GenerateArgs, RunArgs},
    operator, tenant,
};
use tenantry_cli::{
    adopt::{self, HandOver},
    args::{AdoptArgs, OutputFormat, RenderArgs, ReportFormat, ResourceArgs},
    render,
};
use tenantry_process::telemetry;
use xtask::generate;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Exit code of `adopt` when something would be refused.
const REFUSED: u8 = 3;

fn main() -> ExitCode {
    let done = |()| ExitCode::SUCCESS;
    let result = match Cli::parse().command {
        Command::Run(args) => run(*args).map(done),
        Command::Render(args) => print_manifests(args).map(done),
        Command::Adopt(args) => adopt_namespace(args),
        Command::Generate(args) => generate_files(args).map(done),
        Command::Version => writeln!(std::io::stdout(), "tenantry {}", env!("CARGO_PKG_VERSION"))
            .map(done)
            .map_err(Into::into),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            // Nothing is left to be done if even that fails.
            let _ = writeln!(std::io::stderr(), "error: {}", told(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error with its causes. Many of ours say their cause themselves: it is not said twice.
fn told(error: &anyhow::Error) -> String {
    error
        .chain()
        .fold(String::new(), |told, cause| match cause.to_string() {
            cause if told.is_empty() => cause,
            cause if told.ends_with(&cause) => told,
            cause => format!("{told}: {cause}"),
        })
}

fn run(args: RunArgs) -> anyhow::Result<()> {
    let settings = args.validate()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("failed to start the runtime")?;
    let result = runtime.block_on(async {
        let telemetry = telemetry::init(settings.log_format, &settings.log_level, settings.otlp.as_ref())?;
        let result = operator::run(settings).await;
        telemetry.shutdown();
        result
    });
    // Its drop would wait for blocking calls, such as the look-up of a name.
    runtime.shutdown_background();
    result
}

/// What a command works with that writes no status.
fn offline_settings(resources: ResourceArgs) -> anyhow::Result<tenant::Settings> {
    let resources = resources.validate()?;
    Ok(tenant::Settings {
        accelerator_resources: resources.accelerators,
        model_resource: resources.model,
        // Only statuses tell of them.
        admission: BTreeSet::new(),
        status_interval: Duration::ZERO,
    })
}

fn adopt_namespace(args: AdoptArgs) -> anyhow::Result<ExitCode> {
    let cluster = args.cluster();
    let AdoptArgs {
        namespace,
        tenant,
        yes,
        force,
        output,
        resources,
        ..
    } = args;
    let hand_over = match (yes, force) {
        (false, _) => HandOver::No,
        (true, false) => HandOver::IfNothingIsRefused,
        (true, true) => HandOver::Always,
    };
    let settings = offline_settings(resources)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("failed to start the runtime")?;
    let report = runtime.block_on(adopt::adopt(&cluster, &namespace, &tenant, hand_over, &settings))?;
    let mut out = std::io::stdout().lock();
    match output {
        ReportFormat::Text => write!(out, "{report}")?,
        ReportFormat::Json => writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?,
    }
    Ok(match report.refused() {
        0 => ExitCode::SUCCESS,
        _ if report.handed_over => ExitCode::SUCCESS,
        _ => ExitCode::from(REFUSED),
    })
}

fn print_manifests(args: RenderArgs) -> anyhow::Result<()> {
    let RenderArgs {
        files,
        output,
        served,
        resources,
    } = args;
    let texts = render::input::read(&files)?;
    let settings = offline_settings(resources)?;
    let served = match render::served(&served, &settings) {
        Ok(served) => served,
        Err(name) => {
            bail!(
                "--served: {name:?} is no optional kind; choose from podmonitors.monitoring.coreos.com, servicemonitors.monitoring.coreos.com, prometheusrules.monitoring.coreos.com, {}",
                settings.model_resource
            )
        }
    };
    let manifests = render::render(&texts, &served, &settings)?;
    let mut out = std::io::stdout().lock();
    for manifest in manifests {
        let written = match output {
            OutputFormat::Yaml => write!(out, "---\n{}", serde_saphyr::to_string(&manifest)?),
            OutputFormat::Json => writeln!(out, "{manifest}"),
        };
        match written {
            // A reader that has gone, such as `head`, wants no more.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            written => written?,
        }
    }
    Ok(())
}

fn generate_files(args: GenerateArgs) -> anyhow::Result<()> {
    let root = Path::new(".");
    if !root.join("Cargo.toml").exists() {
        bail!("generate writes into the source tree; run it in the repository's root");
    }
    if args.check {
        let stale = generate::stale(root)?;
        if !stale.is_empty() {
            let list: Vec<_> = stale.iter().map(|path| path.display().to_string()).collect();
            bail!(
                "these files are out of date, run `cargo run -- generate`: {}",
                list.join(", ")
            );
        }
        return Ok(());
    }
    for path in generate::write(root)? {
        writeln!(std::io::stdout(), "wrote {}", path.display())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_that_its_error_says_is_not_said_again() {
        let source = serde_json::from_str::<bool>("[").unwrap_err();
        let (file, kind, name) = ("a.yaml".to_owned(), "Tenant".to_owned(), "acme".to_owned());
        let error = render::Error::Shape {
            file,
            kind,
            name,
            source,
        };
        let told = told(&anyhow::Error::new(error).context("failed to render"));
        assert!(told.starts_with("failed to render: a.yaml: Tenant acme: "), "{told}");
        assert_eq!(told.matches("line 1 column").count(), 1, "{told}");
    }
}
