//! Settings from the environment. tests/benchmarks.rs reads it too and has its tests: a bench has no test harness.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

/// The template's pods, before and after its change; BENCH_NAMESPACES must divide both.
pub const PODS: u64 = 30;
pub const FEWER: u64 = 27;
/// Far above what one machine can run; only a typing error asks for more.
const MOST_TENANTS: usize = 100_000;

/// A part of the bench besides the time to Ready. The parts run in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// One Tenant after the other, on an empty cluster.
    Idle,
    /// A template change over all tenants.
    FanOut,
    /// One Tenant after the other, on a full cluster.
    Single,
    /// One object deleted, until it is back.
    Drift,
    /// All objects of up to 100 tenants deleted at once.
    Burst,
    /// A tenant's own writes, inside and outside.
    Own,
    /// A tenant's pod creates without the policies that match them.
    Policies,
    /// A tenant's pod creates in parallel, with and without the operator; restarts it.
    Crowd,
    /// The operator's restart.
    Restart,
    /// How exact totals are, and how fast quota follows demand.
    Totals,
    /// At rest.
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
    /// The parts that depend on the number of tenants and do not take minutes.
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
    /// How long the time at rest is.
    pub steady: Duration,
    /// How often each size is measured.
    pub runs: usize,
    /// Fail if a target is missed by more than the range of the runs.
    pub gate: bool,
    /// Print all requests to the API server, by user.
    pub audit: bool,
    pub parts: BTreeSet<Part>,
    /// Where to write the JSON; by default below `target`.
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
    /// Reads variables (name and value); ignores those that do not start with `BENCH_`.
    ///
    /// The error is one line with the variable, its value and what to write instead.
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

/// The template's pods divide evenly, so that the allocator's first shares equal the rendered ones.
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
