//! The API server's audit policy.

/// How much goes into the audit log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Audit {
    /// Nothing; no file.
    #[default]
    Off,
    /// User, verb, object and answer of each request; no bodies.
    Metadata,
    /// As `Metadata`, with both bodies for the kinds that make up a tenant.
    Full,
}

/// No bodies for kube-system's ConfigMaps: leases and certificates of other components only make the log longer.
const BODIES: &str = r#"- level: Metadata
  namespaces: [kube-system, kube-public, kube-node-lease]
- level: RequestResponse
  verbs: [create, update, patch, delete, deletecollection]
  resources:
  - group: ""
    resources: [namespaces, namespaces/finalize, namespaces/status, resourcequotas, resourcequotas/status, limitranges, configmaps]
  - group: networking.k8s.io
    resources: [networkpolicies]
  - group: rbac.authorization.k8s.io
    resources: [rolebindings]
  - group: tenantry.dev
"#;

impl Audit {
    /// The policy file; none if auditing is off.
    pub(crate) fn policy(self) -> Option<String> {
        let bodies = match self {
            Self::Off => return None,
            Self::Metadata => "",
            Self::Full => BODIES,
        };
        // ResponseComplete has all fields of RequestReceived, and the answer.
        Some(format!(
            "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nomitManagedFields: true\nrules:\n{bodies}- level: Metadata\n"
        ))
    }

    /// Parses `off`, `metadata` or `full`.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "off" => Some(Self::Off),
            "metadata" => Some(Self::Metadata),
            "full" => Some(Self::Full),
            _ => None,
        }
    }

    /// The name that [`Audit::from_name`] takes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Metadata => "metadata",
            Self::Full => "full",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn off_has_no_policy_and_only_full_asks_for_bodies() {
        assert_eq!(Audit::Off.policy(), None);
        assert!(!Audit::Metadata.policy().unwrap().contains("RequestResponse"));
        assert!(Audit::Full.policy().unwrap().contains("RequestResponse"));
    }

    #[test]
    fn names_parse_back() {
        for audit in [Audit::Off, Audit::Metadata, Audit::Full] {
            assert_eq!(Audit::from_name(audit.name()), Some(audit));
        }
    }
}
