//! Flags of the commands that run without the operator: `render` and `adopt`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

pub use self::adopt::{AdoptArgs, ReportFormat};
use tenantry_core::settings::{ResourceNames, ResourceNamesError};

mod adopt;

/// Resource names that differ from cluster to cluster; give `run`, `render` and `adopt` the same.
#[derive(Debug, Clone, Args)]
pub struct ResourceArgs {
    /// Extended resource that counts as an AI processing unit; may be given several times.
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

impl ResourceArgs {
    /// Checks the names.
    pub fn validate(self) -> Result<ResourceNames, ResourceNamesError> {
        ResourceNames::new(self.accelerator_resources, self.model_resource)
    }
}

/// Flags of `tenantry render`.
#[derive(Debug, Clone, Args)]
pub struct RenderArgs {
    /// File with TenantTemplates and Tenants, or a folder of such files; "-" is standard input; may be given several
    /// times.
    #[arg(short = 'f', long = "filename", required = true)]
    pub files: Vec<PathBuf>,
    /// Output format.
    #[arg(short = 'o', long, value_enum, default_value_t = OutputFormat::Yaml)]
    pub output: OutputFormat,
    /// Optional kind that the cluster serves, as <plural>.<group>, such as podmonitors.monitoring.coreos.com; may be
    /// given several times.
    #[arg(long, visible_alias = "features", value_delimiter = ',')]
    pub served: Vec<String>,
    /// Resource names that differ from cluster to cluster.
    #[command(flatten)]
    pub resources: ResourceArgs,
}

/// Output format of `render`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// One YAML document for each object.
    Yaml,
    /// One JSON List.
    Json,
}
