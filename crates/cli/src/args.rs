//! Flags of the commands that run without the operator: `render` and `adopt`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

pub use self::adopt::{AdoptArgs, ReportFormat};
use tenantry_core::settings::{ResourceNames, ResourceNamesError};

mod adopt;

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

impl ResourceArgs {
    /// Checks the names.
    pub fn validate(self) -> Result<ResourceNames, ResourceNamesError> {
        ResourceNames::new(self.accelerator_resources, self.model_resource)
    }
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

/// Form of rendered objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// One YAML document an object.
    Yaml,
    /// One JSON List.
    Json,
}
