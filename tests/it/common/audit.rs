//! The API server's audit log: who did what, and when it was over.

use std::{fmt, fs, path::Path, time::Duration};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use lab::{Lab, eventually};
use serde_json::Value;

/// User name of the operator.
pub const OPERATOR: &str = "system:serviceaccount:tenantry-system:tenantry";

/// A request that has ended.
#[derive(Clone, Debug, Default)]
pub struct Event {
    pub verb: String,
    pub user: String,
    /// Which of the user's tokens; every operator process has its own.
    pub credential: String,
    /// Plural, such as `resourcequotas`.
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
    /// HTTP status.
    pub code: u16,
    /// RFC 3339 with microseconds, so texts compare as times do.
    pub received: String,
}

impl Event {
    /// An event of one line; `None` for stages other than the last.
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

    /// Whether it may have changed something.
    pub fn is_write(&self) -> bool {
        matches!(
            &*self.verb,
            "create" | "update" | "patch" | "delete" | "deletecollection"
        )
    }

    /// Whether the API server did what was asked.
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

/// A moment in the log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(String);

impl Mark {
    /// When the API server received a request.
    pub fn of(event: &Event) -> Self {
        Self(event.received.clone())
    }
}

/// Marks this moment, and waits until the log has come to it: everything that had ended before is in the log.
pub async fn mark(lab: &Lab, admin: &Client) -> Mark {
    let name = format!("mark-{:016x}", fastrand::u64(..));
    let nothing: Api<ConfigMap> = Api::namespaced(admin.clone(), "default");
    assert!(nothing.get_opt(&name).await.unwrap().is_none());
    let log = log(lab);
    let line = eventually("the mark in the audit log", Duration::from_secs(20), || async {
        let text = fs::read(&log).map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&text);
        let found = text
            .lines()
            .rev()
            .find(|line| line.contains(&name) && line.ends_with('}'));
        found.map(str::to_owned).ok_or_else(|| "not there yet".to_owned())
    })
    .await;
    Mark(Event::parse(&line).expect("a whole event").received)
}

/// Every request that ended, in the order of the log.
pub fn read(lab: &Lab) -> Vec<Event> {
    fs::read_to_string(log(lab))
        .expect("the audit log")
        .lines()
        .filter_map(Event::parse)
        .collect()
}

/// What the operator sent from `since` on: `until` is where the log is known to be complete.
pub fn by_operator<'a>(events: &'a [Event], since: &'a Mark, until: &'a Mark) -> impl Iterator<Item = &'a Event> {
    events
        .iter()
        .filter(|event| event.user == OPERATOR && event.received > since.0 && event.received < until.0)
}

fn log(lab: &Lab) -> std::path::PathBuf {
    let plane = lab.plane().expect("a control plane of our own");
    let path = plane.audit_log().expect("the lab has an audit log");
    assert!(Path::new(&path).exists());
    path
}
