//! Applied objects -> the status of a TenantNamespace says.

use jiff::Timestamp;

use crate::{
    conditions::{Statement, conditions},
    tenant::{
        outcome::{Applied, Progress},
        validate::{Invalid, Rights, ValidTenant, Verdict, taken},
    },
};
use tenantry_api::v1alpha1::{TenantNamespace, TenantNamespaceStatus};
use tenantry_api::{
    Reason,
    conditions::types::{READY, RECONCILING, STALLED},
};

/// Status of a TenantNamespace after the tenant's objects were applied.
pub fn of_claim(
    claim: &TenantNamespace,
    verdict: &Verdict,
    valid: &ValidTenant,
    applied: &Applied,
    now: Timestamp,
) -> TenantNamespaceStatus {
    let (namespace, outcome) = match verdict {
        // The operator is about to release it.
        Verdict::Withdrawn { .. } => return claim.status.clone().unwrap_or_default(),
        Verdict::Refused { reason, message } => (None, Outcome::Stalled(*reason, message.clone())),
        Verdict::Granted(namespace) => (Some(namespace.clone()), of_namespace(namespace, valid, applied)),
    };
    status(claim, namespace, outcome, now)
}

/// Status of a TenantNamespace whose Tenant is invalid: an existing namespace stays as it is.
pub fn of_claim_of_invalid(claim: &TenantNamespace, invalid: &Invalid, now: Timestamp) -> TenantNamespaceStatus {
    let previous = claim.status.clone().unwrap_or_default();
    let stands = previous
        .conditions
        .iter()
        .any(|condition| condition.type_ == READY && condition.status == "True");
    if stands && previous.observed_generation == claim.metadata.generation {
        return previous;
    }
    let message = format!(
        "the operator changes nothing until the platform team has fixed the Tenant ({})",
        invalid.reason
    );
    status(
        claim,
        previous.namespace,
        Outcome::Reconciling(Reason::TenantInvalid, message),
        now,
    )
}

enum Outcome {
    Ready(String),
    Reconciling(Reason, String),
    Stalled(Reason, String),
}

fn of_namespace(name: &str, valid: &ValidTenant, applied: &Applied) -> Outcome {
    if applied.leaving.iter().any(|going| going.name == name) {
        return Outcome::Reconciling(
            Reason::NamespaceTerminating,
            format!("the API server is deleting an earlier namespace {name}; the operator then creates a new one"),
        );
    }
    let progress = applied
        .namespaces
        .iter()
        .find(|namespace| namespace.name == name)
        .map(|namespace| &namespace.progress);
    match (progress, &valid.rights) {
        // Somebody created it after the cache was read.
        (Some(Progress::Conflict(_)), _) => {
            let (reason, message) = taken(name);
            Outcome::Stalled(reason, message)
        }
        (Some(Progress::Failed) | None, _) => Outcome::Reconciling(
            Reason::ApplyFailed,
            format!("the operator could not write every object of namespace {name}; it retries"),
        ),
        (Some(Progress::AwaitingQuota), _) => Outcome::Reconciling(
            Reason::AwaitingQuota,
            format!("owners get access to namespace {name} when the quota controller has counted its quota"),
        ),
        (Some(Progress::Complete), Rights::Withheld(_)) => Outcome::Stalled(
            Reason::PrerequisiteMissing,
            format!(
                "namespace {name} exists, but the cluster lacks what the template requires before owners get access; ask the platform team"
            ),
        ),
        (Some(Progress::Complete), Rights::Granted) => {
            Outcome::Ready(format!("namespace {name} exists and its owners have access"))
        }
    }
}

fn status(
    claim: &TenantNamespace,
    namespace: Option<String>,
    outcome: Outcome,
    now: Timestamp,
) -> TenantNamespaceStatus {
    let statements = match outcome {
        Outcome::Ready(message) => vec![Statement::holds(READY, Reason::Active, message)],
        Outcome::Reconciling(reason, message) => vec![
            Statement::fails(READY, reason, message.clone()),
            Statement::holds(RECONCILING, reason, message),
        ],
        Outcome::Stalled(reason, message) => vec![
            Statement::fails(READY, reason, message.clone()),
            Statement::holds(STALLED, reason, message),
        ],
    };
    let previous = claim.status.as_ref().map_or(&[][..], |status| &status.conditions);
    TenantNamespaceStatus {
        observed_generation: claim.metadata.generation,
        conditions: conditions(statements, previous, claim.metadata.generation, now),
        namespace,
    }
}
