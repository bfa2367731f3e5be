//! The faults to try: every write of the reference run, each with every fault; or a sample of these.

use std::{fmt, io::Write as _};

use faultproxy::{Action, Asked, Entry, Match, Moment, Rule, RuleFile, Status, Verb, When};

use super::scenario::Cast;

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// SIGKILL when the write is done and the operator has no answer yet.
    Killed,
    /// SIGKILL when the write was sent; it arrives when the next operator is at work.
    KilledLate,
    /// SIGTERM when the write is done and the operator has no answer yet.
    Terminated,
    ResetBefore,
    ResetAfter,
    Conflict,
    Forbidden,
    NotFound,
    Invalid,
    Overload,
    OverloadForADay,
    OverloadWithGarbage,
    InternalError,
    Unavailable,
    TimeoutBefore,
    TimeoutAfter,
    /// The request arrives after its sender has given up.
    LateBefore,
    /// The answer arrives after its sender has given up.
    LateAfter,
    /// The event never arrives.
    Dropped,
    /// A 410 replaces the event.
    Expired,
    /// The watch ends in place of the event.
    Cut,
    /// The event and all later ones of its watch are late.
    Delayed,
}

/// `--request-timeout` of an operator that gives up before a late answer comes.
pub const IMPATIENT: &str = "--request-timeout=5s";

/// Longer than that timeout, in milliseconds.
const LATE: u64 = 6000;

/// How late an event is, in milliseconds.
const BEHIND: u64 = 3000;

impl Fault {
    /// Faults of answers: other tenants notice nothing.
    pub const ANSWERS: [Self; 13] = [
        Self::ResetBefore,
        Self::ResetAfter,
        Self::Conflict,
        Self::Forbidden,
        Self::NotFound,
        Self::Invalid,
        Self::Overload,
        Self::OverloadForADay,
        Self::OverloadWithGarbage,
        Self::InternalError,
        Self::Unavailable,
        Self::TimeoutBefore,
        Self::TimeoutAfter,
    ];

    /// Those of events.
    pub const EVENTS: [Self; 4] = [Self::Dropped, Self::Expired, Self::Cut, Self::Delayed];

    fn parts(self) -> (Moment, Action) {
        let status = |code, retry_after: Option<&str>| {
            Action::Status(Status {
                code,
                retry_after: retry_after.map(str::to_owned),
            })
        };
        match self {
            // The runner of the plan ends the operator when a request hangs.
            Self::Killed | Self::Terminated => (Moment::After, Action::Hang),
            Self::KilledLate => (Moment::Before, Action::Hang),
            Self::ResetBefore => (Moment::Before, Action::Reset),
            Self::ResetAfter => (Moment::After, Action::Reset),
            Self::Conflict => (Moment::Before, status(409, None)),
            Self::Forbidden => (Moment::Before, status(403, None)),
            Self::NotFound => (Moment::Before, status(404, None)),
            Self::Invalid => (Moment::Before, status(422, None)),
            Self::Overload => (Moment::Before, status(429, Some("1"))),
            Self::OverloadForADay => (Moment::Before, status(429, Some("86400"))),
            Self::OverloadWithGarbage => (Moment::Before, status(429, Some("when I am ready"))),
            Self::InternalError => (Moment::Before, status(500, None)),
            Self::Unavailable => (Moment::Before, status(503, None)),
            Self::TimeoutBefore => (Moment::Before, status(504, None)),
            Self::TimeoutAfter => (Moment::After, status(504, None)),
            Self::LateBefore => (Moment::Before, Action::Slow(LATE)),
            Self::LateAfter => (Moment::After, Action::Slow(LATE)),
            Self::Dropped => (Moment::Before, Action::Drop),
            Self::Expired => (Moment::Before, Action::Expire),
            Self::Cut => (Moment::Before, Action::Cut),
            Self::Delayed => (Moment::Before, Action::Delay(BEHIND)),
        }
    }

    /// Whether the fault needs an operator with a short timeout.
    pub fn is_late(self) -> bool {
        matches!(self, Self::LateBefore | Self::LateAfter)
    }

    /// Whether the sender cannot know the result of its request after this fault, for these verbs. It may then send the
    /// write a second time.
    fn hides_what_stands(self, verbs: &[Verb]) -> bool {
        match self {
            Self::KilledLate
            | Self::ResetAfter
            | Self::TimeoutAfter
            | Self::LateBefore
            | Self::LateAfter => true,
            // The stale list lacks objects that exist, so the operator creates them again.
            Self::NotFound => verbs.contains(&Verb::Delete),
            // A new process lists first.
            Self::Killed
            | Self::Terminated
            | Self::ResetBefore
            | Self::Conflict
            | Self::Forbidden
            | Self::Invalid
            | Self::Overload
            | Self::OverloadForADay
            | Self::OverloadWithGarbage
            | Self::InternalError
            | Self::Unavailable
            | Self::TimeoutBefore
            // Of the object of the event.
            | Self::Dropped
            | Self::Expired
            | Self::Cut
            | Self::Delayed => false,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Killed => "killed after",
            Self::KilledLate => "killed, arrives at the next one's time",
            Self::Terminated => "SIGTERM after",
            Self::ResetBefore => "reset before",
            Self::ResetAfter => "reset after",
            Self::Conflict => "409 before",
            Self::Forbidden => "403 before",
            Self::NotFound => "404 before",
            Self::Invalid => "422 before",
            Self::Overload => "429, Retry-After: 1",
            Self::OverloadForADay => "429, Retry-After: 86400",
            Self::OverloadWithGarbage => "429, Retry-After: garbage",
            Self::InternalError => "500 before",
            Self::Unavailable => "503 before",
            Self::TimeoutBefore => "504 before",
            Self::TimeoutAfter => "504 after",
            Self::LateBefore => "arrives after its deadline",
            Self::LateAfter => "answered after its deadline",
            Self::Dropped => "event dropped",
            Self::Expired => "410 for an event",
            Self::Cut => "watch ends at an event",
            Self::Delayed => "event 3 s late",
        })
    }
}

/// A write of the reference run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    pub asked: Asked,
    /// How many equal writes there were, this one included.
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
        .filter(|entry| entry.asked.is_write() && is_of(&entry.asked, cast))
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

/// The events of watches, likewise, of a run in which each was noted.
pub fn events(log: &[Entry], cast: &Cast) -> Vec<Write> {
    log.iter()
        .filter(|entry| !entry.asked.event.is_empty() && is_of(&entry.asked, cast))
        .map(Write::of)
        .collect()
}

/// Strikes every request with this verb.
pub fn of_all(verb: Verb, when: When, action: Action) -> Rule {
    Rule {
        matches: Match {
            verbs: vec![verb],
            ..Match::default()
        },
        when,
        at: Moment::Before,
        action,
    }
}

/// Nothing depends on Event objects: nobody reads them back.
fn is_of(asked: &Asked, cast: &Cast) -> bool {
    (asked.name.contains(&cast.id) || asked.namespace.contains(&cast.id)) && asked.resource != "events"
}

/// One scenario with its faults.
#[derive(Clone, Debug)]
pub struct Plan {
    pub cast: Cast,
    /// Its row in the table: plans of the same row are counted together.
    pub row: String,
    pub what: String,
    pub fault: Option<Fault>,
    pub rules: Vec<Rule>,
}

impl Plan {
    /// One fault at one write of the `reference`, in a scenario of its own.
    pub fn single(number: usize, reference: &Cast, write: &Write, fault: Fault) -> Self {
        let asked = &write.asked;
        let cast = Cast::new(number).with_part_of(&format!("{} {}", asked.namespace, asked.name));
        let (at, action) = fault.parts();
        let matches = Match {
            verbs: vec![asked.verb],
            group: Some(asked.group.clone()),
            resource: Some(asked.resource.clone()),
            subresource: Some(asked.subresource.clone()),
            namespace: Some(reference.renamed(&asked.namespace, &cast)),
            name: Some(reference.renamed(&asked.name, &cast)),
            event: Some(asked.event.clone()).filter(|event| !event.is_empty()),
            ..Match::default()
        };
        let when = When::Nth(write.nth);
        Self {
            row: fault.to_string(),
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

    /// Whether a write of this object may be repeated: it was struck, or the operator has a short timeout.
    pub fn excuses(&self, resource: &str, namespace: &str, name: &str) -> bool {
        if self.fault.is_some_and(Fault::is_late) {
            return true;
        }
        self.rules.iter().any(|rule| {
            // A rule file does not say which writes it strikes.
            self.fault
                .is_none_or(|fault| fault.hides_what_stands(&rule.matches.verbs))
                && rule_is_about(rule, resource, namespace, name)
        })
    }

    /// Whether a request for this object may arrive after everything else is at rest.
    pub fn holds_back(&self, resource: &str, namespace: &str, name: &str) -> bool {
        self.rules.iter().any(|rule| {
            matches!(rule.action, Action::Hang | Action::Slow(_)) && rule_is_about(rule, resource, namespace, name)
        }) || self.fault.is_some_and(Fault::is_late)
    }

    /// Its rules in the form in which the proxy logs them.
    pub fn rule_texts(&self) -> Vec<String> {
        let rules = self.rules.iter();
        rules.map(|rule| serde_json::to_string(rule).unwrap()).collect()
    }

    /// The rule file that replays it.
    pub fn replay(&self, reference: &Cast) -> String {
        let file = serde_json::to_string(&RuleFile::from(self.rules.clone())).unwrap();
        self.cast.renamed(&file, reference)
    }
}

fn rule_is_about(rule: &Rule, resource: &str, namespace: &str, name: &str) -> bool {
    let is = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
    is(&rule.matches.resource, resource) && is(&rule.matches.namespace, namespace) && is(&rule.matches.name, name)
}

/// Faults with a name for `TENANTRY_FAULTS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    pub name: &'static str,
    pub faults: &'static [Fault],
    /// Plans of a sample.
    sample: usize,
    pub beside: Beside,
}

/// Which plans share one operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    /// Plans that affect no other plan.
    Lives,
    /// Plans that need an operator with a short timeout: on a busy machine it gives up on more than the late answers.
    Impatient,
    /// Plans that end the operator.
    Ends,
}

impl Beside {
    pub const ALL: [Self; 3] = [Self::Lives, Self::Impatient, Self::Ends];
}

/// Every group.
pub const GROUPS: [Group; 6] = [
    Group {
        name: "answers",
        faults: &Fault::ANSWERS,
        sample: 20,
        beside: Beside::Lives,
    },
    Group {
        name: "late",
        faults: &[Fault::LateBefore, Fault::LateAfter],
        sample: 6,
        beside: Beside::Impatient,
    },
    Group {
        name: "events",
        faults: &Fault::EVENTS,
        sample: 12,
        beside: Beside::Lives,
    },
    Group {
        name: "killed",
        faults: &[Fault::Killed],
        sample: 5,
        beside: Beside::Ends,
    },
    Group {
        name: "killed-late",
        faults: &[Fault::KilledLate],
        sample: 4,
        beside: Beside::Ends,
    },
    Group {
        name: "terminated",
        faults: &[Fault::Terminated],
        sample: 4,
        beside: Beside::Ends,
    },
];

/// Which plans to run.
#[derive(Clone, Debug, PartialEq)]
pub enum Choice {
    /// A fixed sample of each group.
    Sample,
    /// All of each group, or one part of several, counted from 1.
    All { part: usize, of: usize },
    /// All of one group.
    Only(&'static str),
    /// So many pairs of faults, drawn with this seed.
    Pairs { number: usize, seed: u64 },
    /// The rules of a file.
    Replay(RuleFile),
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sample => f.write_str("the fixed sample (TENANTRY_FAULTS=all is every single fault)"),
            Self::All { part: 1, of: 1 } => f.write_str("every single fault"),
            Self::All { part, of } => write!(f, "part {part} of {of} of the single faults"),
            Self::Only(name) => write!(f, "the faults of the group {name}"),
            Self::Pairs { number, seed } => write!(f, "{number} plans of two faults each, by seed {seed}"),
            Self::Replay(_) => f.write_str("a rule file"),
        }
    }
}

impl Choice {
    /// The choice in `TENANTRY_FAULTS`. An unknown value ends the process with a one-line message.
    pub fn from_env() -> Self {
        let word = std::env::var("TENANTRY_FAULTS").unwrap_or_default();
        Self::read(word.trim()).unwrap_or_else(|error| {
            // Not by eprintln: the test harness captures it, and the process ends. The janitors remove the control
            // planes.
            let _ = writeln!(std::io::stderr(), "faults: {error}");
            std::process::exit(2)
        })
    }

    pub fn read(word: &str) -> Result<Self, String> {
        if let Some(group) = GROUPS.iter().find(|group| group.name == word) {
            return Ok(Self::Only(group.name));
        }
        if let Some(rest) = word.strip_prefix("pairs:") {
            let mut numbers = rest.split(':').map(str::parse::<u64>);
            return match (numbers.next(), numbers.next(), numbers.next()) {
                (Some(Ok(number @ 1..)), Some(Ok(seed)), None) => Ok(Self::Pairs {
                    number: usize::try_from(number).unwrap_or(usize::MAX),
                    seed,
                }),
                _ => Err(format!(
                    "TENANTRY_FAULTS={word} is not pairs:<number>:<seed> with one pair or more, such as pairs:48:7"
                )),
            };
        }
        if let Some(rest) = word.strip_prefix("all:") {
            let numbers = rest
                .split_once('/')
                .and_then(|(part, of)| Some((part.parse().ok()?, of.parse().ok()?)));
            return match numbers {
                Some((part, of)) if 0 < part && part <= of => Ok(Self::All { part, of }),
                _ => Err(format!(
                    "TENANTRY_FAULTS={word} is not all:<part>/<parts>, such as all:1/4"
                )),
            };
        }
        match word {
            "" => Ok(Self::Sample),
            "all" => Ok(Self::All { part: 1, of: 1 }),
            path => {
                let names: Vec<_> = GROUPS.iter().map(|group| group.name).collect();
                let text = std::fs::read_to_string(path).map_err(|error| {
                    format!(
                        "TENANTRY_FAULTS={path} is none of all, all:<part>/<parts>, {}, pairs:<number>:<seed>, nor a rule file that can be read: {error}",
                        names.join(", ")
                    )
                })?;
                let file = RuleFile::parse(&text).map_err(|error| format!("TENANTRY_FAULTS={path}: {error}"))?;
                Ok(Self::Replay(file))
            }
        }
    }

    /// Whether everything is asked for, long tests included.
    pub fn is_all(&self) -> bool {
        matches!(self, Self::All { .. })
    }

    /// Whether its plans come from a reference run of the same scenario, so that nearly all must strike.
    pub fn must_strike(&self) -> bool {
        matches!(self, Self::Sample | Self::All { .. } | Self::Only(_))
    }

    /// The plans of some groups: each fault at each write, or at each event of a watch.
    pub fn plans(&self, groups: &[Group], reference: &Cast, writes: &[Write], events: &[Write]) -> Vec<Plan> {
        let mut chosen: Vec<(Fault, &Write)> = groups
            .iter()
            .flat_map(|group| {
                let places = if group.faults == Fault::EVENTS { events } else { writes };
                self.of_group(group, places)
            })
            .collect();
        // Shuffled, so that an interrupted run has tried some of each; the seed is fixed and has no meaning.
        fastrand::Rng::with_seed(7).shuffle(&mut chosen);
        if let Self::All { part, of } = self {
            chosen = chosen.into_iter().skip(part - 1).step_by(*of).collect();
        }
        let chosen = chosen.into_iter().enumerate();
        chosen
            .map(|(number, (fault, place))| Plan::single(number + 1, reference, place, fault))
            .collect()
    }

    fn of_group<'a>(&self, group: &Group, places: &'a [Write]) -> Vec<(Fault, &'a Write)> {
        let all = group.faults.iter();
        let all: Vec<_> = all
            .flat_map(|fault| places.iter().map(|place| (*fault, place)))
            .collect();
        match self {
            Self::All { .. } => all,
            Self::Only(name) if *name == group.name => all,
            Self::Only(_) | Self::Pairs { .. } | Self::Replay(_) => Vec::new(),
            // Evenly spaced, so that every fault and every phase is included.
            Self::Sample => (0..group.sample)
                .map(|n| all[(2 * n + 1) * all.len() / (2 * group.sample)])
                .collect(),
        }
    }

    /// The requested pairs: two faults of answers, each at a different write.
    pub fn pairs(&self, reference: &Cast, writes: &[Write]) -> Vec<Plan> {
        let Self::Pairs { number, seed } = *self else {
            return Vec::new();
        };
        let mut rng = fastrand::Rng::with_seed(seed);
        (1..=number)
            .map(|number| {
                let mut single = || {
                    let fault = Fault::ANSWERS[rng.usize(..Fault::ANSWERS.len())];
                    Plan::single(number, reference, &writes[rng.usize(..writes.len())], fault)
                };
                let (first, second) = (single(), single());
                Plan {
                    row: "two at once".to_owned(),
                    what: format!("{}; {}", first.what, second.what),
                    fault: None,
                    rules: [first.rules, second.rules].concat(),
                    cast: Cast::new(number),
                }
            })
            .collect()
    }
}
