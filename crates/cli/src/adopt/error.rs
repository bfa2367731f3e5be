//! Why nothing was found out.

use tenantry_process::client::ClientError;

/// A namespace could not be tried, or not be handed over.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No client.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The API server refused or could not be reached.
    #[error("failed to {what}: {answer}")]
    Api {
        /// What was to be done.
        what: String,
        /// The answer.
        answer: String,
    },
    /// Signals cannot be heard.
    #[error("failed to listen for signals: {0}")]
    Signals(std::io::Error),
    /// Metrics of the client.
    #[error("failed to register the metrics: {0}")]
    Metrics(String),
    /// No such Tenant.
    #[error("there is no Tenant {0}: kubectl get tenants lists them")]
    NoTenant(String),
    /// No such namespace.
    #[error("there is no namespace {0}: kubectl get namespaces lists them")]
    NoNamespace(String),
    /// It is on its way out.
    #[error("namespace {0} is being deleted: there is nothing to hand over")]
    Deleting(String),
    /// It has a Tenant.
    #[error("namespace {namespace} belongs to {owner} already: there is nothing to hand over")]
    Owned {
        /// The namespace.
        namespace: String,
        /// `tenant acme`, or as much as is known.
        owner: String,
    },
    /// Its name does not fit.
    #[error(
        "namespace {namespace}: namespaces of tenant {tenant} are called {tenant}-<name>, and none can be renamed: create one of that name and move what is in this one"
    )]
    Name {
        /// The namespace.
        namespace: String,
        /// The tenant.
        tenant: String,
    },
    /// It has the name of the home namespace.
    #[error("namespace {0} has the name of a home namespace, in which nothing runs: move what is in it")]
    Home(String),
    /// Nobody wants it.
    #[error(
        "tenant {tenant} does not list namespace {namespace}: add {{name: {short}}} to its spec.namespaces; the Tenant says ConflictingOwner until it is handed over"
    )]
    NotListed {
        /// The namespace.
        namespace: String,
        /// The tenant.
        tenant: String,
        /// Its name inside the tenant.
        short: String,
    },
    /// The Tenant cannot be built.
    #[error("tenant {tenant}: {reason}: {message}")]
    Invalid {
        /// The tenant.
        tenant: String,
        /// As in its condition.
        reason: &'static str,
        /// What is wrong and what to do.
        message: String,
    },
    /// The tenant would not take it.
    #[error("tenant {tenant} would not take namespace {namespace}: {message}")]
    NotTaken {
        /// The namespace.
        namespace: String,
        /// The tenant.
        tenant: String,
        /// Why, and what to do.
        message: String,
    },
    /// The guards of the scratch namespace did not take effect in time.
    #[error(
        "the guards did not take effect in namespace {scratch} within {seconds} s; the last answer about {object} was: {last}"
    )]
    NotJudged {
        /// The scratch namespace.
        scratch: String,
        /// What was tried.
        object: String,
        /// How long.
        seconds: u64,
        /// The last answer.
        last: String,
    },
    /// Ctrl-C.
    #[error("interrupted: nothing was changed, and the scratch namespace is being deleted")]
    Interrupted,
    /// It could not be cleaned up.
    #[error("failed to delete the scratch namespace: kubectl delete namespace {scratch}: {answer}")]
    Left {
        /// The scratch namespace.
        scratch: String,
        /// The answer.
        answer: String,
    },
}

/// Says what was to be done when the API server gave an error.
pub(super) fn failed(what: impl Into<String>) -> impl FnOnce(kube::Error) -> Error {
    let what = what.into();
    move |source| Error::Api {
        what,
        answer: answer(source),
    }
}

/// What went wrong, in one line: the API server's own words where it has some.
pub(super) fn answer(error: kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message,
        error => error.to_string(),
    }
}
