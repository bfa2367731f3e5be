use serde_json::{Value, json};

use super::*;
use crate::fixture;

fn refused(template: &Value, tenant: &Value) -> Invalid {
    refused_tenant(&fixture::tenant(tenant), &fixture::facts(template))
}

fn refused_tenant(tenant: &Tenant, facts: &Facts) -> Invalid {
    validate(tenant, facts, &fixture::settings()).unwrap_err()
}

/// Whether the message starts with the field and says what to do.
fn assert_says(invalid: &Invalid, reason: Reason, field: &str, remedy: &str) {
    let Invalid { reason: found, message } = invalid;
    assert_eq!(*found, reason, "{message}");
    assert!(message.starts_with(field), "{message:?} does not start with {field:?}");
    assert!(message.contains(remedy), "{message:?} does not say {remedy:?}");
}

#[test]
fn a_missing_template_is_named_with_the_remedy() {
    let facts = Facts {
        template: Template::Missing,
        ..Facts::default()
    };
    let invalid = refused_tenant(&fixture::tenant(&json!({})), &facts);
    assert_says(
        &invalid,
        Reason::TemplateNotFound,
        "spec.templateRef.name: TenantTemplate \"premium\" does not exist",
        "create it, or choose one of kubectl get tenanttemplates",
    );
}

#[test]
fn a_template_that_cannot_be_decoded_is_named_with_the_cause() {
    let facts = Facts {
        template: Template::Undecodable("unknown tier Gold".to_owned()),
        ..Facts::default()
    };
    let invalid = refused_tenant(&fixture::tenant(&json!({})), &facts);
    assert_says(
        &invalid,
        Reason::TemplateUndecodable,
        "spec.templateRef.name: the operator cannot read TenantTemplate \"premium\"",
        "unknown tier Gold; correct the template and apply it again",
    );
}

#[test]
fn every_override_that_loosens_is_named() {
    let invalid = refused(
        &json!({ "quotas": { "cpu": "4" } }),
        &json!({ "overrides": { "quotas": { "cpu": "8" }, "internetEgress": "Allow" } }),
    );
    assert_says(
        &invalid,
        Reason::OverrideNotAllowed,
        "spec.overrides.quotas.cpu",
        "or list Quotas in the template's overridable",
    );
    assert!(
        invalid.message.contains("; spec.overrides.internetEgress: "),
        "{}",
        invalid.message
    );
}

#[test]
fn one_namespace_more_than_granted_is_refused() {
    let template = json!({ "quotas": { "namespaces": 2 } });
    let listed = |count: usize| {
        let entry = |index| json!({ "name": format!("n{index}") });
        json!({ "namespaces": (0..count).map(entry).collect::<Vec<_>>() })
    };
    assert_eq!(fixture::valid(&template, &listed(2)).namespaces.len(), 2);
    let invalid = refused(&template, &listed(3));
    assert_says(
        &invalid,
        Reason::TooManyNamespaces,
        "spec.namespaces: 3 are listed and quotas.namespaces allows 2",
        "remove some or choose a larger template",
    );
    let tightened = json!({ "overrides": { "quotas": { "namespaces": 0 } } });
    assert_eq!(refused(&template, &tightened).reason, Reason::TooManyNamespaces);
}

#[test]
fn branding_is_for_white_label_only() {
    let branded = json!({ "branding": { "displayName": "Acme" } });
    let invalid = refused(&json!({ "tier": "EnterprisePlus" }), &branded);
    assert_says(
        &invalid,
        Reason::BrandingNotAllowed,
        "spec.branding: the template's tier is EnterprisePlus, and only WhiteLabel allows branding",
        "remove it",
    );
    assert!(
        fixture::valid(&json!({ "tier": "WhiteLabel" }), &branded)
            .branding
            .is_some()
    );
}

#[test]
fn a_tenant_name_that_is_not_a_short_label_is_refused() {
    for name in ["", "Acme", "a.b", "-a", "a-", &"a".repeat(41)] {
        let mut tenant = fixture::tenant(&json!({}));
        tenant.metadata.name = Some(name.to_owned());
        let invalid = refused_tenant(&tenant, &fixture::facts(&json!({})));
        assert_says(&invalid, Reason::InvalidName, "metadata.name", "with another name");
    }
}

#[test]
fn a_namespace_name_that_is_not_a_label_is_refused() {
    for name in ["", "Dev", "a_b", "-a", "a-", &"a".repeat(59)] {
        let invalid = refused(
            &json!({}),
            &json!({ "namespaces": [{ "name": "ok" }, { "name": name }] }),
        );
        assert_says(
            &invalid,
            Reason::InvalidName,
            "spec.namespaces[1].name",
            "choose another name",
        );
    }
    let longest = json!({ "namespaces": [{ "name": "a".repeat(58) }] });
    assert_eq!(fixture::valid(&json!({}), &longest).namespaces[0].name.len(), 63);
}

#[test]
fn a_namespace_that_is_listed_twice_is_refused() {
    let invalid = refused(&json!({}), &json!({ "namespaces": [{ "name": "a" }, { "name": "a" }] }));
    assert_says(
        &invalid,
        Reason::InvalidName,
        "spec.namespaces[1].name: \"a\" is listed twice",
        "remove one",
    );
}

#[test]
fn an_owner_with_an_empty_or_reserved_name_is_refused() {
    for (kind, name, remedy) in [
        ("User", "  ", "name the user or group"),
        ("Group", "", "name the user or group"),
        ("User", "system:admin", "name a user or group of your own"),
        ("Group", "system:masters", "name a user or group of your own"),
        ("ServiceAccount", "ci", "write the full name"),
        ("ServiceAccount", "system:serviceaccount:ci", "write the full name"),
        ("ServiceAccount", "system:serviceaccount:ci:", "write the full name"),
        ("ServiceAccount", "system:serviceaccount::bot", "write the full name"),
        (
            "ServiceAccount",
            "system:serviceaccount:ci:bot:x",
            "write the full name",
        ),
    ] {
        let invalid = refused(
            &json!({}),
            &json!({ "owners": [{ "kind": "User", "name": "ann" }, { "kind": kind, "name": name }] }),
        );
        assert_says(&invalid, Reason::InvalidOwner, "spec.owners[1].name", remedy);
    }
}

#[test]
fn members_are_sorted_without_duplicates_in_each_role() {
    let owners = json!({ "owners": [
        { "kind": "User", "name": "zoe" },
        { "kind": "ServiceAccount", "name": "system:serviceaccount:ci:deploy.bot", "role": "Editor" },
        { "kind": "User", "name": "ann" },
        { "kind": "User", "name": "zoe" },
        { "kind": "Group", "name": "ann", "role": "Owner" },
        { "kind": "User", "name": "ann", "role": "Viewer" },
    ] });
    let subjects = |role| {
        let members = fixture::valid(&json!({}), &owners).members;
        members[&role].iter().map(Member::subject).collect::<Vec<_>>()
    };
    let rbac = |kind: &str, name: &str| json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name });
    assert_eq!(
        subjects(OwnerRole::Owner),
        [rbac("User", "ann"), rbac("User", "zoe"), rbac("Group", "ann")]
    );
    assert_eq!(
        subjects(OwnerRole::Editor),
        [json!({ "kind": "ServiceAccount", "namespace": "ci", "name": "deploy.bot" })]
    );
    assert_eq!(subjects(OwnerRole::Viewer), [rbac("User", "ann")]);
}

#[test]
fn rights_are_withheld_if_means_are_missing_and_deny_applies() {
    let levels = [
        None,
        Some("Basic"),
        Some("Enhanced"),
        Some("Maximum"),
        Some("Classified"),
    ];
    for level in levels {
        let needs_mesh = matches!(level, Some("Maximum" | "Classified"));
        for (on_missing, withheld) in [(None, needs_mesh), (Some("Deny"), needs_mesh), (Some("Degrade"), false)] {
            let mut security = json!({});
            if let Some(level) = level {
                security["encryption"] = json!(level);
            }
            if let Some(on_missing) = on_missing {
                security["onMissingMeans"] = json!(on_missing);
            }
            let rights = fixture::valid(&json!({ "security": security }), &json!({})).rights;
            assert_eq!(
                matches!(rights, Rights::Withheld(_)),
                withheld,
                "{level:?} {on_missing:?}"
            );
        }
    }
}

#[test]
fn each_missing_prerequisite_is_named_in_withheld_rights() {
    for field in ["endToEndEncryption", "zeroTrust", "imageSignatures", "hardwareKeys"] {
        let degrade = json!({ "security": { (field): true } });
        assert_eq!(
            fixture::valid(&degrade, &json!({})).rights,
            Rights::Granted,
            "{field}: Degrade is the default below Maximum"
        );
        let deny = fixture::merged(degrade, &json!({ "security": { "onMissingMeans": "Deny" } }));
        let Rights::Withheld(missing) = fixture::valid(&deny, &json!({})).rights else {
            panic!("{field}");
        };
        assert!(
            missing.starts_with(&format!("security.{field} needs ")),
            "{field}: {missing}"
        );
    }
}

fn with_bindings(of: &[(&str, &str)]) -> Facts {
    let bindings = of.iter().map(|(namespace, name)| {
        let key = Key::new(Kind::RoleBinding, namespace, name);
        (key.clone(), fixture::live(&key, &json!({})))
    });
    Facts {
        live: bindings.collect(),
        ..Facts::default()
    }
}

#[test]
fn bindings_keep_the_owners_of_their_role_where_listed() {
    let tenant = fixture::tenant(&json!({ "owners": [
        { "kind": "User", "name": "ann" }, { "kind": "User", "name": "vic", "role": "Viewer" },
    ] }));
    let facts = with_bindings(&[
        ("acme-dev", "tenantry-owner"),
        ("acme-dev", "tenantry-viewer"),
        ("acme-dev", "tenantry-editor"),
        ("acme-dev", "something-else"),
        ("acme-old", "tenantry-owner"),
    ]);
    let names: Vec<_> = subjects_by_binding(&tenant, &facts)
        .into_iter()
        .map(|(key, subjects)| {
            let names: Vec<_> = subjects
                .iter()
                .map(|subject| subject["name"].as_str().unwrap().to_owned())
                .collect();
            (format!("{}/{}", key.namespace, key.name), names.join(","))
        })
        .collect();
    let expected = [
        ("acme-dev/tenantry-editor", ""),
        ("acme-dev/tenantry-owner", "ann"),
        ("acme-dev/tenantry-viewer", "vic"),
    ];
    assert_eq!(names, expected.map(|(key, names)| (key.to_owned(), names.to_owned())));
}

#[test]
fn one_mistyped_owner_takes_no_right_from_the_others() {
    let tenant = fixture::tenant(&json!({ "owners": [
        { "kind": "User", "name": "ann" }, { "kind": "ServiceAccount", "name": "bot" },
    ] }));
    let facts = with_bindings(&[("acme-dev", "tenantry-owner")]);
    let may_hold = subjects_by_binding(&tenant, &facts);
    assert_eq!(may_hold.into_values().next().unwrap()[0]["name"], "ann");
}
