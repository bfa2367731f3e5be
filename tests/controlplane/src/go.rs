//! Builds tools and fetches module folders with the user's own Go, from the pinned modules only.

use std::fs::{self, File, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::scratch::{Scratch, new_dir};
use crate::tool::{KUBERNETES, Module, Tool};

/// For folders that are only used under the lock, so that the next process may remove them.
const LEFTOVER: &str = ".build-";
const REMEDY: &str =
    "; install Go 1.26 or newer (https://go.dev/dl), or set KUBEBUILDER_ASSETS to a folder with the binaries";

/// One line for the waiting user. Errors are ignored, as progress is not essential.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "controlplane: {line}");
}

/// The version after a module's path in a go.mod.
pub(crate) fn pinned_version<'a>(go_mod: &'a str, module: &str) -> Result<&'a str, Error> {
    let words = go_mod
        .lines()
        .map(|line| line.trim().trim_start_matches("require ").split_whitespace());
    let version = words
        .filter_map(|mut w| (w.next() == Some(module)).then(|| w.next()).flatten())
        .find(|v| v.starts_with('v'));
    version.ok_or_else(|| Error::Malformed {
        what: "go.mod".into(),
        why: format!("it requires no {module}"),
    })
}

/// `-ldflags` of a tool: no debug symbols, and for Kubernetes tools their version, which a module build does not set.
fn linker_flags(tool: Tool) -> Result<String, Error> {
    if tool == Tool::Etcd || tool.module() != &KUBERNETES {
        return Ok("-s -w".into());
    }
    let version = pinned_version(KUBERNETES.go_mod, "k8s.io/kubernetes")?;
    let mut parts = version.trim_start_matches('v').split('.');
    let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let package = "k8s.io/component-base/version";
    Ok(format!(
        "-s -w -X {package}.gitVersion={version} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}"
    ))
}

/// A folder with the module's two files, as the working directory of `go`.
fn unpack(module: &Module, parent: &Path, prefix: &str) -> Result<Scratch, Error> {
    let dir = Scratch(new_dir(parent, prefix)?);
    for (name, text) in [("go.mod", module.go_mod), ("go.sum", module.go_sum)] {
        let path = dir.0.join(name);
        fs::write(&path, text).map_err(Error::io("write", &path))?;
    }
    Ok(dir)
}

/// `go` in `dir`, with the user's proxy and checksum settings but without a surrounding Go workspace.
fn go(dir: &Path) -> Command {
    let mut command = Command::new("go");
    command
        .current_dir(dir)
        .env("GOWORK", "off")
        .env("CGO_ENABLED", "0")
        .env("GOFLAGS", "")
        .stdin(Stdio::null());
    command
}

/// Builds those of `tools` that `dir` lacks. Several processes may ask at once: one builds, the others wait for it.
pub(crate) fn build_missing(tools: &[Tool], dir: &Path) -> Result<(), Error> {
    let missing =
        |tools: &[Tool]| -> Vec<Tool> { tools.iter().copied().filter(|t| !dir.join(t.name()).exists()).collect() };
    if missing(tools).is_empty() {
        return Ok(());
    }
    fs::create_dir_all(dir).map_err(Error::io("create", dir))?;
    let _lock = lock(&dir.join(".lock"))?;
    remove_leftovers(dir);
    let tools = missing(tools);
    if tools.is_empty() {
        return Ok(());
    }
    say(&format!(
        "building into {} (once; minutes, mostly the first)",
        dir.display()
    ));
    for (index, tool) in tools.iter().enumerate() {
        build(*tool, dir, &format!("{} of {}", index + 1, tools.len()))?;
    }
    Ok(())
}

/// Removes files of a builder that was killed. Called under the lock only, so no other builder uses them.
fn remove_leftovers(dir: &Path) {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    for entry in entries.filter(|e| e.file_name().to_string_lossy().starts_with(LEFTOVER)) {
        let _ = fs::remove_dir_all(entry.path());
    }
}

/// An exclusive lock that ends with the returned file, or with the process.
fn lock(path: &Path) -> Result<File, Error> {
    let file = File::create(path).map_err(Error::io("create", path))?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => say("another process builds the binaries; waiting for it"),
        Err(TryLockError::Error(why)) => return Err(Error::io("lock", path)(why)),
    }
    file.lock().map_err(Error::io("lock", path))?;
    Ok(file)
}

fn build(tool: Tool, dir: &Path, which: &str) -> Result<(), Error> {
    let scratch = unpack(tool.module(), dir, LEFTOVER)?;
    let output = scratch.0.join(tool.name());
    let log_path = scratch.0.join("log");
    let log = File::create(&log_path).map_err(Error::io("create", &log_path))?;
    let mut command = go(&scratch.0);
    command.args([
        "build",
        "-mod=readonly",
        "-trimpath",
        "-buildvcs=false",
        "-ldflags",
        &linker_flags(tool)?,
        "-o",
    ]);
    command
        .arg(&output)
        .arg(tool.package())
        .stdout(Stdio::null())
        .stderr(log);
    say(&format!("[{which}] {} ...", tool.name()));
    let started = Instant::now();
    let mut child = command.spawn().map_err(|why| Error::Spawn {
        program: "go".into(),
        why,
        remedy: REMEDY,
    })?;
    let mut told = started;
    let status = loop {
        if let Some(status) = child.try_wait().map_err(Error::io("wait for go in", &scratch.0))? {
            break status;
        }
        if told.elapsed() > Duration::from_secs(15) {
            told = Instant::now();
            say(&format!(
                "[{which}] {} ... {} s",
                tool.name(),
                started.elapsed().as_secs()
            ));
        }
        thread::sleep(Duration::from_millis(50));
    };
    if !status.success() {
        return Err(Error::Command {
            action: format!("build {}", tool.name()),
            command: format!("go build {}", tool.package()),
            status: status.to_string(),
            output: tail(&log_path, 30),
        });
    }
    let path = dir.join(tool.name());
    fs::rename(&output, &path).map_err(Error::io("write", &path))?;
    say(&format!(
        "[{which}] {} built in {} s",
        tool.name(),
        started.elapsed().as_secs()
    ));
    Ok(())
}

/// The folder of a pinned module in Go's module cache, downloaded and verified first if need be.
pub(crate) fn module_dir(module: &Module, path: &str, scratch_parent: &Path) -> Result<PathBuf, Error> {
    fs::create_dir_all(scratch_parent).map_err(Error::io("create", scratch_parent))?;
    let scratch = unpack(module, scratch_parent, ".download-")?;
    let target = format!("{path}@{}", pinned_version(module.go_mod, path)?);
    let output = go(&scratch.0)
        .args(["mod", "download", "-json", &target])
        .output()
        .map_err(|why| Error::Spawn {
            program: "go".into(),
            why,
            remedy: REMEDY,
        })?;
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    match answer["Dir"].as_str() {
        Some(dir) if output.status.success() => Ok(PathBuf::from(dir)),
        _ => Err(Error::Command {
            action: format!("download {target}"),
            command: format!("go mod download -json {target}"),
            status: output.status.to_string(),
            output: answer["Error"]
                .as_str()
                .map_or_else(|| String::from_utf8_lossy(&output.stderr).into_owned(), str::to_owned),
        }),
    }
}

/// The last `lines` lines of a file; empty if it cannot be read, as they only add detail to another error.
pub(crate) fn tail(path: &Path, lines: usize) -> String {
    let text = fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pinned_version_is_read_from_a_block_and_from_a_line() {
        let block = "require (\n\ta.b/c v1.2.3 // indirect\n)\nrequire d.e/f v4.5.6\nreplace x => y v1.0.0\n";
        assert_eq!(pinned_version(block, "a.b/c").unwrap(), "v1.2.3");
        assert_eq!(pinned_version(block, "d.e/f").unwrap(), "v4.5.6");
    }

    #[test]
    fn a_module_that_is_not_required_is_an_error() {
        assert!(matches!(
            pinned_version("replace x => y v1.0.0", "x"),
            Err(Error::Malformed { .. })
        ));
    }

    #[test]
    fn kubernetes_tools_are_stamped_and_others_are_not() {
        assert!(
            linker_flags(Tool::KubeApiserver)
                .unwrap()
                .contains("gitVersion=v1.36.3")
        );
        assert!(linker_flags(Tool::Kubectl).unwrap().ends_with("gitMinor=36"));
        assert_eq!(linker_flags(Tool::Etcd).unwrap(), "-s -w");
        assert_eq!(linker_flags(Tool::Helm).unwrap(), "-s -w");
    }
}
