//! The outcome of a run of writes, as plain data. Step 5 computes the status from it.

use std::{collections::BTreeSet, fmt, sync::Arc};

use super::{build::Place, held::Going};
use crate::error_class::ErrorClass;
use crate::object::{Key, Kind, Live};

/// A write that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The object, if the failure is about one.
    pub key: Option<Key>,
    /// Why it failed.
    pub class: ErrorClass,
    /// The message for a status: the same failure gives the same bytes.
    pub message: String,
    /// The message for a log: it contains the client's error.
    pub detail: String,
}

impl Failure {
    /// Whether a retry on the current state of the cluster resolves it.
    pub fn is_outdated(&self) -> bool {
        self.class == ErrorClass::Conflict
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

/// The outcome of one run.
#[derive(Debug, Default)]
pub struct Applied {
    /// One entry for each namespace that is to exist, in order of name.
    pub namespaces: Vec<AppliedNamespace>,
    /// Namespaces of the tenant that are being deleted.
    pub leaving: Vec<Going>,
    /// Whether any write was made.
    pub changed: bool,
    /// Objects that were created or replaced, except quotas: their shares also change without an edit.
    pub written: Vec<Key>,
    /// The writes that failed, in a stable order.
    pub failures: Vec<Failure>,
}

/// One namespace after this run.
#[derive(Debug)]
pub struct AppliedNamespace {
    /// Full name.
    pub name: String,
    /// Whether it is wanted, retained or the home namespace.
    pub place: Place,
    /// Which step it has reached.
    pub progress: Progress,
    /// The live quota.
    pub quota: Option<Arc<Live>>,
    /// Kinds of the optional objects that exist.
    pub monitors: BTreeSet<Kind>,
}

/// Which step a namespace has reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A write failed; its message is among the failures.
    Failed,
    /// It exists and is not ours.
    Conflict(String),
    /// Every guard is applied, but the quota controller has not filled the quota's status yet, so nobody has rights.
    AwaitingQuota,
    /// Every guard is applied and every right is granted.
    Complete,
}

/// Namespaces that stay although their Tenant says `deletionPolicy: Delete`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Why they stay.
    pub why: Why,
    /// Their full names.
    pub namespaces: Vec<String>,
}

/// Why the operator deletes no namespace of a Tenant that is being deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// `deletionProtection` is true, but the admission policy did not stop the deletion of the Tenant.
    Protected,
    /// The definition of Tenants is being deleted, or is gone.
    Undefined,
}

/// The remaining work for a Tenant that is being deleted.
#[derive(Debug, Default)]
pub struct Remaining {
    /// Namespaces that still exist.
    pub namespaces: Vec<Going>,
    /// Namespaces that were kept in this step.
    pub kept: Option<Kept>,
    /// The writes of this step, and those that failed.
    pub applied: Applied,
}

impl Remaining {
    /// Whether the finalizer can be removed.
    pub fn is_nothing(&self) -> bool {
        self.namespaces.is_empty() && self.applied.failures.is_empty()
    }
}
