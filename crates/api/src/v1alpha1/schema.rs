//! Parts of a CRD schema that schemars cannot derive: amounts, conditions, and the final changes to a whole CRD. Module
//! `text` has strings with a format, lists of them, and labels.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::core::Rule;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

mod text;

pub use text::{
    address_range, address_ranges, color, countries, currency, domain, email, hosts, https_url, labels,
    namespace_labels, namespace_name, object_counts, object_names, owner_name, percent, regions, registries,
    runtime_classes, taint_key, taint_value, template_name,
};

/// An amount: a Kubernetes quantity from 0 to `max`, written as a string or an integer. A decimal such as 0.5 must be
/// quoted: otherwise the API server refuses it as `type number` before a rule of ours can explain the error.
fn amount(max: &str, advice: &str) -> Schema {
    amount_that(&[up_to(max, advice)])
}

fn amount_that(rules: &[Value]) -> Schema {
    json_schema!({ "x-kubernetes-int-or-string": true, "maxLength": 32, "x-kubernetes-validations": rules })
}

fn up_to(max: &str, advice: &str) -> Value {
    json!({
        "rule": format!(
            "isQuantity(string(self)) && !quantity(string(self)).isLessThan(quantity('0')) && !quantity(string(self)).isGreaterThan(quantity('{max}'))"
        ),
        "message": format!("must be a quantity from 0 to {max}, for example {advice}"),
    })
}

/// A quantity that the operator computed.
pub fn plain_quantity(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "x-kubernetes-int-or-string": true, "maxLength": 48 })
}

/// CPU in cores: `500m`, `8`.
pub fn cpu(_: &mut SchemaGenerator) -> Schema {
    let up_to = up_to("1M", "500m or 8; to set no limit, leave the field out");
    // The API server rounds finer amounts up in every field. The operator would never read back the quota that it
    // wrote, and sums would not be exact.
    let no_finer = json!({
        "rule": "!string(self).matches('[nu]$|[.][0-9]*[1-9][0-9]*m$|[.][0-9]{3}[0-9]*[1-9]|[eE]-')",
        "message": "must be whole thousandths of a core, written as 5m or \"0.005\"",
    });
    amount_that(&[up_to, no_finer])
}

/// Bytes of memory or disk: `512Mi`, `16Gi`.
pub fn bytes(_: &mut SchemaGenerator) -> Schema {
    amount("1Ei", "512Mi or 16Gi; to set no limit, leave the field out")
}

/// Bits per second: `100M`, `2G`.
pub fn bits_per_second(_: &mut SchemaGenerator) -> Schema {
    amount("1P", "100M or 2G; to set no limit, leave the field out")
}

/// A price per unit, an exact decimal: `0.045`.
pub fn price(_: &mut SchemaGenerator) -> Schema {
    amount("1G", "\"0.045\" or 25")
}

/// The rule that `self.<low>.<resource>` is not above `self.<high>.<resource>`, if both are set.
pub fn not_above(low: &str, high: &str, resource: &str) -> Rule {
    let amount = |bound: &str| format!("quantity(string(self.{bound}.{resource}))");
    Rule::new(format!(
        "!has(self.{low}) || !has(self.{low}.{resource}) || !has(self.{high}) || !has(self.{high}.{resource}) || !{}.isGreaterThan({})",
        amount(low),
        amount(high)
    ))
    .message(format!("{low}.{resource} is above {high}.{resource}: lower {low} or raise {high}").as_str())
    .field_path(format!(".{low}.{resource}"))
}

/// An optional enum field. Without this function, schemars replaces the field's description with that of the type.
pub fn optional<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = T::json_schema(generator);
    schema.remove("description");
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
            "description": "One aspect of the object's state.",
            "required": ["type", "status", "reason", "message", "lastTransitionTime"],
            "properties": {
                "type": { "type": "string", "maxLength": 316, "description": "Name of the condition in CamelCase." },
                "status": { "type": "string", "enum": ["True", "False", "Unknown"], "description": "True, False or Unknown." },
                "reason": { "type": "string", "minLength": 1, "maxLength": 1024, "description": "The cause as one CamelCase word." },
                "message": { "type": "string", "maxLength": 32768, "description": "The cause as a sentence, with the remedy." },
                "observedGeneration": { "type": "integer", "format": "int64", "minimum": 0, "description": "The metadata.generation for which the operator set this condition." },
                "lastTransitionTime": { "type": "string", "format": "date-time", "description": "When the status last changed." },
            },
        },
    })
}

/// Final changes for which there is no attribute: the kstatus default of `observedGeneration`, a spec without a
/// required field, and list types.
///
/// A new object has `status.observedGeneration: -1`. So kstatus, `kubectl wait`, Helm and Flux see it as in progress
/// before the operator writes a status, and the operator saves that write.
pub fn finish(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        let Some(root) = version
            .schema
            .as_mut()
            .and_then(|schema| schema.open_api_v3_schema.as_mut())
        else {
            continue;
        };
        tidy(root);
        let Some(properties) = root.properties.as_mut() else {
            continue;
        };
        // If no field of the spec is required, users may leave out the spec.
        if let Some(spec) = properties.get_mut("spec")
            && spec.required.as_ref().is_none_or(Vec::is_empty)
        {
            spec.default = Some(JSON(json!({})));
            let others = root.required.take().into_iter().flatten();
            let others: Vec<_> = others.filter(|field| field != "spec").collect();
            root.required = Some(others).filter(|others| !others.is_empty());
        }
        if let Some(status) = properties.get_mut("status")
            && status
                .properties
                .as_ref()
                .is_some_and(|properties| properties.contains_key("observedGeneration"))
        {
            status.default = Some(JSON(json!({ "observedGeneration": -1 })));
        }
    }
    crd
}

/// Drops `title`, `nullable` and formats that the API server does not know, and marks every plain list as atomic.
///
/// Without `nullable` the API server treats null as left out, before any rule sees it; with it, the API server would
/// store null and every rule would have to handle it.
fn tidy(schema: &mut JSONSchemaProps) {
    schema.title = None;
    schema.nullable = None;
    describe(schema);
    if schema
        .format
        .as_deref()
        .is_some_and(|format| format.starts_with("uint"))
    {
        schema.format = None;
    }
    if schema.type_.as_deref() == Some("array") && schema.x_kubernetes_list_type.is_none() {
        schema.x_kubernetes_list_type = Some("atomic".to_owned());
    }
    for property in schema
        .properties
        .iter_mut()
        .flat_map(|properties| properties.values_mut())
    {
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

/// Adapts the description to `kubectl explain`, which breaks lines itself. It lists the values of an enum, but not
/// those of a list of enums.
fn describe(schema: &mut JSONSchemaProps) {
    let Some(text) = schema.description.as_mut() else {
        return;
    };
    *text = text
        .split("\n\n")
        .map(|paragraph| paragraph.replace('\n', " "))
        .collect::<Vec<_>>()
        .join("\n\n");
    let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items else {
        return;
    };
    let values: Vec<_> = items
        .enum_
        .iter()
        .flatten()
        .filter_map(|value| value.0.as_str())
        .collect();
    if !values.is_empty() {
        text.push_str(" Values: ");
        text.push_str(&values.join(", "));
        text.push('.');
    }
}
