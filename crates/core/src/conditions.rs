//! Conditions of a status, and the time of their last transition.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use tenantry_api::Reason;

/// Longest message that is written, in bytes. The schema allows 32 KiB, but nobody reads that much.
const MAX_MESSAGE: usize = 4096;

/// The current content of a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Type of the condition.
    pub type_: &'static str,
    /// True, False, or Unknown if `None`.
    pub status: Option<bool>,
    /// The reason.
    pub reason: Reason,
    /// The reason in a sentence for people.
    pub message: String,
}

impl Statement {
    /// A condition that is true.
    pub fn holds(type_: &'static str, reason: Reason, message: impl Into<String>) -> Self {
        Self {
            type_,
            status: Some(true),
            reason,
            message: message.into(),
        }
    }

    /// A condition that is false.
    pub fn fails(type_: &'static str, reason: Reason, message: impl Into<String>) -> Self {
        Self {
            type_,
            status: Some(false),
            reason,
            message: message.into(),
        }
    }

    /// A condition whose status is Unknown.
    pub fn unknown(type_: &'static str, reason: Reason, message: impl Into<String>) -> Self {
        Self {
            type_,
            status: None,
            reason,
            message: message.into(),
        }
    }
}

/// Turns statements into conditions. A transition time changes only if the status does.
pub fn conditions(
    statements: Vec<Statement>,
    previous: &[Condition],
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    let condition = |Statement {
                         type_,
                         status,
                         reason,
                         message,
                     }: Statement| {
        let status = match status {
            Some(true) => "True",
            Some(false) => "False",
            None => "Unknown",
        };
        let same = previous
            .iter()
            .find(|condition| condition.type_ == type_ && condition.status == status);
        Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: reason.as_str().to_owned(),
            message: truncated(message),
            observed_generation: generation,
            last_transition_time: same.map_or_else(|| Time(now), |condition| condition.last_transition_time.clone()),
        }
    };
    statements.into_iter().map(condition).collect()
}

fn truncated(mut message: String) -> String {
    if message.len() > MAX_MESSAGE {
        let mut end = MAX_MESSAGE;
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        message.truncate(end);
        message.push_str(" ...");
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_transition_time_changes_only_with_the_status() {
        let first = conditions(
            vec![Statement::holds("Ready", Reason::Reconciled, "all applied")],
            &[],
            Some(1),
            at(1),
        );
        let same = conditions(
            vec![Statement::holds("Ready", Reason::WithinGrant, "still")],
            &first,
            Some(2),
            at(2),
        );
        assert_eq!(same[0].last_transition_time.0, at(1));
        assert_eq!(
            (same[0].reason.as_str(), same[0].observed_generation),
            ("WithinGrant", Some(2))
        );
        let changed = conditions(
            vec![Statement::fails("Ready", Reason::Terminating, "gone")],
            &same,
            Some(2),
            at(3),
        );
        assert_eq!(changed[0].last_transition_time.0, at(3));
    }

    #[test]
    fn a_long_message_is_truncated_between_characters() {
        let long = conditions(
            vec![Statement::holds("Ready", Reason::Reconciled, "ü".repeat(4000))],
            &[],
            None,
            at(1),
        );
        assert!(long[0].message.len() <= MAX_MESSAGE + 4 && long[0].message.ends_with("ü ..."));
    }
}
