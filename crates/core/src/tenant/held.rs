//! Why a namespace that is being deleted still exists.

use serde_json::Value;

use crate::object::Live;

/// A namespace that is being deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Going {
    /// Full name.
    pub name: String,
    /// What delays its deletion according to the API server, and the command that lists the objects.
    pub held: Option<String>,
}

impl Going {
    /// From a live namespace that is being deleted, or is to be deleted.
    pub fn of(name: &str, live: &Live) -> Self {
        Self {
            name: name.to_owned(),
            held: held(name, &live.body()),
        }
    }
}

/// The message of the namespace's conditions, which name kinds and finalizers. The operator cannot name the objects: it has no right
/// to read what tenants create.
fn held(namespace: &str, body: &Value) -> Option<String> {
    let conditions = body.pointer("/status/conditions").and_then(Value::as_array)?;
    let holds = conditions
        .iter()
        .filter(|condition| condition["status"] == "True" && condition["type"] != "NamespaceDeletionDiscoveryFailure");
    let messages: Vec<&str> = holds.filter_map(|condition| condition["message"].as_str()).collect();
    if messages.is_empty() {
        return None;
    }
    let said = messages.join(". ");
    let resources: Vec<_> = messages.iter().flat_map(|message| remaining(message)).collect();
    if resources.is_empty() {
        return Some(said);
    }
    let names = resources.join(",");
    Some(format!(
        "{said}. To name them: kubectl get {names} --namespace {namespace}"
    ))
}

/// The resources in `Some resources are remaining: pods. has 2 resource instances, widgets.example.com has 1 resource instances`.
/// https://github.com/kubernetes/kubernetes/blob/v1.36.0/pkg/controller/namespace/deletion/status_condition_utils.go
fn remaining(message: &str) -> Vec<&str> {
    let list = message.strip_prefix("Some resources are remaining: ").into_iter();
    let entries = list.flat_map(|list| list.split(", "));
    entries
        .filter_map(|entry| {
            entry
                .split_once(" has ")
                .map(|(resource, _)| resource.trim_end_matches('.'))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixture;

    fn of(conditions: &Value) -> Option<String> {
        let live = fixture::live_namespace(&json!({}));
        let mut body = live.body();
        body["status"]["conditions"] = conditions.clone();
        Going::of("acme-dev", &Live::from_value(body).unwrap()).held
    }

    #[test]
    fn remaining_content_is_reported_with_the_command_to_list_it() {
        let held = of(&json!([
            { "type": "NamespaceDeletionDiscoveryFailure", "status": "True", "message": "no" },
            { "type": "NamespaceDeletionContentFailure", "status": "False", "message": "All content successfully deleted" },
            { "type": "NamespaceContentRemaining", "status": "True",
              "message": "Some resources are remaining: configmaps. has 1 resource instances, widgets.example.com has 2 resource instances" },
            { "type": "NamespaceFinalizersRemaining", "status": "True",
              "message": "Some content in the namespace has finalizers remaining: example.com/hold in 3 resource instances" },
        ]));
        let held = held.unwrap();
        assert!(held.contains("example.com/hold"), "{held}");
        assert!(
            held.ends_with("kubectl get configmaps,widgets.example.com --namespace acme-dev"),
            "{held}"
        );
    }

    #[test]
    fn a_deletion_without_obstacle_reports_nothing() {
        assert_eq!(of(&json!([])), None);
        let done = json!([{ "type": "NamespaceContentRemaining", "status": "False", "message": "All content successfully removed" }]);
        assert_eq!(of(&done), None);
    }
}
