//! Errors of `tenantry adopt`.

use tenantry_process::client::ClientError;

/// A namespace could not be checked or not be handed over.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The client could not be built.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The API server refused or could not be reached.
    #[error("failed to {what}: {answer}")]
    Api {
        /// The failed request.
        what: String,
        /// The answer.
        answer: String,
    },
    /// The process cannot listen for signals.
    #[error("failed to listen for signals: {0}")]
    Signals(std::io::Error),
    /// The client's metrics could not be registered.
    #[error("failed to register the metrics: {0}")]
    Metrics(String),
    /// The Tenant does not exist.
    #[error("there is no Tenant {0}: kubectl get tenants lists them")]
    NoTenant(String),
    /// The namespace does not exist.
    #[error("there is no namespace {0}: kubectl get namespaces lists them")]
    NoNamespace(String),
    /// The namespace is being deleted.
    #[error("namespace {0} is being deleted: there is nothing to hand over")]
    Deleting(String),
    /// The namespace already belongs to a Tenant.
    #[error("namespace {namespace} belongs to {owner} already: there is nothing to hand over")]
    Owned {
        /// The namespace.
        namespace: String,
        /// `tenant acme`, or `a tenant` if the name is unknown.
        owner: String,
    },
    /// The namespace's name does not start with the tenant's name.
    #[error(
        "namespace {namespace}: namespaces of tenant {tenant} are called {tenant}-<name>, and none can be renamed: create one of that name and move what is in this one"
    )]
    Name {
        /// The namespace.
        namespace: String,
        /// The tenant.
        tenant: String,
    },
    /// The namespace has the name of a home namespace.
    #[error("namespace {0} has the name of a home namespace, in which nothing runs: move what is in it")]
    Home(String),
    /// Neither the Tenant nor a TenantNamespace lists the namespace.
    #[error(
        "tenant {tenant} does not list namespace {namespace}: add {{name: {short}}} to its spec.namespaces; the Tenant reports ConflictingOwner until it is handed over"
    )]
    NotListed {
        /// The namespace.
        namespace: String,
        /// The tenant.
        tenant: String,
        /// Its name inside the tenant.
        short: String,
    },
    /// The Tenant is invalid.
    #[error("tenant {tenant}: {reason}: {message}")]
    Invalid {
        /// The tenant.
        tenant: String,
        /// The reason of its condition.
        reason: &'static str,
        /// What is wrong and what to do.
        message: String,
    },
    /// The tenant would not get the namespace.
    #[error("tenant {tenant} would not get namespace {namespace}: {message}")]
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
        /// The object that was created as a probe.
        object: String,
        /// How long `adopt` waited.
        seconds: u64,
        /// The last answer.
        last: String,
    },
    /// The user interrupted the command.
    #[error("interrupted: nothing was changed, and the scratch namespace is being deleted")]
    Interrupted,
    /// The scratch namespace could not be deleted.
    #[error("failed to delete the scratch namespace: kubectl delete namespace {scratch}: {answer}")]
    Left {
        /// The scratch namespace.
        scratch: String,
        /// The answer.
        answer: String,
    },
}

/// Adds the failed request to an error of the API server.
pub(super) fn failed(what: impl Into<String>) -> impl FnOnce(kube::Error) -> Error {
    let what = what.into();
    move |source| Error::Api {
        what,
        answer: answer(source),
    }
}

/// The error in one line: the API server's message if there is one.
pub(super) fn answer(error: kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message,
        error => error.to_string(),
    }
}
