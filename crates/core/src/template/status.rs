//! The status of a TenantTemplate. Pure.

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

/// The status of a template that `users` Tenants use.
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
            "the template is deleted when no Tenant uses it; Tenants that use it: {users}. To list them: kubectl get tenants --field-selector spec.templateRef.name={}",
            template.name_any()
        );
        vec![
            Statement::fails(READY, Reason::InUse, message.clone()),
            Statement::holds(RECONCILING, Reason::InUse, message),
        ]
    } else if contradictions.is_empty() {
        vec![Statement::holds(READY, Reason::Valid, "Tenants can use the template")]
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
            "every field that is set has an effect on this cluster",
        )
    } else {
        Statement::fails(
            ALL_FIELDS_EFFECTIVE,
            Reason::NotEnforced,
            format!(
                "nothing enforces these fields: {}; status.controls gives the reason for each",
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
    fn a_valid_template_is_ready_and_counts_its_tenants() {
        let status = status_of(&template(&json!({ "quotas": { "pods": 1 } })), 3, 1);
        assert_eq!(condition(&status, READY).unwrap().1, "Valid");
        assert_eq!(condition(&status, RECONCILING), None);
        assert_eq!(condition(&status, STALLED), None);
        assert_eq!((status.tenants, status.observed_generation), (3, Some(2)));
        assert!(!status.controls.is_empty());
    }

    #[test]
    fn a_template_with_a_contradiction_is_stalled() {
        let status = status_of(&template(&json!({ "quotas": { "cpu": "1" } })), 0, 1);
        let (ready, reason, message) = condition(&status, READY).unwrap();
        assert_eq!((ready, reason), ("False", "Contradiction"));
        assert_eq!(condition(&status, STALLED), Some(("True", reason, message)));
        assert_eq!(condition(&status, RECONCILING), None);
    }

    #[test]
    fn a_deleted_template_in_use_shows_how_to_list_its_tenants() {
        let status = status_of(&deleting(template(&json!({}))), 2, 1);
        let (ready, reason, message) = condition(&status, READY).unwrap();
        assert_eq!((ready, reason), ("False", "InUse"));
        assert!(
            message.contains("Tenants that use it: 2. ")
                && message.ends_with("--field-selector spec.templateRef.name=premium"),
            "{message}"
        );
        assert_eq!(condition(&status, RECONCILING).unwrap().0, "True");
        assert_eq!(condition(&status, STALLED), None);
    }

    #[test]
    fn a_field_without_effect_is_listed_and_keeps_ready_true() {
        let status = status_of(&template(&json!({ "security": { "zeroTrust": true } })), 0, 1);
        let (holds, reason, message) = condition(&status, ALL_FIELDS_EFFECTIVE).unwrap();
        assert_eq!((holds, reason), ("False", "NotEnforced"));
        assert!(message.contains("security.zeroTrust"), "{message}");
        assert_eq!(
            condition(&status, READY).unwrap().0,
            "True",
            "Tenants can still use such a template"
        );
    }

    #[test]
    fn an_unchanged_template_gives_an_identical_status() {
        let mut template = template(&json!({ "security": { "zeroTrust": true }, "quotas": { "pods": 1 } }));
        template.status = Some(status_of(&template, 1, 1));
        assert_eq!(
            serde_json::to_string(&status_of(&template, 1, 99)).unwrap(),
            serde_json::to_string(&template.status).unwrap()
        );
        let in_deletion = status_of(&deleting(template), 1, 99);
        assert_eq!(in_deletion.conditions[0].last_transition_time.0, at(99));
    }
}
