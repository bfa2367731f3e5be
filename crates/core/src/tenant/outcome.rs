//! What a run of writes did, as plain data: step 5 computes a status of it.

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
    /// For a status: the same failure gives the same bytes.
    pub message: String,
    /// For a log: with the answer as the client gave it.
    pub detail: String,
}

impl Failure {
    /// Whether another look at the cluster is all that is needed.
    pub fn is_outdated(&self) -> bool {
        self.class == ErrorClass::Conflict
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

/// What stands after this run.
#[derive(Debug, Default)]
pub struct Applied {
    /// One entry for each namespace that is to stand, in order of name.
    pub namespaces: Vec<AppliedNamespace>,
    /// Our namespaces that are on their way out.
    pub leaving: Vec<Going>,
    /// Whether any write was made.
    pub changed: bool,
    /// Objects that were created or replaced, but for quotas, whose shares move by themselves.
    pub written: Vec<Key>,
    /// What could not be done, in a stable order.
    pub failures: Vec<Failure>,
}

/// One namespace after this run.
#[derive(Debug)]
pub struct AppliedNamespace {
    /// Full name.
    pub name: String,
    /// What it is to its tenant.
    pub place: Place,
    /// How far it came.
    pub progress: Progress,
    /// The quota as it stands.
    pub quota: Option<Arc<Live>>,
    /// Optional objects that stand, by kind.
    pub monitors: BTreeSet<Kind>,
}

/// How far a namespace came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Something could not be written; the message is among the failures.
    Failed,
    /// It exists and is not ours.
    Conflict(String),
    /// Every guard stands but the quota is not counted yet, so nobody has rights.
    AwaitingQuota,
    /// Every guard stands and everybody has their rights.
    Complete,
}

/// Namespaces that stay although their Tenant says `deletionPolicy: Delete`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Why they do.
    pub why: Why,
    /// Their full names.
    pub namespaces: Vec<String>,
}

/// Why the operator deletes no namespace of a Tenant that is being deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// `deletionProtection` is true, and whoever deleted the Tenant got past the admission policy.
    Protected,
    /// The definition of Tenants is being deleted, or is gone.
    Undefined,
}

/// What is left to do for a Tenant under deletion.
#[derive(Debug, Default)]
pub struct Remaining {
    /// Namespaces that still exist.
    pub namespaces: Vec<Going>,
    /// Namespaces that were kept in this step.
    pub kept: Option<Kept>,
    /// What was done and what failed.
    pub applied: Applied,
}

impl Remaining {
    /// Whether the finalizer can go.
    pub fn is_nothing(&self) -> bool {
        self.namespaces.is_empty() && self.applied.failures.is_empty()
    }
}
