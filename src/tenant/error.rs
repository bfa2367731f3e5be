//! Why a reconcile must be retried. Invalid user input is never an error here, but a condition.

use crate::cluster::custom;
use tenantry_core::{error_class::ErrorClass, tenant::outcome::Failure};
use tenantry_process::controller::Classified;

/// A reconcile failed and is retried.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Objects could not be written; the message is that of the first.
    #[error("{first}{}", and_more(*more))]
    Apply {
        /// The first failure.
        first: Failure,
        /// How many more there were.
        more: usize,
    },
    /// Objects changed since they were seen; the retry sees them.
    #[error("the Tenant or its objects changed since they were seen")]
    Outdated,
    /// The Tenant itself could not be written.
    #[error(transparent)]
    Tenant(custom::Error),
}

fn and_more(more: usize) -> String {
    if more == 0 {
        String::new()
    } else {
        format!(" (and {more} more)")
    }
}

impl Classified for Error {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Apply { first, .. } => first.class,
            Self::Outdated => ErrorClass::Conflict,
            Self::Tenant(error) => error.class(),
        }
    }
}

impl Error {
    /// Returns an error if there is any failure. If all failures are outdated objects, the error is [`Self::Outdated`].
    pub fn from_failures(failures: Vec<Failure>) -> Result<(), Self> {
        let total = failures.len();
        let outdated = failures.iter().filter(|failure| failure.is_outdated()).count();
        match failures.into_iter().find(|failure| !failure.is_outdated()) {
            Some(first) => Err(Self::Apply { first, more: total - 1 }),
            None if outdated > 0 => Err(Self::Outdated),
            None => Ok(()),
        }
    }
}

impl From<custom::Error> for Error {
    fn from(error: custom::Error) -> Self {
        match error {
            custom::Error::Outdated { .. } => Self::Outdated,
            error => Self::Tenant(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tenant::fixture;
    use tenantry_core::object::Kind;

    fn refused(causes: serde_json::Value) -> Failure {
        let status = json!({ "code": 403, "reason": "Forbidden", "details": { "causes": causes } });
        fixture::answered("create", Kind::LimitRange, status).into()
    }

    #[test]
    fn a_create_in_a_namespace_being_deleted_is_only_outdated() {
        let goes = refused(json!([{ "reason": "NamespaceTerminating", "field": "metadata.namespace" }]));
        assert!(matches!(Error::from_failures(vec![goes]), Err(Error::Outdated)));
        assert!(matches!(
            Error::from_failures(vec![refused(json!([]))]),
            Err(Error::Apply { .. })
        ));
    }
}
