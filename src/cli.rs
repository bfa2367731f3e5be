//! The command line: `tenantry run|render|adopt|version`.
//!
//! Every flag of `run` has an environment variable `TENANTRY_<FLAG>`; the flag takes precedence. [`RunArgs::validate`]
//! turns the flags into [`Settings`], after which no value needs to be checked again.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{
    ArgAction, Args, Parser, Subcommand, ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser as _},
};

use tenantry_cli::args::{AdoptArgs, RenderArgs, ResourceArgs};
use tenantry_core::settings::{Admission, ResourceNames, ResourceNamesError, is_dns_subdomain};
use tenantry_process::{
    client::ClusterSettings,
    leader::{ElectionConfig, ElectionConfigError},
    telemetry::{LogFormat, OtlpEndpoint},
};

/// The parsed command line.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "tenantry",
    version,
    about = "Turns tenant templates into fenced, metered and watched namespaces",
    // A Deployment's extraArgs come last, so the last value of a repeated flag must win.
    args_override_self = true
)]
pub struct Cli {
    /// The subcommand.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Run the operator until it gets a signal or loses its Lease.
    Run(Box<RunArgs>),
    /// Print the objects that the operator would apply, without a cluster.
    Render(RenderArgs),
    /// Report what would be refused if an existing namespace were handed to a tenant; with --yes, hand it over. For
    /// cluster admins.
    ///
    /// Dry-runs everything in the namespace in a scratch namespace with the guards that it would get. Prints one line
    /// for each finding: <kind>/<name>: who refuses it: why. Exit code 0: nothing would be refused, or --yes --force
    /// was given; 3: something would be refused, and the namespace was not handed over; 1: an error.
    Adopt(AdoptArgs),
    /// Print the version.
    Version,
}

/// A set of admission policies that the chart can install, as a flag's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AdmissionArg {
    /// Nothing.
    None,
    /// The ValidatingAdmissionPolicies.
    Validating,
    /// The MutatingAdmissionPolicies, on clusters that serve them.
    Mutating,
    /// The check of multi-factor sign-in, which reads an extra key of the user's authentication.
    Mfa,
}

impl AdmissionArg {
    fn installed(self) -> Option<Admission> {
        match self {
            Self::None => None,
            Self::Validating => Some(Admission::Validating),
            Self::Mutating => Some(Admission::Mutating),
            Self::Mfa => Some(Admission::Mfa),
        }
    }
}

/// Flags of `tenantry run`.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Kubeconfig file; default: $KUBECONFIG, else ~/.kube/config, else the pod's own ServiceAccount.
    #[arg(long, env = "TENANTRY_KUBECONFIG")]
    pub kubeconfig: Option<PathBuf>,
    /// Context in the kubeconfig; default: its current context.
    #[arg(long, env = "TENANTRY_CONTEXT")]
    pub context: Option<String>,
    /// Number of objects that each controller reconciles at the same time.
    #[arg(long, env = "TENANTRY_CONCURRENCY", default_value_t = 32)]
    pub concurrency: u16,
    /// Address that serves /livez, /readyz and /metrics.
    #[arg(long, env = "TENANTRY_LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// Format of the log on standard error.
    #[arg(
        long,
        env = "TENANTRY_LOG_FORMAT",
        default_value = "json",
        value_parser = PossibleValuesParser::new(["json", "text"]).try_map(|text| text.parse::<LogFormat>())
    )]
    pub log_format: LogFormat,
    /// Log filter, such as "info" or "info,tenantry=debug,kube=warn".
    #[arg(long, env = "TENANTRY_LOG_LEVEL", default_value = "info")]
    pub log_level: String,
    /// Whether the operator writes only while it holds a Lease; required with two or more replicas.
    #[arg(long, env = "TENANTRY_LEADER_ELECT", default_value_t = true, action = ArgAction::Set)]
    pub leader_elect: bool,
    /// Name of the Lease.
    #[arg(long, env = "TENANTRY_LEASE_NAME", default_value = "tenantry")]
    pub lease_name: String,
    /// Namespace of the Lease; default: $POD_NAMESPACE.
    #[arg(long, env = "TENANTRY_LEASE_NAMESPACE")]
    pub lease_namespace: Option<String>,
    /// Name of this process in the Lease (a random suffix is added); default: $POD_NAME.
    #[arg(long, env = "TENANTRY_IDENTITY")]
    pub identity: Option<String>,
    /// How long other replicas wait after the last renewal that they saw before they take the Lease; whole seconds.
    #[arg(long, env = "TENANTRY_LEASE_DURATION", default_value = "15s", value_parser = parse_duration)]
    pub lease_duration: Duration,
    /// How long this process stays leader after its last successful renewal.
    #[arg(long, env = "TENANTRY_RENEW_DEADLINE", default_value = "10s", value_parser = parse_duration)]
    pub renew_deadline: Duration,
    /// Pause between two attempts to take or renew the Lease.
    #[arg(long, env = "TENANTRY_RETRY_PERIOD", default_value = "2s", value_parser = parse_duration)]
    pub retry_period: Duration,
    /// Deadline of one API request, including its retries; lists get six times as long, a watch's stream has none.
    #[arg(long, env = "TENANTRY_REQUEST_TIMEOUT", default_value = "10s", value_parser = parse_duration)]
    pub request_timeout: Duration,
    /// Names of resources that differ from cluster to cluster.
    #[command(flatten)]
    pub resources: ResourceArgs,
    /// Admission policies that the chart has installed; a status claims only what they enforce.
    #[arg(
        long,
        env = "TENANTRY_ADMISSION",
        value_enum,
        value_delimiter = ',',
        default_value = "validating,mutating"
    )]
    pub admission: Vec<AdmissionArg>,
    /// Shortest time between two writes of a Tenant's status if only its usage changed.
    #[arg(long, env = "TENANTRY_STATUS_INTERVAL", default_value = "10s", value_parser = parse_duration)]
    pub status_interval: Duration,
    /// How often each watch re-lists (±20 %), at least one minute; bounds how long a missed event goes unnoticed.
    #[arg(long, env = "TENANTRY_RELIST_INTERVAL", default_value = "1h", value_parser = parse_duration)]
    pub relist_interval: Duration,
    /// Overrides --relist-interval without its lower bound; only for tests that drop events on purpose.
    #[arg(long, hide = true, value_parser = parse_duration)]
    pub test_relist_interval: Option<Duration>,
    /// OTLP/gRPC endpoint for traces, such as http://collector:4317; needs a build with the feature "otlp".
    #[arg(long, env = "TENANTRY_OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<String>,
    /// How long running work may take to end after a SIGTERM; must be below the pod's terminationGracePeriodSeconds.
    #[arg(long, env = "TENANTRY_SHUTDOWN_GRACE", default_value = "25s", value_parser = parse_duration)]
    pub shutdown_grace: Duration,
    /// The pod's name from the downward API, the fallback of --identity.
    #[arg(long, env = "POD_NAME", hide = true)]
    pub pod_name: Option<String>,
    /// The pod's namespace from the downward API, the fallback of --lease-namespace.
    #[arg(long, env = "POD_NAMESPACE", hide = true)]
    pub pod_namespace: Option<String>,
}

/// The settings of leader election.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseSettings {
    /// Name of the Lease.
    pub name: String,
    /// Namespace of the Lease.
    pub namespace: String,
    /// Identity without its random suffix.
    pub identity: String,
    /// The three durations, checked against each other.
    pub election: ElectionConfig,
}

/// The settings of `run`, with every value checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How to reach the API server.
    pub cluster: ClusterSettings,
    /// Number of objects that each controller reconciles at the same time, 1 to 256.
    pub concurrency: u16,
    /// Address of the admin server.
    pub listen: SocketAddr,
    /// Format of the log.
    pub log_format: LogFormat,
    /// Log filter; its syntax is checked when telemetry starts.
    pub log_level: String,
    /// Leader election; `None` if this is the only replica.
    pub lease: Option<LeaseSettings>,
    /// Deadline of one API request.
    pub request_timeout: Duration,
    /// Names of resources that differ from cluster to cluster.
    pub resources: ResourceNames,
    /// Admission policies that are installed.
    pub admission: BTreeSet<Admission>,
    /// Shortest time between two status writes if only usage changed.
    pub status_interval: Duration,
    /// How often each watch re-lists.
    pub relist_interval: Duration,
    /// Where traces are sent, if anywhere.
    pub otlp: Option<OtlpEndpoint>,
    /// How long running work may take to end.
    pub shutdown_grace: Duration,
}

/// A flag, or a combination of flags, that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Zero or too high.
    #[error("--concurrency must be between 1 and 256, got {0}")]
    Concurrency(u16),
    /// The three durations of the Lease contradict each other.
    #[error(transparent)]
    Election(#[from] ElectionConfigError),
    /// A malformed resource name.
    #[error(transparent)]
    Resources(#[from] ResourceNamesError),
    /// Leader election without a namespace.
    #[error(
        "leader election needs a namespace: set --lease-namespace or POD_NAMESPACE, or --leader-elect=false for a single replica"
    )]
    LeaseNamespace,
    /// A name that the API server would refuse.
    #[error("{flag} must be {wanted}, got {got:?}")]
    Name {
        /// The flag.
        flag: &'static str,
        /// What is expected.
        wanted: &'static str,
        /// What was given.
        got: String,
    },
    /// A duration out of range.
    #[error("{flag} must be between {min:?} and {max:?}, got {got:?}")]
    OutOfRange {
        /// The flag.
        flag: &'static str,
        /// Smallest accepted.
        min: Duration,
        /// Largest accepted.
        max: Duration,
        /// What was given.
        got: Duration,
    },
    /// Not a URL.
    #[error("--otlp-endpoint must start with http:// or https://, got {0:?}")]
    OtlpEndpoint(String),
    /// This build cannot send traces.
    #[error(
        "--otlp-endpoint is set, but this binary was built without traces: build with --features otlp, or unset it"
    )]
    OtlpNotBuilt,
}

impl RunArgs {
    /// Turns the flags into [`Settings`]; pure.
    pub fn validate(self) -> Result<Settings, SettingsError> {
        if !(1..=256).contains(&self.concurrency) {
            return Err(SettingsError::Concurrency(self.concurrency));
        }
        let second = Duration::from_secs(1);
        let hour = Duration::from_secs(3600);
        let lease = if self.leader_elect {
            Some(LeaseSettings {
                name: dns_name("--lease-name", self.lease_name)?,
                namespace: self
                    .lease_namespace
                    .or(self.pod_namespace)
                    .filter(|namespace| !namespace.is_empty())
                    .ok_or(SettingsError::LeaseNamespace)
                    .and_then(|namespace| dns_name("--lease-namespace", namespace))?,
                identity: self
                    .identity
                    .or(self.pod_name)
                    .filter(|identity| !identity.is_empty())
                    .unwrap_or_else(|| "tenantry".to_owned()),
                election: ElectionConfig::new(self.lease_duration, self.renew_deadline, self.retry_period)?,
            })
        } else {
            None
        };
        Ok(Settings {
            cluster: ClusterSettings {
                kubeconfig: self.kubeconfig,
                context: self.context,
            },
            concurrency: self.concurrency,
            listen: self.listen,
            log_format: self.log_format,
            log_level: self.log_level,
            lease,
            request_timeout: within(
                "--request-timeout",
                self.request_timeout,
                second,
                Duration::from_secs(60),
            )?,
            resources: self.resources.validate()?,
            admission: self.admission.into_iter().filter_map(AdmissionArg::installed).collect(),
            status_interval: within("--status-interval", self.status_interval, second, hour)?,
            relist_interval: within("--relist-interval", self.relist_interval, 60 * second, 24 * hour)
                .map(|interval| self.test_relist_interval.unwrap_or(interval))?,
            otlp: self.otlp_endpoint.map(otlp_endpoint).transpose()?,
            shutdown_grace: within("--shutdown-grace", self.shutdown_grace, second, hour)?,
        })
    }
}

fn otlp_endpoint(endpoint: String) -> Result<OtlpEndpoint, SettingsError> {
    if !cfg!(feature = "otlp") {
        return Err(SettingsError::OtlpNotBuilt);
    }
    if endpoint.starts_with("http://") || endpoint.starts_with("https://") {
        Ok(OtlpEndpoint(endpoint))
    } else {
        Err(SettingsError::OtlpEndpoint(endpoint))
    }
}

/// Parses "15s", "500ms" or "1m30s"; refuses a bare number, because its unit would be a guess.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let hint = "use a number and a unit, such as 15s, 500ms or 1m30s";
    let signed: jiff::SignedDuration = text.parse().map_err(|_| format!("not a duration: {hint}"))?;
    Duration::try_from(signed).map_err(|_| format!("a duration cannot be negative: {hint}"))
}

fn within(flag: &'static str, got: Duration, min: Duration, max: Duration) -> Result<Duration, SettingsError> {
    if (min..=max).contains(&got) {
        Ok(got)
    } else {
        Err(SettingsError::OutOfRange { flag, min, max, got })
    }
}

fn dns_name(flag: &'static str, name: String) -> Result<String, SettingsError> {
    if is_dns_subdomain(&name) {
        Ok(name)
    } else {
        Err(SettingsError::Name {
            flag,
            wanted: "a name of lower-case letters, digits and dashes",
            got: name,
        })
    }
}

#[cfg(test)]
mod tests;
