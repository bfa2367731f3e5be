//! Pieces of CRD schema that schemars cannot derive: amounts, bounded maps, conditions.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::json;

/// An amount: a Kubernetes quantity from 0 to `max`, written as a string or an integer.
fn amount(max: &str, example: &str) -> Schema {
    json_schema!({
        "x-kubernetes-int-or-string": true,
        "maxLength": 32,
        "x-kubernetes-validations": [{
            "rule": format!(
                "isQuantity(string(self)) && !quantity(string(self)).isLessThan(quantity('0')) && !quantity(string(self)).isGreaterThan(quantity('{max}'))"
            ),
            "message": format!(
                "must be a quantity from 0 to {max}, for example {example}; 0 forbids the use, leaving the field out sets no limit"
            ),
        }],
    })
}

/// A quantity that the operator computed.
pub fn plain_quantity(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "x-kubernetes-int-or-string": true, "maxLength": 32 })
}

/// CPU in cores: `500m`, `8`.
pub fn cpu(_: &mut SchemaGenerator) -> Schema {
    amount("1M", "500m or 8")
}

/// Bytes of memory or disk: `512Mi`, `16Gi`.
pub fn bytes(_: &mut SchemaGenerator) -> Schema {
    amount("1Ei", "512Mi or 16Gi")
}

/// Bits per second: `100M`, `2G`.
pub fn bits_per_second(_: &mut SchemaGenerator) -> Schema {
    amount("1P", "100M or 2G")
}

/// A price per unit, an exact decimal: `0.045`.
pub fn price(_: &mut SchemaGenerator) -> Schema {
    amount("1G", "\"0.045\" or 25")
}

/// Labels: at most 32 pairs, keys and values as Kubernetes takes them.
pub fn labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 32,
        "additionalProperties": { "type": "string", "maxLength": 63, "pattern": "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$" },
        "x-kubernetes-validations": [{
            "rule": "self.all(k, size(k) <= 253 && k.matches('^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$'))",
            "message": "keys must be valid label keys, for example team or example.com/team",
        }],
    })
}

/// Labels for a tenant's namespace: [`labels`] without the keys that decide about protection.
pub fn namespace_labels(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = labels(generator);
    if let Some(rules) = schema.get_mut("x-kubernetes-validations").and_then(serde_json::Value::as_array_mut) {
        rules.push(json!({
            "rule": "self.all(k, !k.contains('kubernetes.io/') && !k.contains('k8s.io/') && !k.startsWith('tenantry.dev/') && !k.startsWith('istio') && !k.contains('.istio.io/') && !k.contains('linkerd.io/') && !k.contains('sigstore.dev/') && !k.contains('argoproj.io/') && !k.contains('toolkit.fluxcd.io/') && !k.startsWith('meta.helm.sh/'))",
            "message": "keys of Kubernetes, Tenantry, service meshes, signing and GitOps tools decide about protection and are not for tenants to set",
        }));
    }
    schema
}

/// `status.conditions`: Kubernetes' own condition type, merged by `type`.
pub fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 32,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status", "reason", "message", "lastTransitionTime"],
            "properties": {
                "type": { "type": "string", "maxLength": 316, "description": "Name of the condition in CamelCase." },
                "status": { "type": "string", "enum": ["True", "False", "Unknown"], "description": "True, False or Unknown." },
                "reason": { "type": "string", "minLength": 1, "maxLength": 1024, "description": "One CamelCase word that says why." },
                "message": { "type": "string", "maxLength": 32768, "description": "The same for people, with the remedy." },
                "observedGeneration": { "type": "integer", "format": "int64", "minimum": 0, "description": "The metadata.generation that this condition was computed from." },
                "lastTransitionTime": { "type": "string", "format": "date-time", "description": "When the status last changed." },
            },
        },
    })
}

/// Last touches that no attribute offers: the kstatus default of `observedGeneration` and list types.
///
/// A fresh object reads `status.observedGeneration: -1`, so kstatus, `kubectl wait`, Helm and Flux see it in progress
/// before the operator has written anything, and the operator saves that write.
pub fn finish(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        let Some(root) = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut()) else { continue };
        tidy(root);
        let Some(status) = root.properties.as_mut().and_then(|properties| properties.get_mut("status")) else { continue };
        if status.properties.as_ref().is_some_and(|properties| properties.contains_key("observedGeneration")) {
            status.default = Some(JSON(json!({ "observedGeneration": -1 })));
        }
    }
    crd
}

/// Drops `title` and formats that the API server does not know, and marks every plain list as atomic.
fn tidy(schema: &mut JSONSchemaProps) {
    schema.title = None;
    if schema.format.as_deref().is_some_and(|format| format.starts_with("uint")) {
        schema.format = None;
    }
    if schema.type_.as_deref() == Some("array") && schema.x_kubernetes_list_type.is_none() {
        schema.x_kubernetes_list_type = Some("atomic".to_owned());
    }
    for property in schema.properties.iter_mut().flat_map(|properties| properties.values_mut()) {
        tidy(property);
    }
    match schema.items.as_mut() {
        Some(JSONSchemaPropsOrArray::Schema(items)) => tidy(items),
        Some(JSONSchemaPropsOrArray::Schemas(all)) => all.iter_mut().for_each(tidy),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = schema.additional_properties.as_mut() {
        tidy(values);
    }
}
