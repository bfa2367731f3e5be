//! The interface between the election and the API server.

use std::future::Future;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Api, PostParams};

use super::election::{LeaseRecord, StoredLease};

/// A read or write of the Lease that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Another process wrote first (409 on replace or create), or the Lease was deleted (404 on replace): read it
    /// again.
    #[error("the lease was changed by someone else")]
    Changed,
    /// No answer in time; the write may or may not have happened.
    #[error("no answer in time")]
    TimedOut,
    /// The API server refused the request or could not be reached.
    #[error("failed to reach the lease: {0}")]
    Api(#[from] Box<kube::Error>),
}

/// Reads and writes one Lease. A write succeeds only if the Lease still has the version that was read.
pub trait LeaseApi: Send + Sync {
    /// The Lease, or None if it does not exist.
    fn read(&self) -> impl Future<Output = Result<Option<StoredLease>, LeaseError>> + Send;
    /// Creates the Lease; [`LeaseError::Changed`] if it exists.
    fn create(&self, record: LeaseRecord) -> impl Future<Output = Result<StoredLease, LeaseError>> + Send;
    /// Replaces the Lease with that `resourceVersion`; [`LeaseError::Changed`] if it has another version or was
    /// deleted.
    fn replace(&self, lease: StoredLease) -> impl Future<Output = Result<StoredLease, LeaseError>> + Send;
}

/// The Lease on the API server.
///
/// Needs these rights in the Lease's namespace: `create` on leases, and `get` and `update` on the Lease of that name.
#[derive(Clone)]
pub struct KubeLease {
    api: Api<Lease>,
    name: String,
}

impl KubeLease {
    /// The Lease `name` in `namespace`.
    pub fn new(client: kube::Client, namespace: &str, name: &str) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            name: name.to_owned(),
        }
    }
}

impl LeaseApi for KubeLease {
    async fn read(&self) -> Result<Option<StoredLease>, LeaseError> {
        let lease = self.api.get_opt(&self.name).await.map_err(Box::new)?;
        Ok(lease.map(to_stored))
    }

    async fn create(&self, record: LeaseRecord) -> Result<StoredLease, LeaseError> {
        let metadata = ObjectMeta {
            name: Some(self.name.clone()),
            ..ObjectMeta::default()
        };
        let lease = to_lease(StoredLease { record, metadata });
        self.api
            .create(&PostParams::default(), &lease)
            .await
            .map(to_stored)
            .map_err(to_error)
    }

    async fn replace(&self, lease: StoredLease) -> Result<StoredLease, LeaseError> {
        self.api
            .replace(&self.name, &PostParams::default(), &to_lease(lease))
            .await
            .map(to_stored)
            .map_err(to_error)
    }
}

fn to_error(error: kube::Error) -> LeaseError {
    match error {
        kube::Error::Api(status) if status.code == 409 || status.code == 404 => LeaseError::Changed,
        other => LeaseError::Api(Box::new(other)),
    }
}

fn to_stored(lease: Lease) -> StoredLease {
    let spec = lease.spec.unwrap_or_default();
    StoredLease {
        record: LeaseRecord {
            holder: spec.holder_identity,
            duration_seconds: spec.lease_duration_seconds,
            acquired: spec.acquire_time.map(|time| time.0),
            renewed: spec.renew_time.map(|time| time.0),
            transitions: spec.lease_transitions.unwrap_or(0),
        },
        // If a replace leaves it out, the API server keeps the stored value.
        metadata: ObjectMeta {
            managed_fields: None,
            ..lease.metadata
        },
    }
}

fn to_lease(lease: StoredLease) -> Lease {
    let LeaseRecord {
        holder,
        duration_seconds,
        acquired,
        renewed,
        transitions,
    } = lease.record;
    Lease {
        metadata: lease.metadata,
        spec: Some(LeaseSpec {
            holder_identity: holder,
            lease_duration_seconds: duration_seconds,
            acquire_time: acquired.map(MicroTime),
            renew_time: renewed.map(MicroTime),
            lease_transitions: Some(transitions),
            // These fields belong to coordinated leader election, a protocol that we do not use.
            preferred_holder: None,
            strategy: None,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    fn stored() -> StoredLease {
        StoredLease {
            record: LeaseRecord {
                holder: Some("blue-1".to_owned()),
                duration_seconds: Some(15),
                acquired: Some("2026-11-22T06:00:00.000001Z".parse().expect("a timestamp")),
                renewed: Some("2026-11-22T06:00:02.5Z".parse().expect("a timestamp")),
                transitions: 3,
            },
            metadata: ObjectMeta {
                name: Some("op".to_owned()),
                resource_version: Some("41".to_owned()),
                labels: Some([("kept".to_owned(), "yes".to_owned())].into()),
                ..ObjectMeta::default()
            },
        }
    }

    #[test]
    fn a_lease_is_unchanged_after_a_round_trip() {
        let json = serde_json::to_vec(&to_lease(stored())).expect("serialises");
        let back: Lease = serde_json::from_slice(&json).expect("parses");
        assert_eq!(to_stored(back), stored());
    }

    #[test]
    fn a_lease_without_a_spec_is_held_by_nobody() {
        let stored = to_stored(Lease::default());
        assert_eq!((stored.record.holder, stored.record.renewed), (None, None::<Timestamp>));
    }

    #[test]
    fn conflict_already_exists_and_gone_all_mean_read_again() {
        for (code, changed) in [(409, true), (404, true), (403, false), (500, false)] {
            let status = kube::core::Status {
                code,
                ..kube::core::Status::default()
            };
            let error = to_error(kube::Error::Api(Box::new(status)));
            assert_eq!(matches!(error, LeaseError::Changed), changed, "{code}");
        }
    }
}
