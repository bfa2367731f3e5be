//! Classes of kube's errors.

use std::{error::Error, io};

use kube::core::Status;

use super::client::DeadlineExceeded;
use tenantry_core::error_class::ErrorClass;

/// How the API server's quota admission begins its message after `is forbidden: `
/// (plugin/pkg/admission/resourcequota/controller.go).
const QUOTA_REFUSALS: [&str; 4] = [
    "exceeded quota: ",
    "failed quota: ",
    "insufficient quota ",
    "status unknown for quota: ",
];

/// The class of an error of kube.
pub fn class_of(error: &kube::Error) -> ErrorClass {
    match error {
        kube::Error::Api(status) => of_status(status),
        kube::Error::FromUtf8(_) | kube::Error::SerdeError(_) => ErrorClass::Malformed,
        kube::Error::HttpError(_) | kube::Error::BuildRequest(_) => ErrorClass::Invalid,
        kube::Error::Auth(_) => ErrorClass::Forbidden,
        error if is_timeout(error) => ErrorClass::Timeout,
        // kube may add variants. All others concern connections, or files that the process reads at its start.
        _ => ErrorClass::Unavailable,
    }
}

fn of_status(status: &Status) -> ErrorClass {
    // The API server answers "ServerTimeout" with 500, so the reason decides if the answer has one.
    match (&*status.reason, status.code) {
        ("Timeout" | "ServerTimeout" | "Expired" | "Gone", _) | (_, 408 | 410 | 504) => ErrorClass::Timeout,
        _ if has_cause(status, NAMESPACE_TERMINATING) => ErrorClass::Conflict,
        (_, 409) => ErrorClass::Conflict,
        (_, 403) if is_of_quota(&status.message) => ErrorClass::Quota,
        (_, 401 | 403) => ErrorClass::Forbidden,
        (_, 404) => ErrorClass::NotFound,
        (_, 429) => ErrorClass::Throttled,
        (_, 400..=499) => ErrorClass::Invalid,
        (_, 500..=599) => ErrorClass::Unavailable,
        _ => ErrorClass::Malformed,
    }
}

/// `NamespaceTerminatingCause` of k8s.io/api/core/v1: nothing can be created because the namespace is being deleted.
/// Its watch reports that a moment later.
const NAMESPACE_TERMINATING: &str = "NamespaceTerminating";

/// Whether an answer of the API server has `reason` among its causes.
pub fn has_cause(status: &Status, reason: &str) -> bool {
    let mut causes = status.details.iter().flat_map(|details| &details.causes);
    causes.any(|cause| cause.reason == reason)
}

fn is_of_quota(message: &str) -> bool {
    message
        .split_once(" is forbidden: ")
        .is_some_and(|(_, why)| QUOTA_REFUSALS.iter().any(|refusal| why.starts_with(refusal)))
}

fn is_timeout(error: &kube::Error) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let timed_out = |error: &io::Error| error.kind() == io::ErrorKind::TimedOut;
        if error.is::<DeadlineExceeded>() || error.downcast_ref().is_some_and(timed_out) {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, time::Duration};

    use serde_json::{Value, json};

    use super::*;

    fn answered(status: Value) -> ErrorClass {
        class_of(&kube::Error::Api(serde_json::from_value(status).unwrap()))
    }

    #[test]
    fn answers_of_the_api_server_have_their_class() {
        let quota =
            r#"pods "web" is forbidden: exceeded quota: tenantry, requested: pods=1, used: pods=5, limited: pods=5"#;
        // A policy may quote the request that it refuses.
        let quoted = r#"pods "web" is forbidden: ValidatingAdmissionPolicy "p" denied: "exceeded quota: ""#;
        for (code, reason, message, class) in [
            (409, "Conflict", "", ErrorClass::Conflict),
            (409, "AlreadyExists", "", ErrorClass::Conflict),
            (403, "Forbidden", "", ErrorClass::Forbidden),
            (403, "Forbidden", quota, ErrorClass::Quota),
            (403, "Forbidden", quoted, ErrorClass::Forbidden),
            (401, "Unauthorized", "", ErrorClass::Forbidden),
            (404, "NotFound", "", ErrorClass::NotFound),
            (422, "Invalid", "", ErrorClass::Invalid),
            (413, "RequestEntityTooLarge", "", ErrorClass::Invalid),
            (410, "Expired", "", ErrorClass::Timeout),
            (429, "TooManyRequests", "", ErrorClass::Throttled),
            (500, "InternalError", "", ErrorClass::Unavailable),
            (500, "ServerTimeout", "", ErrorClass::Timeout),
            (503, "ServiceUnavailable", "", ErrorClass::Unavailable),
            (504, "Timeout", "", ErrorClass::Timeout),
            (502, "", "a proxy's page", ErrorClass::Unavailable),
        ] {
            let status = json!({ "code": code, "reason": reason, "message": message });
            assert_eq!(answered(status), class, "{code} {reason} {message}");
        }
    }

    #[test]
    fn a_namespace_that_is_being_deleted_is_a_conflict() {
        let causes = json!([{ "reason": "NamespaceTerminating", "field": "metadata.namespace" }]);
        let status = json!({ "code": 403, "reason": "Forbidden", "details": { "causes": causes } });
        assert_eq!(answered(status), ErrorClass::Conflict);
    }

    #[test]
    fn a_missing_answer_is_a_timeout_or_a_lost_connection() {
        let late = DeadlineExceeded {
            verb: "update",
            resource: "tenants",
            after: Duration::from_secs(10),
        };
        let service = |error| class_of(&kube::Error::Service(error));
        assert_eq!(service(late.into()), ErrorClass::Timeout);
        let connect = |kind: io::ErrorKind| service(io::Error::from(kind).into());
        assert_eq!(connect(io::ErrorKind::TimedOut), ErrorClass::Timeout);
        assert_eq!(connect(io::ErrorKind::ConnectionRefused), ErrorClass::Unavailable);
    }

    #[test]
    fn every_class_has_a_word_of_its_own() {
        let words: BTreeSet<_> = ErrorClass::ALL.map(ErrorClass::as_str).into();
        assert_eq!(words.len(), ErrorClass::ALL.len());
    }
}
