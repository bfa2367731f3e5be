//! Grant, allocation and use.

use super::*;

#[test]
fn amounts_are_summed_over_namespaces_in_the_unit_of_the_grant() {
    let (valid, mut applied) = ready_tenant();
    let hard = json!({ "pods": "3", "requests.cpu": "500m" });
    let second = fixture::live_quota(
        "acme-new",
        &hard,
        &hard,
        &json!({ "pods": "1", "requests.cpu": "1500m" }),
    )
    .1;
    applied.namespaces.push(AppliedNamespace {
        name: "acme-new".to_owned(),
        place: Place::Wanted,
        progress: Progress::Complete,
        quota: Some(second),
        monitors: BTreeSet::new(),
    });
    let status = status(&valid, &applied);
    let texts: Vec<_> = status
        .quota
        .iter()
        .map(|entry| format!("{} {} {} {}", entry.resource, entry.grant, entry.allocated, entry.used))
        .collect();
    assert_eq!(texts, ["limits.cpu 2 0 0", "pods 10 13 5", "requests.cpu 2 2500m 2"]);
    assert_eq!(status.fullest.as_deref(), Some("requests.cpu 100%"));
}

#[test]
fn fullest_is_the_first_of_equals_without_forbidden_ones() {
    let entry = |resource: &str, grant: &str, used: &str| tenantry_api::v1alpha1::QuotaStatus {
        resource: resource.to_owned(),
        grant: grant.parse().unwrap(),
        allocated: Quantity::ZERO,
        used: used.parse().unwrap(),
    };
    assert_eq!(fullest(&[]), None);
    assert_eq!(fullest(&[entry("gpu", "0", "1")]), None);
    let equal = [entry("a", "10", "5"), entry("b", "2", "1"), entry("c", "3", "1")];
    assert_eq!(fullest(&equal).as_deref(), Some("a 50%"));
    assert_eq!(
        fullest(&[entry("a", "3", "2")]).as_deref(),
        Some("a 66%"),
        "rounded down: 100% is really full"
    );
}

#[test]
fn only_changes_of_use_are_postponed() {
    let (valid, mut applied) = ready_tenant();
    let old = status(&valid, &applied);
    assert!(!differ_in_use_only(&old, &old), "equal ones do not differ");
    applied.namespaces[0].quota = Some(quota_at("9"));
    let used = status(&valid, &applied);
    assert_ne!(old.fullest, used.fullest);
    assert!(differ_in_use_only(&old, &used));
    applied.namespaces[0].progress = Progress::AwaitingQuota;
    assert!(!differ_in_use_only(&old, &status(&valid, &applied)));
    let mut allocated = old.clone();
    allocated.quota[0].allocated = "1".parse().unwrap();
    assert!(!differ_in_use_only(&old, &allocated));
}
