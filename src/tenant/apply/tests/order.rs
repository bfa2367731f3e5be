//! Restrictions are written before anything is opened.

use super::*;

#[tokio::test]
async fn exposures_are_closed_before_a_quota_is_lowered() {
    let mut stage = Stage::settled(json!({})).await;
    stage.template = json!({
        "quotas": { "cpu": "2", "pods": 5 }, "containers": { "max": { "cpu": "500m" } },
        "network": { "isolation": "Namespace" }, "security": { "imageDigests": true },
    });
    stage.run().await;
    let whats = stage.server.whats();
    let quota = position(&whats, "replace resourcequotas acme-dev/tenantry");
    assert!(
        position(&whats, "replace networkpolicies acme-dev/tenantry-allow") < quota,
        "{whats:#?}"
    );
    assert!(
        position(&whats, "replace tenantpolicies acme-dev/effective") < quota,
        "{whats:#?}"
    );
    assert!(
        position(&whats, "replace limitranges acme-dev/tenantry") < quota,
        "{whats:#?}"
    );
}

#[tokio::test]
async fn a_laxer_pod_security_standard_is_written_last() {
    let mut stage = Stage::settled(json!({})).await;
    let namespace = "replace namespaces acme-dev";
    for (level, last) in [("Baseline", true), ("Restricted", false)] {
        stage.template["security"] = json!({ "podSecurity": level, "imageDigests": last });
        stage.run().await;
        let whats = stage.server.whats();
        let policy = position(&whats, "replace tenantpolicies acme-dev/effective");
        assert_eq!(position(&whats, namespace) > policy, last, "{whats:#?}");
        stage.settle().await;
    }
}

#[tokio::test]
async fn freeze_changes_only_the_state_of_the_policy() {
    let stage = Stage::settled(json!({})).await;
    let (_, facts, _) = stage.look();
    let mut applied = Applied::default();
    freeze(&stage.server.writer(), Some(fixture::UID), &facts, &mut applied).await;
    assert_eq!(stage.server.whats(), ["replace tenantpolicies acme-dev/effective"]);
    let policy = stage
        .server
        .get(&Key::new(Kind::TenantPolicy, "acme-dev", "effective"))
        .unwrap();
    assert_eq!(policy["spec"]["state"], "Frozen");
    assert_eq!(policy["spec"]["tenant"], "acme", "the other fields stay");
    let (_, facts, _) = stage.look();
    freeze(&stage.server.writer(), Some(fixture::UID), &facts, &mut applied).await;
    assert!(stage.server.whats().is_empty(), "a frozen policy is not written again");
}
