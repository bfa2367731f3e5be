//! Step 5: what stands -> what the Tenant's status says. Pure and deterministic: the same objects give the same bytes,
//! but for transition times.
//!
//! The contract is kstatus: Ready tells whether all that was promised stands; Reconciling is there only while something
//! is under way, Stalled only while somebody must help.

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
    quantity::Quantity,
    v1alpha1::{NamespaceState, NamespaceStatus, Tenant, TenantState, TenantStatus},
};

/// Condition types.
pub mod types {
    /// Everything that was promised stands.
    pub const READY: &str = "Ready";
    /// Something is under way.
    pub const RECONCILING: &str = "Reconciling";
    /// Somebody must help.
    pub const STALLED: &str = "Stalled";
    /// Every listed namespace stands.
    pub const NAMESPACES_READY: &str = "NamespacesReady";
    /// Every quota is in force and all together are within the grant.
    pub const QUOTA_ENFORCED: &str = "QuotaEnforced";
    /// Every guard but the quota stands.
    pub const POLICIES_ENFORCED: &str = "PoliciesEnforced";
    /// Owners have their rights.
    pub const ACCESS_GRANTED: &str = "AccessGranted";
    /// Monitoring objects stand; absent if the template asks for none.
    pub const MONITORING_READY: &str = "MonitoringReady";
    /// Owners can ask for namespaces; absent if there is no home namespace.
    pub const SELF_SERVICE_READY: &str = "SelfServiceReady";
    /// Writes of the tenant are refused; absent otherwise.
    pub const FROZEN: &str = "Frozen";
    /// A namespace is being deleted and something holds it; absent otherwise.
    pub const DELETION_BLOCKED: &str = "DeletionBlocked";
    /// Namespaces stay that nobody asks for; absent otherwise.
    pub const NAMESPACES_KEPT: &str = "NamespacesKept";
}
use types::{
    ACCESS_GRANTED, DELETION_BLOCKED, FROZEN, MONITORING_READY, NAMESPACES_READY, POLICIES_ENFORCED, QUOTA_ENFORCED,
    READY, RECONCILING, SELF_SERVICE_READY, STALLED,
};

/// Status of a Tenant that cannot be built: what stood before stays, and the reason is said.
pub fn of_invalid(tenant: &Tenant, invalid: &Invalid, now: Timestamp) -> TenantStatus {
    let previous = tenant.status.clone().unwrap_or_default();
    let Invalid { reason, message } = invalid;
    let mut statements = vec![
        Statement::fails(READY, reason.as_str(), message.clone()),
        Statement::holds(STALLED, reason.as_str(), message.clone()),
    ];
    let frozen = tenant.spec.state == TenantState::Frozen;
    statements.extend(frozen.then(is_frozen));
    // What stood before stands unless somebody took it away: nothing is put back that cannot be built.
    let of_before = [
        NAMESPACES_READY,
        QUOTA_ENFORCED,
        POLICIES_ENFORCED,
        ACCESS_GRANTED,
        MONITORING_READY,
        SELF_SERVICE_READY,
    ];
    let not_kept = of_before.into_iter().filter(|type_| condition(&previous, type_).is_some()).map(|type_| {
        let message = "what stood when the Tenant was last valid stays, and is not put back if somebody takes it away; Ready says what to mend";
        Statement::unknown(type_, "NotReconciled", message)
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
    // Frozen by its policy is who goes on giving rights.
    let is_of_rights = |key: &Key| matches!(key.kind, Kind::RoleBinding | Kind::TenantPolicy);
    let rights_stand = applied
        .failures
        .iter()
        .filter_map(|failure| failure.key.as_ref())
        .any(is_of_rights);
    let mut parts = vec![if rights_stand {
        "owners' rights are being taken away".to_owned()
    } else {
        "owners have no rights any more".to_owned()
    }];
    if !remaining.is_empty() {
        parts.push(format!("waiting for namespaces to go: {}", names(remaining)));
    }
    parts.extend(applied.failures.iter().map(|failure| failure.message.clone()));
    let message = parts.join("; ");
    let mut statements = vec![
        Statement::fails(READY, "Terminating", message.clone()),
        Statement::holds(RECONCILING, "Terminating", message),
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
        // While rights are being taken away nothing is known of them.
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
    (!held.is_empty()).then(|| Statement::holds(DELETION_BLOCKED, "ContentRemains", held.join("; ")))
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

    // Ready says the first of these that holds; each carries whether it heals by itself.
    let troubles = [
        (!conflicts.is_empty()).then(|| (true, "ConflictingOwner", conflicts.join("; "))),
        match &valid.rights {
            Rights::Granted => None,
            Rights::Withheld(missing) => Some((
                true,
                "PrerequisiteMissing",
                format!(
                    "namespaces stand, owners are kept out: {missing}; provide it, or set security.onMissingMeans to Degrade"
                ),
            )),
        },
        crowd(&valid.room).map(|message| (true, "TooManyNamespaces", message)),
        (!failures.is_empty()).then(|| (false, "ApplyFailed", failures.join("; "))),
        (!above.is_empty()).then(|| {
            let message = format!(
                "use is above the grant: {}; delete workloads or choose a larger template",
                above.join(", ")
            );
            (true, "QuotaAboveGrant", message)
        }),
        (!waiting.is_empty()).then(|| {
            (
                false,
                "AwaitingQuota",
                format!("waiting for the quota controller to count {}", waiting.join(", ")),
            )
        }),
        (valid.quota.under_way && above.is_empty()).then(|| {
            (
                false,
                "QuotaMoving",
                "shares move between namespaces: what one gives up is confirmed before another gets it".to_owned(),
            )
        }),
        (!leaving.is_empty()).then(|| {
            (
                false,
                "NamespacesTerminating",
                format!("waiting for namespaces to go: {}", names(leaving)),
            )
        }),
    ];
    let mut statements = match troubles.into_iter().flatten().next() {
        None => vec![Statement::holds(
            READY,
            "Reconciled",
            "everything that the template promises stands",
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
    let stand = namespaces
        .iter()
        .filter(|namespace| namespace.place != Place::Home)
        .count();
    statements.push(match (conflicts.is_empty(), incomplete.is_empty()) {
        (false, _) => Statement::fails(NAMESPACES_READY, "ConflictingOwner", conflicts.join("; ")),
        (true, false) => Statement::fails(
            NAMESPACES_READY,
            "ApplyFailed",
            format!("incomplete: {}", incomplete.join(", ")),
        ),
        (true, true) => Statement::holds(
            NAMESPACES_READY,
            "NamespacesReady",
            format!(
                "{stand} {} and nothing is missing in them",
                if stand == 1 {
                    "namespace stands"
                } else {
                    "namespaces stand"
                }
            ),
        ),
    });
    // Of nothing nothing can be said to be enforced.
    let nothing_stands = !conflicts.is_empty()
        && namespaces
            .iter()
            .all(|namespace| matches!(namespace.progress, Progress::Conflict(_)));
    statements.push(if nothing_stands {
        Statement::fails(QUOTA_ENFORCED, "ConflictingOwner", "no namespace of this tenant stands")
    } else if !above.is_empty() {
        Statement::fails(QUOTA_ENFORCED, "QuotaAboveGrant", format!("use is above the grant: {}; nothing new is admitted", above.join(", ")))
    } else if !waiting.is_empty() || !incomplete.is_empty() {
        Statement::fails(QUOTA_ENFORCED, "AwaitingQuota", "not every quota is counted yet; owners wait until it is")
    } else {
        let left_out = left_out(valid);
        Statement::holds(QUOTA_ENFORCED, "WithinGrant", format!("Enforced: the API server refuses what is above a namespace's quota, and the quotas sum to no more than the grant{left_out}"))
    });
    statements.push(if nothing_stands {
        Statement::fails(POLICIES_ENFORCED, "ConflictingOwner", "no namespace of this tenant stands")
    } else if incomplete.is_empty() {
        Statement::holds(
            POLICIES_ENFORCED,
            "PoliciesApplied",
            "Enforced: Pod Security, limits and admission rules; Configured: network policies, on which the network plugin must act",
        )
    } else {
        Statement::fails(POLICIES_ENFORCED, "ApplyFailed", failures.join("; "))
    });
    statements.push(if nothing_stands {
        Statement::fails(ACCESS_GRANTED, "ConflictingOwner", "no namespace of this tenant stands")
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
        "FrozenBySpec",
        "writes of the tenant are refused; what runs goes on",
    )
}

/// What is to be said of namespaces beyond what the template grants.
fn crowd(Room { waiting, above }: &Room) -> Option<String> {
    match above {
        Some((stand, granted)) => Some(format!(
            "{stand} namespaces stand and the template grants {granted}: none is taken away and none is added; delete some or choose a larger template"
        )),
        None if waiting.is_empty() => None,
        None => Some(format!(
            "no place for {}: namespaces that owners asked for, or that are retained, take up what the template grants; delete some or choose a larger template",
            waiting.join(", ")
        )),
    }
}

/// Who has nothing for now of what the tenant is granted. It may stay so for good, where a grant has fewer units than there
/// are namespaces, and is no reason not to be Ready.
fn left_out(valid: &ValidTenant) -> String {
    let of = |(resource, names): (&String, &BTreeSet<String>)| {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        format!("; no share of {resource} for now: {}", names.join(", "))
    };
    valid.quota.plans.left_out.iter().map(of).collect()
}

fn access(valid: &ValidTenant, namespaces: &[AppliedNamespace]) -> Statement {
    let members: usize = valid.members.values().map(Vec::len).sum();
    let all = namespaces
        .iter()
        .all(|namespace| namespace.place == Place::Home || namespace.progress == Progress::Complete);
    match &valid.rights {
        Rights::Withheld(missing) => Statement::fails(ACCESS_GRANTED, "PrerequisiteMissing", missing.clone()),
        Rights::Granted if members == 0 => {
            Statement::fails(ACCESS_GRANTED, "NoOwners", "spec.owners is empty: nobody has rights")
        }
        Rights::Granted if !all => Statement::fails(
            ACCESS_GRANTED,
            "AwaitingGuards",
            "owners get their rights when every guard stands",
        ),
        Rights::Granted => Statement::holds(
            ACCESS_GRANTED,
            "Granted",
            format!("{members} owners, editors and viewers"),
        ),
    }
}

fn self_service(valid: &ValidTenant, namespaces: &[AppliedNamespace]) -> Option<Statement> {
    let home = valid.home.as_ref()?;
    let stands = namespaces.iter().find(|namespace| namespace.place == Place::Home)?;
    let says = |reason, message: String| Some(Statement::fails(SELF_SERVICE_READY, reason, message));
    match (&stands.progress, &valid.rights) {
        (Progress::Conflict(_), _) => says(
            "ConflictingOwner",
            format!("namespace {} is not this tenant's", home.name),
        ),
        (Progress::Failed, _) => says(
            "ApplyFailed",
            format!("not all of namespace {} could be written", home.name),
        ),
        (Progress::AwaitingQuota, _) => says(
            "AwaitingQuota",
            "waiting for the quota controller to count TenantNamespaces; it looks for new kinds every 30 s".to_owned(),
        ),
        (Progress::Complete, Rights::Withheld(missing)) => says("PrerequisiteMissing", missing.clone()),
        (Progress::Complete, Rights::Granted) => Some(Statement::holds(
            SELF_SERVICE_READY,
            "HomeReady",
            format!(
                "Enforced: owners ask by TenantNamespaces in namespace {}, and a ResourceQuota there admits {}",
                home.name, home.places
            ),
        )),
    }
}

fn condition<'a>(status: &'a TenantStatus, type_: &str) -> Option<&'a Condition> {
    status.conditions.iter().find(|condition| condition.type_ == type_)
}

/// The reason of a condition; empty if it is not there.
pub fn reason<'a>(status: &'a TenantStatus, type_: &str) -> &'a str {
    condition(status, type_).map_or("", |condition| &condition.reason)
}

/// Whether all that is missing is the quota controller's, which is done sooner as a rule than a status is written.
pub fn awaits_quota(status: &TenantStatus) -> bool {
    match reason(status, READY) {
        "AwaitingQuota" | "QuotaMoving" => true,
        "Reconciled" => reason(status, SELF_SERVICE_READY) == "AwaitingQuota",
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
            "CRDNotInstalled",
            format!(
                "the cluster does not serve {}; install the prometheus-operator's CRDs, nothing else is needed",
                missing.join(", ")
            ),
        )
    } else if stand {
        Statement::holds(
            MONITORING_READY,
            "MonitorsApplied",
            "Configured: monitors and rules stand; a Prometheus must select them",
        )
    } else {
        Statement::fails(MONITORING_READY, "ApplyFailed", "not every monitor and rule stands yet")
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
