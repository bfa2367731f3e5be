//! Whether a live object is as desired.
//!
//! The live labels, annotations and owner references must contain the desired ones, so other tools may add theirs. The
//! content must be equal: a rule that someone added to a NetworkPolicy is drift, just like a missing one. Only kinds of
//! other projects are compared by containment, because their CRDs may set defaults that the operator does not know. For
//! those an annotation shows whether the operator set more fields before.

use serde_json::{Map, Value, json};

use super::{Kind, Object, desired::Key};
use tenantry_api::{Quantity, names};

/// Whether `live` needs no write to be as `desired`.
pub fn is_as_desired(live: &Value, desired: &Object) -> bool {
    let metadata = &live["metadata"];
    let labelled = desired
        .labels
        .iter()
        .all(|(key, value)| metadata["labels"].get(key) == Some(value));
    let annotated = desired
        .annotations
        .iter()
        .all(|(key, value)| metadata["annotations"].get(key) == Some(value));
    // A finalizer would delay the removal of a right. Other kinds may keep one from the component that enforces them, such as a network
    // plugin.
    let has_finalizer = desired.key.kind == Kind::RoleBinding && metadata["finalizers"][0].is_string();
    labelled
        && annotated
        && !has_finalizer
        && stale_labels(metadata, desired).next().is_none()
        && (metadata["annotations"].get(names::CLAIM_WEIGHT).is_none()
            || desired.annotations.contains_key(names::CLAIM_WEIGHT))
        && owners_match(&metadata["ownerReferences"], desired.owner.as_ref())
        && content_matches(live, desired)
}

/// The body of a replace request: the live object with every desired field in place of the live one.
pub fn replacement(live: &Value, desired: &Object) -> Value {
    let mut body = desired.manifest();
    let metadata = &live["metadata"];
    let stale: Vec<String> = stale_labels(metadata, desired).map(str::to_owned).collect();
    let mut labels = metadata["labels"].as_object().cloned().unwrap_or_default();
    labels.retain(|key, _| !stale.contains(key));
    labels.extend(desired.labels.clone());
    let mut annotations = metadata["annotations"].as_object().cloned().unwrap_or_default();
    annotations.remove(OUR_LABELS);
    annotations.remove(names::CLAIM_WEIGHT);
    annotations.extend(desired.annotations.clone());
    body["metadata"]["labels"] = Value::Object(labels);
    body["metadata"]["annotations"] = Value::Object(annotations);
    body["metadata"]["ownerReferences"] = desired.owner.as_ref().map_or(Value::Null, |owner| json!([owner]));
    body["metadata"]["uid"] = metadata["uid"].clone();
    body["metadata"]["resourceVersion"] = metadata["resourceVersion"].clone();
    if desired.key.kind != Kind::RoleBinding {
        body["metadata"]["finalizers"] = metadata["finalizers"].clone();
    }
    if desired.key.kind == Kind::Namespace {
        body["spec"] = live["spec"].clone();
    }
    body
}

/// Annotation that lists the labels from the Tenant or its template. A label that is removed there is then removed here.
pub const OUR_LABELS: &str = "tenantry.dev/labels";

/// Labels that the live annotation lists as ours and that are no longer desired.
fn stale_labels<'a>(metadata: &'a Value, desired: &'a Object) -> impl Iterator<Item = &'a str> {
    let ours = metadata["annotations"]
        .get(OUR_LABELS)
        .and_then(Value::as_str)
        .unwrap_or_default();
    ours.split(',').filter(move |key| {
        !key.is_empty() && !desired.labels.contains_key(*key) && metadata["labels"].get(*key).is_some()
    })
}

/// A desired owner must be the only one: a foreign owner could have the garbage collector delete a guard.
fn owners_match(live: &Value, desired: Option<&Value>) -> bool {
    let live = live.as_array().map_or(&[][..], Vec::as_slice);
    match desired {
        Some(owner) => live.len() == 1 && live[0]["uid"] == owner["uid"],
        None => !live.iter().any(|owner| {
            owner["apiVersion"]
                .as_str()
                .is_some_and(|api| api.starts_with(names::GROUP))
        }),
    }
}

fn content_matches(live: &Value, desired: &Object) -> bool {
    let desired_kind = desired.key.kind;
    match desired.key {
        // The API server owns a Namespace's spec.
        Key {
            kind: Kind::Namespace, ..
        } => true,
        Key { kind, .. } if kind.is_optional() => desired
            .content
            .iter()
            .all(|(field, value)| contains(&live[field], value)),
        _ => {
            let foreign = ["apiVersion", "kind", "metadata", "status"];
            let nothing = Map::new();
            let live_fields = live.as_object().unwrap_or(&nothing);
            let same = |live: &Value, desired: &Value| match desired_kind {
                Kind::ResourceQuota | Kind::LimitRange => same_amounts(live, desired),
                _ => live == desired,
            };
            desired
                .content
                .iter()
                .all(|(field, value)| live_fields.get(field).is_some_and(|live| same(live, value)))
                && live_fields
                    .keys()
                    .all(|field| foreign.contains(&field.as_str()) || desired.content.contains_key(field))
        }
    }
}

/// Equality in which `1` and `1000m` are the same: the API server keeps amounts in the form in which they were sent.
fn same_amounts(live: &Value, desired: &Value) -> bool {
    match (live, desired) {
        (Value::Object(live), Value::Object(desired)) => {
            live.len() == desired.len()
                && desired
                    .iter()
                    .all(|(key, value)| live.get(key).is_some_and(|live| same_amounts(live, value)))
        }
        (Value::Array(live), Value::Array(desired)) => {
            live.len() == desired.len()
                && live
                    .iter()
                    .zip(desired)
                    .all(|(live, desired)| same_amounts(live, desired))
        }
        (Value::String(live), Value::String(desired)) if live != desired => {
            matches!((live.parse::<Quantity>(), desired.parse::<Quantity>()), (Ok(live), Ok(desired)) if live == desired)
        }
        // The API server returns an empty list of limits as null.
        (Value::Null, Value::Array(desired)) => desired.is_empty(),
        (live, desired) => live == desired,
    }
}

/// Whether `live` contains everything in `desired`; it may have more fields, but not more list items.
fn contains(live: &Value, desired: &Value) -> bool {
    match (live, desired) {
        (Value::Object(live), Value::Object(desired)) => desired
            .iter()
            .all(|(key, value)| live.get(key).is_some_and(|live| contains(live, value))),
        (Value::Array(live), Value::Array(desired)) => {
            live.len() == desired.len() && live.iter().zip(desired).all(|(live, desired)| contains(live, desired))
        }
        (live, desired) => live == desired,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::Kind;

    fn object(kind: Kind, content: Value) -> Object {
        let Value::Object(content) = content else {
            panic!("content must be a map")
        };
        Object {
            key: Key::new(kind, "acme-dev", "fence"),
            labels: Map::from_iter([("tenantry.dev/tenant".to_owned(), json!("acme"))]),
            annotations: Map::new(),
            owner: Some(json!({ "apiVersion": "tenantry.dev/v1alpha1", "uid": "u1" })),
            content,
        }
    }

    fn live(object: &Object) -> Value {
        let mut live = object.manifest();
        live["metadata"]["uid"] = json!("o1");
        live["metadata"]["resourceVersion"] = json!("7");
        live
    }

    #[test]
    fn an_object_as_created_is_as_desired() {
        let object = object(Kind::NetworkPolicy, json!({ "spec": { "podSelector": {} } }));
        assert!(is_as_desired(&live(&object), &object));
    }

    #[test]
    fn a_label_of_another_tool_is_no_drift_and_survives_a_replace() {
        let object = object(Kind::NetworkPolicy, json!({ "spec": { "podSelector": {} } }));
        let mut live = live(&object);
        live["metadata"]["labels"]["other"] = json!("x");
        assert!(is_as_desired(&live, &object));
        assert_eq!(replacement(&live, &object)["metadata"]["labels"]["other"], json!("x"));
    }

    #[test]
    fn a_rule_that_someone_added_is_drift() {
        let object = object(Kind::NetworkPolicy, json!({ "spec": { "podSelector": {} } }));
        let mut live = live(&object);
        live["spec"]["ingress"] = json!([{}]);
        assert!(!is_as_desired(&live, &object));
        assert!(replacement(&live, &object)["spec"].get("ingress").is_none());
    }

    #[test]
    fn a_top_level_field_that_someone_added_is_drift() {
        let object = object(Kind::ConfigMap, json!({ "data": { "a": "1" } }));
        let mut live = live(&object);
        live["binaryData"] = json!({ "b": "AA==" });
        assert!(!is_as_desired(&live, &object));
    }

    #[test]
    fn null_for_an_empty_list_of_limits_is_no_drift() {
        let empty = object(Kind::LimitRange, json!({ "spec": { "limits": [] } }));
        let mut live = live(&empty);
        live["spec"]["limits"] = Value::Null;
        assert!(is_as_desired(&live, &empty));
        let full = object(
            Kind::LimitRange,
            json!({ "spec": { "limits": [{ "type": "Container" }] } }),
        );
        assert!(!is_as_desired(&live, &full));
    }

    #[test]
    fn another_owner_reference_is_drift() {
        let object = object(Kind::NetworkPolicy, json!({ "spec": {} }));
        let mut live = live(&object);
        live["metadata"]["ownerReferences"] = json!([{ "uid": "u1" }, { "uid": "stranger" }]);
        assert!(!is_as_desired(&live, &object));
        live["metadata"]["ownerReferences"] = Value::Null;
        assert!(!is_as_desired(&live, &object));
    }

    #[test]
    fn defaults_of_another_projects_crd_are_no_drift() {
        let object = object(
            Kind::PodMonitor,
            json!({ "spec": { "podMetricsEndpoints": [{ "port": "metrics" }] } }),
        );
        let mut live = live(&object);
        live["spec"]["podMetricsEndpoints"][0]["scheme"] = json!("http");
        assert!(is_as_desired(&live, &object));
        live["spec"]["podMetricsEndpoints"] = json!([{ "port": "metrics" }, { "port": "extra" }]);
        assert!(!is_as_desired(&live, &object));
    }

    #[test]
    fn a_label_removed_from_the_tenant_is_removed_from_live() {
        let mut object = object(Kind::Namespace, json!({}));
        object.key = Key::namespace("acme-dev");
        let mut live = live(&object);
        live["metadata"]["labels"]["team"] = json!("blue");
        live["metadata"]["annotations"] = json!({ (OUR_LABELS): "team" });
        assert!(!is_as_desired(&live, &object));
        let body = replacement(&live, &object);
        assert!(body["metadata"]["labels"].get("team").is_none());
        assert!(is_as_desired(&body, &object));
    }

    #[test]
    fn a_replace_names_the_version_that_it_was_computed_from() {
        let object = object(Kind::ResourceQuota, json!({ "spec": { "hard": { "pods": "1" } } }));
        let body = replacement(&live(&object), &object);
        assert_eq!(
            (&body["metadata"]["uid"], &body["metadata"]["resourceVersion"]),
            (&json!("o1"), &json!("7"))
        );
    }
}
