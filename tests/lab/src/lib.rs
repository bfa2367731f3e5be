//! A real control plane with the chart installed. The operator runs outside it, as its shipped ServiceAccount, with
//! exactly the arguments and environment of the rendered Deployment.
//!
//! Integration tests, benchmarks and `make run` share it. Nothing here knows what a Tenant is.

pub mod audit;
mod operator;
mod users;
mod wait;

use std::{
    fmt::Debug,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};
use controlplane::{Audit, ControlPlane, Options};
use kube::{
    Client, Config, Resource,
    config::{KubeConfigOptions, Kubeconfig},
    core::NamespaceResourceScope,
};
use serde::{Serialize, de::DeserializeOwned};

pub use operator::{Operator, OperatorOptions, cpu_seconds_of};
pub use users::impersonate;
pub use wait::{eventually, never};

/// A namespaced kind that can be read and written.
pub trait Writable:
    Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize
{
}

impl<K> Writable for K where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize
{
}

/// Namespace of the release.
pub const NAMESPACE: &str = "tenantry-system";
/// Name of the release, its ServiceAccount and its Deployment.
pub const RELEASE: &str = "tenantry";

/// A control plane on which the chart is installed.
pub struct Lab {
    plane: Plane,
    root: PathBuf,
}

enum Plane {
    Own(Box<ControlPlane>),
    Shared(&'static ControlPlane),
    /// An existing cluster, given by its kubeconfig.
    Foreign {
        kubeconfig: PathBuf,
        dir: PathBuf,
    },
}

impl Lab {
    /// A control plane of its own, for tests that kill processes and for benchmarks. `root` is the repository.
    pub fn own(root: &Path, audit: Audit) -> anyhow::Result<Self> {
        Self::own_with(
            root,
            Options {
                audit,
                controller_manager_qps: Some(300),
                ..Options::default()
            },
        )
    }

    /// As [`Lab::own`], with every option.
    pub fn own_with(root: &Path, options: Options) -> anyhow::Result<Self> {
        let plane = ControlPlane::start_own(options).context("failed to start a control plane")?;
        Ok(Self {
            plane: Plane::Own(Box::new(plane)),
            root: root.to_owned(),
        })
    }

    /// The control plane that every test of this process shares.
    pub fn shared(root: &Path) -> anyhow::Result<Self> {
        let options = || Options {
            audit: Audit::Metadata,
            controller_manager_qps: Some(300),
            ..Options::default()
        };
        match controlplane::shared(options) {
            Ok(plane) => Ok(Self {
                plane: Plane::Shared(plane),
                root: root.to_owned(),
            }),
            Err(error) => bail!("failed to start the shared control plane: {error}"),
        }
    }

    /// An existing cluster; files are written below `dir`.
    pub fn attach(root: &Path, kubeconfig: &Path, dir: &Path) -> Self {
        let plane = Plane::Foreign {
            kubeconfig: kubeconfig.to_owned(),
            dir: dir.to_owned(),
        };
        Self {
            plane,
            root: root.to_owned(),
        }
    }

    /// The control plane; none for an existing cluster.
    pub fn plane(&self) -> Option<&ControlPlane> {
        match &self.plane {
            Plane::Own(plane) => Some(plane),
            Plane::Shared(plane) => Some(plane),
            Plane::Foreign { .. } => None,
        }
    }

    /// Kubeconfig of a cluster admin.
    pub fn kubeconfig(&self) -> &Path {
        match &self.plane {
            Plane::Own(plane) => plane.kubeconfig(),
            Plane::Shared(plane) => plane.kubeconfig(),
            Plane::Foreign { kubeconfig, .. } => kubeconfig,
        }
    }

    /// The repository.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder for files of this lab.
    pub fn dir(&self) -> &Path {
        match &self.plane {
            Plane::Own(plane) => plane.dir(),
            Plane::Shared(plane) => plane.dir(),
            Plane::Foreign { dir, .. } => dir,
        }
    }

    /// A client with a cluster admin's rights.
    pub async fn admin(&self) -> anyhow::Result<Client> {
        Ok(Client::try_from(config(self.kubeconfig()).await?)?)
    }

    /// A client that acts as `user` in `groups`, as `kubectl --as` does.
    pub async fn as_user(&self, user: &str, groups: &[&str]) -> anyhow::Result<Client> {
        Ok(Client::try_from(impersonate(
            config(self.kubeconfig()).await?,
            user,
            groups,
        ))?)
    }

    /// `kubectl` with a cluster admin's rights.
    pub fn kubectl(&self) -> anyhow::Result<Command> {
        match self.plane() {
            Some(plane) => Ok(plane.kubectl()),
            None => self.tool(controlplane::Tool::Kubectl),
        }
    }

    /// `helm` with a cluster admin's rights.
    pub fn helm(&self) -> anyhow::Result<Command> {
        match self.plane() {
            Some(plane) => Ok(plane.helm()?),
            None => self.tool(controlplane::Tool::Helm),
        }
    }

    fn tool(&self, tool: controlplane::Tool) -> anyhow::Result<Command> {
        let assets = controlplane::Assets::from_env();
        assets.ensure(&[tool])?;
        let mut command = Command::new(assets.path(tool)?);
        command
            .env("KUBECONFIG", self.kubeconfig())
            .env("KUBECACHEDIR", self.dir().join("kubectl-cache"));
        Ok(command)
    }

    /// Installs or upgrades the chart with helm; returns helm's output. Waits until the CRDs are served.
    pub fn install(&self, values: &[&str]) -> anyhow::Result<String> {
        let mut helm = self.helm()?;
        helm.args(["upgrade", "--install", RELEASE])
            .arg(self.root.join("charts/tenantry"));
        helm.args(["--namespace", NAMESPACE, "--create-namespace"]);
        for value in values {
            helm.args(["--set", value]);
        }
        let printed = run(&mut helm)?;
        let mut wait = self.kubectl()?;
        wait.args(["wait", "--for=condition=Established", "--timeout=30s", "crd"]);
        wait.args(
            ["tenants", "tenanttemplates", "tenantpolicies", "tenantnamespaces"]
                .map(|name| format!("{name}.tenantry.dev")),
        );
        run(&mut wait)?;
        Ok(printed)
    }

    /// Starts the operator as the release's ServiceAccount.
    pub async fn operator(&self, options: OperatorOptions) -> anyhow::Result<Operator> {
        Operator::start(self, options).await
    }
}

/// The client configuration in a kubeconfig.
pub async fn config(kubeconfig: &Path) -> anyhow::Result<Config> {
    let file = Kubeconfig::read_from(kubeconfig)?;
    let mut config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
    config.default_retry = false;
    Ok(config)
}

/// Runs a command to its end; returns its output, or an error with all its output.
pub fn run(command: &mut Command) -> anyhow::Result<String> {
    let output = command
        .output()
        .with_context(|| format!("failed to start {command:?}"))?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!(
            "{command:?} failed with {}: {printed}{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(printed)
}
