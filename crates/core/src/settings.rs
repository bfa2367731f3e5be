//! Settings that differ between clusters, validated.

use std::{collections::BTreeSet, time::Duration};

/// A set of admission policies that the chart can install.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Admission {
    /// The ValidatingAdmissionPolicies.
    Validating,
    /// The MutatingAdmissionPolicies, on clusters that serve them.
    Mutating,
    /// The policy that requires multi-factor sign-in. It reads an extra key of the user.
    Mfa,
}

/// Settings that differ between clusters.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Extended resources that `quotas.aiProcessingUnits` counts.
    pub accelerator_resources: Vec<String>,
    /// Resource whose objects `quotas.mlModelInstances` counts, `<plural>.<group>`.
    pub model_resource: String,
    /// Admission policies that are installed.
    pub admission: BTreeSet<Admission>,
    /// Shortest time between two status writes that only change the use.
    pub status_interval: Duration,
}

/// Names of resources that differ between clusters, validated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceNames {
    /// Extended resources that count as AI processing units, each `<domain>/<name>`; at least one, without duplicates.
    pub accelerators: Vec<String>,
    /// Resource counted as ML model instances, `<plural>.<group>`.
    pub model: String,
}

/// Why the names of resources are not usable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResourceNamesError {
    /// A malformed name.
    #[error("{flag} must be {wanted}, got {got:?}")]
    Name {
        /// The flag.
        flag: &'static str,
        /// The expected form.
        wanted: &'static str,
        /// The value that was given.
        got: String,
    },
    /// The same resource twice; it would be granted twice.
    #[error("--accelerator-resource names {0:?} twice")]
    DuplicateAccelerator(String),
    /// No resource was named.
    #[error("--accelerator-resource needs at least one name, such as nvidia.com/gpu")]
    NoAccelerator,
}

impl ResourceNames {
    /// Checks the names.
    pub fn new(accelerators: Vec<String>, model: String) -> Result<Self, ResourceNamesError> {
        let accelerators = accelerators
            .into_iter()
            .map(|name| match name.split_once('/') {
                Some((domain, resource)) if is_dns_subdomain(domain) && is_resource_word(resource) => Ok(name),
                _ => Err(ResourceNamesError::Name {
                    flag: "--accelerator-resource",
                    wanted: "<domain>/<name>, such as nvidia.com/gpu",
                    got: name,
                }),
            })
            .collect::<Result<Vec<_>, _>>()?;
        if accelerators.is_empty() {
            return Err(ResourceNamesError::NoAccelerator);
        }
        for (index, name) in accelerators.iter().enumerate() {
            if accelerators[..index].contains(name) {
                return Err(ResourceNamesError::DuplicateAccelerator(name.clone()));
            }
        }
        // A core resource has no group; `count/<plural>` would count core objects such as pods as models.
        if !(is_dns_subdomain(&model) && model.contains('.')) {
            return Err(ResourceNamesError::Name {
                flag: "--model-resource",
                wanted: "<plural>.<group>, such as inferenceservices.serving.kserve.io",
                got: model,
            });
        }
        Ok(Self { accelerators, model })
    }
}

/// RFC 1123 subdomain.
pub fn is_dns_subdomain(name: &str) -> bool {
    name.len() <= 253
        && name.split('.').all(|label| {
            label.len() <= 63
                && label.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
                && label.ends_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
                && label
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        })
}

fn is_resource_word(name: &str) -> bool {
    name.len() <= 63
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.ends_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}
