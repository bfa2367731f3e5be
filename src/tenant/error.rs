//! Why a reconcile has to be tried again. What a user wrote is never an error here, but a condition.

use crate::apply::writer;

/// A reconcile failed and is tried again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Objects could not be written; the first says why.
    #[error("{first}{}", and_more(*more))]
    Apply {
        /// The first failure.
        first: writer::Error,
        /// How many more there were.
        more: usize,
    },
    /// The cluster moved on since it was seen; the next try sees it.
    #[error("the Tenant or its objects changed since they were seen")]
    Outdated,
    /// The status could not be written.
    #[error("failed to write the Tenant's status: {0}")]
    Status(Box<kube::Error>),
    /// The finalizer could not be written.
    #[error("failed to write the Tenant's finalizers: {0}")]
    Finalizer(Box<kube::Error>),
    /// The status has no JSON form; a bug.
    #[error("failed to serialise the Tenant's status: {0}")]
    Serialize(serde_json::Error),
    /// Another replica leads.
    #[error("another replica leads now")]
    NotLeading,
}

fn and_more(more: usize) -> String {
    if more == 0 {
        String::new()
    } else {
        format!(" (and {more} more)")
    }
}

impl Error {
    /// The word for metrics.
    pub const fn category(&self) -> &'static str {
        match self {
            Self::Apply { .. } => "apply",
            Self::Outdated => "outdated",
            Self::Status(_) => "status",
            Self::Finalizer(_) => "finalizer",
            Self::Serialize(_) => "serialize",
            Self::NotLeading => "not_leading",
        }
    }

    /// An error if there is any failure; outdated objects alone are no trouble.
    pub fn from_failures(failures: Vec<writer::Error>) -> Result<(), Self> {
        let total = failures.len();
        let outdated = failures.iter().filter(|error| error.is_outdated()).count();
        match failures.into_iter().find(|error| !error.is_outdated()) {
            Some(first) => Err(Self::Apply { first, more: total - 1 }),
            None if outdated > 0 => Err(Self::Outdated),
            None => Ok(()),
        }
    }

    pub(super) fn status(error: kube::Error) -> Self {
        if is_conflict(&error) {
            Self::Outdated
        } else {
            Self::Status(Box::new(error))
        }
    }

    pub(super) fn finalizer(error: kube::Error) -> Self {
        if is_conflict(&error) {
            Self::Outdated
        } else {
            Self::Finalizer(Box::new(error))
        }
    }
}

/// A conflict or a vanished object: the watch brings the news.
fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_conflict())
}

impl From<writer::NotLeading> for Error {
    fn from(writer::NotLeading: writer::NotLeading) -> Self {
        Self::NotLeading
    }
}
