//! Rights are written last and withdrawn first.

use super::*;

#[tokio::test]
async fn a_removed_owner_loses_rights_first_even_if_writes_fail() {
    let mut stage = Stage::settled(users(&["ann", "bob"])).await;
    assert_eq!(stage.subjects("tenantry-owner"), subjects_of(&["ann", "bob"]));
    stage.tenant = users(&["ann"]);
    stage.template["containers"]["max"]["cpu"] = json!("2");
    stage
        .server
        .trouble("replace limitranges", Trouble::Refused(500, "InternalError"));
    let applied = stage.run().await;
    let calls = stage.server.calls();
    assert_eq!(calls[0].what, "replace rolebindings acme-dev/tenantry-owner");
    assert_eq!(calls[0].body["subjects"], subjects_of(&["ann"]));
    assert_eq!(stage.subjects("tenantry-owner"), subjects_of(&["ann"]));
    assert_eq!(applied.failures.len(), 1, "{:?}", applied.failures);
}

#[tokio::test]
async fn a_binding_without_owners_is_deleted_with_uid_and_version() {
    let mut stage = Stage::settled(users(&["ann"])).await;
    let key = Key::new(Kind::RoleBinding, "acme-dev", "tenantry-owner");
    let seen = stage.server.get(&key).unwrap();
    stage.tenant = users(&[]);
    stage.run().await;
    let calls = stage.server.calls();
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].what, "delete rolebindings acme-dev/tenantry-owner");
    let preconditions = &calls[0].body["preconditions"];
    assert_eq!(preconditions["uid"], seen["metadata"]["uid"]);
    assert_eq!(preconditions["resourceVersion"], seen["metadata"]["resourceVersion"]);
}

#[tokio::test]
async fn no_subject_is_added_while_the_quota_is_not_counted() {
    let mut stage = Stage::settled(users(&["ann"])).await;
    let key = Key::new(Kind::ResourceQuota, "acme-dev", names::OBJECT);
    let mut fresh = stage.server.get(&key).unwrap();
    fresh["status"] = json!({});
    stage.server.put(&key, fresh);
    stage.server.observe(&key);
    stage.tenant = users(&["ann", "bob"]);
    assert_eq!(stage.run().await.namespaces[0].progress, Progress::AwaitingQuota);
    assert_eq!(stage.subjects("tenantry-owner"), subjects_of(&["ann"]));
    stage.server.count_quota("acme-dev");
    stage.run().await;
    assert_eq!(stage.subjects("tenantry-owner"), subjects_of(&["ann", "bob"]));
}

#[tokio::test]
async fn rights_are_withdrawn_without_an_owner_reference() {
    let mut stage = Stage::settled(users(&["ann"])).await;
    let key = Key::new(Kind::RoleBinding, "acme-dev", "tenantry-owner");
    let mut stripped = stage.server.get(&key).unwrap();
    stripped["metadata"]["ownerReferences"] = Value::Null;
    stage.server.put(&key, stripped);
    stage.server.observe(&key);
    stage.tenant = users(&[]);
    stage.run().await;
    assert_eq!(stage.subjects("tenantry-owner"), Value::Null);
}

#[tokio::test]
async fn a_binding_to_another_role_than_its_name_is_deleted_first() {
    let viewer = json!({ "owners": [{ "kind": "User", "name": "ann", "role": "Viewer" }] });
    let mut stage = Stage::settled(viewer).await;
    let key = Key::new(Kind::RoleBinding, "acme-dev", "tenantry-viewer");
    let mut stronger = stage.server.get(&key).unwrap();
    stronger["roleRef"]["name"] = json!("tenantry-owner");
    stage.server.put(&key, stronger);
    stage.server.observe(&key);
    stage.template["containers"]["max"]["cpu"] = json!("2");
    stage
        .server
        .trouble("replace limitranges", Trouble::Refused(500, "InternalError"));
    stage.run().await;
    assert_eq!(stage.server.whats()[0], "delete rolebindings acme-dev/tenantry-viewer");
}
