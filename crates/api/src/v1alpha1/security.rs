//! Security levels, their parts, and compliance frameworks.
#![allow(
    clippy::struct_excessive_bools,
    reason = "each is a field that users write, true or false"
)]

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;

/// Security of the tenant. A level is never reported as achieved: `status.controls` of the template lists its parts,
/// each Enforced, Configured, Attested, NotEnforced or Unknown.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SecuritySpec {
    /// Pod Security Standard of every namespace, set in the call that creates it. Enforced by the API server.
    #[serde(default)]
    pub pod_security: PodSecurity,
    /// Encryption level. Basic asks TLS on exposed hosts (enforced); Enhanced adds volumes on encrypted storage
    /// classes (list them in `storageClasses`); Maximum and Classified add encryption between pods by a mesh, which is
    /// not set up yet and reported NotEnforced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::optional::<Encryption>")]
    pub encryption: Option<Encryption>,
    /// Identity for every connection by a mesh. Not set up yet: reported NotEnforced.
    #[serde(default)]
    pub zero_trust: bool,
    /// Encryption between pods by a mesh. Not set up yet: reported NotEnforced.
    #[serde(default)]
    pub end_to_end_encryption: bool,
    /// Writes in the tenant's namespaces need a multi-factor sign-in, seen in the user's extra key that the chart
    /// names. Enforced for writes, exec and attach; reads are never checked by admission.
    #[serde(default)]
    pub mfa_for_writes: bool,
    /// Registries that images may come from, a host with an optional path: `registry.example.com/team`. Left out: any.
    /// Enforced by the API server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::registries")]
    pub registries: Option<Vec<String>>,
    /// Images must be named by digest. Enforced by the API server.
    #[serde(default)]
    pub image_digests: bool,
    /// Images must be signed. Needs a signature verifier, which is not set up yet: reported NotEnforced.
    #[serde(default)]
    pub image_signatures: bool,
    /// Storage classes that volume claims may use; a claim must name one. Left out: any. Enforced by the API server;
    /// whether a class encrypts is the provider's word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::object_names::<32>")]
    pub storage_classes: Option<Vec<String>>,
    /// Client addresses that load balancers may serve: each Service of type LoadBalancer must name only ranges inside
    /// these. The rule is enforced by the API server, the filter by the load balancer (state Configured).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::address_ranges::<64>")]
    pub ip_allow_list: Vec<String>,
    /// Countries (ISO 3166-1 alpha-2) that clients may come from. Nothing in Kubernetes knows a client's country:
    /// reported NotEnforced.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::countries")]
    pub allowed_countries: Vec<String>,
    /// Images are scanned for known vulnerabilities. Read from a scanner later; reported NotEnforced.
    #[serde(default)]
    pub vulnerability_scanning: bool,
    /// Penetration tests are made. Only a person can attest it; reported NotEnforced.
    #[serde(default)]
    pub penetration_testing: bool,
    /// The API server's audit log is on. Read later; reported NotEnforced.
    #[serde(default)]
    pub audit_logging: bool,
    /// Backups are taken. Read from a backup tool later; reported NotEnforced.
    #[serde(default)]
    pub backups: bool,
    /// Keys live in a hardware security module. Only a person can attest it; reported NotEnforced.
    #[serde(default)]
    pub hardware_keys: bool,
    /// What happens when a part of the template cannot be provided on this cluster: Deny keeps owners out (the
    /// namespaces stand, fenced), Degrade lets them in and says so. Left out: Deny for Maximum and Classified, else
    /// Degrade.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::optional::<MissingMeans>")]
    pub on_missing_means: Option<MissingMeans>,
}

/// A Pod Security Standard.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum PodSecurity {
    /// No restriction.
    Privileged,
    /// Known privilege escalations are refused.
    Baseline,
    /// Hardened pods only.
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

/// Encryption level, each including the ones before it.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Encryption {
    /// TLS on everything that is exposed.
    Basic,
    /// Basic, and volumes and API data encrypted at rest.
    Enhanced,
    /// Enhanced, and encrypted between pods.
    Maximum,
    /// Maximum, and dedicated nodes and keys in hardware.
    Classified,
}

/// What to do when a cluster lacks what a template asks for.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingMeans {
    /// Owners get no rights until the means are there.
    Deny,
    /// Go on, and report what is missing.
    Degrade,
}

/// Compliance frameworks that evidence is wanted for.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ComplianceSpec {
    /// The frameworks. Evidence is not collected yet: reported NotEnforced.
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
