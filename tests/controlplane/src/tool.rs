//! The programs of a control plane, and the tools to use it.

use std::fmt;

/// A process of the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Component {
    /// The store.
    Etcd,
    /// kube-apiserver.
    ApiServer,
    /// kube-controller-manager.
    ControllerManager,
}

impl Component {
    /// All, in the order in which they start; they stop in the reverse order.
    pub const ALL: [Self; 3] = [Self::Etcd, Self::ApiServer, Self::ControllerManager];

    /// The program that it runs.
    pub const fn tool(self) -> Tool {
        match self {
            Self::Etcd => Tool::Etcd,
            Self::ApiServer => Tool::KubeApiserver,
            Self::ControllerManager => Tool::KubeControllerManager,
        }
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.tool().name())
    }
}

/// A program that is found in `KUBEBUILDER_ASSETS` or built from a pinned Go module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// The store of the API server.
    Etcd,
    /// The API server.
    KubeApiserver,
    /// Garbage collection, quota recount, namespace deletion, ServiceAccounts and the rest.
    KubeControllerManager,
    /// The command line client.
    Kubectl,
    /// Installs charts.
    Helm,
    /// Unit tests of charts.
    HelmUnittest,
    /// Documentation of charts.
    HelmDocs,
}

/// A `go.mod` with its `go.sum`, compiled in so that a moved checkout or an installed binary still builds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Module {
    /// Folder in this crate, for messages.
    pub(crate) folder: &'static str,
    pub(crate) go_mod: &'static str,
    pub(crate) go_sum: &'static str,
}

/// etcd, kube-apiserver, kube-controller-manager, kubectl.
pub(crate) static KUBERNETES: Module = Module {
    folder: ".",
    go_mod: include_str!("../go.mod"),
    go_sum: include_str!("../go.sum"),
};
/// helm.
pub(crate) static HELM: Module = Module {
    folder: "helm",
    go_mod: include_str!("../helm/go.mod"),
    go_sum: include_str!("../helm/go.sum"),
};
/// helm-unittest and helm-docs.
pub(crate) static CHARTS: Module = Module {
    folder: "charts",
    go_mod: include_str!("../charts/go.mod"),
    go_sum: include_str!("../charts/go.sum"),
};

impl Tool {
    /// All of them; the first four make a control plane.
    pub const ALL: [Self; 7] = [
        Self::Etcd,
        Self::KubeApiserver,
        Self::KubeControllerManager,
        Self::Kubectl,
        Self::Helm,
        Self::HelmUnittest,
        Self::HelmDocs,
    ];

    /// What a control plane needs.
    pub const CONTROL_PLANE: [Self; 4] = [
        Self::Etcd,
        Self::KubeApiserver,
        Self::KubeControllerManager,
        Self::Kubectl,
    ];

    /// Name of the executable.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::KubeApiserver => "kube-apiserver",
            Self::KubeControllerManager => "kube-controller-manager",
            Self::Kubectl => "kubectl",
            Self::Helm => "helm",
            Self::HelmUnittest => "helm-unittest",
            Self::HelmDocs => "helm-docs",
        }
    }

    /// The tool of that executable name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tool| tool.name() == name)
    }

    /// Import path of its main package.
    pub(crate) const fn package(self) -> &'static str {
        match self {
            Self::Etcd => "go.etcd.io/etcd/server/v3",
            Self::KubeApiserver => "k8s.io/kubernetes/cmd/kube-apiserver",
            Self::KubeControllerManager => "k8s.io/kubernetes/cmd/kube-controller-manager",
            Self::Kubectl => "k8s.io/kubernetes/cmd/kubectl",
            Self::Helm => "helm.sh/helm/v4/cmd/helm",
            Self::HelmUnittest => "github.com/helm-unittest/helm-unittest/cmd/helm-unittest",
            Self::HelmDocs => "github.com/norwoodj/helm-docs/cmd/helm-docs",
        }
    }

    /// The module that pins it.
    pub(crate) fn module(self) -> &'static Module {
        match self {
            Self::Etcd | Self::KubeApiserver | Self::KubeControllerManager | Self::Kubectl => &KUBERNETES,
            Self::Helm => &HELM,
            Self::HelmUnittest | Self::HelmDocs => &CHARTS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_is_a_tool_directive_of_its_module() {
        for tool in Tool::ALL {
            let lines = tool.module().go_mod.lines();
            let found = lines
                .map(|l| l.trim().trim_start_matches("tool "))
                .any(|l| l == tool.package());
            assert!(
                found,
                "{} is not pinned in {}/go.mod",
                tool.name(),
                tool.module().folder
            );
        }
    }

    #[test]
    fn a_tool_is_found_by_its_name() {
        assert_eq!(Tool::from_name("helm-docs"), Some(Tool::HelmDocs));
        assert_eq!(Tool::from_name("docker"), None);
    }
}
