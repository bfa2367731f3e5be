//! Security fields that need something which this version does not support.
//!
//! A template's controls and the rights of its tenants' owners read the same table, so they cannot disagree.

use tenantry_api::v1alpha1::{Encryption, SecuritySpec};

/// A security field without an effect in this version.
#[derive(Clone, Copy, Debug)]
pub struct Unsupported {
    /// The field, as `status.controls` names it.
    pub field: &'static str,
    /// What it needs, as a predicate of the field.
    pub needs: &'static str,
    is_set: fn(&SecuritySpec) -> bool,
}

const MESH: &str = "needs a service mesh, which this version does not support";

/// The table, in the order of the spec.
const UNSUPPORTED: [Unsupported; 5] = [
    Unsupported {
        field: "security.encryption: between pods",
        needs: MESH,
        is_set: |security| security.encryption >= Some(Encryption::Maximum),
    },
    Unsupported {
        field: "security.zeroTrust",
        needs: MESH,
        is_set: |security| security.zero_trust,
    },
    Unsupported {
        field: "security.endToEndEncryption",
        needs: MESH,
        is_set: |security| security.end_to_end_encryption,
    },
    Unsupported {
        field: "security.imageSignatures",
        needs: "needs a signature verifier, which this version does not support",
        is_set: |security| security.image_signatures,
    },
    Unsupported {
        field: "security.hardwareKeys",
        needs: "needs a person's confirmation, which this version cannot record",
        is_set: |security| security.hardware_keys,
    },
];

/// The fields that `security` sets and this version does not support.
pub fn unsupported(security: &SecuritySpec) -> impl Iterator<Item = &'static Unsupported> {
    UNSUPPORTED.iter().filter(move |field| (field.is_set)(security))
}
