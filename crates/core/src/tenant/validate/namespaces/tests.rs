use std::sync::Arc;

use serde_json::{Value, json};

use crate::{
    fixture,
    object::{Key, Live},
    tenant::{
        facts::Facts,
        validate::{Room, ValidTenant, validate},
    },
};
use tenantry_api::v1alpha1::Environment;

/// The valid tenant when these namespaces are live. One with the label is also among the live objects of the tenant.
fn placed(spec: &Value, namespaces: &[Arc<Live>]) -> ValidTenant {
    placed_with_status(spec, &Value::Null, namespaces)
}

fn placed_with_status(spec: &Value, status: &Value, namespaces: &[Arc<Live>]) -> ValidTenant {
    let mut facts = fixture::facts(&json!({}));
    for live in namespaces {
        let name = live.body()["metadata"]["name"].as_str().unwrap().to_owned();
        if live.tenant.as_deref() == Some("acme") {
            facts.live.insert(Key::namespace(&name), live.clone());
        }
        facts.namespaces.insert(name, live.clone());
    }
    let mut tenant = fixture::tenant(spec);
    tenant.status = serde_json::from_value(status.clone()).unwrap();
    validate(&tenant, &facts, &fixture::settings()).unwrap()
}

/// Names of the namespaces that are to exist, of conflicts, and of leaving namespaces.
fn names(valid: &ValidTenant) -> [Vec<&str>; 3] {
    [
        valid.namespaces.iter().map(|namespace| &*namespace.name).collect(),
        valid.conflicts.iter().map(|conflict| &*conflict.namespace).collect(),
        valid.leaving.iter().map(|leaving| &*leaving.key.name).collect(),
    ]
}

/// Whether the only namespace is the tenant's, and not a conflict.
fn is_ours(valid: &ValidTenant) -> bool {
    match names(valid) {
        [kept, conflicts, leaving] if leaving.is_empty() => {
            assert_eq!(kept.len() + conflicts.len(), 1);
            !kept.is_empty()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_namespace_with_a_free_name_is_created() {
    assert!(is_ours(&placed(&json!({}), &[])));
}

#[test]
fn a_namespace_of_the_tenant_stays() {
    assert!(is_ours(&placed(&json!({}), &[fixture::live_namespace(&json!({}))])));
}

#[test]
fn an_unowned_unlisted_namespace_with_our_labels_is_ignored() {
    let scratch = json!({ "metadata": { "name": "acme-adopt-0a1b2c", "ownerReferences": null } });
    let scratch = fixture::live(&Key::namespace("acme-adopt-0a1b2c"), &scratch);
    assert_eq!(
        (scratch.tenant.as_deref(), scratch.owner.as_deref()),
        (Some("acme"), None)
    );
    let mut facts = fixture::facts(&json!({ "quotas": { "namespaces": 1 } }));
    facts.live.insert(Key::namespace("acme-adopt-0a1b2c"), scratch);
    let valid = validate(&fixture::tenant(&json!({})), &facts, &fixture::settings()).unwrap();
    assert_eq!(names(&valid), [vec!["acme-dev"], vec![], vec![]]);
    assert_eq!(valid.room, Room::default());
}

#[test]
fn a_conflict_names_the_tenant_that_owns_the_namespace() {
    let zebra = json!({ "labels": { "tenantry.dev/tenant": "zebra" }, "ownerReferences": fixture::owner("z") });
    let valid = placed(&json!({}), &[fixture::live_namespace(&zebra)]);
    assert!(!is_ours(&valid));
    assert_eq!(
        valid.conflicts[0].message,
        "it belongs to tenant zebra; choose another name"
    );
}

#[test]
fn a_namespace_of_an_earlier_tenant_is_a_conflict() {
    let earlier = json!({ "ownerReferences": fixture::owner("t0") });
    let valid = placed(&json!({}), &[fixture::live_namespace(&earlier)]);
    assert!(!is_ours(&valid));
    assert_eq!(
        valid.conflicts[0].message,
        "it belongs to another Tenant, or to an earlier Tenant of this name; choose another name"
    );
}

#[test]
fn a_conflict_with_an_unowned_namespace_says_how_to_adopt_it() {
    let nobodys = json!({ "labels": null, "ownerReferences": null });
    let valid = placed(&json!({}), &[fixture::live_namespace(&nobodys)]);
    assert!(!is_ours(&valid));
    assert!(
        valid.conflicts[0]
            .message
            .ends_with("kubectl annotate namespace acme-dev tenantry.dev/adopt-by=acme"),
        "{}",
        valid.conflicts[0].message
    );
}

#[test]
fn a_listed_namespace_with_only_the_label_is_a_conflict() {
    let labelled = json!({
        "labels": { "app.kubernetes.io/managed-by": null, "tenantry.dev/tenant": "acme" }, "ownerReferences": null,
    });
    let labelled = fixture::live_namespace(&labelled);
    assert_eq!(labelled.asks.as_deref(), Some("acme"));
    let seen = |self_service: &str, annotations: Value| {
        let mut body = labelled.body();
        body["metadata"]["annotations"] = annotations;
        let live = Arc::new(Live::from_value(body).unwrap());
        let mut facts = fixture::facts(&json!({ "selfService": self_service }));
        facts.asking.insert(Key::namespace("acme-dev"), live.clone());
        facts.namespaces.insert("acme-dev".to_owned(), live);
        let valid = validate(&fixture::tenant(&json!({})), &facts, &fixture::settings()).unwrap();
        is_ours(&valid)
    };
    assert!(!seen("Disabled", Value::Null));
    assert!(!seen("Claim", Value::Null));
    assert!(seen("Direct", Value::Null), "an owner created it");
    assert!(seen("Disabled", json!({ "tenantry.dev/adopt-by": "acme" })));
}

#[test]
fn adoption_gives_unowned_namespaces_to_the_named_tenant() {
    let annotated = |adopt_by: &str, owner: Value| {
        let metadata = json!({
            "labels": null, "ownerReferences": owner, "annotations": { "tenantry.dev/adopt-by": adopt_by },
        });
        is_ours(&placed(&json!({}), &[fixture::live_namespace(&metadata)]))
    };
    assert!(annotated("acme", Value::Null));
    assert!(!annotated("zebra", Value::Null));
    assert!(
        !annotated("acme", fixture::owner("z")),
        "another Tenant's namespace is never handed over"
    );
}

#[test]
fn a_removed_owner_reference_is_restored_only_by_the_status() {
    let stripped = [fixture::live_namespace(&json!({ "ownerReferences": null }))];
    assert!(!is_ours(&placed(&json!({}), &stripped)));
    for (state, ours) in [
        ("Active", true),
        ("Fenced", true),
        ("Retained", true),
        ("Pending", false),
        ("Conflict", false),
    ] {
        let status = json!({ "namespaces": [{ "name": "acme-dev", "state": state }] });
        assert_eq!(
            is_ours(&placed_with_status(&json!({}), &status, &stripped)),
            ours,
            "{state}"
        );
    }
    let relabelled = [fixture::live_namespace(
        &json!({ "ownerReferences": null, "labels": { "tenantry.dev/tenant": "zebra" } }),
    )];
    let status = json!({ "namespaces": [{ "name": "acme-dev", "state": "Active" }] });
    assert!(!is_ours(&placed_with_status(&json!({}), &status, &relabelled)));
}

#[test]
fn a_listed_namespace_that_is_being_deleted_is_leaving() {
    let deleting = fixture::live_namespace(&json!({ "deletionTimestamp": "2026-01-01T00:00:00Z" }));
    let valid = placed(&json!({}), &[deleting]);
    assert_eq!(names(&valid), [vec![], vec![], vec!["acme-dev"]]);
}

#[test]
fn deletion_policy_decides_on_a_namespace_no_longer_listed() {
    let labels = json!({
        "tenantry.dev/environment": "Production", "team": "blue", "stray": "x",
    });
    let metadata = json!({ "labels": labels, "annotations": { "tenantry.dev/labels": "team,gone" } });
    let unlisted = [fixture::live_namespace(&metadata)];
    let valid = placed(&json!({ "namespaces": [] }), &unlisted);
    assert_eq!(names(&valid), [vec![], vec![], vec!["acme-dev"]]);

    let valid = placed(&json!({ "namespaces": [], "deletionPolicy": "Retain" }), &unlisted);
    assert_eq!(names(&valid), [vec!["acme-dev"], vec![], vec![]]);
    let retained = &valid.namespaces[0];
    assert!(!retained.is_wanted());
    assert_eq!(retained.environment, Environment::Production);
    assert_eq!(
        retained.labels,
        [("team".to_owned(), "blue".to_owned())].into(),
        "only labels in the annotation count as the Tenant's"
    );
}

#[test]
fn a_retained_namespace_that_somebody_deletes_leaves() {
    let deleting = fixture::live_namespace(&json!({ "deletionTimestamp": "2026-01-01T00:00:00Z" }));
    let valid = placed(&json!({ "namespaces": [], "deletionPolicy": "Retain" }), &[deleting]);
    assert_eq!(names(&valid), [vec![], vec![], vec!["acme-dev"]]);
}

#[test]
fn a_labelled_namespace_without_our_owner_is_never_deleted() {
    for owner in [Value::Null, fixture::owner("z")] {
        let unlisted = [fixture::live_namespace(&json!({ "ownerReferences": owner }))];
        let valid = placed(&json!({ "namespaces": [] }), &unlisted);
        assert_eq!(names(&valid), [vec![""; 0], vec![], vec![]]);
    }
}

#[test]
fn every_name_is_free_offline() {
    let mut tenant = fixture::tenant(&json!({}));
    tenant.metadata.uid = None;
    let facts = Facts {
        ..fixture::facts(&json!({}))
    };
    assert!(is_ours(&validate(&tenant, &facts, &fixture::settings()).unwrap()));
}
