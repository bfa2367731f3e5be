//! Quotas are written at the version from which they were planned, and count until their outcome is known.

use super::*;

#[tokio::test]
async fn a_quota_that_changed_after_the_plan_is_not_overwritten() {
    let mut stage = Stage::settled(json!({})).await;
    stage.template["quotas"]["pods"] = json!(8);
    let key = Key::new(Kind::ResourceQuota, "acme-dev", names::OBJECT);
    let mut moved = stage.server.get(&key).unwrap();
    moved["status"]["used"]["pods"] = json!("9");
    stage.server.put(&key, moved);
    let applied = stage.run().await;
    assert!(
        matches!(applied.failures.as_slice(), [failure] if failure.is_outdated() && failure.key.as_ref() == Some(&key)),
        "{:?}",
        applied.failures
    );
    assert_eq!(stage.server.get(&key).unwrap()["spec"]["hard"]["pods"], json!("10"));
    // The refusal may be that of a retry whose first try succeeded, so the write counts until the watch event.
    assert!(!stage.pending.of_tenant("acme", &stage.server.inventory).is_empty());
    stage.server.observe(&key);
    assert!(stage.pending.of_tenant("acme", &stage.server.inventory).is_empty());
}

#[tokio::test]
async fn a_quota_that_the_watch_shows_changed_is_not_overwritten() {
    let mut stage = Stage::settled(json!({})).await;
    stage.template["quotas"]["pods"] = json!(8);
    let (valid, facts, objects) = stage.look();
    let key = Key::new(Kind::ResourceQuota, "acme-dev", names::OBJECT);
    let mut moved = stage.server.get(&key).unwrap();
    moved["spec"]["hard"]["pods"] = json!("3");
    stage.server.put(&key, moved);
    stage.server.observe(&key);
    let applied = apply(&stage.server.writer(), &stage.pending, &valid, &facts, &objects).await;
    assert!(
        matches!(
            applied.failures.as_slice(),
            [Failure {
                class: ErrorClass::Conflict,
                ..
            }]
        ),
        "{:?}",
        applied.failures
    );
    assert_eq!(stage.server.get(&key).unwrap()["spec"]["hard"]["pods"], json!("3"));
}

#[tokio::test]
async fn a_quota_write_without_an_answer_counts_until_the_watch_event() {
    for trouble in [Trouble::Lost, Trouble::AnswerLost] {
        let mut stage = Stage::settled(json!({})).await;
        stage.template["quotas"]["pods"] = json!(8);
        stage.server.trouble("replace resourcequotas", trouble);
        assert_eq!(stage.run().await.failures.len(), 1);
        let pending = stage.pending.of_tenant("acme", &stage.server.inventory);
        assert_eq!(
            pending["acme-dev"][0]["pods"].to_string(),
            "8",
            "{trouble:?}: it may have taken effect"
        );
        stage.server.no_more_trouble();
        if trouble == Trouble::AnswerLost {
            stage.server.count_quota("acme-dev");
            assert!(
                stage.pending.of_tenant("acme", &stage.server.inventory).is_empty(),
                "the watch shows the new quota"
            );
        }
    }
}

#[tokio::test]
async fn a_refused_quota_write_does_not_count() {
    let mut stage = Stage::settled(json!({})).await;
    stage.template["quotas"]["pods"] = json!(8);
    stage
        .server
        .trouble("replace resourcequotas", Trouble::Refused(403, "Forbidden"));
    assert_eq!(stage.run().await.failures.len(), 1);
    assert!(stage.pending.of_tenant("acme", &stage.server.inventory).is_empty());
}
