//! A real control plane: start, stop and kill.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests, which clippy takes for code of the product"
)]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use controlplane::{Audit, Component, ControlPlane, Error, Options};

const QUOTA: &str =
    r#"{"apiVersion":"v1","kind":"ResourceQuota","metadata":{"name":"q"},"spec":{"hard":{"pods":"0"}}}"#;
const POD: &str =
    r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"i"}]}}"#;

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_controlplane"));
    command
        .env_remove("TENANTRY_TEST_KUBECONFIG")
        .env_remove("TENANTRY_KEEP")
        .stdin(Stdio::null());
    command
}

/// Runs kubectl with these words and this standard input; whether it went well, and what it printed.
fn try_kubectl(plane: &ControlPlane, words: &str, input: &str) -> (bool, String) {
    let file = plane.dir().join("input.json");
    fs::write(&file, input).unwrap();
    let mut command = plane.kubectl();
    let output = command
        .args(words.split(' '))
        .stdin(fs::File::open(file).unwrap())
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

fn kubectl(plane: &ControlPlane, words: &str, input: &str) -> String {
    let (ok, text) = try_kubectl(plane, words, input);
    assert!(ok, "kubectl {words}: {text}");
    text
}

fn wait_until(what: &str, mut good: impl FnMut() -> bool) {
    let started = Instant::now();
    while !good() {
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "not within a minute: {what}"
        );
        thread::sleep(Duration::from_millis(20));
    }
}

/// Command lines that name a folder: the components and their keepers carry theirs in their flags.
fn processes_of(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|e| fs::read(e.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(dir.to_str().unwrap())).collect()
}

#[test]
fn control_plane_enforces_quotas_keeps_data_and_cleans_up() {
    let plane = ControlPlane::start_own(Options {
        audit: Audit::Full,
        controller_manager_qps: Some(200),
        ..Options::default()
    })
    .unwrap();
    assert_eq!(plane.pids().len(), 3);

    kubectl(&plane, "create namespace a", "");
    kubectl(&plane, "create -n a -f -", QUOTA);
    kubectl(
        &plane,
        "wait -n a resourcequota/q --for=jsonpath={.status.hard.pods}=0 --timeout=60s",
        "",
    );
    kubectl(
        &plane,
        "wait -n a serviceaccount/default --for=create --timeout=60s",
        "",
    );
    let (created, answer) = try_kubectl(&plane, "create -n a -f -", POD);
    assert!(!created && answer.contains("exceeded quota"), "{answer}");

    let served = kubectl(&plane, "get --raw /apis/admissionregistration.k8s.io/v1", "");
    assert!(served.contains("mutatingadmissionpolicies") && served.contains("validatingadmissionpolicies"));

    let token = kubectl(&plane, "create token -n a default", "");
    let config = plane.kubeconfig_for_token("a-default", token.trim()).unwrap();
    let whoami = kubectl(&plane, &format!("--kubeconfig {} auth whoami", config.display()), "");
    assert!(whoami.contains("system:serviceaccount:a:default"), "{whoami}");

    let log = plane.audit_log().unwrap();
    let is_quota = |line: &str| {
        line.contains(r#""requestObject":{"kind":"ResourceQuota""#) && line.contains(r#""responseObject""#)
    };
    wait_until("the quota's creation with its bodies in the audit log", || {
        fs::read_to_string(&log).unwrap().lines().any(is_quota)
    });

    plane.pause(Component::ApiServer).unwrap();
    let (answered, _) = try_kubectl(&plane, "get namespace a --request-timeout=300ms", "");
    assert!(!answered, "a frozen API server answered");
    plane.resume(Component::ApiServer).unwrap();
    kubectl(&plane, "get namespace a", "");

    plane.kill(Component::Etcd).unwrap();
    assert!(matches!(
        plane.pause(Component::Etcd),
        Err(Error::NotRunning(Component::Etcd))
    ));
    plane.start_component(Component::Etcd).unwrap();
    for component in Component::ALL {
        let before = plane.pid(component).unwrap();
        plane.restart(component).unwrap();
        assert_ne!(plane.pid(component).unwrap(), before);
        plane.wait_ready(Component::ApiServer).unwrap();
        kubectl(&plane, "get -n a resourcequota q", "");
    }
    kubectl(&plane, "delete namespace a --timeout=60s", "");

    // The very same cluster, by its kubeconfig.
    let mut attached = program();
    attached.env("TENANTRY_TEST_KUBECONFIG", plane.kubeconfig());
    let output = attached
        .args(["run", "--", "kubectl", "get", "namespace", "default"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let dir = plane.dir().to_path_buf();
    drop(plane);
    assert_eq!(processes_of(&dir), Vec::<String>::new());
    assert!(!dir.exists());
}

#[test]
fn nothing_survives_an_owner_that_is_killed() {
    let mut owner = program();
    // `read` ends with this test at the latest, as the pipe does.
    owner
        .args(["run", "--", "sh", "-c", "echo $KUBECONFIG; read -r _"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut owner = owner.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(owner.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let dir = PathBuf::from(line.trim()).parent().unwrap().to_path_buf();
    assert!(
        processes_of(&dir).len() >= 7,
        "components, keepers and the janitor: {:?}",
        processes_of(&dir)
    );

    owner.kill().unwrap();
    owner.wait().unwrap();
    wait_until("every process gone", || processes_of(&dir).is_empty());
    wait_until("the folder gone", || !dir.exists());
}

#[test]
fn detached_control_plane_stays_is_found_and_stops() {
    let dir = std::env::temp_dir().join(format!("tenantry-detached-test-{}", std::process::id()));
    let call = |command: &str| {
        let output = program()
            .arg(command)
            .arg("--dir")
            .arg(&dir)
            .args(["--ttl", "600", "--qps", "200"])
            .output()
            .unwrap();
        assert!(
            output.status.code().is_some_and(|c| c == 0 || c == 3),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    };
    let first = call("up");
    assert!(first.starts_with("export KUBECONFIG='"), "{first}");
    assert_eq!(call("up"), first);
    assert!(call("status").contains("up at https://127.0.0.1:"));
    assert!(call("down").starts_with("down: "));
    assert_eq!(processes_of(&dir), Vec::<String>::new());
    assert!(call("status").starts_with("none is up"));
    let left: Vec<_> = fs::read_dir(&dir)
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    assert!(
        !left.iter().any(|name| name.to_string_lossy().starts_with("data-")),
        "{left:?}"
    );
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn component_that_does_not_start_gives_its_reason() {
    let options = Options {
        api_server_flags: vec!["--no-such-flag".into()],
        ..Options::default()
    };
    match ControlPlane::start_own(options) {
        Err(Error::Exited {
            component: Component::ApiServer,
            tail,
            ..
        }) => {
            assert!(tail.contains("no-such-flag"), "{tail}");
        }
        other => panic!("expected an exit, got {other:?}"),
    }
}

#[test]
fn a_folder_with_something_else_in_it_is_refused_and_left_alone() {
    let dir = std::env::temp_dir().join(format!("tenantry-foreign-test-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("thesis"), "years").unwrap();
    let refused = ControlPlane::start_own(Options {
        dir: Some(dir.clone()),
        ..Options::default()
    });
    assert!(matches!(refused, Err(Error::Malformed { .. })));
    assert_eq!(fs::read_to_string(dir.join("thesis")).unwrap(), "years");
    fs::remove_dir_all(dir).unwrap();
}
