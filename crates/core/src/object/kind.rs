//! The closed list of kinds that the operator writes.

use kube::core::ApiResource;

/// A managed kind. The order is the order of application: guards first, rights last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Created together with all its labels in one call.
    Namespace,
    /// Comes before ResourceQuota; otherwise the API server refuses bare pods.
    LimitRange,
    /// Enforces nothing until the quota controller has filled its status.
    ResourceQuota,
    /// The default deny, and the traffic that the template opens.
    NetworkPolicy,
    /// Parameter of the admission policies, which refuse every write in its namespace while it is missing.
    TenantPolicy,
    /// The limits that workloads read, and the dashboard.
    ConfigMap,
    /// Scraping of pods; optional.
    PodMonitor,
    /// Scraping of services; optional.
    ServiceMonitor,
    /// Alerts; optional.
    PrometheusRule,
    /// Rights of owners.
    RoleBinding,
}

impl Kind {
    /// Every kind, in order of application.
    pub const ALL: [Self; 10] = [
        Self::Namespace,
        Self::LimitRange,
        Self::ResourceQuota,
        Self::NetworkPolicy,
        Self::TenantPolicy,
        Self::ConfigMap,
        Self::PodMonitor,
        Self::ServiceMonitor,
        Self::PrometheusRule,
        Self::RoleBinding,
    ];

    /// The kind as written in manifests.
    pub const fn as_str(self) -> &'static str {
        self.parts().2
    }

    /// Group, version, kind and plural.
    const fn parts(self) -> (&'static str, &'static str, &'static str, &'static str) {
        match self {
            Self::Namespace => ("", "v1", "Namespace", "namespaces"),
            Self::LimitRange => ("", "v1", "LimitRange", "limitranges"),
            Self::ResourceQuota => ("", "v1", "ResourceQuota", "resourcequotas"),
            Self::NetworkPolicy => ("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies"),
            Self::TenantPolicy => ("tenantry.dev", "v1alpha1", "TenantPolicy", "tenantpolicies"),
            Self::ConfigMap => ("", "v1", "ConfigMap", "configmaps"),
            Self::PodMonitor => ("monitoring.coreos.com", "v1", "PodMonitor", "podmonitors"),
            Self::ServiceMonitor => ("monitoring.coreos.com", "v1", "ServiceMonitor", "servicemonitors"),
            Self::PrometheusRule => ("monitoring.coreos.com", "v1", "PrometheusRule", "prometheusrules"),
            Self::RoleBinding => ("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings"),
        }
    }

    /// The kind in the form that kube's dynamic API takes.
    pub fn api_resource(self) -> ApiResource {
        let (group, version, kind, plural) = self.parts();
        ApiResource {
            group: group.to_owned(),
            version: version.to_owned(),
            api_version: self.api_version(),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
        }
    }

    /// `apiVersion` of a manifest.
    pub fn api_version(self) -> String {
        let (group, version, _, _) = self.parts();
        if group.is_empty() {
            version.to_owned()
        } else {
            format!("{group}/{version}")
        }
    }

    /// Name of the CRD, for kinds that a cluster may lack.
    pub fn optional_crd(self) -> Option<String> {
        let (group, _, _, plural) = self.parts();
        self.is_optional().then(|| format!("{plural}.{group}"))
    }

    /// Whether the cluster may lack the kind.
    pub const fn is_optional(self) -> bool {
        matches!(self, Self::PodMonitor | Self::ServiceMonitor | Self::PrometheusRule)
    }

    /// Whether rights must wait for objects of this kind.
    pub const fn is_guard(self) -> bool {
        match self {
            Self::Namespace | Self::LimitRange | Self::ResourceQuota | Self::NetworkPolicy | Self::TenantPolicy => true,
            Self::ConfigMap | Self::PodMonitor | Self::ServiceMonitor | Self::PrometheusRule | Self::RoleBinding => {
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guards_come_before_rights() {
        assert!(Kind::ALL.is_sorted());
        assert!(
            Kind::ALL
                .iter()
                .filter(|kind| kind.is_guard())
                .all(|guard| *guard < Kind::RoleBinding)
        );
        assert!(Kind::LimitRange < Kind::ResourceQuota);
    }

    #[test]
    fn only_kinds_of_other_projects_are_optional() {
        let optional: Vec<_> = Kind::ALL.into_iter().filter_map(Kind::optional_crd).collect();
        assert_eq!(
            optional,
            [
                "podmonitors.monitoring.coreos.com",
                "servicemonitors.monitoring.coreos.com",
                "prometheusrules.monitoring.coreos.com"
            ]
        );
    }
}
