//! Whether owners get their rights.

use tenantry_api::v1alpha1::{Encryption, MissingMeans, TenantTemplateSpec};

/// Whether owners get their rights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rights {
    /// They do.
    Granted,
    /// The template withholds them while these prerequisites are missing.
    Withheld(String),
}

/// Withholds rights while a prerequisite of the template is missing and the template says Deny.
pub(super) fn rights(template: &TenantTemplateSpec) -> Rights {
    let security = &template.security;
    let mut missing = Vec::new();
    if security.encryption >= Some(Encryption::Maximum) {
        missing.push("security.encryption: encryption between pods needs a mesh");
    }
    if security.end_to_end_encryption {
        missing.push("security.endToEndEncryption needs a mesh");
    }
    if security.zero_trust {
        missing.push("security.zeroTrust needs a mesh");
    }
    if security.image_signatures {
        missing.push("security.imageSignatures needs a signature verifier");
    }
    if security.hardware_keys {
        missing.push("security.hardwareKeys needs an attestation");
    }
    let deny_by_level = security.encryption >= Some(Encryption::Maximum);
    let deny = match security.on_missing_means {
        Some(MissingMeans::Deny) => true,
        Some(MissingMeans::Degrade) => false,
        None => deny_by_level,
    };
    if deny && !missing.is_empty() {
        Rights::Withheld(missing.join("; "))
    } else {
        Rights::Granted
    }
}
