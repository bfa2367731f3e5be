//! The arrows between the crates point one way, and the pure crates stay pure. Reads `cargo metadata`; needs no cluster.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use serde_json::Value;

/// Each crate, and the crates of ours that it may depend on.
const ALLOWED: [(&str, &[&str]); 6] = [
    ("tenantry-api", &[]),
    ("tenantry-core", &["tenantry-api"]),
    ("tenantry-process", &["tenantry-api", "tenantry-core"]),
    ("tenantry-cli", &["tenantry-api", "tenantry-core", "tenantry-process"]),
    (
        "tenantry",
        &["tenantry-api", "tenantry-core", "tenantry-process", "tenantry-cli"],
    ),
    ("xtask", &["tenantry-api", "tenantry-core", "tenantry"]),
];

/// What the pure crates may not reach: clients, runtimes, servers, command lines, randomness.
const IMPURE: [&str; 10] = [
    "anyhow",
    "axum",
    "clap",
    "fastrand",
    "hyper",
    "kube-client",
    "kube-runtime",
    "reqwest",
    "tokio",
    "tower",
];

fn cargo(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).args(args).output().unwrap();
    assert!(
        output.status.success(),
        "cargo {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Each workspace package with the normal dependencies that its manifest names.
fn manifests() -> BTreeMap<String, BTreeSet<String>> {
    let metadata = cargo(&["metadata", "--no-deps", "--offline", "--format-version", "1"]);
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().unwrap();
            let normal = dependencies.iter().filter(|dependency| dependency["kind"].is_null());
            let names = normal.map(|dependency| dependency["name"].as_str().unwrap().to_owned());
            (package["name"].as_str().unwrap().to_owned(), names.collect())
        })
        .collect()
}

#[test]
fn crates_depend_only_downwards() {
    let manifests = manifests();
    let ours: BTreeSet<&str> = ALLOWED.iter().map(|(name, _)| *name).collect();
    for (name, allowed) in ALLOWED {
        let arrows: BTreeSet<&str> = manifests[name].iter().map(String::as_str).collect();
        let wrong: Vec<_> = arrows.intersection(&ours).filter(|to| !allowed.contains(*to)).collect();
        assert!(wrong.is_empty(), "{name} must not depend on {wrong:?}");
    }
}

#[test]
fn pure_crates_link_no_client_runtime_or_server() {
    for name in ["tenantry-api", "tenantry-core"] {
        let tree = cargo(&[
            "tree",
            "--offline",
            "--package",
            name,
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ]);
        let linked: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
        assert!(linked.contains("serde_json"), "{tree}");
        let wrong: Vec<_> = IMPURE.iter().filter(|crate_| linked.contains(*crate_)).collect();
        assert!(wrong.is_empty(), "{name} links {wrong:?}");
    }
}
