//! Settings from the environment.

use std::{env, fmt, path::PathBuf, str::FromStr, time::Duration};

/// Settings of a soak.
#[derive(Debug)]
pub struct Settings {
    /// SOAK_MINUTES: how long the churn lasts.
    pub length: Duration,
    /// SOAK_TENANTS: the number of tenants.
    pub tenants: usize,
    /// SOAK_RATE: actions a second.
    pub rate: f64,
    /// SOAK_SEED: the same seed draws the same actions.
    pub seed: u64,
    /// SOAK_BINARY: the operator; by default that of this build.
    pub binary: PathBuf,
    /// SOAK_BREAK_WATCHES: with 0 the operator uses the API server directly.
    pub break_watches: bool,
}

/// Every variable, for the message about an unknown one.
const KNOWN: [&str; 6] = [
    "SOAK_BINARY",
    "SOAK_BREAK_WATCHES",
    "SOAK_MINUTES",
    "SOAK_RATE",
    "SOAK_SEED",
    "SOAK_TENANTS",
];

/// Time for the two quiet phases, before and after, and for setup.
const BESIDE: Duration = Duration::from_secs(180);

/// Without this check a mistyped setting would be ignored.
fn refuse_unknown(names: impl IntoIterator<Item = String>) -> Result<(), String> {
    let mut ours = names.into_iter().filter(|name| name.starts_with("SOAK_"));
    match ours.find(|name| !KNOWN.contains(&&**name)) {
        Some(name) => Err(format!("{name} is no setting; there are {}", KNOWN.join(", "))),
        None => Ok(()),
    }
}

fn read<T: FromStr>(name: &str, default: T, wanted: &str, fits: impl Fn(&T) -> bool) -> Result<T, String> {
    let Ok(text) = env::var(name) else {
        return Ok(default);
    };
    let value = text.parse().ok().filter(fits);
    value.ok_or_else(|| format!("{name}={text} is not {wanted}"))
}

impl Settings {
    pub fn from_env() -> Result<Self, String> {
        refuse_unknown(env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned()))?;
        let minutes = |minutes: &f64| (1.0..=10_080.0).contains(minutes);
        let minutes = read("SOAK_MINUTES", 60.0, "a number of minutes from 1 to 10080", minutes)?;
        let rate = |rate: &f64| (0.1..=50.0).contains(rate);
        let break_watches = |way: &u8| *way <= 1;
        let settings = Self {
            length: Duration::from_secs_f64(minutes * 60.0),
            tenants: read("SOAK_TENANTS", 100, "a number of tenants from 5 to 1000", |tenants| {
                (5..=1000).contains(tenants)
            })?,
            rate: read("SOAK_RATE", 1.0, "a number of actions a second from 0.1 to 50", rate)?,
            seed: read("SOAK_SEED", fastrand::u64(..), "a whole number", |_| true)?,
            binary: env::var_os("SOAK_BINARY").map_or_else(|| env!("CARGO_BIN_EXE_tenantry").into(), PathBuf::from),
            break_watches: read("SOAK_BREAK_WATCHES", 1_u8, "0 or 1", break_watches)? == 1,
        };
        if !settings.binary.is_file() {
            return Err(format!("SOAK_BINARY={} is no file", settings.binary.display()));
        }
        Ok(settings)
    }

    /// Every 15 seconds, or forty times in a short run.
    pub fn sample_every(&self) -> Duration {
        Duration::from_secs(15).min(self.length / 40)
    }

    /// JSON, one sample a line.
    pub fn samples(&self) -> PathBuf {
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("soak-{}.jsonl", self.seed))
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            length,
            tenants,
            rate,
            seed,
            ..
        } = self;
        write!(
            f,
            "takes about {:.0} minutes, three of them for quiet before and after. SOAK_SEED={seed} SOAK_MINUTES={} SOAK_TENANTS={tenants} SOAK_RATE={rate}, samples in {}",
            (*length + BESIDE).as_secs_f64() / 60.0,
            length.as_secs_f64() / 60.0,
            self.samples().display()
        )
    }
}
