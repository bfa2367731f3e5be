//! Whether owners get their rights.

use crate::template::security::{Unsupported, unsupported};
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
    let missing: Vec<String> = unsupported(security)
        .map(|Unsupported { field, needs, .. }| format!("{field} {needs}"))
        .collect();
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
