//! `controlplane`: a real Kubernetes control plane with one command.

use std::env;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use controlplane::{Assets, Audit, ControlPlane, Error, Integration, Options, Tool, crd_files, detached};

const USAGE: &str = "\
usage: controlplane COMMAND

  assets [TOOL...]              find or build the programs (all, or those named) and print their folders
  crds [INTEGRATION...]         print the paths of real CRDs: prometheus-operator, gateway-api, cert-manager
  up [--dir DIR] [--ttl SECONDS] [--audit off|metadata|full] [--qps N]
                                start one that stays, or find the one that does; prints `export KUBECONFIG=...`
  down [--dir DIR]              end it
  status [--dir DIR]            tell whether one is up; exit code 3 if not
  run [--audit ...] [--qps N] -- CMD...
                                start one, run CMD with KUBECONFIG and PATH set, end it; CMD's exit code

--qps: requests a second that kube-controller-manager may send; without it 20, as in clusters, and 5 s more to start.
Programs come from KUBEBUILDER_ASSETS, else they are built once with Go and cached.
TENANTRY_TEST_KUBECONFIG: use that cluster instead. TENANTRY_KEEP=1: leave data and logs behind.
";

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    match dispatch(&args) {
        Ok(code) => code,
        Err(Failure::Usage(why)) => {
            let _ = write!(std::io::stderr(), "controlplane: {why}\n{USAGE}");
            ExitCode::from(2)
        }
        Err(Failure::Run(error)) => {
            let _ = writeln!(std::io::stderr(), "controlplane: {error}");
            ExitCode::FAILURE
        }
    }
}

enum Failure {
    Usage(String),
    Run(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Run(error)
    }
}

fn print(line: &str) {
    // Ignores errors: the reader may have closed the pipe.
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn dispatch(args: &[String]) -> Result<ExitCode, Failure> {
    let Some((command, rest)) = args.split_first() else {
        return Err(Failure::Usage("no command given".into()));
    };
    match command.as_str() {
        "assets" => assets(rest),
        "crds" => crds(rest),
        "up" => up(&Flags::parse(rest)?),
        "down" => down(&Flags::parse(rest)?),
        "status" => status(&Flags::parse(rest)?),
        "run" => run(&Flags::parse(rest)?),
        "supervise" => {
            let flags = Flags::parse(rest)?;
            detached::supervise(&flags.dir, flags.settings)?;
            Ok(ExitCode::SUCCESS)
        }
        "help" | "--help" | "-h" => {
            print(USAGE.trim_end());
            Ok(ExitCode::SUCCESS)
        }
        other => Err(Failure::Usage(format!("no command {other:?}"))),
    }
}

/// Names to values, or all values where no name is given.
fn named<T: Copy>(names: &[String], all: &[T], parse: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, Failure> {
    if names.is_empty() {
        return Ok(all.to_vec());
    }
    names
        .iter()
        .map(|n| parse(n).ok_or_else(|| Failure::Usage(format!("nothing is named {n:?}"))))
        .collect()
}

fn assets(names: &[String]) -> Result<ExitCode, Failure> {
    let assets = Assets::from_env();
    assets.ensure(&named(names, &Tool::ALL, Tool::from_name)?)?;
    assets.dirs().iter().for_each(|dir| print(&dir.display().to_string()));
    Ok(ExitCode::SUCCESS)
}

fn crds(names: &[String]) -> Result<ExitCode, Failure> {
    for integration in named(names, &Integration::ALL, Integration::from_name)? {
        crd_files(integration)?
            .iter()
            .for_each(|path| print(&path.display().to_string()));
    }
    Ok(ExitCode::SUCCESS)
}

fn export(kubeconfig: &Path) {
    print(&format!("export KUBECONFIG='{}'", kubeconfig.display()));
}

fn up(flags: &Flags) -> Result<ExitCode, Failure> {
    let program = env::current_exe().map_err(|why| Error::Spawn {
        program: "controlplane".into(),
        why,
        remedy: "",
    })?;
    export(&detached::up(&program, &flags.dir, flags.settings)?.kubeconfig);
    Ok(ExitCode::SUCCESS)
}

fn down(flags: &Flags) -> Result<ExitCode, Failure> {
    let line = if detached::down(&flags.dir)? {
        "down"
    } else {
        "none was up"
    };
    print(&format!("{line}: {}", flags.dir.display()));
    Ok(ExitCode::SUCCESS)
}

fn status(flags: &Flags) -> Result<ExitCode, Failure> {
    let Some(state) = detached::status(&flags.dir)? else {
        print(&format!("none is up in {}", flags.dir.display()));
        return Ok(ExitCode::from(3));
    };
    print(&format!(
        "up at {} (process {}, until {} s after 1970)",
        state.url, state.pid, state.ends_at
    ));
    export(&state.kubeconfig);
    Ok(ExitCode::SUCCESS)
}

fn run(flags: &Flags) -> Result<ExitCode, Failure> {
    let Some((program, args)) = flags.command.split_first() else {
        return Err(Failure::Usage("run needs `-- CMD...`".into()));
    };
    let plane = ControlPlane::start(Options {
        audit: flags.settings.audit,
        controller_manager_qps: flags.settings.controller_manager_qps,
        ..Options::default()
    })?;
    let mut command = Command::new(program);
    command
        .args(args)
        .env("KUBECONFIG", plane.kubeconfig())
        .env("KUBECACHEDIR", plane.dir().join("kubectl-cache"))
        .env("PATH", plane.assets().search_path());
    let status = command.status().map_err(|why| Error::Spawn {
        program: program.clone(),
        why,
        remedy: "",
    })?;
    drop(plane);
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .unwrap_or(1);
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

/// The arguments after a command.
struct Flags {
    dir: PathBuf,
    settings: detached::Settings,
    command: Vec<String>,
}

impl Flags {
    fn parse(args: &[String]) -> Result<Self, Failure> {
        let mut flags = Self {
            dir: detached::default_dir(),
            settings: detached::Settings::default(),
            command: Vec::new(),
        };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            if arg == "--" {
                flags.command = args.cloned().collect();
                break;
            }
            let (name, value) = match arg.split_once('=') {
                Some((name, value)) => (name, value.to_owned()),
                None => (arg.as_str(), args.next().cloned().unwrap_or_default()),
            };
            let wrong = || Failure::Usage(format!("{name} {value:?} is not understood"));
            match name {
                "--dir" if !value.is_empty() => flags.dir = std::path::absolute(&value).map_err(|_| wrong())?,
                "--audit" => flags.settings.audit = Audit::from_name(&value).ok_or_else(wrong)?,
                "--qps" => flags.settings.controller_manager_qps = Some(value.parse().map_err(|_| wrong())?),
                "--ttl" => flags.settings.ttl = Duration::from_secs(value.parse().map_err(|_| wrong())?),
                _ => return Err(wrong()),
            }
        }
        Ok(flags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Option<Flags> {
        Flags::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).ok()
    }

    #[test]
    fn flags_take_a_value_after_a_space_or_an_equals_sign() {
        let flags = parse("--dir /a --audit=full --ttl 60 --qps=50").unwrap();
        assert_eq!(flags.dir, PathBuf::from("/a"));
        let (audit, ttl) = (Audit::Full, Duration::from_secs(60));
        assert_eq!(
            flags.settings,
            detached::Settings {
                audit,
                controller_manager_qps: Some(50),
                ttl
            }
        );
    }

    #[test]
    fn everything_after_two_dashes_is_the_command() {
        assert_eq!(
            parse("--audit off -- kubectl --dir x").unwrap().command,
            ["kubectl", "--dir", "x"]
        );
    }

    #[test]
    fn unknown_arguments_are_refused() {
        for line in ["--audit loud", "--ttl soon", "--dir", "--verbose 1", "stray"] {
            assert!(parse(line).is_none(), "{line}");
        }
    }
}
