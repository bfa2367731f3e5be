//! The rules, how often each matched, the log, and the requests that hang.

use std::collections::{BTreeMap, HashMap};

use hyper::{StatusCode, body::Bytes};

use crate::{Asked, Rule, RuleFile};

/// A request that came through.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What was asked.
    pub asked: Asked,
    /// The number of this request among those for the same thing, from 1; of an event, among those that a rule matched.
    pub nth: u64,
    /// What the API server answered; `None` if it was never asked, or has not answered yet.
    pub status: Option<u16>,
    /// The rule that fired, as JSON.
    pub rule: Option<String>,
    /// Of a write: whether it names the version that it changes, and so can change no other.
    pub guarded: bool,
}

#[derive(Default)]
pub(crate) struct State {
    rules: Vec<(Rule, u64)>,
    rng: fastrand::Rng,
    nth: HashMap<Asked, u64>,
    log: Vec<Entry>,
    /// The last answer to each list, by its path and query.
    lists: HashMap<String, Bytes>,
    /// Rules by which requests hang, by the turn in which these came.
    pub(crate) held: BTreeMap<u64, Vec<String>>,
    /// Requests that are under way, those that hang among them; watches are not counted.
    pub(crate) under_way: usize,
    /// Rises with every mark.
    pub(crate) turn: u64,
    /// Requests of earlier turns are released.
    pub(crate) released: u64,
}

impl State {
    pub(crate) fn set_rules(&mut self, file: RuleFile) {
        self.rng = fastrand::Rng::with_seed(file.seed);
        self.rules = file.rules.into_iter().map(|rule| (rule, 0)).collect();
    }

    /// Notes a request; gives its place in the log and the rule that fires.
    pub(crate) fn arrive(&mut self, asked: &Asked, guarded: bool) -> (usize, Option<Rule>) {
        let fired = self.fire(asked);
        let nth = self.nth.entry(asked.clone()).or_default();
        *nth += 1;
        self.log.push(Entry {
            asked: asked.clone(),
            nth: *nth,
            status: None,
            rule: fired.as_ref().map(text),
            guarded,
        });
        (self.log.len() - 1, fired)
    }

    pub(crate) fn has_rules_of_events(&self) -> bool {
        self.rules.iter().any(|(rule, _)| rule.action.is_of_events())
    }

    /// The rule that fires for an event; only then is the event in the log.
    pub(crate) fn event(&mut self, asked: &Asked) -> Option<Rule> {
        let fired = self.fire(asked)?;
        let nth = self.nth.entry(asked.clone()).or_default();
        *nth += 1;
        self.log.push(Entry {
            asked: asked.clone(),
            nth: *nth,
            status: None,
            rule: Some(text(&fired)),
            guarded: true,
        });
        Some(fired)
    }

    /// Stores a list's answer; returns the one stored before if `stale` is asked for.
    pub(crate) fn remember(&mut self, uri: String, fresh: Bytes, stale: bool) -> Option<Bytes> {
        let before = self.lists.insert(uri, fresh);
        before.filter(|_| stale)
    }

    fn fire(&mut self, asked: &Asked) -> Option<Rule> {
        let mut first = None;
        for (rule, matched) in &mut self.rules {
            let for_events = rule.action.is_of_events();
            if for_events == asked.event.is_empty() || !rule.matches.holds(asked) {
                continue;
            }
            *matched += 1;
            if rule.when.holds(*matched, &mut self.rng) && first.is_none() {
                first = Some(rule.clone());
            }
        }
        first
    }

    pub(crate) fn answered(&mut self, place: usize, status: StatusCode) {
        if let Some(entry) = self.log.get_mut(place) {
            entry.status = Some(status.as_u16());
        }
    }

    pub(crate) fn log(&self) -> Vec<Entry> {
        self.log.clone()
    }
}

pub(crate) fn text(rule: &Rule) -> String {
    serde_json::to_string(rule).unwrap_or_default()
}
