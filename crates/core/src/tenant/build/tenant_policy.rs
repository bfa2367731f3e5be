//! The TenantPolicy: the rules of this namespace, as the parameter of the admission policies.

use serde_json::json;

use super::in_namespace;
use crate::{
    object::{Kind, Object},
    tenant::validate::{ValidNamespace, ValidTenant},
};
use tenantry_api::{
    names,
    v1alpha1::{PlacementSpec, SecuritySpec, TenantPolicySpec},
};

pub(super) fn tenant_policy(tenant: &ValidTenant, namespace: &ValidNamespace) -> Object {
    let effective = tenant.effective.clone();
    let SecuritySpec {
        image_digests,
        mfa_for_writes,
        encryption,
        ip_allow_list,
        ..
    } = &tenant.template.security;
    let PlacementSpec {
        tolerations,
        regions,
        priority_classes,
        runtime_classes,
        ..
    } = &tenant.template.placement;
    let mut node_selector = effective.node_selector;
    if let [region] = regions.as_slice() {
        node_selector.insert("topology.kubernetes.io/region".to_owned(), region.clone());
    }
    let spec = TenantPolicySpec {
        tenant: tenant.name.clone(),
        tier: tenant.tier(),
        environment: namespace.environment,
        state: tenant.state,
        registries: effective.registries,
        image_digests: *image_digests,
        storage_classes: effective.storage_classes,
        service_types: effective.service_types,
        source_ranges: (!ip_allow_list.is_empty()).then(|| ip_allow_list.clone()),
        ingress_hosts: effective.ingress_hosts,
        ingress_classes: tenant.template.network.ingress_classes.clone(),
        ingress_tls: encryption.is_some(),
        mfa_for_writes: *mfa_for_writes,
        node_selector,
        tolerations: tolerations.clone(),
        priority_classes: priority_classes.clone(),
        runtime_classes: runtime_classes.clone(),
        pod_bandwidth: effective.quotas.network_bandwidth,
    };
    in_namespace(
        tenant,
        namespace,
        Kind::TenantPolicy,
        names::EFFECTIVE,
        json!({ "spec": spec }),
    )
}
