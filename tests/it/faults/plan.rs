//! Which faults are tried: every write of the reference run, each with every fault; or a sample of these.

use std::fmt;

use faultproxy::{Action, Asked, Entry, Match, Moment, Rule, RuleFile, Status, When};

use super::scenario::Cast;

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// SIGKILL when the write is done and its answer is not there.
    Killed,
    ResetBefore,
    ResetAfter,
    Conflict,
    Overload,
    OverloadWithGarbage,
    InternalError,
    Unavailable,
    TimeoutBefore,
    TimeoutAfter,
}

impl Fault {
    /// All but [`Fault::Killed`].
    pub const ANSWERS: [Self; 9] = [
        Self::ResetBefore,
        Self::ResetAfter,
        Self::Conflict,
        Self::Overload,
        Self::OverloadWithGarbage,
        Self::InternalError,
        Self::Unavailable,
        Self::TimeoutBefore,
        Self::TimeoutAfter,
    ];

    fn parts(self) -> (Moment, Action) {
        let status = |code, retry_after: Option<&str>| {
            Action::Status(Status {
                code,
                retry_after: retry_after.map(str::to_owned),
            })
        };
        match self {
            // Whoever runs the plan kills when something hangs.
            Self::Killed => (Moment::After, Action::Hang),
            Self::ResetBefore => (Moment::Before, Action::Reset),
            Self::ResetAfter => (Moment::After, Action::Reset),
            Self::Conflict => (Moment::Before, status(409, None)),
            Self::Overload => (Moment::Before, status(429, Some("1"))),
            Self::OverloadWithGarbage => (Moment::Before, status(429, Some("when I am ready"))),
            Self::InternalError => (Moment::Before, status(500, None)),
            Self::Unavailable => (Moment::Before, status(503, None)),
            Self::TimeoutBefore => (Moment::Before, status(504, None)),
            Self::TimeoutAfter => (Moment::After, status(504, None)),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Killed => "killed after",
            Self::ResetBefore => "reset before",
            Self::ResetAfter => "reset after",
            Self::Conflict => "409 before",
            Self::Overload => "429, Retry-After: 1",
            Self::OverloadWithGarbage => "429, Retry-After: garbage",
            Self::InternalError => "500 before",
            Self::Unavailable => "503 before",
            Self::TimeoutBefore => "504 before",
            Self::TimeoutAfter => "504 after",
        })
    }
}

/// A write of the reference run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    pub asked: Asked,
    /// How many for the very same there were, this one included.
    pub nth: u64,
}

impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} #{}", self.asked, self.nth)
    }
}

/// The writes of a scenario, in order of their first arrival.
pub fn writes(log: &[Entry], cast: &Cast) -> Vec<Write> {
    log.iter()
        .filter(|entry| concerns(&entry.asked, cast))
        .map(Write::of)
        .collect()
}

impl Write {
    fn of(entry: &Entry) -> Self {
        Self {
            asked: entry.asked.clone(),
            nth: entry.nth,
        }
    }
}

/// Whether it is a write of the scenario; events are told of and kept by nobody, so nothing depends on them.
fn concerns(asked: &Asked, cast: &Cast) -> bool {
    let mine = asked.name.contains(&cast.id) || asked.namespace.contains(&cast.id);
    asked.is_write() && mine && asked.resource != "events"
}

/// One scenario with its faults.
#[derive(Clone, Debug)]
pub struct Plan {
    pub cast: Cast,
    pub what: String,
    pub fault: Option<Fault>,
    pub rules: Vec<Rule>,
}

impl Plan {
    /// One fault at one write of the `reference`, in a scenario of its own.
    pub fn single(number: usize, reference: &Cast, write: &Write, fault: Fault) -> Self {
        let cast = Cast::new(number);
        let (at, action) = fault.parts();
        let asked = &write.asked;
        let matches = Match {
            verbs: vec![asked.verb],
            group: Some(asked.group.clone()),
            resource: Some(asked.resource.clone()),
            subresource: Some(asked.subresource.clone()),
            namespace: Some(reference.renamed(&asked.namespace, &cast)),
            name: Some(reference.renamed(&asked.name, &cast)),
            ..Match::default()
        };
        let when = When::Nth(write.nth);
        Self {
            what: format!("{fault}: {write}"),
            fault: Some(fault),
            rules: vec![Rule {
                matches,
                when,
                at,
                action,
            }],
            cast,
        }
    }

    /// Whether the write that it strikes may come again though it was done: its sender cannot know. One that starts anew can.
    pub fn excuses(&self, resource: &str, namespace: &str, name: &str) -> bool {
        self.rules.iter().any(|rule| {
            let is = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
            rule.at == Moment::After
                && rule.action != Action::Hang
                && is(&rule.matches.resource, resource)
                && is(&rule.matches.namespace, namespace)
                && is(&rule.matches.name, name)
        })
    }

    /// The rule file that replays it.
    pub fn replay(&self, reference: &Cast) -> String {
        let file = serde_json::to_string(&RuleFile::from(self.rules.clone())).unwrap();
        self.cast.renamed(&file, reference)
    }
}

/// Which plans are run.
#[derive(Clone, Debug, PartialEq)]
pub enum Choice {
    /// The same few each time.
    Sample,
    All,
    /// The operator killed after every write, and nothing else.
    Killed,
    /// Those of a rule file.
    Replay(RuleFile),
}

impl Choice {
    /// What `TENANTRY_FAULTS` says.
    pub fn from_env() -> Self {
        let word = std::env::var("TENANTRY_FAULTS").unwrap_or_default();
        Self::read(&word).unwrap_or_else(|error| panic!("{error}"))
    }

    pub fn read(word: &str) -> Result<Self, String> {
        match word {
            "" => Ok(Self::Sample),
            "all" => Ok(Self::All),
            "killed" => Ok(Self::Killed),
            path => {
                let text = std::fs::read_to_string(path).map_err(|error| {
                    format!(
                        "TENANTRY_FAULTS={path} is neither `all` nor `killed` nor a rule file that can be read: {error}"
                    )
                })?;
                let file = RuleFile::parse(&text).map_err(|error| format!("TENANTRY_FAULTS={path}: {error}"))?;
                Ok(Self::Replay(file))
            }
        }
    }

    /// The plans of these faults over these writes.
    pub fn plans(&self, reference: &Cast, writes: &[Write], faults: &[Fault], sample: usize) -> Vec<Plan> {
        let all: Vec<(Fault, &Write)> = faults
            .iter()
            .flat_map(|fault| writes.iter().map(|write| (*fault, write)))
            .collect();
        let mut chosen: Vec<usize> = match self {
            Self::Replay(_) => Vec::new(),
            Self::All => (0..all.len()).collect(),
            Self::Killed => {
                let killed = |index: &usize| all[*index].0 == Fault::Killed;
                (0..all.len()).filter(killed).collect()
            }
            // Evenly: each fault and each phase has its part.
            Self::Sample => (0..sample).map(|n| (2 * n + 1) * all.len() / (2 * sample)).collect(),
        };
        // A run that is cut short has tried some of each; the seed is no choice, only fixed.
        fastrand::Rng::with_seed(7).shuffle(&mut chosen);
        let chosen = chosen.into_iter().enumerate();
        chosen
            .map(|(place, index)| Plan::single(place + 1, reference, all[index].1, all[index].0))
            .collect()
    }
}
