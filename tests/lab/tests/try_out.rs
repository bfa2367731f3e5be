//! `lab up` as a new user has it: every command that it prints is run, in order, and does what it says.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

/// A lab in a folder of its own; ended when dropped.
struct Up(PathBuf);

impl Drop for Up {
    fn drop(&mut self) {
        let _ = lab("down", &self.0);
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn lab(command: &str, dir: &Path) -> Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut lab = Command::new(env!("CARGO_BIN_EXE_lab"));
    lab.arg(command).arg("--dir").arg(dir).arg("--root").arg(root);
    lab.args(["--ttl", "900"]).stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Names of all files and folders below `dir`.
fn names_below(dir: &Path, names: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        names.push(entry.file_name().to_string_lossy().into_owned());
        if entry.path().is_dir() {
            names_below(&entry.path(), names);
        }
    }
}

#[test]
fn printed_commands_work_or_are_refused_as_printed() {
    let tenantry = Path::new(env!("CARGO_BIN_EXE_lab")).with_file_name("tenantry");
    assert!(
        tenantry.exists(),
        "run `cargo test --workspace`, or `cargo build` first: the lab runs {}",
        tenantry.display()
    );
    let up = Up(std::env::temp_dir().join(format!("tenantry-try-out-{:016x}", fastrand::u64(..))));
    let first = lab("up", &up.0);
    let printed = text(&first.stdout);
    assert!(first.status.success(), "{printed}{}", text(&first.stderr));

    let again = lab("up", &up.0);
    assert!(again.status.success(), "{}", text(&again.stderr));
    assert!(text(&again.stdout).contains("runs already"), "{}", text(&again.stdout));

    let env = up.0.join("env");
    let commands = printed.lines().filter(|line| line.starts_with("    kubectl "));
    let mut count = 0;
    for line in commands {
        let shell = Command::new("sh")
            .arg("-c")
            .arg(format!(". '{}'\n{line}", env.display()))
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let refused = line.contains("# refused");
        assert_eq!(
            shell.status.success(),
            !refused,
            "{line}\n{}{}",
            text(&shell.stdout),
            text(&shell.stderr)
        );
        if refused {
            assert!(
                // `kubectl create` of an object that it makes itself says it in lower case.
                text(&shell.stderr).to_lowercase().contains("forbidden"),
                "{line}\n{}",
                text(&shell.stderr)
            );
        }
        count += 1;
    }
    assert!(count > 10, "only {count} commands were printed: {printed}");

    assert!(lab("status", &up.0).status.success());
    let down = lab("down", &up.0);
    assert!(down.status.success(), "{}", text(&down.stderr));
    let logs = format!("logs stay below {}", up.0.display());
    assert!(text(&down.stdout).contains(&logs), "{}", text(&down.stdout));
    let mut left = Vec::new();
    names_below(&up.0, &mut left);
    let credentials = |name: &&String| name.contains("kubeconfig") || name.contains("kubectl-cache") || *name == "env";
    assert_eq!(left.iter().find(credentials), None, "{left:?}");
    assert!(
        left.iter().any(|name| name.starts_with("operator-tenantry-0")),
        "{left:?}"
    );
    assert_eq!(lab("status", &up.0).status.code(), Some(3));
}
