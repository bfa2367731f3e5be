//! What each shipped tier comes to, object by object, against the files in `tests/golden`. Needs no cluster.
//!
//! A change of a tier or of the build shows here as a difference for people to read. Rewrite the files with
//! `UPDATE=1 cargo test --test golden`, look at what changed, and commit it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

use std::{collections::BTreeSet, path::Path, time::Duration};

use tenantry_cli::render;
use tenantry_core::{object::Kind, settings::Settings};

/// Two namespaces where the tier has room for them, an owner, and a group of viewers.
fn tenant(tier: &str) -> String {
    let mut namespaces = "\n  - { name: prod, environment: Production, weight: 3 }".to_owned();
    if tier != "free" {
        namespaces += "\n  - { name: dev, labels: { example.com/team: blue } }";
    }
    // Amounts of a white-label tenant are its own.
    let own = if tier == "white_label" {
        "\n  overrides:\n    quotas: { cpu: \"16\", memory: 64Gi, storage: 2Ti, namespaces: 5, pods: 200 }\
         \n    ingressHosts: [\"*.blue.example\"]\
         \n  branding: { displayName: Blue, domain: blue.example, primaryColor: \"#0044ff\" }"
    } else {
        ""
    };
    format!(
        "apiVersion: tenantry.dev/v1alpha1
kind: Tenant
metadata: {{ name: acme }}
spec:
  templateRef: {{ name: {} }}
  owners:
  - {{ kind: User, name: ann@example.com }}
  - {{ kind: Group, name: auditors, role: Viewer }}
  namespaces:{namespaces}{own}
",
        tier.replace('_', "-")
    )
}

fn rendered(tier: &str) -> String {
    let settings = Settings {
        accelerator_resources: vec!["nvidia.com/gpu".to_owned()],
        model_resource: "inferenceservices.serving.kserve.io".to_owned(),
        admission: BTreeSet::new(),
        status_interval: Duration::ZERO,
    };
    let mut optional: Vec<_> = Kind::ALL.into_iter().filter_map(Kind::optional_crd).collect();
    optional.push(settings.model_resource.clone());
    let served = render::served(&optional, &settings).unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("deploy/templates/{tier}.yaml"));
    let template = std::fs::read_to_string(path).unwrap();
    let files = [("template".to_owned(), template), ("tenant".to_owned(), tenant(tier))];
    let manifests = render::render(&files, &served, &settings).unwrap_or_else(|error| panic!("{tier}: {error}"));
    let mut text = format!(
        "# What `tenantry render` makes of deploy/templates/{tier}.yaml and the tenant in tests/golden.rs.\n\
         # Rewrite: UPDATE=1 cargo test --test golden\n"
    );
    for manifest in manifests {
        text += "---\n";
        text += &serde_saphyr::to_string(&manifest).unwrap();
    }
    text
}

/// A unified diff: `-` is the checked-in file, `+` what the code builds now.
fn difference(expected: &str, found: &str) -> String {
    let diff = similar::TextDiff::from_lines(expected, found);
    diff.unified_diff().header("checked in", "built now").to_string()
}

fn is_rewriting() -> bool {
    std::env::var_os("UPDATE").is_some_and(|update| update == "1")
}

fn check(tier: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{tier}.yaml"));
    let found = rendered(tier);
    if is_rewriting() {
        std::fs::write(&path, found).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        expected == found,
        "the objects of {tier} differ from tests/golden/{tier}.yaml:\n{}\n\
         If this is meant, run `UPDATE=1 cargo test --test golden`, read the difference and commit it.",
        difference(&expected, &found)
    );
}

#[test]
fn free_is_as_reviewed() {
    check("free");
}

#[test]
fn standard_is_as_reviewed() {
    check("standard");
}

#[test]
fn premium_is_as_reviewed() {
    check("premium");
}

#[test]
fn enterprise_is_as_reviewed() {
    check("enterprise");
}

#[test]
fn enterprise_plus_is_as_reviewed() {
    check("enterprise_plus");
}

#[test]
fn white_label_is_as_reviewed() {
    check("white_label");
}

#[test]
fn the_difference_shows_every_changed_line() {
    let difference = difference("a\nb\nc\nd\ne\nf\ng\nh\n", "A\nb\nc\nd\ne\nf\ng\nh\ni\n");
    for line in ["-a\n", "+A\n", " h\n", "+i\n"] {
        assert!(difference.contains(line), "{line:?} is missing in {difference}");
    }
}

#[test]
fn every_shipped_tier_has_its_file_and_no_file_is_left_over() {
    let names = |folder: &str| -> BTreeSet<_> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let entries = std::fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name()).collect()
    };
    if !is_rewriting() {
        assert_eq!(names("deploy/templates"), names("tests/golden"));
    }
}

#[test]
fn rendered_json_is_one_list_that_kubectl_reads() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_tenantry"))
        .args(["render", "-o", "json", "-f"])
        .arg(root.join("deploy/templates/standard.yaml"))
        .arg("-f")
        .arg(root.join("examples/first-tenant.yaml"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let list: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&list["apiVersion"], &list["kind"]), (&"v1".into(), &"List".into()));
    assert_eq!(list["items"][0]["kind"], "Namespace");
}
