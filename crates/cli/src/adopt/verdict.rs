//! Parses an answer of the API server: what refuses an object, and why.

use kube::core::Status;

use super::report::{Effect, Finding};

/// The finding from the refusal of an object.
pub fn finding(object: &str, message: &str) -> Finding {
    let (by, why) = who(message);
    Finding::new(Effect::Refused, object, &by, why)
}

/// Whether an answer is a refusal of the object, and not a failure to check it.
pub fn is_judgement(status: &Status) -> bool {
    matches!(status.code, 400 | 403 | 422)
}

/// Whether the answer only means that the API server does not know a guard or a right of the scratch namespace yet. The
/// texts are from https://github.com/kubernetes/kubernetes/tree/v1.36.0: generic/policy_dispatcher.go, the
/// authorizer's, rolebinding's escalation check, and the plugin ServiceAccount.
pub fn is_too_early(message: &str) -> bool {
    const EARLY: [&str; 5] = [
        "no params found",
        "cannot create resource",
        "permissions not currently held",
        "error looking up service account",
        "not yet ready to handle request",
    ];
    EARLY.iter().any(|text| message.contains(text))
}

/// What refuses the object, and its message without the object's name.
fn who(message: &str) -> (String, &str) {
    let said = message.split_once(" is forbidden: ").map_or(message, |(_, said)| said);
    let policy = said.split_once("AdmissionPolicy '").and_then(|(_, rest)| {
        let (name, rest) = rest.split_once('\'')?;
        Some((name, rest.split_once(" denied request: ")?.1))
    });
    if let Some((name, why)) = policy {
        return (format!("policy {name}"), why);
    }
    let webhook = said.strip_prefix("admission webhook \"").and_then(|rest| {
        let (name, rest) = rest.split_once('"')?;
        Some((name, rest.split_once(": ")?.1))
    });
    if let Some((name, why)) = webhook {
        return (format!("webhook {name}"), why);
    }
    let standard = said
        .strip_prefix("violates PodSecurity \"")
        .and_then(|rest| rest.split_once("\": "));
    if let Some((level, why)) = standard {
        return (format!("Pod Security {level}"), why);
    }
    let by = if said.starts_with("exceeded quota") || said.starts_with("failed quota") {
        "ResourceQuota"
    } else if said.contains(" usage per ") {
        "LimitRange"
    } else {
        "API server"
    };
    (by.to_owned(), said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_guard_is_known_by_its_words() {
        let cases = [
            (
                "pods \"a\" is forbidden: ValidatingAdmissionPolicy 'tenantry-pods' with binding 'tenantry-pods-create' denied request: tenant acme: image x is not from an allowed registry",
                (
                    "policy tenantry-pods",
                    "tenant acme: image x is not from an allowed registry",
                ),
            ),
            (
                "pods \"a\" is forbidden: violates PodSecurity \"restricted:v1.34\": privileged (container \"a\" must not set it)",
                (
                    "Pod Security restricted:v1.34",
                    "privileged (container \"a\" must not set it)",
                ),
            ),
            (
                "pods \"a\" is forbidden: maximum cpu usage per Container is 1, but limit is 2",
                ("LimitRange", "maximum cpu usage per Container is 1, but limit is 2"),
            ),
            (
                "pods \"a\" is forbidden: exceeded quota: tenantry, requested: pods=1, used: pods=0, limited: pods=0",
                (
                    "ResourceQuota",
                    "exceeded quota: tenantry, requested: pods=1, used: pods=0, limited: pods=0",
                ),
            ),
            (
                "admission webhook \"w.example.com\" denied the request: not today",
                ("webhook w.example.com", "not today"),
            ),
            (
                "Pod \"a\" is invalid: spec: Required value",
                ("API server", "Pod \"a\" is invalid: spec: Required value"),
            ),
        ];
        for (message, (by, why)) in cases {
            assert_eq!(who(message), (by.to_owned(), why));
        }
    }

    #[test]
    fn a_guard_that_is_not_known_yet_does_not_refuse() {
        let early = "pods \"a\" is forbidden: policy 'tenantry-pods' with binding 'b' denied request: failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction";
        assert!(is_too_early(early));
        assert!(!is_too_early("exceeded quota: tenantry"));
    }
}
