//! The `tenantry` binary: `run`, `render`, `adopt`, `version`.

use std::{io::Write as _, process::ExitCode};

use anyhow::Context as _;
use clap::Parser as _;
use tenantry::{
    cli::{Cli, Command, RunArgs},
    operator,
};
use tenantry_cli::commands;
use tenantry_process::telemetry;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let done = |()| ExitCode::SUCCESS;
    let result = match Cli::parse().command {
        Command::Run(args) => run(*args).map(done),
        Command::Render(args) => commands::render(args, &mut std::io::stdout().lock()).map(done),
        Command::Adopt(args) => commands::adopt(args, &mut std::io::stdout().lock()).map(ExitCode::from),
        Command::Version => writeln!(std::io::stdout(), "tenantry {}", env!("CARGO_PKG_VERSION"))
            .map(done)
            .map_err(Into::into),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            // If even standard error cannot be written, there is nothing left to do.
            let _ = writeln!(std::io::stderr(), "error: {}", with_causes(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error with its causes. Many of our errors already end with the text of their cause, which is then not repeated.
fn with_causes(error: &anyhow::Error) -> String {
    error
        .chain()
        .fold(String::new(), |text, cause| match cause.to_string() {
            cause if text.is_empty() => cause,
            cause if text.ends_with(&cause) => text,
            cause => format!("{text}: {cause}"),
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
    // Dropping the runtime would wait for blocking calls, such as a DNS look-up.
    runtime.shutdown_background();
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_that_its_error_contains_is_not_repeated() {
        let source = serde_json::from_str::<bool>("[").unwrap_err();
        let (file, kind, name) = ("a.yaml".to_owned(), "Tenant".to_owned(), "acme".to_owned());
        let error = tenantry_cli::render::Error::Shape {
            file,
            kind,
            name,
            source,
        };
        let text = with_causes(&anyhow::Error::new(error).context("failed to render"));
        assert!(text.starts_with("failed to render: a.yaml: Tenant acme: "), "{text}");
        assert_eq!(text.matches("line 1 column").count(), 1, "{text}");
    }
}
