//! `lab up` as a new user has it: the test runs the commands of README.md and docs/self-service.md, then every command
//! that `lab up` prints, in order.
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

/// A command of a page, and whether the page shows that the API server refuses it.
struct Shown {
    command: String,
    refused: bool,
}

/// Commands in the `console` and `sh` blocks of a page below `heading`, with their here-documents. A `console` command is
/// refused if an `Error` follows it.
fn shown(page: &str, heading: &str) -> Vec<Shown> {
    let (_, rest) = page
        .split_once(heading)
        .unwrap_or_else(|| panic!("the page has no heading {heading}"));
    let section = rest.split("\n## ").next().unwrap();
    let mut commands: Vec<Shown> = Vec::new();
    let (mut block, mut document) = (None, false);
    for line in section.lines() {
        if let Some(kind) = line.strip_prefix("```") {
            block = (block.is_none() && ["console", "sh"].contains(&kind)).then(|| kind.to_owned());
        } else if document {
            let last = commands.last_mut().unwrap();
            last.command.push('\n');
            last.command.push_str(line);
            document = line != "EOF";
        } else if let Some(kind) = &block {
            let command = if kind == "sh" {
                Some(line)
            } else {
                line.strip_prefix("$ ")
            };
            if let Some(command) = command {
                document = command.ends_with("<<EOF");
                commands.push(Shown {
                    command: command.to_owned(),
                    refused: false,
                });
            } else if line.starts_with("Error") {
                commands.last_mut().unwrap().refused = true;
            }
        }
    }
    assert!(!document, "a here-document below {heading} has no end");
    commands
}

fn shell(env: &Path, command: &str) -> Output {
    Command::new("sh")
        .arg("-c")
        .arg(format!(". '{}'\n{command}", env.display()))
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Runs the commands of the pages that a new user follows.
fn follow_pages(env: &Path) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (page, heading, count) in [
        ("README.md", "\n## Your first tenant\n", 5),
        ("docs/self-service.md", "\n## Claim\n", 4),
        ("docs/self-service.md", "\n## Direct\n", 7),
    ] {
        let text = std::fs::read_to_string(root.join(page)).unwrap();
        let commands = shown(&text, heading);
        assert_eq!(commands.len(), count, "commands of {page} below {heading:?}");
        // docs/self-service.md says to wait for this after an installation.
        let open = shell(
            env,
            "kubectl wait tenant/acme --for=condition=SelfServiceReady --timeout=120s",
        );
        assert!(open.status.success(), "{}", text_of(&open));
        for Shown { command, refused } in commands {
            let done = shell(env, &command);
            assert_eq!(done.status.success(), !refused, "{page}: {command}\n{}", text_of(&done));
        }
    }
}

fn text_of(output: &Output) -> String {
    format!("{}{}", text(&output.stdout), text(&output.stderr))
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
    follow_pages(&env);
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
