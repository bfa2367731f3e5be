//! Flags of `tenantry adopt`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{ClusterSettings, ResourceArgs};

/// Flags of `tenantry adopt`.
#[derive(Debug, Clone, Args)]
pub struct AdoptArgs {
    /// Namespace to try, called `<tenant>-<name>`.
    pub namespace: String,
    /// Tenant that is to have it; its spec.namespaces must list it.
    #[arg(long)]
    pub tenant: String,
    /// Hand the namespace over, unless something would be refused.
    #[arg(long)]
    pub yes: bool,
    /// With --yes: hand it over whatever would be refused.
    #[arg(long, requires = "yes")]
    pub force: bool,
    /// Form of the output.
    #[arg(short = 'o', long, value_enum, default_value_t = ReportFormat::Text)]
    pub output: ReportFormat,
    /// Kubeconfig file of a cluster admin; without it $KUBECONFIG, then ~/.kube/config.
    #[arg(long)]
    pub kubeconfig: Option<PathBuf>,
    /// Context in the kubeconfig; without it the current one.
    #[arg(long)]
    pub context: Option<String>,
    /// Names of resources that differ from cluster to cluster; as the operator has them.
    #[command(flatten)]
    pub resources: ResourceArgs,
}

/// Form of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// One line a finding, then a summary.
    Text,
    /// One JSON object.
    Json,
}

impl AdoptArgs {
    /// Where the API server is found.
    pub fn cluster(&self) -> ClusterSettings {
        ClusterSettings {
            kubeconfig: self.kubeconfig.clone(),
            context: self.context.clone(),
        }
    }
}
