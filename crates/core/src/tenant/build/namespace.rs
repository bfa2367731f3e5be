//! The Namespace, which is created with every label that protects it.

use serde_json::json;

use super::{add_labels, object};
use crate::{
    object::{Key, Object},
    tenant::validate::{ValidNamespace, ValidTenant},
};
use tenantry_api::{names, v1alpha1::PodSecurity};

/// Pod Security is pinned to the standard of this Kubernetes minor version, so that a cluster upgrade does not tighten it.
/// API servers that are older use their own latest version.
const POD_SECURITY_VERSION: &str = "v1.34";

pub(super) fn namespace(tenant: &ValidTenant, namespace: &ValidNamespace) -> Object {
    let mut object = object(tenant, Key::namespace(&namespace.name), json!({}));
    let mut label = |key: &str, value: &str| object.labels.insert(key.to_owned(), json!(value));
    label(names::MANAGED_BY, names::MANAGED_BY_US);
    label(names::TENANT, &tenant.name);
    label(names::TIER, tenant.tier().as_str());
    label(names::TEMPLATE, &tenant.template_name);
    label(names::ENVIRONMENT, namespace.environment.as_str());
    if namespace.direct {
        label(names::SELF_SERVICE, names::DIRECT);
    }
    for (key, value) in pod_security(tenant.effective.pod_security) {
        label(&key, value);
    }
    add_labels(&mut object, &namespace.labels);
    if let (true, Some(weight)) = (namespace.claimed, namespace.weight) {
        let weight = json!(weight.to_string());
        object.annotations.insert(names::CLAIM_WEIGHT.to_owned(), weight);
    }
    object
}

/// Labels that make Pod Security admission enforce, audit and warn at one level.
pub(super) fn pod_security(level: PodSecurity) -> impl Iterator<Item = (String, &'static str)> {
    names::POD_SECURITY_MODES.into_iter().flat_map(move |mode| {
        let key = format!("{}{mode}", names::POD_SECURITY);
        [(format!("{key}-version"), POD_SECURITY_VERSION), (key, level.label())]
    })
}
