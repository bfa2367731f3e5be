//! Flags of `tenantry adopt`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::ResourceArgs;
use tenantry_process::client::ClusterSettings;

/// Flags of `tenantry adopt`.
#[derive(Debug, Clone, Args)]
pub struct AdoptArgs {
    /// Namespace to check; its name must be `<tenant>-<name>`.
    pub namespace: String,
    /// Tenant that gets the namespace; its spec.namespaces must list it.
    #[arg(long)]
    pub tenant: String,
    /// Hand the namespace over, unless an object in it would be refused.
    #[arg(long)]
    pub yes: bool,
    /// With --yes: hand it over even if objects in it would be refused.
    #[arg(long, requires = "yes")]
    pub force: bool,
    /// Output format.
    #[arg(short = 'o', long, value_enum, default_value_t = ReportFormat::Text)]
    pub output: ReportFormat,
    /// Kubeconfig file of a cluster admin; default: $KUBECONFIG, then ~/.kube/config.
    #[arg(long)]
    pub kubeconfig: Option<PathBuf>,
    /// Context in the kubeconfig; default: the current context.
    #[arg(long)]
    pub context: Option<String>,
    /// Resource names that differ from cluster to cluster; the same as the operator's.
    #[command(flatten)]
    pub resources: ResourceArgs,
}

/// Output format of `adopt`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// One line for each finding, then a summary.
    Text,
    /// One JSON object.
    Json,
}

impl AdoptArgs {
    /// How to find the API server.
    pub fn cluster(&self) -> ClusterSettings {
        ClusterSettings {
            kubeconfig: self.kubeconfig.clone(),
            context: self.context.clone(),
        }
    }
}
