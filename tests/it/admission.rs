//! Requests that the API server must admit or refuse: data in `tests/cases` and `tests/policies`.

use std::path::PathBuf;

use crate::{cases::run_cases, common, policies};

fn files(folder: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(common::root().join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no cases in {folder}");
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schema_refuses_bad_input_with_field_and_remedy() {
    let admin = common::shared().await.admin().await.unwrap();
    let files = files("tests/cases/schema");
    let paths: Vec<_> = files.iter().map(PathBuf::as_path).collect();
    let failures = run_cases(admin, &paths).await;
    assert!(
        failures.is_empty(),
        "{}",
        failures.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_admit_and_deny_as_each_case_expects() {
    let admin = common::shared().await.admin().await.unwrap();
    let operator = format!("system:serviceaccount:{}:{}", lab::NAMESPACE, lab::RELEASE);
    let (count, failures) = policies::run(&admin, &common::root().join("tests/policies"), &operator)
        .await
        .unwrap();
    assert!(
        failures.is_empty(),
        "{} of {count} cases fail:\n{}",
        failures.len(),
        failures.join("\n")
    );
}
