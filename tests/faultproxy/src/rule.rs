//! What is broken, when and how: read from YAML or JSON, where an unknown word is an error that names it.

use serde::{Deserialize, Serialize};

use crate::{Asked, Error, Verb};

/// A rule file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RuleFile {
    /// What probabilities draw from.
    #[serde(default)]
    pub seed: u64,
    /// The first that fires wins.
    pub rules: Vec<Rule>,
}

/// One way in which requests are broken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Rule {
    /// Which requests; all if left out.
    #[serde(default, rename = "match")]
    pub matches: Match,
    /// Which of the matching requests; all if left out.
    #[serde(default)]
    pub when: When,
    /// Before or after the API server handles the request. Ignored for watch events.
    #[serde(default)]
    pub at: Moment,
    /// What happens.
    pub action: Action,
}

/// Which requests match; a field that is left out matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Match {
    /// Any of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verbs: Vec<Verb>,
    /// API group; "" is the core group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Plural, such as `resourcequotas`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// None of these resources.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<String>,
    /// Such as `status`; "" is the object itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subresource: Option<String>,
    /// "" is what has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name of the object, of a create too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// For events of watches: ADDED, MODIFIED, DELETED or BOOKMARK.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
}

/// Which of the requests that match, counted for each rule by itself from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum When {
    /// Each.
    #[default]
    Always,
    /// Only this one.
    Nth(u64),
    /// This one and all after it.
    From(u64),
    /// Every nth.
    Every(u64),
    /// Each with this probability, by the file's seed.
    Probability(f64),
}

/// On which side of the API server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Moment {
    /// Before: the API server never sees the request (with hang and slow: sees it late).
    #[default]
    Before,
    /// After: the API server has answered, and the sender does not get that answer (with hang and slow: gets it late).
    After,
}

/// What happens to a request, or to an event of a watch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// The connection ends without an answer.
    Reset,
    /// An error is answered.
    Status(Status),
    /// The request waits until it is released, and then continues even if its sender has exited.
    Hang,
    /// It goes on after so many milliseconds.
    Slow(u64),
    /// The event is left out.
    Drop,
    /// The event comes twice.
    Duplicate,
    /// An ERROR 410 replaces the event, and the watch ends.
    Expire,
    /// The watch ends without the event and without an error.
    Cut,
    /// The event comes so many milliseconds late, and all that follow it in its watch after it. 0 only notes it in the log.
    Delay(u64),
    /// A list gets the answer of the previous list with the same path and query.
    Stale,
}

/// An error answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Status {
    /// HTTP status, 400 to 599.
    pub code: u16,
    /// The header's text, sane or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<String>,
}

impl RuleFile {
    /// Reads YAML or JSON. A file without rules is an error: it would break nothing, and every test would pass.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let file: Self = serde_saphyr::from_str(text).map_err(|error| Error::Unreadable(error.to_string()))?;
        if file.rules.is_empty() {
            return Err(Error::Unreadable(
                "`rules` is empty; write one rule at least".to_owned(),
            ));
        }
        for (index, rule) in file.rules.iter().enumerate() {
            rule.check()
                .map_err(|why| Error::Senseless { number: index + 1, why })?;
        }
        Ok(file)
    }
}

impl From<Vec<Rule>> for RuleFile {
    fn from(rules: Vec<Rule>) -> Self {
        Self { seed: 0, rules }
    }
}

impl Rule {
    fn check(&self) -> Result<(), String> {
        match self.when {
            When::Nth(0) | When::From(0) | When::Every(0) => return Err("requests are counted from 1".to_owned()),
            When::Probability(p) if !(0.0..=1.0).contains(&p) => {
                return Err(format!("the probability {p} is not between 0 and 1"));
            }
            _ => {}
        }
        match &self.action {
            Action::Status(status) if !(400..600).contains(&status.code) => {
                Err(format!("the status {} is no error", status.code))
            }
            action if action.is_of_events() && self.matches.verbs != [Verb::Watch] => {
                Err("drop, duplicate, expire, cut and delay are for events of watches: say verbs: [watch]".to_owned())
            }
            action if self.matches.event.is_some() && !action.is_of_events() => {
                Err("event goes with drop, duplicate, expire, cut and delay only".to_owned())
            }
            Action::Stale if self.matches.verbs != [Verb::List] => {
                Err("stale is for lists: say verbs: [list]".to_owned())
            }
            _ => Ok(()),
        }
    }
}

impl Action {
    /// Whether the action is for watch events and not for requests.
    pub(crate) fn is_of_events(&self) -> bool {
        match self {
            Self::Drop | Self::Duplicate | Self::Expire | Self::Cut | Self::Delay(_) => true,
            Self::Reset | Self::Status(_) | Self::Hang | Self::Slow(_) | Self::Stale => false,
        }
    }
}

impl Match {
    pub(crate) fn holds(&self, asked: &Asked) -> bool {
        let is = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
        (self.verbs.is_empty() || self.verbs.contains(&asked.verb))
            && is(&self.group, &asked.group)
            && is(&self.resource, &asked.resource)
            && !self.except.contains(&asked.resource)
            && is(&self.subresource, &asked.subresource)
            && is(&self.namespace, &asked.namespace)
            && is(&self.name, &asked.name)
            && is(&self.event, &asked.event)
    }
}

impl When {
    /// Whether the request with this number fires the rule.
    pub(crate) fn holds(self, number: u64, rng: &mut fastrand::Rng) -> bool {
        match self {
            Self::Always => true,
            Self::Nth(nth) => number == nth,
            Self::From(first) => number >= first,
            Self::Every(every) => number.is_multiple_of(every),
            Self::Probability(probability) => rng.f64() < probability,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        RuleFile::parse(text).expect_err("no such rule").to_string()
    }

    #[test]
    fn every_word_is_read_and_written_back() {
        let text = "
seed: 7
rules:
- match: { verbs: [create, update, patch, delete], group: '', resource: resourcequotas, subresource: '', namespace: acme-a, name: tenantry }
  when: { nth: 3 }
  at: after
  action: { status: { code: 429, retryAfter: soon } }
- { match: { verbs: [list, get] }, when: { probability: 0.25 }, action: { slow: 100 } }
- { match: { except: [leases] }, when: { every: 3 }, at: before, action: reset }
- { when: { from: 2 }, action: hang }
- { match: { verbs: [watch], event: DELETED }, action: drop }
- { match: { verbs: [watch] }, action: { delay: 3000 } }
- { match: { verbs: [watch] }, action: cut }
- { match: { verbs: [list] }, action: stale }
";
        let file = RuleFile::parse(text).unwrap();
        assert_eq!(file.rules[0].when, When::Nth(3));
        assert_eq!(file.rules[3].matches, Match::default());
        let again = serde_json::to_string(&file).unwrap();
        assert_eq!(RuleFile::parse(&again).unwrap(), file);
    }

    #[test]
    fn unknown_word_is_named_in_the_error() {
        for (text, word) in [
            ("rules: [{ action: explode }]", "explode"),
            ("rules: [{ action: reset, att: after }]", "att"),
            ("rules: [{ action: reset, at: during }]", "during"),
            ("rules: [{ action: reset, match: { verbs: [destroy] } }]", "destroy"),
            ("rules: [{ action: reset, match: { kind: Pod } }]", "kind"),
            ("rules: [{ action: reset, when: { fifth: 1 } }]", "fifth"),
            ("rules: [{ action: { status: { code: 500, after: 1 } } }]", "after"),
            ("rule: []", "rule"),
            ("rules: []", "empty"),
            ("seed: 7", "rules"),
        ] {
            assert!(error(text).contains(word), "{}", error(text));
        }
    }

    #[test]
    fn impossible_rule_is_named_by_its_number() {
        for (rule, why) in [
            ("{ action: reset, when: { nth: 0 } }", "counted from 1"),
            ("{ action: reset, when: { probability: 2 } }", "between 0 and 1"),
            ("{ action: { status: { code: 200 } } }", "no error"),
            ("{ action: drop }", "verbs: [watch]"),
            ("{ action: reset, match: { event: ADDED } }", "event goes with"),
            ("{ action: stale }", "verbs: [list]"),
        ] {
            let error = error(&format!("rules: [{{ action: hang }}, {rule}]"));
            assert!(error.contains("rule 2") && error.contains(why), "{error}");
        }
    }

    #[test]
    fn probability_is_repeatable_with_the_same_seed() {
        let draw = |seed| {
            let mut rng = fastrand::Rng::with_seed(seed);
            (0..64)
                .map(|number| When::Probability(0.5).holds(number, &mut rng))
                .collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }
}
