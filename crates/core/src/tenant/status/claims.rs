//! What stands -> what the status of a TenantNamespace says.

use jiff::Timestamp;

use super::types::{READY, RECONCILING, STALLED};
use crate::{
    conditions::{Statement, conditions},
    tenant::{
        outcome::{Applied, Progress},
        validate::{Invalid, Rights, ValidTenant, Verdict, taken},
    },
};
use tenantry_api::v1alpha1::{TenantNamespace, TenantNamespaceStatus};

/// Status of a TenantNamespace after the tenant's objects were applied.
pub fn of_claim(
    claim: &TenantNamespace,
    verdict: &Verdict,
    valid: &ValidTenant,
    applied: &Applied,
    now: Timestamp,
) -> TenantNamespaceStatus {
    let (namespace, said) = match verdict {
        // It is about to go.
        Verdict::Withdrawn { .. } => return claim.status.clone().unwrap_or_default(),
        Verdict::Refused { reason, message } => (None, Said::Hopeless(reason, message.clone())),
        Verdict::Granted(namespace) => (Some(namespace.clone()), of_namespace(namespace, valid, applied)),
    };
    status(claim, namespace, said, now)
}

/// Status of a TenantNamespace whose tenant cannot be built: a namespace that stands goes on standing.
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
        "nothing is changed while something is wrong with the tenant ({}); ask the platform team",
        invalid.reason.as_str()
    );
    status(claim, previous.namespace, Said::UnderWay("TenantInvalid", message), now)
}

enum Said {
    Stands(String),
    UnderWay(&'static str, String),
    Hopeless(&'static str, String),
}

fn of_namespace(name: &str, valid: &ValidTenant, applied: &Applied) -> Said {
    if applied.leaving.iter().any(|going| going.name == name) {
        return Said::UnderWay(
            "NamespaceTerminating",
            format!("an earlier namespace {name} is being deleted; a new one follows"),
        );
    }
    let progress = applied
        .namespaces
        .iter()
        .find(|namespace| namespace.name == name)
        .map(|namespace| &namespace.progress);
    match (progress, &valid.rights) {
        // It came to stand after it was looked for.
        (Some(Progress::Conflict(_)), _) => {
            let (reason, message) = taken(name);
            Said::Hopeless(reason, message)
        }
        (Some(Progress::Failed) | None, _) => Said::UnderWay(
            "ApplyFailed",
            format!("not all of namespace {name} could be written yet; it is tried again"),
        ),
        (Some(Progress::AwaitingQuota), _) => Said::UnderWay(
            "AwaitingQuota",
            format!("namespace {name} opens when the quota controller has counted it"),
        ),
        (Some(Progress::Complete), Rights::Withheld(_)) => Said::Hopeless(
            "PrerequisiteMissing",
            format!(
                "namespace {name} stands; the cluster lacks what the template asks for before anybody may use it: ask the platform team"
            ),
        ),
        (Some(Progress::Complete), Rights::Granted) => Said::Stands(format!("namespace {name} can be used")),
    }
}

fn status(claim: &TenantNamespace, namespace: Option<String>, said: Said, now: Timestamp) -> TenantNamespaceStatus {
    let statements = match said {
        Said::Stands(message) => vec![Statement::holds(READY, "Active", message)],
        Said::UnderWay(reason, message) => vec![
            Statement::fails(READY, reason, message.clone()),
            Statement::holds(RECONCILING, reason, message),
        ],
        Said::Hopeless(reason, message) => vec![
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
