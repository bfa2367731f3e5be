//! The status of a template: pure.

use jiff::Timestamp;
use kube::ResourceExt as _;

use super::{controls, soundness};
use crate::{
    conditions::{Statement, conditions},
    settings::Settings,
    tenant::facts::Served,
};
use tenantry_api::{
    Reason,
    conditions::types::{ALL_FIELDS_EFFECTIVE, READY, RECONCILING, STALLED},
    v1alpha1::{ControlState, TenantTemplate, TenantTemplateStatus},
};

/// The status of a template that `users` Tenants name.
pub fn status(
    template: &TenantTemplate,
    users: usize,
    served: &Served,
    settings: &Settings,
    now: Timestamp,
) -> TenantTemplateStatus {
    let controls = controls::controls(&template.spec, served, settings);
    let without_effect: Vec<_> = controls
        .iter()
        .filter(|control| control.state == ControlState::NotEnforced)
        .map(|control| control.field.as_str())
        .collect();
    let contradictions = soundness::contradictions(&template.spec);
    let mut statements = if template.metadata.deletion_timestamp.is_some() {
        let message = format!(
            "{users} tenants use it; it goes when none does (kubectl get tenants --field-selector spec.templateRef.name={})",
            template.name_any()
        );
        vec![
            Statement::fails(READY, Reason::InUse, message.clone()),
            Statement::holds(RECONCILING, Reason::InUse, message),
        ]
    } else if contradictions.is_empty() {
        vec![Statement::holds(READY, Reason::Valid, "the template can be used")]
    } else {
        let message = contradictions.join("; ");
        vec![
            Statement::fails(READY, Reason::Contradiction, message.clone()),
            Statement::holds(STALLED, Reason::Contradiction, message),
        ]
    };
    statements.push(if without_effect.is_empty() {
        Statement::holds(
            ALL_FIELDS_EFFECTIVE,
            Reason::AllEffective,
            "every field that is set has an effect",
        )
    } else {
        Statement::fails(
            ALL_FIELDS_EFFECTIVE,
            Reason::NotEnforced,
            format!(
                "nothing makes these true; see status.controls: {}",
                without_effect.join(", ")
            ),
        )
    });
    let previous = template.status.as_ref().map_or(&[][..], |status| &status.conditions);
    TenantTemplateStatus {
        observed_generation: template.metadata.generation,
        conditions: conditions(statements, previous, template.metadata.generation, now),
        tenants: i64::try_from(users).unwrap_or(i64::MAX),
        controls,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::fixture;

    fn template(spec: &Value) -> TenantTemplate {
        let mut template = TenantTemplate::new("premium", (*fixture::template(spec)).clone());
        template.metadata.generation = Some(2);
        template
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn status_of(template: &TenantTemplate, users: usize, now: i64) -> TenantTemplateStatus {
        status(
            template,
            users,
            &fixture::everything_served(),
            &fixture::settings(),
            at(now),
        )
    }

    fn condition<'a>(status: &'a TenantTemplateStatus, type_: &str) -> Option<(&'a str, &'a str, &'a str)> {
        let mut conditions = status.conditions.iter();
        let found = conditions.find(|condition| condition.type_ == type_)?;
        Some((&found.status, &found.reason, &found.message))
    }

    fn deleting(mut template: TenantTemplate) -> TenantTemplate {
        template.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        template
    }

    #[test]
    fn a_sound_template_is_ready_and_says_who_uses_it() {
        let status = status_of(&template(&json!({ "quotas": { "pods": 1 } })), 3, 1);
        assert_eq!(condition(&status, READY).unwrap().1, "Valid");
        assert_eq!(condition(&status, RECONCILING), None);
        assert_eq!(condition(&status, STALLED), None);
        assert_eq!((status.tenants, status.observed_generation), (3, Some(2)));
        assert!(!status.controls.is_empty());
    }

    #[test]
    fn a_template_that_contradicts_itself_is_stalled() {
        let status = status_of(&template(&json!({ "quotas": { "cpu": "1" } })), 0, 1);
        let (ready, reason, message) = condition(&status, READY).unwrap();
        assert_eq!((ready, reason), ("False", "Contradiction"));
        assert_eq!(condition(&status, STALLED), Some(("True", reason, message)));
        assert_eq!(condition(&status, RECONCILING), None);
    }

    #[test]
    fn a_template_in_use_that_is_being_deleted_says_how_to_find_its_users() {
        let status = status_of(&deleting(template(&json!({}))), 2, 1);
        let (ready, reason, message) = condition(&status, READY).unwrap();
        assert_eq!((ready, reason), ("False", "InUse"));
        assert!(
            message.starts_with("2 tenants use it")
                && message.ends_with("--field-selector spec.templateRef.name=premium)"),
            "{message}"
        );
        assert_eq!(condition(&status, RECONCILING).unwrap().0, "True");
        assert_eq!(condition(&status, STALLED), None);
    }

    #[test]
    fn what_nothing_makes_true_is_named_with_its_field() {
        let status = status_of(&template(&json!({ "security": { "zeroTrust": true } })), 0, 1);
        let (holds, reason, message) = condition(&status, ALL_FIELDS_EFFECTIVE).unwrap();
        assert_eq!((holds, reason), ("False", "NotEnforced"));
        assert!(message.contains("security.zeroTrust"), "{message}");
        assert_eq!(
            condition(&status, READY).unwrap().0,
            "True",
            "such a template can be used all the same"
        );
    }

    #[test]
    fn the_same_template_gives_the_same_bytes() {
        let mut template = template(&json!({ "security": { "zeroTrust": true }, "quotas": { "pods": 1 } }));
        template.status = Some(status_of(&template, 1, 1));
        assert_eq!(
            serde_json::to_string(&status_of(&template, 1, 99)).unwrap(),
            serde_json::to_string(&template.status).unwrap()
        );
        let gone = status_of(&deleting(template), 1, 99);
        assert_eq!(gone.conditions[0].last_transition_time.0, at(99));
    }
}
