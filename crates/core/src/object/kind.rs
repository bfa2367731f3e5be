//! The closed list of kinds that the operator writes.

use kube::core::ApiResource;

/// What a kind is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// Restrains the tenant: an owner's right waits for it.
    Guard,
    /// Informs workloads.
    Extra,
    /// Belongs to another project, so the cluster may lack its CRD.
    Optional,
    /// Gives owners rights.
    Right,
}

/// The properties of a kind.
#[derive(Clone, Copy, Debug)]
struct Row {
    kind: Kind,
    group: &'static str,
    version: &'static str,
    /// As in manifests.
    name: &'static str,
    plural: &'static str,
    /// The status subresource, as RBAC names it.
    status: &'static str,
    purpose: Purpose,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident: $group:literal, $version:literal, $plural:literal, $purpose:ident;)*) => {
        /// A managed kind. The order is the order of application: guards first, rights last.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $($(#[$doc])* $kind,)*
        }

        /// One row for each variant, in the same order.
        const TABLE: &[Row] = &[
            $(Row {
                kind: Kind::$kind,
                group: $group,
                version: $version,
                name: stringify!($kind),
                plural: $plural,
                status: concat!($plural, "/status"),
                purpose: Purpose::$purpose,
            },)*
        ];
    };
}

// A new managed kind is one row here, and its builder.
kinds! {
    /// Created together with all its labels in one call.
    Namespace: "", "v1", "namespaces", Guard;
    /// Comes before ResourceQuota; otherwise the API server refuses bare pods.
    LimitRange: "", "v1", "limitranges", Guard;
    /// Enforces nothing until the quota controller has filled its status.
    ResourceQuota: "", "v1", "resourcequotas", Guard;
    /// The default deny, and the traffic that the template opens.
    NetworkPolicy: "networking.k8s.io", "v1", "networkpolicies", Guard;
    /// Parameter of the admission policies. While it is missing they refuse to create workloads in its namespace.
    TenantPolicy: "tenantry.dev", "v1alpha1", "tenantpolicies", Guard;
    /// The limits that workloads read, and the dashboard.
    ConfigMap: "", "v1", "configmaps", Extra;
    /// Scraping of pods.
    PodMonitor: "monitoring.coreos.com", "v1", "podmonitors", Optional;
    /// Scraping of services.
    ServiceMonitor: "monitoring.coreos.com", "v1", "servicemonitors", Optional;
    /// Alerts.
    PrometheusRule: "monitoring.coreos.com", "v1", "prometheusrules", Optional;
    /// Rights of owners.
    RoleBinding: "rbac.authorization.k8s.io", "v1", "rolebindings", Right;
}

impl Kind {
    /// Every kind, in order of application.
    pub const ALL: [Self; TABLE.len()] = {
        let mut all = [Self::Namespace; TABLE.len()];
        let mut index = 0;
        while index < TABLE.len() {
            all[index] = TABLE[index].kind;
            index += 1;
        }
        all
    };

    const fn row(self) -> &'static Row {
        // One macro writes the variants and the rows, in the same order.
        &TABLE[self as usize]
    }

    /// The kind as written in manifests.
    pub const fn as_str(self) -> &'static str {
        self.row().name
    }

    /// The plural, as in URLs and in RBAC.
    pub const fn plural(self) -> &'static str {
        self.row().plural
    }

    /// The status subresource, as RBAC names it: `<plural>/status`.
    pub const fn status_resource(self) -> &'static str {
        self.row().status
    }

    /// The kind in the form that kube's dynamic API takes.
    pub fn api_resource(self) -> ApiResource {
        let Row {
            kind: _,
            group,
            version,
            name,
            plural,
            status: _,
            purpose: _,
        } = *self.row();
        ApiResource {
            group: group.to_owned(),
            version: version.to_owned(),
            api_version: self.api_version(),
            kind: name.to_owned(),
            plural: plural.to_owned(),
        }
    }

    /// `apiVersion` of a manifest.
    pub fn api_version(self) -> String {
        let Row { group, version, .. } = *self.row();
        if group.is_empty() {
            version.to_owned()
        } else {
            format!("{group}/{version}")
        }
    }

    /// Name of the CRD, for kinds that a cluster may lack.
    pub fn optional_crd(self) -> Option<String> {
        let Row { group, plural, .. } = *self.row();
        self.is_optional().then(|| format!("{plural}.{group}"))
    }

    /// Whether the cluster may lack the kind.
    pub const fn is_optional(self) -> bool {
        matches!(self.row().purpose, Purpose::Optional)
    }

    /// Whether rights must wait for objects of this kind.
    pub const fn is_guard(self) -> bool {
        matches!(self.row().purpose, Purpose::Guard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_own_row() {
        for kind in Kind::ALL {
            assert_eq!(kind.row().kind, kind, "{kind:?}");
        }
    }

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
