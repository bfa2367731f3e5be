//! `lab`: Tenantry on a real control plane of this machine, to try it out. `make run` and `make stop` call it.

mod guide;
mod holder;
mod table;
mod up;

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, bail};
use controlplane::{Audit, detached};

const USAGE: &str = "\
usage: lab COMMAND [--dir DIR]

  up [--binary FILE] [--ttl SECONDS] [--root DIR]
            start a control plane, install the chart from DIR, run the operator, apply the examples, show the tenants;
            all of it stays. Again: upgrade the chart, and restart the operator if it is another one.
  status    tell what is up; exit code 3 if nothing is
  down      end it

--binary: the operator; without it the file `tenantry` beside this program.
--ttl: when it ends by itself, in seconds; without it after 8 hours.
--dir: where it keeps its files; without it ${XDG_STATE_HOME:-~/.local/state}/tenantry/lab.
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let result = match (Flags::parse(&args), runtime) {
        (Ok(flags), Ok(runtime)) => runtime.block_on(dispatch(flags)),
        (Err(error), _) => {
            let _ = write!(std::io::stderr(), "lab: {error}\n{USAGE}");
            return ExitCode::from(2);
        }
        (_, Err(error)) => Err(error.into()),
    };
    result.unwrap_or_else(|error| {
        let _ = writeln!(std::io::stderr(), "lab: {error:#}");
        ExitCode::FAILURE
    })
}

async fn dispatch(flags: Flags) -> anyhow::Result<ExitCode> {
    match flags.command.as_str() {
        "up" => up::up(&flags).await.map(|()| ExitCode::SUCCESS),
        "status" => status(&flags).await,
        "down" => down(&flags),
        // The two supervisors that `up` starts.
        "supervise" => {
            detached::supervise(&flags.dir, flags.settings)?;
            Ok(ExitCode::SUCCESS)
        }
        "hold" => holder::hold(&flags.dir, &flags.binary()?)
            .await
            .map(|()| ExitCode::SUCCESS),
        _ => {
            say(USAGE.trim_end());
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn status(flags: &Flags) -> anyhow::Result<ExitCode> {
    let Some(plane) = detached::status(&flags.dir)? else {
        say("nothing is up; `make run` starts it");
        return Ok(ExitCode::from(3));
    };
    say(&format!(
        "control plane: {}, ends by itself in {}",
        plane.url,
        left(plane.ends_at)
    ));
    match holder::status(&flags.dir)? {
        Some(operator) => say(&format!(
            "operator:      process {}, log in {}",
            operator.pid,
            operator.log.display()
        )),
        None => say("operator:      not running; `make run` starts it"),
    }
    say(&format!("kubeconfig:    {}\n", plane.kubeconfig.display()));
    let client = kube::Client::try_from(lab::config(&plane.kubeconfig).await?)?;
    table::print(&table::tenants(&client).await?);
    Ok(ExitCode::SUCCESS)
}

fn down(flags: &Flags) -> anyhow::Result<ExitCode> {
    let operator = holder::end(&flags.dir)?;
    let plane = detached::down(&flags.dir)?;
    clear(&flags.dir);
    let logs = flags.dir.display();
    say(&match (operator, plane) {
        (true, true) => {
            format!("stopped: the operator and the control plane; their data is gone, their logs stay below {logs}")
        }
        (false, true) => format!("stopped: the control plane; its data is gone, logs stay below {logs}"),
        (true, false) => format!("stopped: the operator; its log stays below {logs}"),
        (false, false) => "nothing was up".to_owned(),
    });
    Ok(ExitCode::SUCCESS)
}

/// Removes files about the control plane that has ended: credentials, the `env` file that names them, and kubectl's
/// cache of its kinds. They are absent if nothing was up.
fn clear(dir: &Path) {
    let operator = dir.join("operator");
    let _ = std::fs::remove_file(dir.join("env"));
    for cache in [dir, &operator] {
        let _ = std::fs::remove_dir_all(cache.join("kubectl-cache"));
    }
    let files = std::fs::read_dir(&operator).into_iter().flatten().flatten();
    for path in files.map(|file| file.path()) {
        if path.extension().is_some_and(|extension| extension == "kubeconfig") {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// One line to standard output. Ignores errors, as the reader may have closed it.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// How long until a moment in seconds since 1970, in hours and minutes.
fn left(ends_at: u64) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let minutes = ends_at.saturating_sub(now).div_ceil(60);
    format!("{} h {:02} min", minutes / 60, minutes % 60)
}

/// The parsed command line.
struct Flags {
    command: String,
    dir: PathBuf,
    root: PathBuf,
    binary: Option<PathBuf>,
    settings: detached::Settings,
}

impl Flags {
    fn parse(args: &[String]) -> anyhow::Result<Self> {
        let (command, rest) = args.split_first().context("no command given")?;
        let known = ["up", "status", "down", "supervise", "hold", "help", "--help", "-h"];
        if !known.contains(&command.as_str()) {
            bail!("there is no command {command:?}");
        }
        let mut flags = Self {
            command: command.clone(),
            dir: detached::default_dir().with_file_name("lab"),
            root: PathBuf::from("."),
            binary: None,
            settings: detached::Settings {
                // At kube-controller-manager's default of 20 requests a second, quotas are counted late.
                controller_manager_qps: Some(300),
                ..detached::Settings::default()
            },
        };
        let mut rest = rest.iter();
        while let Some(arg) = rest.next() {
            let (name, value) = match arg.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (arg.as_str(), rest.next().map(String::as_str)),
            };
            let value = value
                .filter(|value| !value.is_empty())
                .with_context(|| format!("{name} needs a value"))?;
            let number = || value.parse().with_context(|| format!("{name}: {value:?} is no number"));
            match name {
                "--dir" => flags.dir = std::path::absolute(value)?,
                "--root" => flags.root = PathBuf::from(value),
                "--binary" => flags.binary = Some(std::path::absolute(value)?),
                "--ttl" => flags.settings.ttl = Duration::from_secs(number()?),
                "--qps" => flags.settings.controller_manager_qps = Some(u32::try_from(number()?)?),
                "--audit" => {
                    flags.settings.audit =
                        Audit::from_name(value).with_context(|| format!("--audit: there is no {value:?}"))?;
                }
                _ => bail!("there is no flag {name}"),
            }
        }
        Ok(flags)
    }

    /// The operator's binary.
    fn binary(&self) -> anyhow::Result<PathBuf> {
        let binary = match &self.binary {
            Some(binary) => binary.clone(),
            None => std::env::current_exe()?.with_file_name("tenantry"),
        };
        exists(&binary, "build it with `cargo build`, or name it with --binary")?;
        Ok(binary)
    }
}

fn exists(path: &Path, remedy: &str) -> anyhow::Result<()> {
    if !path.exists() {
        bail!("there is no {}; {remedy}", path.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Option<Flags> {
        Flags::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).ok()
    }

    #[test]
    fn flags_take_a_value_after_a_space_or_an_equals_sign() {
        let flags = parse("up --ttl 60 --dir=/a --binary /b").unwrap();
        assert_eq!(flags.settings.ttl, Duration::from_secs(60));
        assert_eq!(
            (flags.dir, flags.binary),
            (PathBuf::from("/a"), Some(PathBuf::from("/b")))
        );
    }

    #[test]
    fn supervise_arguments_are_parsed() {
        assert!(parse("supervise --dir /a --audit off --ttl 60 --qps 300").is_some());
    }

    #[test]
    fn unknown_arguments_are_refused() {
        for line in ["", "fly", "up --ttl soon", "up --dir", "up stray", "up --verbose 1"] {
            assert!(parse(line).is_none(), "{line}");
        }
    }
}
