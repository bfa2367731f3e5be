//! Conditions: what is said of an object, and when it last changed.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use tenantry_api::Reason;

/// Longest message that is written; the schema takes 32 KiB, people take less.
const MAX_MESSAGE: usize = 4096;

/// What a condition says now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Type of the condition.
    pub type_: &'static str,
    /// True, False, or Unknown if `None`.
    pub status: Option<bool>,
    /// The reason.
    pub reason: Reason,
    /// The same for people.
    pub message: String,
}

impl Statement {
    /// A condition that holds.
    pub fn holds(type_: &'static str, reason: Reason, message: impl Into<String>) -> Self {
        Self {
            type_,
            status: Some(true),
            reason,
            message: message.into(),
        }
    }

    /// A condition that does not.
    pub fn fails(type_: &'static str, reason: Reason, message: impl Into<String>) -> Self {
        Self {
            type_,
            status: Some(false),
            reason,
            message: message.into(),
        }
    }

    /// A condition of which nobody knows whether it holds.
    pub fn unknown(type_: &'static str, reason: Reason, message: impl Into<String>) -> Self {
        Self {
            type_,
            status: None,
            reason,
            message: message.into(),
        }
    }
}

/// Turns statements into conditions; a transition time moves only when the status changes.
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
    fn the_transition_time_moves_only_with_the_status() {
        let first = conditions(
            vec![Statement::holds("Ready", Reason::Reconciled, "all stands")],
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
    fn a_long_message_is_cut_on_a_character() {
        let long = conditions(
            vec![Statement::holds("Ready", Reason::Reconciled, "ü".repeat(4000))],
            &[],
            None,
            at(1),
        );
        assert!(long[0].message.len() <= MAX_MESSAGE + 4 && long[0].message.ends_with("ü ..."));
    }
}
