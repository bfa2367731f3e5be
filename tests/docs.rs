//! What the documentation names is there: files, make targets, reasons of conditions. Needs no cluster.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// Every page that is written by hand or made for readers.
fn pages() -> Vec<PathBuf> {
    [
        "",
        "docs",
        "docs/decisions",
        "deploy",
        "charts/tenantry",
        "tests/cases",
        "tests/policies",
    ]
    .iter()
    .flat_map(|folder| std::fs::read_dir(root().join(folder)).unwrap())
    .map(|entry| entry.unwrap().path())
    .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
    .collect()
}

/// CamelCase words in string literals of the code above a file's tests.
fn words(file: &str) -> BTreeSet<String> {
    let text = read(file);
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let literals = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    literals
        .flat_map(|line| line.split('"').skip(1).step_by(2).collect::<Vec<_>>())
        .filter(|word| {
            word.starts_with(|first: char| first.is_ascii_uppercase())
                && word.chars().all(|letter| letter.is_ascii_alphabetic())
        })
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_reason_of_a_condition_has_its_line_in_the_table_of_operations() {
    let page = read("docs/operations.md");
    let types = [
        "Ready",
        "Reconciling",
        "Stalled",
        "NamespacesReady",
        "QuotaEnforced",
        "PoliciesEnforced",
        "AccessGranted",
        "MonitoringReady",
        "SelfServiceReady",
        "Frozen",
        "DeletionBlocked",
        "NamespacesKept",
        "AllFieldsEffective",
        // Values and kinds, no reasons.
        "True",
        "TenantTemplate",
        "User",
        "Group",
        "ServiceAccount",
    ];
    let reasons: BTreeSet<String> = [
        "src/tenant/status.rs",
        "src/tenant/status/claims.rs",
        "src/tenant/status/kept.rs",
        "src/tenant/validate/claims.rs",
        "src/tenant/validate/mod.rs",
        "src/template/mod.rs",
    ]
    .into_iter()
    .flat_map(words)
    .filter(|word| !types.contains(&word.as_str()))
    .collect();
    assert!(reasons.contains("Reconciled") && reasons.contains("InvalidOwner") && reasons.contains("InUse"));
    let missing: Vec<_> = reasons
        .iter()
        .filter(|reason| !page.contains(&format!("\n| {reason} |")))
        .collect();
    assert!(missing.is_empty(), "docs/operations.md has no line for {missing:?}");
}

#[test]
fn every_link_between_pages_leads_to_a_file() {
    let mut broken = Vec::new();
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap();
            if !file.is_empty() && !file.contains("://") && !page.parent().unwrap().join(file).exists() {
                broken.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_make_target_that_a_page_names_exists() {
    let makefile = read("Makefile");
    let exists = |target: &str| makefile.contains(&format!("\n{target}:"));
    let mut missing = Vec::new();
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        // In code only: "make sure" is English.
        let commands = ["`make ", "\nmake "].map(|mark| text.split(mark).skip(1));
        for command in commands.into_iter().flatten() {
            let target: String = command
                .chars()
                .take_while(|letter| letter.is_ascii_lowercase() || *letter == '-')
                .collect();
            if !exists(&target) {
                missing.push(format!("{}: make {target}", page.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn every_decision_is_in_the_list() {
    let list = read("docs/decisions/README.md");
    for entry in std::fs::read_dir(root().join("docs/decisions")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(
            name == "README.md" || list.contains(&format!("({name})")),
            "{name} is not in docs/decisions/README.md"
        );
    }
}

#[test]
fn every_file_that_the_code_packs_reaches_the_image_s_build() {
    let sent = read(".dockerignore");
    let code = read("src/generate.rs");
    let packed: Vec<_> = code
        .split("include_str!(\"../")
        .skip(1)
        .filter_map(|rest| rest.split(['/', '"']).next())
        .collect();
    assert!(packed.len() > 6);
    for top in packed
        .into_iter()
        .chain(["Cargo.toml", "Cargo.lock", "LICENSE", "src", "benches", "tests"])
    {
        assert!(sent.contains(&format!("\n!{top}\n")), ".dockerignore keeps {top} back");
    }
}
