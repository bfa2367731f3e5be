//! Objects that stay in force beside the operator's objects, and objects that the operator overwrites.

use serde_json::Value;

use super::{
    contents::Contents,
    report::{Effect, Finding},
};
use tenantry_core::{object::Kind, tenant::build::NamespaceObjects};

/// Findings about objects that stay or are replaced. A RoleBinding that would be `refused` already has a finding.
pub fn findings(live: &Value, contents: &Contents, objects: &NamespaceObjects, refused: &[Finding]) -> Vec<Finding> {
    let mut findings = of_namespace(live, objects);
    for (kind, object) in contents.all() {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let label = format!("{kind}/{name}");
        let is_written = |other: Kind, other_name: &str| other.as_str() == kind && other_name == name;
        if objects
            .all()
            .any(|object| is_written(object.key.kind, &object.key.name))
        {
            let message = "the operator overwrites it; to keep it, create it under another name first";
            findings.push(Finding::new(Effect::Replaced, label, "is replaced", message));
            continue;
        }
        let message = match kind {
            "RoleBinding" if refused.iter().any(|finding| finding.object == label) => continue,
            "RoleBinding" => rights(object),
            "ResourceQuota" => "it still limits the namespace, in addition to the tenant's quota".to_owned(),
            "LimitRange" => "its bounds and defaults still apply to containers, in addition to the tenant's".to_owned(),
            "NetworkPolicy" => {
                "traffic that it allows stays allowed, in addition to the template's: policies only add up".to_owned()
            }
            _ => continue,
        };
        findings.push(Finding::new(Effect::Stays, label, "stays in force", message));
    }
    findings
}

/// Findings about labels and owners of the Namespace itself.
fn of_namespace(live: &Value, objects: &NamespaceObjects) -> Vec<Finding> {
    let metadata = &live["metadata"];
    let object = format!("Namespace/{}", objects.namespace.key.name);
    let labels = objects.namespace.labels.iter().filter_map(|(key, wanted)| {
        let (now, wanted) = (metadata["labels"][key].as_str()?, wanted.as_str()?);
        (now != wanted).then(|| format!("label {key}: {now} becomes {wanted}"))
    });
    let owners = metadata["ownerReferences"].as_array().into_iter().flatten();
    let owners = owners.map(|owner| {
        let text = |field: &str| owner[field].as_str().unwrap_or_default();
        format!(
            "owner {} {} is removed: the Tenant is the only one",
            text("kind"),
            text("name")
        )
    });
    labels
        .chain(owners)
        .map(|message| Finding::new(Effect::Replaced, object.clone(), "is replaced", message))
        .collect()
}

/// Which subjects keep rights by a RoleBinding, and how to remove these rights.
pub(super) fn rights(binding: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let subjects = binding["subjects"].as_array().into_iter().flatten();
    let subjects: Vec<_> = subjects
        .map(|subject| format!("{} {}", text(&subject["kind"]), text(&subject["name"])))
        .collect();
    format!(
        "{} keeps {} {} in addition to the tenant's owners; to remove it: kubectl delete rolebinding {} --namespace {}",
        if subjects.is_empty() {
            "nobody".to_owned()
        } else {
            subjects.join(", ")
        },
        text(&binding["roleRef"]["kind"]),
        text(&binding["roleRef"]["name"]),
        text(&binding["metadata"]["name"]),
        text(&binding["metadata"]["namespace"]),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use tenantry_core::fixture;

    fn found(live: &Value, contents: &[(&'static str, Value)], refused: &[Finding]) -> Vec<(Effect, String)> {
        let mut all = Contents::default();
        for (kind, object) in contents {
            all.insert(kind, object.clone());
        }
        let objects = fixture::built(&json!({}), &json!({}));
        let found = findings(live, &all, &objects[0], refused).into_iter();
        found.map(|finding| (finding.effect, finding.object)).collect()
    }

    fn named(name: &str) -> Value {
        json!({ "metadata": { "name": name } })
    }

    #[test]
    fn changed_labels_and_removed_owners_are_reported() {
        let live = json!({ "metadata": {
            "labels": {
                "pod-security.kubernetes.io/enforce": "privileged", "pod-security.kubernetes.io/warn": "restricted",
                "team": "red",
            },
            "ownerReferences": [{ "kind": "Project", "name": "old" }],
        } });
        let objects = fixture::built(&json!({}), &json!({}));
        let found = findings(&live, &Contents::default(), &objects[0], &[]);
        let messages: Vec<_> = found.iter().map(|finding| finding.message.as_str()).collect();
        assert_eq!(
            messages,
            [
                "label pod-security.kubernetes.io/enforce: privileged becomes restricted",
                "owner Project old is removed: the Tenant is the only one",
            ]
        );
    }

    #[test]
    fn other_guards_stay_and_those_named_tenantry_are_replaced() {
        let contents = [
            ("ResourceQuota", named("tenantry")),
            ("ResourceQuota", named("team")),
            ("Pod", named("p")),
        ];
        let expected = [
            (Effect::Replaced, "ResourceQuota/tenantry".to_owned()),
            (Effect::Stays, "ResourceQuota/team".to_owned()),
        ];
        assert_eq!(found(&json!({}), &contents, &[]), expected);
    }

    #[test]
    fn a_refused_role_binding_is_reported_once() {
        let contents = [("RoleBinding", named("a")), ("RoleBinding", named("b"))];
        let refused = [Finding::new(Effect::Refused, "RoleBinding/a", "policy", "no")];
        assert_eq!(
            found(&json!({}), &contents, &refused),
            [(Effect::Stays, "RoleBinding/b".to_owned())]
        );
    }

    #[test]
    fn other_rights_are_reported_with_the_command_to_remove_them() {
        let binding = json!({
            "metadata": { "name": "helpers", "namespace": "acme-web" },
            "roleRef": { "kind": "ClusterRole", "name": "edit" },
            "subjects": [{ "kind": "User", "name": "stranger" }, { "kind": "Group", "name": "ops" }],
        });
        assert_eq!(
            rights(&binding),
            "User stranger, Group ops keeps ClusterRole edit in addition to the tenant's owners; \
             to remove it: kubectl delete rolebinding helpers --namespace acme-web"
        );
    }
}
