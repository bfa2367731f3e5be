//! The ConfigMap `tenant-limits`: limits that Kubernetes cannot enforce, for workloads to read and respect.

use serde_json::{Map, Value, json};

use super::in_namespace;
use crate::{
    object::{Kind, Object},
    tenant::validate::{ValidNamespace, ValidTenant},
};
use tenantry_api::{
    names,
    v1alpha1::{AiSpec, Branding, Quotas, SupportSpec},
};

pub(super) fn config_map(tenant: &ValidTenant, namespace: &ValidNamespace) -> Object {
    let Quotas {
        // ResourceQuotas enforce these; the whole grant is here for information.
        cpu,
        memory,
        storage,
        namespaces,
        pods,
        network_bandwidth,
        concurrent_connections,
        api_requests_per_minute,
        database_connections,
        cache,
        ml_model_instances,
        ai_processing_units,
        // Left out: some of these keys are not valid in a ConfigMap, and every namespace can read its ResourceQuota.
        objects: _,
    } = &tenant.effective.quotas;
    let AiSpec { level, models } = &tenant.template.ai;
    let SupportSpec {
        level: support,
        response_minutes,
        contact,
    } = &tenant.template.support;
    let Branding {
        display_name,
        domain,
        logo_url,
        primary_color,
        support_email,
    } = tenant.branding.clone().unwrap_or_default();

    let text = |value: &Option<i64>| value.map(|value| value.to_string());
    let amount = |value: &Option<tenantry_api::Quantity>| value.map(|value| value.to_string());
    let fields = [
        ("tenant", Some(tenant.name.clone())),
        ("tier", Some(tenant.tier().as_str().to_owned())),
        ("environment", Some(namespace.environment.as_str().to_owned())),
        ("cpu", amount(cpu)),
        ("memory", amount(memory)),
        ("storage", amount(storage)),
        ("namespaces", text(namespaces)),
        ("pods", text(pods)),
        ("networkBandwidth", amount(network_bandwidth)),
        ("concurrentConnections", text(concurrent_connections)),
        ("apiRequestsPerMinute", text(api_requests_per_minute)),
        ("databaseConnections", text(database_connections)),
        ("cache", amount(cache)),
        ("mlModelInstances", text(ml_model_instances)),
        ("aiProcessingUnits", text(ai_processing_units)),
        ("ai.level", Some(level.as_str().to_owned())),
        ("ai.models", (!models.is_empty()).then(|| models.join(","))),
        ("support.level", Some(support.as_str().to_owned())),
        ("support.responseMinutes", text(response_minutes)),
        ("support.contact", contact.clone()),
        ("branding.displayName", display_name),
        ("branding.domain", domain),
        ("branding.logoUrl", logo_url),
        ("branding.primaryColor", primary_color),
        ("branding.supportEmail", support_email),
    ];
    let data: Map<String, Value> = fields
        .into_iter()
        .filter_map(|(key, value)| value.map(|value| (key.to_owned(), json!(value))))
        .collect();
    in_namespace(
        tenant,
        namespace,
        Kind::ConfigMap,
        names::LIMITS,
        json!({ "data": data }),
    )
}
