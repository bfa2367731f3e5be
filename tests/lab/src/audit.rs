//! Lines of the API server's audit log: who sent what, and the answer.

use std::fmt;

use serde_json::Value;

/// User name of the operator.
pub const OPERATOR: &str = "system:serviceaccount:tenantry-system:tenantry";

/// A request that has ended.
#[derive(Clone, Debug, Default)]
pub struct Event {
    /// In the words of RBAC; server-side apply is `patch`.
    pub verb: String,
    /// The user who sent the request.
    pub user: String,
    /// Which of the user's tokens; every operator process has its own.
    pub credential: String,
    /// Plural, such as `resourcequotas`.
    pub resource: String,
    /// Such as `status`; empty for the object itself.
    pub subresource: String,
    /// Empty for cluster-scoped objects.
    pub namespace: String,
    /// Empty for lists and generated names.
    pub name: String,
    /// HTTP status.
    pub code: u16,
    /// RFC 3339 with microseconds, so texts compare as times do.
    pub received: String,
}

impl Event {
    /// An event of one line; `None` for stages other than the last and for a line that is no event.
    pub fn parse(line: &str) -> Option<Self> {
        let event: Value = serde_json::from_str(line).ok()?;
        if event["stage"] != "ResponseComplete" {
            return None;
        }
        let text = |pointer: &str| {
            event
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        Some(Self {
            verb: text("/verb"),
            user: text("/user/username"),
            credential: text("/user/extra/authentication.kubernetes.io~1credential-id/0"),
            resource: text("/objectRef/resource"),
            subresource: text("/objectRef/subresource"),
            namespace: text("/objectRef/namespace"),
            name: text("/objectRef/name"),
            code: event["responseStatus"]["code"]
                .as_u64()
                .and_then(|code| code.try_into().ok())
                .unwrap_or_default(),
            received: text("/requestReceivedTimestamp"),
        })
    }

    /// Resource and subresource in one, such as `tenants/status`.
    pub fn what(&self) -> String {
        if self.subresource.is_empty() {
            self.resource.clone()
        } else {
            format!("{}/{}", self.resource, self.subresource)
        }
    }

    /// Whether it may have changed something.
    pub fn is_write(&self) -> bool {
        matches!(
            &*self.verb,
            "create" | "update" | "patch" | "delete" | "deletecollection"
        )
    }

    /// Whether the API server accepted the request.
    pub fn succeeded(&self) -> bool {
        (200..300).contains(&self.code)
    }

    /// Whether it is about the Lease of the leader election.
    pub fn is_lease(&self) -> bool {
        self.resource == "leases"
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            verb,
            resource,
            subresource,
            namespace,
            name,
            code,
            received,
            ..
        } = self;
        write!(
            f,
            "{received} {verb} {resource}/{subresource} {namespace}/{name}: {code}"
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn only_a_line_of_the_last_stage_is_an_event() {
        let line = |stage| {
            format!(
                r#"{{"stage":"{stage}","verb":"update","user":{{"username":"u"}},"responseStatus":{{"code":409}},"objectRef":{{"resource":"tenants","subresource":"status","name":"acme"}}}}"#
            )
        };
        let event = Event::parse(&line("ResponseComplete")).unwrap();
        assert_eq!((&*event.what(), event.code), ("tenants/status", 409));
        assert!(event.is_write() && !event.succeeded());
        assert!(Event::parse(&line("ResponseStarted")).is_none());
        assert!(Event::parse(r#"{"stage":"Resp"#).is_none());
    }
}
