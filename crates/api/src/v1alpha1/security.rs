//! Security levels, their parts, and compliance frameworks.
#![allow(
    clippy::struct_excessive_bools,
    reason = "each is a field that users write, true or false"
)]

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;

/// Security of the tenant. A level such as Maximum is never reported as a whole: `status.controls` of the template
/// lists each of its parts as Enforced, Configured or NotEnforced.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SecuritySpec {
    /// Pod Security Standard of each namespace. The operator sets its labels in the request that creates the namespace,
    /// and the API server enforces it. Default: Restricted.
    #[serde(default)]
    pub pod_security: PodSecurity,
    /// Encryption level. Basic requires TLS on exposed hosts (Enforced). Enhanced also needs encrypted storage classes:
    /// list them in `storageClasses`. Maximum and Classified have no further effect in this version: encryption between
    /// pods needs a service mesh, and is reported NotEnforced. With them, see `onMissingMeans`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::optional::<Encryption>")]
    pub encryption: Option<Encryption>,
    /// Nothing enforces it in this version: reported NotEnforced. Every connection between pods must be authenticated
    /// by a service mesh. With `onMissingMeans: Deny`, owners get no rights. Default: false.
    #[serde(default)]
    pub zero_trust: bool,
    /// Nothing enforces it in this version: reported NotEnforced. Traffic between pods must be encrypted by a service
    /// mesh. With `onMissingMeans: Deny`, owners get no rights. Default: false.
    #[serde(default)]
    pub end_to_end_encryption: bool,
    /// Whether writes in the tenant's namespaces need a multi-factor sign-in. A ValidatingAdmissionPolicy checks
    /// writes, exec and attach, if the chart's `policies.mfa.extraKey` names the user's extra key to look at. Reads are
    /// not checked. Default: false.
    #[serde(default)]
    pub mfa_for_writes: bool,
    /// Registries from which images may come: a host with an optional path, for example `registry.example.com/team`.
    /// Left out: any. A ValidatingAdmissionPolicy enforces it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::registries")]
    pub registries: Option<Vec<String>>,
    /// Whether pods must name images by digest. A ValidatingAdmissionPolicy enforces it. Default: false.
    #[serde(default)]
    pub image_digests: bool,
    /// Nothing enforces it in this version: it needs a signature verifier, and is reported NotEnforced. Images must be
    /// signed. With `onMissingMeans: Deny`, owners get no rights. Default: false.
    #[serde(default)]
    pub image_signatures: bool,
    /// Storage classes that volume claims may use; each claim must name one of them. Left out: any. A
    /// ValidatingAdmissionPolicy enforces it. Nothing checks whether a class really encrypts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::object_names::<32>")]
    pub storage_classes: Option<Vec<String>>,
    /// Client addresses that load balancers may serve. A ValidatingAdmissionPolicy requires that each Service of type
    /// LoadBalancer lists only ranges inside these. The load balancer must filter by them (state Configured). Left out:
    /// any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::address_ranges::<64>")]
    pub ip_allow_list: Vec<String>,
    /// Has no effect in this version: nothing in Kubernetes knows a client's country. Countries (ISO 3166-1 alpha-2)
    /// from which clients may connect; reported NotEnforced.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::countries")]
    pub allowed_countries: Vec<String>,
    /// Has no effect in this version: no scanner is read. Images must be scanned for known vulnerabilities; reported
    /// NotEnforced.
    #[serde(default)]
    pub vulnerability_scanning: bool,
    /// Has no effect in this version: only a person can confirm it. Penetration tests must be carried out; reported
    /// NotEnforced.
    #[serde(default)]
    pub penetration_testing: bool,
    /// Has no effect in this version: the API server's configuration is not read. The API server must write an audit
    /// log; reported NotEnforced.
    #[serde(default)]
    pub audit_logging: bool,
    /// Has no effect in this version: no backup tool is read. Backups must be taken; reported NotEnforced.
    #[serde(default)]
    pub backups: bool,
    /// Nothing enforces it in this version: only a person can confirm it, and it is reported NotEnforced. Keys must be
    /// in a hardware security module. With `onMissingMeans: Deny`, owners get no rights. Default: false.
    #[serde(default)]
    pub hardware_keys: bool,
    /// Whether owners get their rights although something that `security` requires is missing: a service mesh, a
    /// signature verifier or hardware keys. Deny: the namespaces exist with their guards, but owners get no rights.
    /// Degrade: owners get their rights, and `status.controls` reports what is missing. Left out: Deny for encryption
    /// Maximum and Classified, otherwise Degrade.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::optional::<MissingMeans>")]
    pub on_missing_means: Option<MissingMeans>,
}

/// A Pod Security Standard.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum PodSecurity {
    /// Pods are not restricted.
    Privileged,
    /// Known privilege escalations are refused.
    Baseline,
    /// Only hardened pods are admitted.
    #[default]
    Restricted,
}

impl PodSecurity {
    /// The value of the Pod Security labels.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Privileged => "privileged",
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        }
    }
}

/// Encryption level. Each level includes those before it.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Encryption {
    /// TLS on every exposed host.
    Basic,
    /// Basic, and encryption of volumes and API data at rest.
    Enhanced,
    /// Enhanced, and encryption between pods.
    Maximum,
    /// Maximum, and dedicated nodes (see `placement`) and keys in hardware.
    Classified,
}

/// Whether owners get their rights although something that the template requires is missing.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingMeans {
    /// Owners get no rights while something is missing.
    Deny,
    /// Owners get their rights; `status.controls` reports what is missing.
    Degrade,
}

/// Has no effect in this version: no evidence is collected. Compliance frameworks of the tier.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ComplianceSpec {
    /// Has no effect in this version: no evidence is collected. Names of the frameworks; reported NotEnforced.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 6))]
    pub frameworks: Vec<Framework>,
}

/// A compliance framework.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Framework {
    /// EU General Data Protection Regulation.
    #[serde(rename = "GDPR")]
    Gdpr,
    /// US Health Insurance Portability and Accountability Act.
    #[serde(rename = "HIPAA")]
    Hipaa,
    /// US Sarbanes-Oxley Act.
    #[serde(rename = "SOX")]
    Sox,
    /// Payment Card Industry Data Security Standard.
    #[serde(rename = "PCI-DSS")]
    PciDss,
    /// ISO/IEC 27001.
    #[serde(rename = "ISO27001")]
    Iso27001,
    /// US Federal Risk and Authorization Management Program.
    #[serde(rename = "FedRAMP")]
    FedRamp,
}

impl Framework {
    /// The value as written in YAML.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gdpr => "GDPR",
            Self::Hipaa => "HIPAA",
            Self::Sox => "SOX",
            Self::PciDss => "PCI-DSS",
            Self::Iso27001 => "ISO27001",
            Self::FedRamp => "FedRAMP",
        }
    }
}
