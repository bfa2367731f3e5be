//! Whether owners may have their rights.

use tenantry_api::v1alpha1::{Encryption, MissingMeans, TenantTemplateSpec};

/// Whether owners may have their rights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rights {
    /// They may.
    Granted,
    /// The template forbids it while these means are missing.
    Withheld(String),
}

/// Owners stay out while the template asks for means that are missing and says Deny.
pub(super) fn rights(template: &TenantTemplateSpec) -> Rights {
    let security = &template.security;
    let mut missing = Vec::new();
    if security.encryption >= Some(Encryption::Maximum) {
        missing.push(
            "security.encryption needs a service mesh for encryption between pods, which this version does not support",
        );
    }
    if security.end_to_end_encryption {
        missing.push("security.endToEndEncryption needs a service mesh, which this version does not support");
    }
    if security.zero_trust {
        missing.push("security.zeroTrust needs a service mesh, which this version does not support");
    }
    if security.image_signatures {
        missing.push("security.imageSignatures needs a signature verifier, which this version does not support");
    }
    if security.hardware_keys {
        missing.push("security.hardwareKeys needs a person's confirmation, which this version cannot record");
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
