mod amounts;

use std::{collections::BTreeSet, sync::Arc};

use serde_json::{Value, json};

use super::*;
use crate::error_class::ErrorClass;
use crate::{
    fixture,
    object::{Key, Live},
    tenant::validate::Conflict,
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn quota_at(used: &str) -> Arc<Live> {
    let hard = json!({ "pods": "10", "requests.cpu": "2" });
    let used = json!({ "pods": used, "requests.cpu": "500m" });
    fixture::live_quota("acme-dev", &hard, &hard, &used).1
}

/// The tenant with all its objects applied.
fn ready_tenant() -> (ValidTenant, Applied) {
    let template = json!({ "quotas": { "cpu": "2", "pods": 10 } });
    let mut valid = fixture::valid(&template, &json!({}));
    valid.quota.plans.settled = true;
    let namespace = AppliedNamespace {
        name: "acme-dev".to_owned(),
        place: Place::Wanted,
        progress: Progress::Complete,
        quota: Some(quota_at("4")),
        monitors: BTreeSet::new(),
    };
    let applied = Applied {
        namespaces: vec![namespace],
        ..Applied::default()
    };
    (valid, applied)
}

fn status(valid: &ValidTenant, applied: &Applied) -> TenantStatus {
    of_applied(&fixture::tenant(&json!({})), valid, applied, at(1))
}

fn condition<'a>(status: &'a TenantStatus, type_: &str) -> Option<(&'a str, &'a str, &'a str)> {
    let mut found = status.conditions.iter().filter(|condition| condition.type_ == type_);
    let condition = found.next()?;
    assert!(found.next().is_none(), "{type_} stands twice");
    Some((&condition.status, &condition.reason, &condition.message))
}

fn failed() -> Failure {
    let key = Key::new(Kind::LimitRange, "acme-dev", "tenantry");
    let message = format!("failed to create {key}: no (403)");
    Failure {
        key: Some(key),
        class: ErrorClass::Forbidden,
        detail: message.clone(),
        message,
    }
}

#[test]
fn ready_tenant_is_neither_reconciling_nor_stalled() {
    let (valid, applied) = ready_tenant();
    let status = status(&valid, &applied);
    assert_eq!(condition(&status, READY).unwrap().1, "Reconciled");
    for absent in [RECONCILING, STALLED, FROZEN, MONITORING_READY, DELETION_BLOCKED] {
        assert_eq!(condition(&status, absent), None, "{absent}");
    }
    for holds in [NAMESPACES_READY, QUOTA_ENFORCED, POLICIES_ENFORCED, ACCESS_GRANTED] {
        assert_eq!(condition(&status, holds).unwrap().0, "True", "{holds}");
    }
    assert_eq!(status.observed_generation, Some(3));
    assert_eq!(status.namespaces_ready.as_deref(), Some("1/1"));
    assert_eq!(status.namespaces[0].state, NamespaceState::Active);
}

#[test]
fn namespace_without_a_share_is_named_and_tenant_is_ready() {
    let (mut valid, applied) = ready_tenant();
    let names = ["acme-a", "acme-b"].map(str::to_owned).into();
    valid.quota.plans.left_out = [("requests.nvidia.com/gpu".to_owned(), names)].into();
    let status = status(&valid, &applied);
    assert_eq!(condition(&status, READY).unwrap().0, "True");
    let (holds, _, message) = condition(&status, QUOTA_ENFORCED).unwrap();
    assert_eq!(holds, "True");
    assert!(
        message.ends_with("; no share of requests.nvidia.com/gpu at the moment: acme-a, acme-b"),
        "{message}"
    );
}

type Break = fn(&mut ValidTenant, &mut Applied);

/// Each reason why a Tenant is not Ready, whether somebody must act, the condition that also reports it, and its message.
const PROBLEMS: [(&str, bool, Option<&str>, &str, Break); 8] = [
    (
        "ConflictingOwner",
        true,
        Some(NAMESPACES_READY),
        "namespace acme-new: it is taken",
        |valid, _| {
            valid.conflicts.push(Conflict {
                namespace: "acme-new".to_owned(),
                message: "it is taken".to_owned(),
            });
        },
    ),
    (
        "ConflictingOwner",
        true,
        Some(NAMESPACES_READY),
        "namespace acme-dev: met",
        |_, applied| applied.namespaces[0].progress = Progress::Conflict("met".to_owned()),
    ),
    (
        "PrerequisiteMissing",
        true,
        Some(ACCESS_GRANTED),
        "a mesh",
        |valid, _| {
            valid.rights = Rights::Withheld("a mesh".to_owned());
        },
    ),
    (
        "ApplyFailed",
        false,
        Some(POLICIES_ENFORCED),
        "failed to create LimitRange acme-dev/tenantry: no (403)",
        |_, applied| {
            applied.namespaces[0].progress = Progress::Failed;
            applied.failures.push(failed());
        },
    ),
    (
        "QuotaAboveGrant",
        true,
        Some(QUOTA_ENFORCED),
        "pods by 3",
        |valid, _| valid.quota.plans.above_grant = fixture::amounts(&[("pods", "3")]),
    ),
    ("AwaitingQuota", false, Some(QUOTA_ENFORCED), "", |_, applied| {
        applied.namespaces[0].progress = Progress::AwaitingQuota;
    }),
    ("QuotaMoving", false, None, "", |valid, _| {
        valid.quota.under_way = true;
    }),
    ("NamespacesTerminating", false, None, "acme-old", |_, applied| {
        applied.leaving.push(going("acme-old"));
    }),
];

#[test]
fn each_problem_sets_ready_false_and_stalled_or_reconciling() {
    for (reason, stalled, concern, words, break_it) in PROBLEMS {
        let (mut valid, mut applied) = ready_tenant();
        break_it(&mut valid, &mut applied);
        let status = status(&valid, &applied);
        let (ready, found, message) = condition(&status, READY).unwrap();
        assert_eq!((ready, found), ("False", reason));
        assert!(message.contains(words), "{reason}: {message}");
        let (there, absent) = if stalled {
            (STALLED, RECONCILING)
        } else {
            (RECONCILING, STALLED)
        };
        assert_eq!(
            condition(&status, there),
            Some(("True", reason, message)),
            "{reason}: {there}"
        );
        assert_eq!(condition(&status, absent), None, "{reason}: {absent}");
        if let Some(concern) = concern {
            let (holds, because, _) = condition(&status, concern).unwrap();
            assert_eq!((holds, because), ("False", reason), "{concern}");
        }
    }
}

#[test]
fn ready_reports_the_first_of_two_problems() {
    for (index, (first, .., break_first)) in PROBLEMS.iter().enumerate() {
        for (.., break_second) in &PROBLEMS[index..] {
            let (mut valid, mut applied) = ready_tenant();
            break_second(&mut valid, &mut applied);
            break_first(&mut valid, &mut applied);
            let status = status(&valid, &applied);
            let found = condition(&status, READY).unwrap().1;
            // A namespace is in one state only: what broke it last is what is seen.
            assert_eq!(found, *first);
            let both = condition(&status, STALLED).is_some() && condition(&status, RECONCILING).is_some();
            assert!(!both, "Stalled and Reconciling at once");
        }
    }
}

#[test]
fn the_same_inputs_give_the_same_bytes() {
    for (.., break_it) in PROBLEMS {
        let bytes = |now| {
            let (mut valid, mut applied) = ready_tenant();
            break_it(&mut valid, &mut applied);
            let mut tenant = fixture::tenant(&json!({}));
            tenant.status = Some(of_applied(&tenant, &valid, &applied, at(1)));
            serde_json::to_string(&of_applied(&tenant, &valid, &applied, now)).unwrap()
        };
        assert_eq!(bytes(at(1)), bytes(at(99)), "time must not show while nothing changes");
    }
}

#[test]
fn transition_time_changes_only_with_its_condition() {
    let (valid, mut applied) = ready_tenant();
    let mut tenant = fixture::tenant(&json!({}));
    tenant.status = Some(of_applied(&tenant, &valid, &applied, at(1)));
    applied.namespaces[0].progress = Progress::AwaitingQuota;
    let status = of_applied(&tenant, &valid, &applied, at(2));
    let time = |type_: &str| {
        let mut all = status.conditions.iter();
        all.find(|condition| condition.type_ == type_)
            .unwrap()
            .last_transition_time
            .0
    };
    assert_eq!((time(READY), time(QUOTA_ENFORCED)), (at(2), at(2)));
    assert_eq!((time(NAMESPACES_READY), time(POLICIES_ENFORCED)), (at(1), at(1)));
}

#[test]
fn access_granted_says_what_owners_wait_for() {
    let (mut valid, mut applied) = ready_tenant();
    applied.namespaces[0].progress = Progress::AwaitingQuota;
    assert_eq!(
        condition(&status(&valid, &applied), ACCESS_GRANTED).unwrap().1,
        "AwaitingGuards"
    );
    applied.namespaces[0].progress = Progress::Complete;
    valid.members.clear();
    let status = status(&valid, &applied);
    assert_eq!(condition(&status, ACCESS_GRANTED).unwrap().1, "NoOwners");
    assert_eq!(status.namespaces[0].state, NamespaceState::Fenced);
}

#[test]
fn monitoring_condition_exists_only_if_template_asks() {
    let asked = json!({ "monitoring": { "metrics": true, "alerts": true } });
    let (_, mut applied) = ready_tenant();
    let mut valid = fixture::valid(&asked, &json!({}));
    let reason = |valid: &ValidTenant, applied: &Applied| {
        let status = status(valid, applied);
        let (holds, reason, message) = condition(&status, MONITORING_READY).unwrap();
        (holds == "True", reason.to_owned(), message.to_owned())
    };
    assert_eq!(reason(&valid, &applied).1, "ApplyFailed");
    applied.namespaces[0].monitors = valid.served.clone();
    assert!(reason(&valid, &applied).0);
    valid.served.remove(&Kind::PrometheusRule);
    let (holds, because, message) = reason(&valid, &applied);
    assert_eq!((holds, because.as_str()), (false, "CRDNotInstalled"));
    assert!(message.contains("does not serve PrometheusRule;"), "{message}");
}

#[test]
fn missing_crd_affects_only_monitoring() {
    let mut valid = fixture::valid(&json!({ "monitoring": { "alerts": true } }), &json!({}));
    valid.served.clear();
    valid.quota.plans.settled = true;
    let (_, applied) = ready_tenant();
    assert_eq!(condition(&status(&valid, &applied), READY).unwrap().0, "True");
}

#[test]
fn frozen_tenant_stays_ready() {
    let (mut valid, applied) = ready_tenant();
    valid.state = TenantState::Frozen;
    let status = status(&valid, &applied);
    assert_eq!(condition(&status, FROZEN).unwrap().0, "True");
    assert_eq!(condition(&status, READY).unwrap().0, "True");
}

#[test]
fn namespaces_are_listed_once_in_order_with_their_state() {
    let (mut valid, mut applied) = ready_tenant();
    let namespace = |name: &str, place, progress| AppliedNamespace {
        name: name.to_owned(),
        place,
        progress,
        quota: None,
        monitors: BTreeSet::new(),
    };
    applied.namespaces = vec![
        namespace("acme-a", Place::Wanted, Progress::Complete),
        namespace("acme-b", Place::Wanted, Progress::AwaitingQuota),
        namespace("acme-c", Place::Retained, Progress::Complete),
        namespace("acme-d", Place::Wanted, Progress::Failed),
        namespace("acme-f", Place::Wanted, Progress::Conflict("met".to_owned())),
    ];
    applied.leaving = vec![going("acme-0")];
    valid.conflicts = vec![Conflict {
        namespace: "acme-e".to_owned(),
        message: "taken".to_owned(),
    }];
    let status = status(&valid, &applied);
    let seen: Vec<_> = status
        .namespaces
        .iter()
        .map(|namespace| (&*namespace.name, namespace.state))
        .collect();
    assert_eq!(
        seen,
        [
            ("acme-0", NamespaceState::Terminating),
            ("acme-a", NamespaceState::Active),
            ("acme-b", NamespaceState::Fenced),
            ("acme-c", NamespaceState::Retained),
            ("acme-d", NamespaceState::Pending),
            ("acme-e", NamespaceState::Conflict),
            ("acme-f", NamespaceState::Conflict),
        ]
    );
    assert_eq!(status.namespaces[5].message.as_deref(), Some("taken"));
}

#[test]
fn namespaces_without_a_place_are_not_ready() {
    let (mut valid, applied) = ready_tenant();
    valid.room.waiting = vec!["acme-x".to_owned()];
    let status = status(&valid, &applied);
    let (value, reason, message) = condition(&status, NAMESPACES_READY).unwrap();
    assert_eq!((value, reason), ("False", "TooManyNamespaces"));
    assert!(message.contains("acme-x"), "{message}");
}

#[test]
fn failed_quota_write_is_not_blamed_on_the_quota_controller() {
    let (valid, mut applied) = ready_tenant();
    applied.namespaces[0].progress = Progress::Failed;
    applied.failures.push(failed());
    let status = status(&valid, &applied);
    assert_eq!(condition(&status, QUOTA_ENFORCED).unwrap().1, "ApplyFailed");
}

#[test]
fn invalid_tenant_keeps_its_status_and_says_what_is_wrong() {
    let (valid, applied) = ready_tenant();
    let mut tenant = fixture::tenant(&json!({}));
    let before = of_applied(&tenant, &valid, &applied, at(1));
    tenant.status = Some(before.clone());
    tenant.metadata.generation = Some(4);
    let invalid = Invalid {
        reason: Reason::TooManyNamespaces,
        message: "too many".to_owned(),
    };
    let after = of_invalid(&tenant, &invalid, at(2));
    assert_eq!(
        condition(&after, READY),
        Some(("False", "TooManyNamespaces", "too many"))
    );
    assert_eq!(condition(&after, STALLED).unwrap().0, "True");
    assert_eq!(condition(&after, RECONCILING), None);
    let (status, reason, _) = condition(&after, QUOTA_ENFORCED).unwrap();
    assert_eq!((status, reason), ("Unknown", "NotReconciled"));
    assert_eq!((&after.namespaces, &after.quota), (&before.namespaces, &before.quota));
    assert_eq!(after.observed_generation, Some(4));
    tenant.status = Some(after.clone());
    assert_eq!(of_invalid(&tenant, &invalid, at(3)), after, "said once, it stays");
}

fn going(name: &str) -> Going {
    Going {
        name: name.to_owned(),
        held: None,
    }
}

#[test]
fn blocked_namespace_is_named_while_its_tenant_stays() {
    let (valid, mut applied) = ready_tenant();
    applied.leaving = vec![Going {
        held: Some("a finalizer remains".to_owned()),
        ..going("acme-old")
    }];
    let status = status(&valid, &applied);
    assert_eq!(condition(&status, READY).unwrap().1, "NamespacesTerminating");
    assert_eq!(
        condition(&status, DELETION_BLOCKED).unwrap().2,
        "acme-old: a finalizer remains"
    );
}

#[test]
fn deleted_tenant_names_what_blocks_it() {
    let tenant = fixture::tenant(&json!({}));
    let remaining = |namespaces: Vec<Going>| Remaining {
        namespaces,
        ..Remaining::default()
    };
    let free = of_deleting(&tenant, &remaining(vec![going("acme-dev")]), at(1));
    assert_eq!(condition(&free, READY).unwrap().1, "Terminating");
    assert_eq!(condition(&free, RECONCILING).unwrap().0, "True");
    assert_eq!(condition(&free, DELETION_BLOCKED), None);
    let held = vec![Going {
        held: Some("a finalizer remains".to_owned()),
        ..going("acme-dev")
    }];
    let held = of_deleting(&tenant, &remaining(held), at(1));
    assert_eq!(
        condition(&held, DELETION_BLOCKED).unwrap().2,
        "acme-dev: a finalizer remains"
    );
    assert_eq!(held.namespaces[0].message.as_deref(), Some("a finalizer remains"));
    let stuck = |key: Key| {
        let mut stuck = remaining(vec![going("acme-dev")]);
        let message = format!("{key} changed since it was seen");
        stuck.applied.failures.push(Failure {
            key: Some(key),
            class: ErrorClass::Conflict,
            detail: message.clone(),
            message,
        });
        let status = of_deleting(&tenant, &stuck, at(1));
        condition(&status, READY).unwrap().2.to_owned()
    };
    assert_eq!(
        stuck(Key::new(Kind::RoleBinding, "acme-dev", "*")),
        "the operator is removing the owners' rights; the API server is deleting namespaces: acme-dev; RoleBinding acme-dev/* changed since it was seen"
    );
    assert_eq!(
        stuck(Key::namespace("acme-dev")),
        "owners have no rights; the API server is deleting namespaces: acme-dev; Namespace acme-dev changed since it was seen"
    );
}

/// The JSON that kubectl wait and GitOps tools read.
#[test]
fn conditions_have_the_form_that_tools_read() {
    let (valid, applied) = ready_tenant();
    let json: Value = serde_json::to_value(status(&valid, &applied)).unwrap();
    let ready = &json["conditions"][0];
    assert_eq!((&ready["type"], &ready["status"]), (&json!("Ready"), &json!("True")));
    assert_eq!(ready["lastTransitionTime"], "1970-01-01T00:00:01Z");
    assert_eq!(ready["observedGeneration"], 3);
}
