//! The real CRDs of optional integrations, read from the Go modules that ship them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::assets::cache_dir;
use crate::error::Error;
use crate::go;
use crate::scratch::{Scratch, new_dir};
use crate::tool::Module;

static CRDS: Module = Module {
    folder: "crds",
    go_mod: include_str!("../crds/go.mod"),
    go_sum: include_str!("../crds/go.sum"),
};

/// Software whose kinds the operator uses where they are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Integration {
    /// ServiceMonitor, PodMonitor, PrometheusRule.
    PrometheusOperator,
    /// The standard channel.
    GatewayApi,
    /// Certificates and issuers.
    CertManager,
}

impl Integration {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::PrometheusOperator, Self::GatewayApi, Self::CertManager];

    /// A short name, such as `gateway-api`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PrometheusOperator => "prometheus-operator",
            Self::GatewayApi => "gateway-api",
            Self::CertManager => "cert-manager",
        }
    }

    /// The integration of that short name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|i| i.name() == name)
    }

    const fn module(self) -> &'static str {
        match self {
            Self::PrometheusOperator => "github.com/prometheus-operator/prometheus-operator",
            Self::GatewayApi => "sigs.k8s.io/gateway-api",
            Self::CertManager => "github.com/cert-manager/cert-manager",
        }
    }

    const fn folder(self) -> &'static str {
        match self {
            Self::PrometheusOperator => "example/prometheus-operator-crd",
            Self::GatewayApi => "config/crd/standard",
            Self::CertManager => "deploy/crds",
        }
    }

    fn wants(self, file: &str) -> bool {
        let crd = match self {
            Self::PrometheusOperator => ["_servicemonitors.yaml", "_podmonitors.yaml", "_prometheusrules.yaml"]
                .iter()
                .any(|end| file.ends_with(end)),
            // Beside the CRDs lies a policy that forbids downgrades.
            Self::GatewayApi => file.starts_with("gateway.networking.k8s.io_") && !file.contains("_vap_"),
            Self::CertManager => file.contains("cert-manager.io_"),
        };
        crd && Path::new(file).extension().is_some_and(|extension| extension == "yaml")
    }
}

/// The CRD files of an integration, sorted by name, each one YAML document to apply server-side. Downloaded, verified
/// and copied to the cache on first use.
pub fn crd_files(integration: Integration) -> Result<Vec<PathBuf>, Error> {
    let version = go::pinned_version(CRDS.go_mod, integration.module())?;
    let cache = cache_dir();
    let target = cache.join(format!("crds-{}-{version}", integration.name()));
    if !target.is_dir() {
        let source = go::module_dir(&CRDS, integration.module(), &cache)?.join(integration.folder());
        copy(integration, &source, &cache, &target)?;
    }
    let mut files = list(integration, &target)?;
    files.sort();
    if files.is_empty() {
        return Err(Error::Malformed {
            what: target.display().to_string(),
            why: "it holds no CRD".into(),
        });
    }
    Ok(files)
}

fn list(integration: Integration, dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = fs::read_dir(dir).map_err(Error::io("list", dir))?;
    let paths = entries.flatten().map(|entry| entry.path());
    Ok(paths
        .filter(|p| {
            p.file_name()
                .is_some_and(|name| integration.wants(&name.to_string_lossy()))
        })
        .collect())
}

/// Atomically: another process may read the folder at the same time.
fn copy(integration: Integration, source: &Path, cache: &Path, target: &Path) -> Result<(), Error> {
    let scratch = Scratch(new_dir(cache, ".crds-")?);
    for file in list(integration, source)? {
        let text = fs::read(&file).map_err(Error::io("read", &file))?;
        let to = scratch.0.join(file.file_name().unwrap_or_default());
        fs::write(&to, text).map_err(Error::io("write", &to))?;
    }
    match fs::rename(&scratch.0, target) {
        // Another process was first, with the same files.
        Err(_) if target.is_dir() => Ok(()),
        result => result.map_err(Error::io("write", target)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_integration_is_pinned_with_its_checksum() {
        for integration in Integration::ALL {
            let version = go::pinned_version(CRDS.go_mod, integration.module()).unwrap();
            assert!(CRDS.go_sum.contains(&format!("{} {version} h1:", integration.module())));
        }
    }

    #[test]
    fn only_crds_that_the_operator_may_use_are_wanted() {
        assert!(Integration::PrometheusOperator.wants("monitoring.coreos.com_podmonitors.yaml"));
        assert!(!Integration::PrometheusOperator.wants("monitoring.coreos.com_alertmanagers.yaml"));
        assert!(!Integration::GatewayApi.wants("gateway.networking.k8s.io_vap_safeupgrades.yaml"));
        assert!(!Integration::CertManager.wants("README.md"));
    }
}
