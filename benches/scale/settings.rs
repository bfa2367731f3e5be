//! What the environment asks for. Also read by tests/benchmarks.rs, which has its tests: a bench has no test harness.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

/// Pods of the template, and after its change: what BENCH_NAMESPACES must divide.
pub const PODS: u64 = 30;
pub const FEWER: u64 = 27;
/// Far above what one machine can hold; a typing error asks for more.
const MOST_TENANTS: usize = 100_000;

/// A part of the bench beside the time to Ready, in the order in which they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// One Tenant after the other, before there are others.
    Idle,
    /// A template change over all tenants.
    FanOut,
    /// One Tenant after the other, with all others there.
    Single,
    /// One object deleted, until it is back.
    Drift,
    /// All objects of up to 100 tenants deleted at once.
    Burst,
    /// A tenant's own writes, inside and outside.
    Own,
    /// A tenant's pod creates without the policies that look at them.
    Policies,
    /// A tenant's pod creates in parallel, with and without the operator; restarts it.
    Crowd,
    /// The operator's restart.
    Restart,
    /// How exact totals are, and how soon room follows demand.
    Totals,
    /// Nothing happens.
    Steady,
}

impl Part {
    const ALL: [Self; 11] = [
        Self::Idle,
        Self::FanOut,
        Self::Single,
        Self::Drift,
        Self::Burst,
        Self::Own,
        Self::Policies,
        Self::Crowd,
        Self::Restart,
        Self::Totals,
        Self::Steady,
    ];
    /// What depends on how many tenants there are, and does not take minutes.
    const GROWTH: [Self; 3] = [Self::FanOut, Self::Single, Self::Own];

    fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Single => "single",
            Self::FanOut => "fan-out",
            Self::Drift => "drift",
            Self::Burst => "burst",
            Self::Own => "own",
            Self::Policies => "policies",
            Self::Crowd => "crowd",
            Self::Restart => "restart",
            Self::Totals => "totals",
            Self::Steady => "steady",
        }
    }
}

/// One invocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Numbers of tenants, each on a control plane of its own; 0 measures the exact totals only.
    pub sizes: Vec<usize>,
    /// Namespaces of each tenant.
    pub namespaces: usize,
    /// How long nothing happens at the end.
    pub steady: Duration,
    /// How often each size is measured.
    pub runs: usize,
    /// Fail where a target is missed by more than the runs differ.
    pub gate: bool,
    /// Print who asked the API server for what.
    pub audit: bool,
    pub parts: BTreeSet<Part>,
    /// Where the JSON goes; the bench's own place if `None`.
    pub out: Option<PathBuf>,
}

/// Every variable, for the message about an unknown one.
const KNOWN: [&str; 9] = [
    "BENCH_AUDIT",
    "BENCH_GATE",
    "BENCH_GROWTH",
    "BENCH_NAMESPACES",
    "BENCH_OUT",
    "BENCH_PARTS",
    "BENCH_RUNS",
    "BENCH_STEADY",
    "BENCH_TENANTS",
];

impl Settings {
    /// Reads variables (name and value); those that do not start with `BENCH_` do not matter.
    ///
    /// The error is one line that names the variable, what it holds and what to write.
    pub fn read(variables: impl IntoIterator<Item = (String, String)>) -> Result<Self, String> {
        let mut settings = Self {
            sizes: vec![1000],
            namespaces: 1,
            steady: Duration::from_secs(60),
            runs: 1,
            gate: false,
            audit: false,
            parts: Part::ALL.into(),
            out: None,
        };
        let (mut tenants, mut growth, mut parts) = (None, None, None);
        for (name, value) in variables.into_iter().filter(|(name, _)| name.starts_with("BENCH_")) {
            let value = value.trim();
            if value.is_empty() {
                continue;
            }
            match name.as_str() {
                "BENCH_TENANTS" => tenants = Some(number(&name, value, 0, MOST_TENANTS)?),
                "BENCH_GROWTH" => growth = Some(sizes(value)?),
                "BENCH_NAMESPACES" => settings.namespaces = namespaces(value)?,
                "BENCH_STEADY" => {
                    let seconds = number(&name, value, 1, 86_400)?;
                    settings.steady = Duration::from_secs(seconds as u64);
                }
                "BENCH_RUNS" => settings.runs = number(&name, value, 1, 100)?,
                "BENCH_PARTS" => parts = Some(parse_parts(value)?),
                "BENCH_GATE" => settings.gate = value != "0",
                "BENCH_AUDIT" => settings.audit = value != "0",
                "BENCH_OUT" => settings.out = Some(value.into()),
                _ => return Err(format!("{name} is no setting; there are {}", KNOWN.join(", "))),
            }
        }
        match (tenants, growth) {
            (Some(_), Some(_)) => {
                return Err("BENCH_TENANTS and BENCH_GROWTH both say how many; leave one of them out".to_owned());
            }
            (Some(tenants), None) => settings.sizes = vec![tenants],
            (None, Some(growth)) => {
                settings.sizes = growth;
                settings.parts = Part::GROWTH.into();
            }
            (None, None) => {}
        }
        if let Some(parts) = parts {
            settings.parts = parts;
        }
        if settings.gate && settings.runs < 3 {
            return Err(format!(
                "BENCH_GATE needs to know how much runs differ; with BENCH_RUNS={} it cannot: set 3 or more",
                settings.runs
            ));
        }
        Ok(settings)
    }

    pub fn has(&self, part: Part) -> bool {
        self.parts.contains(&part)
    }
}

fn number(name: &str, value: &str, least: usize, most: usize) -> Result<usize, String> {
    let number = value.parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("{name}={value:?} is not a number from {least} to {most}"))
}

fn sizes(value: &str) -> Result<Vec<usize>, String> {
    let mut sizes = Vec::new();
    for part in value.split(',').map(str::trim) {
        let size = number("BENCH_GROWTH", part, 1, MOST_TENANTS)
            .map_err(|error| format!("{error}; write numbers of tenants, such as BENCH_GROWTH=250,500,1000"))?;
        if sizes.last().is_some_and(|last| *last >= size) {
            return Err(format!("BENCH_GROWTH={value:?} must grow from one number to the next"));
        }
        sizes.push(size);
    }
    Ok(sizes)
}

/// The template's pods are dealt out evenly, so that what the allocator does at once is what was rendered.
fn namespaces(value: &str) -> Result<usize, String> {
    let count = number("BENCH_NAMESPACES", value, 1, 9)?;
    if PODS.is_multiple_of(count as u64) && FEWER.is_multiple_of(count as u64) {
        Ok(count)
    } else {
        Err(format!(
            "BENCH_NAMESPACES={count} must divide {PODS} and {FEWER}: use 1 or 3"
        ))
    }
}

fn parse_parts(value: &str) -> Result<BTreeSet<Part>, String> {
    let parse = |name: &str| {
        let part = Part::ALL.into_iter().find(|part| part.name() == name);
        part.ok_or_else(|| {
            let names = Part::ALL.map(Part::name).join(", ");
            format!(
                "BENCH_PARTS={name:?} is no part of the bench; there are {names}, and none for the time to Ready alone"
            )
        })
    };
    if value == "none" {
        return Ok(BTreeSet::new());
    }
    value.split(',').map(|name| parse(name.trim())).collect()
}
