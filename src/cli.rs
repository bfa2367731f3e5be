//! The command line: `tenantry run|render|adopt|generate|version`.
//!
//! Every flag of `run` has an environment twin `TENANTRY_<FLAG>`; the flag wins. [`RunArgs::validate`] turns what was
//! typed into [`Settings`], after which no value needs to be checked again.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

pub use self::adopt::{AdoptArgs, ReportFormat};
use tenantry_process::leader::{ElectionConfig, ElectionConfigError};

mod adopt;

/// What was typed.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "tenantry",
    version,
    about = "Turns tenant templates into fenced, metered and watched namespaces",
    // A Deployment's extraArgs come last and win.
    args_override_self = true
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Run the operator until it is told to stop or loses its lease.
    Run(Box<RunArgs>),
    /// Print the objects that the operator would apply, without a cluster.
    Render(RenderArgs),
    /// Say what handing an existing namespace to a tenant would mean, and with --yes do it; for cluster admins.
    ///
    /// Everything in the namespace is tried, as a dry run, in a scratch namespace with the guards that it would get. One line
    /// a finding: <kind>/<name>: who refuses it: why. Exit code 0: nothing would be refused, or --yes --force was given; 3:
    /// something would be, and the namespace was not handed over; 1: an error.
    Adopt(AdoptArgs),
    /// Write the generated files of this repository (CRDs, docs), or check that they are current.
    Generate(GenerateArgs),
    /// Print the version.
    Version,
}

/// Names of resources that differ from cluster to cluster; `run`, `render` and `adopt` must agree on them.
#[derive(Debug, Clone, Args)]
pub struct ResourceArgs {
    /// Extended resource that an AI processing unit means; may be given several times.
    #[arg(
        long = "accelerator-resource",
        env = "TENANTRY_ACCELERATOR_RESOURCE",
        value_delimiter = ',',
        default_value = "nvidia.com/gpu"
    )]
    pub accelerator_resources: Vec<String>,
    /// Resource whose objects count as ML model instances, as <plural>.<group>.
    #[arg(
        long,
        env = "TENANTRY_MODEL_RESOURCE",
        default_value = "inferenceservices.serving.kserve.io"
    )]
    pub model_resource: String,
}

/// A set of admission policies that the chart can install.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Admission {
    /// Nothing.
    None,
    /// The ValidatingAdmissionPolicies.
    Validating,
    /// The MutatingAdmissionPolicies, on clusters that serve them.
    Mutating,
    /// The check of multi-factor sign-in, with the user's extra key that tells of it.
    Mfa,
}

/// Flags of `tenantry run`.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Kubeconfig file; without it $KUBECONFIG, ~/.kube/config, then the pod's own ServiceAccount.
    #[arg(long, env = "TENANTRY_KUBECONFIG")]
    pub kubeconfig: Option<PathBuf>,
    /// Context in the kubeconfig; without it the current one.
    #[arg(long, env = "TENANTRY_CONTEXT")]
    pub context: Option<String>,
    /// How many objects each controller reconciles at once.
    #[arg(long, env = "TENANTRY_CONCURRENCY", default_value_t = 32)]
    pub concurrency: u16,
    /// Address of /livez, /readyz and /metrics.
    #[arg(long, env = "TENANTRY_LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// Form of the log on standard error.
    #[arg(long, env = "TENANTRY_LOG_FORMAT", value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,
    /// Log filter, such as "info" or "info,tenantry=debug,kube=warn".
    #[arg(long, env = "TENANTRY_LOG_LEVEL", default_value = "info")]
    pub log_level: String,
    /// Whether to hold a Lease before writing; needed as soon as there are two replicas.
    #[arg(long, env = "TENANTRY_LEADER_ELECT", default_value_t = true, action = ArgAction::Set)]
    pub leader_elect: bool,
    /// Name of the Lease.
    #[arg(long, env = "TENANTRY_LEASE_NAME", default_value = "tenantry")]
    pub lease_name: String,
    /// Namespace of the Lease; without it $POD_NAMESPACE.
    #[arg(long, env = "TENANTRY_LEASE_NAMESPACE")]
    pub lease_namespace: Option<String>,
    /// Name under which this process holds the Lease (a random suffix is added); without it $POD_NAME.
    #[arg(long, env = "TENANTRY_IDENTITY")]
    pub identity: Option<String>,
    /// How long others wait after the last renewal that they saw before they take the Lease; whole seconds.
    #[arg(long, env = "TENANTRY_LEASE_DURATION", default_value = "15s", value_parser = parse_duration)]
    pub lease_duration: Duration,
    /// How long this process leads after its last successful renewal.
    #[arg(long, env = "TENANTRY_RENEW_DEADLINE", default_value = "10s", value_parser = parse_duration)]
    pub renew_deadline: Duration,
    /// Pause between two attempts to take or renew the Lease.
    #[arg(long, env = "TENANTRY_RETRY_PERIOD", default_value = "2s", value_parser = parse_duration)]
    pub retry_period: Duration,
    /// Deadline of one API request, its retries included; lists get six times as long, a watch's stream none.
    #[arg(long, env = "TENANTRY_REQUEST_TIMEOUT", default_value = "10s", value_parser = parse_duration)]
    pub request_timeout: Duration,
    /// Names of resources that differ from cluster to cluster.
    #[command(flatten)]
    pub resources: ResourceArgs,
    /// Admission policies that the chart has installed, so that a status claims no more than they keep.
    #[arg(
        long,
        env = "TENANTRY_ADMISSION",
        value_enum,
        value_delimiter = ',',
        default_value = "validating,mutating"
    )]
    pub admission: Vec<Admission>,
    /// How often a mere change of usage is written to a Tenant's status.
    #[arg(long, env = "TENANTRY_STATUS_INTERVAL", default_value = "10s", value_parser = parse_duration)]
    pub status_interval: Duration,
    /// How often each watch lists again (±20 %), one minute or more; bounds how long a lost event goes unnoticed.
    #[arg(long, env = "TENANTRY_RELIST_INTERVAL", default_value = "1h", value_parser = parse_duration)]
    pub relist_interval: Duration,
    /// Overrides --relist-interval without its lower bound: only for tests that lose events on purpose.
    #[arg(long, hide = true, value_parser = parse_duration)]
    pub test_relist_interval: Option<Duration>,
    /// OTLP/gRPC endpoint for traces, such as http://collector:4317; needs a build with the feature "otlp".
    #[arg(long, env = "TENANTRY_OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<String>,
    /// How long running work may take to end after a SIGTERM; below the pod's terminationGracePeriodSeconds.
    #[arg(long, env = "TENANTRY_SHUTDOWN_GRACE", default_value = "25s", value_parser = parse_duration)]
    pub shutdown_grace: Duration,
    /// The pod's name by the downward API, the fallback of --identity.
    #[arg(long, env = "POD_NAME", hide = true)]
    pub pod_name: Option<String>,
    /// The pod's namespace by the downward API, the fallback of --lease-namespace.
    #[arg(long, env = "POD_NAMESPACE", hide = true)]
    pub pod_namespace: Option<String>,
}

/// Flags of `tenantry render`.
#[derive(Debug, Clone, Args)]
pub struct RenderArgs {
    /// File with a TenantTemplate, a Tenant or both, or a folder of such; "-" is standard input; may be given several times.
    #[arg(short = 'f', long = "filename", required = true)]
    pub files: Vec<PathBuf>,
    /// Form of the output.
    #[arg(short = 'o', long, value_enum, default_value_t = OutputFormat::Yaml)]
    pub output: OutputFormat,
    /// Optional kind to take as served, as <plural>.<group>, such as podmonitors.monitoring.coreos.com; may be given several times.
    #[arg(long, visible_alias = "features", value_delimiter = ',')]
    pub served: Vec<String>,
    /// Names of resources that differ from cluster to cluster.
    #[command(flatten)]
    pub resources: ResourceArgs,
}

/// Flags of `tenantry generate`.
#[derive(Debug, Clone, Copy, Args)]
pub struct GenerateArgs {
    /// Write nothing; fail when a generated file is not current.
    #[arg(long)]
    pub check: bool,
}

/// Form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For a reader at a terminal.
    Text,
}

/// Form of rendered objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// One YAML document an object.
    Yaml,
    /// One JSON List.
    Json,
}

/// Where the API server is found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterSettings {
    /// Kubeconfig file, or None for kube's inference.
    pub kubeconfig: Option<PathBuf>,
    /// Context in the kubeconfig, or None for the current one.
    pub context: Option<String>,
}

/// Leader election, when it is on.
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

/// Names of resources that differ from cluster to cluster, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceNames {
    /// Extended resources that an AI processing unit means, each `<domain>/<name>`, at least one, none twice.
    pub accelerators: Vec<String>,
    /// Resource counted as ML model instances, `<plural>.<group>`.
    pub model: String,
}

/// Where traces go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpEndpoint(pub String);

/// What `run` works with: every value checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where the API server is found.
    pub cluster: ClusterSettings,
    /// Objects reconciled at once by each controller, 1 to 256.
    pub concurrency: u16,
    /// Address of the admin server.
    pub listen: SocketAddr,
    /// Form of the log.
    pub log_format: LogFormat,
    /// Log filter; its syntax is checked when telemetry starts.
    pub log_level: String,
    /// Leader election, or None when this is the only replica.
    pub lease: Option<LeaseSettings>,
    /// Deadline of one API request.
    pub request_timeout: Duration,
    /// Names of resources that differ from cluster to cluster.
    pub resources: ResourceNames,
    /// Admission policies that are installed.
    pub admission: BTreeSet<Admission>,
    /// How often a mere change of usage is written.
    pub status_interval: Duration,
    /// How often each watch lists again.
    pub relist_interval: Duration,
    /// Where traces go, or None.
    pub otlp: Option<OtlpEndpoint>,
    /// How long running work may take to end.
    pub shutdown_grace: Duration,
}

/// A flag or a combination of flags that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Zero or too many.
    #[error("--concurrency must be between 1 and 256, got {0}")]
    Concurrency(u16),
    /// The three lease durations do not fit together.
    #[error(transparent)]
    Election(#[from] ElectionConfigError),
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
    /// The same resource named twice would be granted twice.
    #[error("--accelerator-resource names {0:?} twice")]
    DuplicateAccelerator(String),
    /// No resource named at all.
    #[error("--accelerator-resource needs at least one name, such as nvidia.com/gpu")]
    NoAccelerator,
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
    /// Turns what was typed into [`Settings`]; pure.
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
            admission: self
                .admission
                .into_iter()
                .filter(|kind| *kind != Admission::None)
                .collect(),
            status_interval: within("--status-interval", self.status_interval, second, hour)?,
            relist_interval: within("--relist-interval", self.relist_interval, 60 * second, 24 * hour)
                .map(|interval| self.test_relist_interval.unwrap_or(interval))?,
            otlp: self.otlp_endpoint.map(OtlpEndpoint::parse).transpose()?,
            shutdown_grace: within("--shutdown-grace", self.shutdown_grace, second, hour)?,
        })
    }
}

impl ResourceArgs {
    /// Checks the names; pure.
    pub fn validate(self) -> Result<ResourceNames, SettingsError> {
        let accelerators = self
            .accelerator_resources
            .into_iter()
            .map(|name| match name.split_once('/') {
                Some((domain, resource)) if is_dns_subdomain(domain) && is_resource_word(resource) => Ok(name),
                _ => Err(SettingsError::Name {
                    flag: "--accelerator-resource",
                    wanted: "<domain>/<name>, such as nvidia.com/gpu",
                    got: name,
                }),
            })
            .collect::<Result<Vec<_>, _>>()?;
        if accelerators.is_empty() {
            return Err(SettingsError::NoAccelerator);
        }
        for (index, name) in accelerators.iter().enumerate() {
            if accelerators[..index].contains(name) {
                return Err(SettingsError::DuplicateAccelerator(name.clone()));
            }
        }
        // A core resource has no group; `count/<plural>` alone would count pods or the like under a model's name.
        if !(is_dns_subdomain(&self.model_resource) && self.model_resource.contains('.')) {
            return Err(SettingsError::Name {
                flag: "--model-resource",
                wanted: "<plural>.<group>, such as inferenceservices.serving.kserve.io",
                got: self.model_resource,
            });
        }
        Ok(ResourceNames {
            accelerators,
            model: self.model_resource,
        })
    }
}

impl OtlpEndpoint {
    fn parse(endpoint: String) -> Result<Self, SettingsError> {
        if !cfg!(feature = "otlp") {
            return Err(SettingsError::OtlpNotBuilt);
        }
        if endpoint.starts_with("http://") || endpoint.starts_with("https://") {
            Ok(Self(endpoint))
        } else {
            Err(SettingsError::OtlpEndpoint(endpoint))
        }
    }
}

/// Parses "15s", "500ms" or "1m30s"; refuses a bare number, as nobody can know its unit.
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

fn is_dns_subdomain(name: &str) -> bool {
    name.len() <= 253
        && name.split('.').all(|label| {
            label.len() <= 63
                && label.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
                && label.ends_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
                && label
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        })
}

fn is_resource_word(name: &str) -> bool {
    name.len() <= 63
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.ends_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

#[cfg(test)]
mod tests;
