//! Step 5: computes the status of a Tenant from the applied objects. Pure and deterministic: the same objects give the same
//! bytes, apart from transition times.
//!
//! The contract is kstatus. Ready reports whether the template is fulfilled. Reconciling exists only while work is in progress,
//! Stalled only while somebody must act.

mod claims;
mod kept;
mod summary;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use self::summary::{fullest, namespaces, quota};
pub use self::{
    claims::{of_claim, of_claim_of_invalid},
    kept::message as kept_message,
};
use super::{
    build::Place,
    held::Going,
    outcome::{Applied, AppliedNamespace, Failure, Progress, Remaining},
    validate::{Invalid, Rights, Room, ValidTenant, Verdict},
};
use crate::{
    conditions::{Statement, conditions},
    object::{Key, Kind},
};
use tenantry_api::{
    Reason,
    conditions::types::{
        ACCESS_GRANTED, DELETION_BLOCKED, FROZEN, MONITORING_READY, NAMESPACES_READY, POLICIES_ENFORCED,
        QUOTA_ENFORCED, READY, RECONCILING, SELF_SERVICE_READY, STALLED,
    },
    quantity::Quantity,
    v1alpha1::{NamespaceState, NamespaceStatus, Tenant, TenantState, TenantStatus},
};

/// Status of a Tenant that `validate` refused: existing objects stay, and the conditions give the reason.
pub fn of_invalid(tenant: &Tenant, invalid: &Invalid, now: Timestamp) -> TenantStatus {
    let previous = tenant.status.clone().unwrap_or_default();
    let Invalid { reason, message } = invalid;
    let mut statements = vec![
        Statement::fails(READY, *reason, message.clone()),
        Statement::holds(STALLED, *reason, message.clone()),
    ];
    let frozen = tenant.spec.state == TenantState::Frozen;
    statements.extend(frozen.then(is_frozen));
    // Existing objects stay, but the operator repairs nothing until the Tenant is valid again.
    let of_before = [
        NAMESPACES_READY,
        QUOTA_ENFORCED,
        POLICIES_ENFORCED,
        ACCESS_GRANTED,
        MONITORING_READY,
        SELF_SERVICE_READY,
    ];
    let not_kept = of_before.into_iter().filter(|type_| condition(&previous, type_).is_some()).map(|type_| {
        let message = "the operator only removes rights of removed owners and applies Frozen; it repairs nothing until the Tenant is valid; Ready says what to fix";
        Statement::unknown(type_, Reason::NotReconciled, message)
    });
    statements.extend(not_kept);
    let mut all = conditions(statements, &previous.conditions, tenant.metadata.generation, now);
    all.extend(condition(&previous, FROZEN).filter(|_| !frozen).cloned());
    TenantStatus {
        observed_generation: tenant.metadata.generation,
        conditions: all,
        ..previous
    }
}

/// Status of a Tenant that is being deleted.
pub fn of_deleting(tenant: &Tenant, remaining: &Remaining, now: Timestamp) -> TenantStatus {
    let Remaining {
        namespaces: remaining,
        kept,
        applied,
    } = remaining;
    let previous = tenant.status.clone().unwrap_or_default();
    // A namespace that keeps granting rights is frozen through its TenantPolicy.
    let is_of_rights = |key: &Key| matches!(key.kind, Kind::RoleBinding | Kind::TenantPolicy);
    let rights_stand = applied
        .failures
        .iter()
        .filter_map(|failure| failure.key.as_ref())
        .any(is_of_rights);
    let mut parts = vec![if rights_stand {
        "the operator is removing the owners' rights".to_owned()
    } else {
        "owners have no rights".to_owned()
    }];
    if !remaining.is_empty() {
        parts.push(format!("the API server is deleting namespaces: {}", names(remaining)));
    }
    parts.extend(applied.failures.iter().map(|failure| failure.message.clone()));
    let message = parts.join("; ");
    let mut statements = vec![
        Statement::fails(READY, Reason::Terminating, message.clone()),
        Statement::holds(RECONCILING, Reason::Terminating, message),
    ];
    statements.extend(blocked(remaining));
    statements.extend(kept.as_ref().map(kept::of_deleting));
    let namespace = |Going { name, held }: &Going| NamespaceStatus {
        name: name.clone(),
        state: NamespaceState::Terminating,
        message: held.clone(),
    };
    TenantStatus {
        observed_generation: tenant.metadata.generation,
        conditions: conditions(statements, &previous.conditions, tenant.metadata.generation, now),
        // The list is empty while the operator is removing rights: keep the previous one.
        namespaces: if remaining.is_empty() {
            previous.namespaces
        } else {
            remaining.iter().map(namespace).collect()
        },
        namespaces_ready: Some(format!("0/{}", tenant.spec.namespaces.len())),
        ..previous
    }
}

fn names(going: &[Going]) -> String {
    let names: Vec<_> = going.iter().map(|going| going.name.as_str()).collect();
    names.join(", ")
}

fn blocked(going: &[Going]) -> Option<Statement> {
    let held: Vec<_> = going
        .iter()
        .filter_map(|Going { name, held }| held.as_ref().map(|held| format!("{name}: {held}")))
        .collect();
    (!held.is_empty()).then(|| Statement::holds(DELETION_BLOCKED, Reason::ContentRemains, held.join("; ")))
}

/// Status of a Tenant whose objects were applied.
pub fn of_applied(tenant: &Tenant, valid: &ValidTenant, applied: &Applied, now: Timestamp) -> TenantStatus {
    let previous = tenant.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let generation = tenant.metadata.generation;
    let quota = quota(valid, applied);
    let ready = applied
        .namespaces
        .iter()
        .filter(|namespace| namespace.place == Place::Wanted && namespace.progress == Progress::Complete)
        .count();
    // Listed, though it may wait; asked for and granted; made directly.
    let listed = tenant.spec.namespaces.len();
    let granted = valid
        .claims
        .iter()
        .filter(|claim| matches!(claim.verdict, Verdict::Granted(_)))
        .count();
    let made = valid
        .namespaces
        .iter()
        .filter(|namespace| namespace.direct && namespace.is_wanted())
        .count();
    let wanted = listed + granted + made + valid.unclaimed.len();
    TenantStatus {
        observed_generation: generation,
        conditions: conditions(statements(valid, applied), previous, generation, now),
        tier: Some(valid.tier()),
        namespaces_ready: Some(format!("{ready}/{wanted}")),
        fullest: fullest(&quota),
        namespaces: namespaces(valid, applied),
        quota,
    }
}

fn statements(valid: &ValidTenant, applied: &Applied) -> Vec<Statement> {
    let Applied {
        namespaces,
        leaving,
        changed: _,
        written: _,
        failures,
    } = applied;
    let conflicts: Vec<String> = conflicts(valid, namespaces)
        .map(|(name, message)| format!("namespace {name}: {message}"))
        .collect();
    let failures: Vec<String> = failures.iter().map(|Failure { message, .. }| message.clone()).collect();
    let waiting: Vec<&str> = namespaces
        .iter()
        .filter(|namespace| namespace.place != Place::Home && namespace.progress == Progress::AwaitingQuota)
        .map(|namespace| &*namespace.name)
        .collect();
    let above: Vec<String> = valid
        .quota
        .plans
        .above_grant
        .iter()
        .map(|(resource, excess)| format!("{resource} by {excess}"))
        .collect();

    // Ready reports the first that applies. The flag says whether somebody must act.
    let troubles = [
        (!conflicts.is_empty()).then(|| (true, Reason::ConflictingOwner, conflicts.join("; "))),
        match &valid.rights {
            Rights::Granted => None,
            Rights::Withheld(missing) => Some((
                true,
                Reason::PrerequisiteMissing,
                format!(
                    "owners have no access: {missing}; set security.onMissingMeans to Degrade to give them access without it"
                ),
            )),
        },
        without_place(&valid.room).map(|message| (true, Reason::TooManyNamespaces, message)),
        (!failures.is_empty()).then(|| (false, Reason::ApplyFailed, failures.join("; "))),
        (!above.is_empty()).then(|| {
            let message = format!(
                "the tenant uses more than its grant: {}; delete workloads or choose a larger template",
                above.join(", ")
            );
            (true, Reason::QuotaAboveGrant, message)
        }),
        (!waiting.is_empty()).then(|| {
            (
                false,
                Reason::AwaitingQuota,
                format!("waiting for the quota controller to count {}", waiting.join(", ")),
            )
        }),
        (valid.quota.under_way && above.is_empty()).then(|| {
            (
                false,
                Reason::QuotaMoving,
                "the operator is moving shares between namespaces: it lowers one quota, waits for the API server to confirm it, then raises another".to_owned(),
            )
        }),
        (!leaving.is_empty()).then(|| {
            (
                false,
                Reason::NamespacesTerminating,
                format!("the API server is deleting namespaces: {}", names(leaving)),
            )
        }),
    ];
    let mut statements = match troubles.into_iter().flatten().next() {
        None => vec![Statement::holds(
            READY,
            Reason::Reconciled,
            "every object of the Tenant is applied",
        )],
        Some((stalled, reason, message)) => vec![
            Statement::fails(READY, reason, message.clone()),
            Statement::holds(if stalled { STALLED } else { RECONCILING }, reason, message),
        ],
    };

    let incomplete: Vec<&str> = namespaces
        .iter()
        .filter(|namespace| namespace.progress == Progress::Failed)
        .map(|namespace| &*namespace.name)
        .collect();
    let count = namespaces
        .iter()
        .filter(|namespace| namespace.place != Place::Home)
        .count();
    statements.push(if !conflicts.is_empty() {
        Statement::fails(NAMESPACES_READY, Reason::ConflictingOwner, conflicts.join("; "))
    } else if !incomplete.is_empty() {
        Statement::fails(
            NAMESPACES_READY,
            Reason::ApplyFailed,
            format!("incomplete: {}", incomplete.join(", ")),
        )
    } else if !valid.room.waiting.is_empty() {
        Statement::fails(
            NAMESPACES_READY,
            Reason::TooManyNamespaces,
            format!("no place yet for {}", valid.room.waiting.join(", ")),
        )
    } else {
        Statement::holds(
            NAMESPACES_READY,
            Reason::NamespacesReady,
            format!(
                "{count} {} with all their objects",
                if count == 1 {
                    "namespace exists"
                } else {
                    "namespaces exist"
                }
            ),
        )
    });
    // If no namespace exists, do not claim that anything is enforced.
    let none_exists = !conflicts.is_empty()
        && namespaces
            .iter()
            .all(|namespace| matches!(namespace.progress, Progress::Conflict(_)));
    statements.push(if none_exists {
        Statement::fails(QUOTA_ENFORCED, Reason::ConflictingOwner, "this tenant has no namespace")
    } else if !above.is_empty() {
        Statement::fails(QUOTA_ENFORCED, Reason::QuotaAboveGrant, format!("the tenant uses more than its grant: {}; the API server admits nothing new", above.join(", ")))
    } else if !incomplete.is_empty() {
        Statement::fails(QUOTA_ENFORCED, Reason::ApplyFailed, format!("not every quota could be written: {}", failures.join("; ")))
    } else if !waiting.is_empty() {
        Statement::fails(QUOTA_ENFORCED, Reason::AwaitingQuota, "the quota controller has not counted every quota yet; owners get access after that")
    } else {
        let left_out = left_out(valid);
        Statement::holds(QUOTA_ENFORCED, Reason::WithinGrant, format!("Enforced: the API server refuses use above a namespace's quota, and the sum of the quotas is within the grant{left_out}"))
    });
    statements.push(if none_exists {
        Statement::fails(POLICIES_ENFORCED, Reason::ConflictingOwner, "this tenant has no namespace")
    } else if incomplete.is_empty() {
        Statement::holds(
            POLICIES_ENFORCED,
            Reason::PoliciesApplied,
            "Enforced: Pod Security, limits and admission rules; Configured: network policies, on which the network plugin must act",
        )
    } else {
        Statement::fails(POLICIES_ENFORCED, Reason::ApplyFailed, failures.join("; "))
    });
    statements.push(if none_exists {
        Statement::fails(ACCESS_GRANTED, Reason::ConflictingOwner, "this tenant has no namespace")
    } else {
        access(valid, namespaces)
    });
    statements.extend(monitoring(valid, namespaces));
    statements.extend(self_service(valid, namespaces));
    statements.extend(kept::of_applied(valid));
    statements.extend(blocked(leaving));
    if valid.state == TenantState::Frozen {
        statements.push(is_frozen());
    }
    statements
}

fn is_frozen() -> Statement {
    Statement::holds(
        FROZEN,
        Reason::FrozenBySpec,
        "the API server refuses the tenant's writes; running pods keep running",
    )
}

/// The message about namespaces beyond what the template grants.
fn without_place(Room { waiting, above }: &Room) -> Option<String> {
    match above {
        Some((stand, granted)) => Some(format!(
            "{stand} namespaces exist and the template grants {granted}: the operator deletes none and adds none; delete some or choose a larger template"
        )),
        None if waiting.is_empty() => None,
        None => Some(format!(
            "no place for {}: namespaces that owners requested, or that are retained, use the places that the template grants; delete some or choose a larger template",
            waiting.join(", ")
        )),
    }
}

/// Which namespaces have no share of a resource at the moment. This can be permanent if a grant has fewer units than there are
/// namespaces, so it does not affect Ready.
fn left_out(valid: &ValidTenant) -> String {
    let of = |(resource, names): (&String, &BTreeSet<String>)| {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        format!("; no share of {resource} at the moment: {}", names.join(", "))
    };
    valid.quota.plans.left_out.iter().map(of).collect()
}

fn access(valid: &ValidTenant, namespaces: &[AppliedNamespace]) -> Statement {
    let members: usize = valid.members.values().map(Vec::len).sum();
    let all = namespaces
        .iter()
        .all(|namespace| namespace.place == Place::Home || namespace.progress == Progress::Complete);
    match &valid.rights {
        Rights::Withheld(missing) => Statement::fails(ACCESS_GRANTED, Reason::PrerequisiteMissing, missing.clone()),
        Rights::Granted if members == 0 => Statement::fails(
            ACCESS_GRANTED,
            Reason::NoOwners,
            "spec.owners is empty, so the operator grants nobody access",
        ),
        Rights::Granted if !all => Statement::fails(
            ACCESS_GRANTED,
            Reason::AwaitingGuards,
            "owners get access when all guards are in place",
        ),
        Rights::Granted => Statement::holds(
            ACCESS_GRANTED,
            Reason::Granted,
            format!("subjects of spec.owners with access: {members}"),
        ),
    }
}

fn self_service(valid: &ValidTenant, namespaces: &[AppliedNamespace]) -> Option<Statement> {
    let home = valid.home.as_ref()?;
    let stands = namespaces.iter().find(|namespace| namespace.place == Place::Home)?;
    let says = |reason, message: String| Some(Statement::fails(SELF_SERVICE_READY, reason, message));
    match (&stands.progress, &valid.rights) {
        (Progress::Conflict(_), _) => says(
            Reason::ConflictingOwner,
            format!("namespace {} belongs to somebody else", home.name),
        ),
        (Progress::Failed, _) => says(
            Reason::ApplyFailed,
            format!("the operator could not write every object of namespace {}", home.name),
        ),
        (Progress::AwaitingQuota, _) => says(
            Reason::AwaitingQuota,
            "the quota controller does not count TenantNamespaces yet; it looks for new kinds every 30 s".to_owned(),
        ),
        (Progress::Complete, Rights::Withheld(missing)) => says(Reason::PrerequisiteMissing, missing.clone()),
        (Progress::Complete, Rights::Granted) => Some(Statement::holds(
            SELF_SERVICE_READY,
            Reason::HomeReady,
            format!(
                "Enforced: owners create TenantNamespaces in namespace {}, and a ResourceQuota there admits {}",
                home.name, home.places
            ),
        )),
    }
}

fn condition<'a>(status: &'a TenantStatus, type_: &str) -> Option<&'a Condition> {
    status.conditions.iter().find(|condition| condition.type_ == type_)
}

/// The reason of a condition; `None` if the condition is absent, or its reason is of another version.
pub fn reason(status: &TenantStatus, type_: &str) -> Option<Reason> {
    condition(status, type_)?.reason.parse().ok()
}

/// Whether the Tenant waits only for the quota controller, which usually finishes before a status is written.
pub fn awaits_quota(status: &TenantStatus) -> bool {
    match reason(status, READY) {
        Some(Reason::AwaitingQuota | Reason::QuotaMoving) => true,
        Some(Reason::Reconciled) => reason(status, SELF_SERVICE_READY) == Some(Reason::AwaitingQuota),
        _ => false,
    }
}

fn monitoring(valid: &ValidTenant, namespaces: &[AppliedNamespace]) -> Option<Statement> {
    let spec = &valid.template.monitoring;
    let metrics = if spec.metrics {
        &[Kind::PodMonitor, Kind::ServiceMonitor][..]
    } else {
        &[]
    };
    let alerts = if spec.alerts { &[Kind::PrometheusRule][..] } else { &[] };
    let wanted: Vec<Kind> = metrics.iter().chain(alerts).copied().collect();
    if wanted.is_empty() {
        return None;
    }
    let missing: Vec<_> = wanted
        .iter()
        .filter(|kind| !valid.served.contains(kind))
        .map(|kind| kind.as_str())
        .collect();
    let stand = namespaces
        .iter()
        .filter(|namespace| namespace.place != Place::Home)
        .all(|namespace| wanted.iter().all(|kind| namespace.monitors.contains(kind)));
    Some(if !missing.is_empty() {
        Statement::fails(
            MONITORING_READY,
            Reason::CRDNotInstalled,
            format!(
                "the cluster does not serve {}; install the prometheus-operator's CRDs, nothing else is needed",
                missing.join(", ")
            ),
        )
    } else if stand {
        Statement::holds(
            MONITORING_READY,
            Reason::MonitorsApplied,
            "Configured: monitors and rules are applied; your Prometheus must select them",
        )
    } else {
        Statement::fails(
            MONITORING_READY,
            Reason::ApplyFailed,
            "not every monitor and rule is applied yet",
        )
    })
}

fn conflicts<'a>(
    valid: &'a ValidTenant,
    namespaces: &'a [AppliedNamespace],
) -> impl Iterator<Item = (&'a str, &'a str)> {
    let met = namespaces.iter().filter_map(|namespace| match &namespace.progress {
        Progress::Conflict(message) => Some((&*namespace.name, &**message)),
        Progress::Failed | Progress::AwaitingQuota | Progress::Complete => None,
    });
    valid
        .conflicts
        .iter()
        .map(|conflict| (&*conflict.namespace, &*conflict.message))
        .chain(met)
}

/// Whether two statuses differ in nothing but what moves with every pod: use, and what follows from it.
pub fn differ_in_use_only(old: &TenantStatus, new: &TenantStatus) -> bool {
    let without_use = |status: &TenantStatus| {
        let mut status = status.clone();
        status.fullest = None;
        for entry in &mut status.quota {
            entry.used = Quantity::ZERO;
        }
        status
    };
    old != new && without_use(old) == without_use(new)
}
