//! The API server's audit log: who sent what, and when it was answered.

use std::{fs, path::Path, time::Duration};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
pub use lab::audit::{Event, OPERATOR};
use lab::{Lab, eventually};

/// A moment in the log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(String);

impl Mark {
    /// The current time, in the API server's format; both processes share a clock.
    pub fn now() -> Self {
        Self(format!("{:.6}", jiff::Timestamp::now()))
    }

    /// When the API server received a request.
    pub fn of(event: &Event) -> Self {
        Self(event.received.clone())
    }
}

/// Marks this moment and waits until the log has reached it: every request that ended before is in the log.
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
