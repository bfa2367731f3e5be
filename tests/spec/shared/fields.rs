//! Every field of both specs, from the CRDs, with its row of `fields.txt`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tenantry_api as api;

/// A field with a value and no further fields of ours.
#[derive(Clone, Debug)]
pub struct Field {
    /// For example `Tenant.spec.owners[].role`.
    pub path: String,
    /// Its part of the structural schema.
    pub schema: Value,
}

/// The table's row for a field.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// Kinds of objects, `controls`, `refused`, `admission`.
    pub changes: BTreeSet<String>,
    /// Its possible values, if the schema does not list them.
    pub values: Vec<Value>,
    /// Fields that are merged into the start first, so that the change has an effect.
    pub given: Value,
}

/// The schema of `spec` of a kind.
pub fn spec_schema(kind: &str) -> Value {
    let crd = api::all_crds().into_iter().find(|crd| crd.spec.names.kind == kind);
    let crd = serde_json::to_value(crd.unwrap_or_else(|| panic!("no kind {kind}"))).unwrap();
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].clone()
}

/// Every field of a kind's spec, in alphabetical order.
pub fn fields_of(kind: &str) -> Vec<Field> {
    let mut fields = Vec::new();
    collect(&format!("{kind}.spec"), &spec_schema(kind), &mut fields);
    fields
}

fn collect(path: &str, schema: &Value, fields: &mut Vec<Field>) {
    if let Some(properties) = schema["properties"].as_object() {
        for (name, below) in properties {
            collect(&format!("{path}.{name}"), below, fields);
        }
    } else if schema["items"]["properties"].is_object() {
        collect(&format!("{path}[]"), &schema["items"], fields);
    } else {
        fields.push(Field {
            path: path.to_owned(),
            schema: schema.clone(),
        });
    }
}

/// The table: `field | changes | values | given`, values separated by `;`, each of them YAML.
pub fn table() -> BTreeMap<String, Row> {
    let lines = include_str!("../fields.txt").lines();
    let rows = lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let mut cells = line.split('|').map(str::trim);
            let mut cell = || cells.next().unwrap_or_default();
            let (path, changes, values, given) = (cell(), cell(), cell(), cell());
            let row = Row {
                changes: changes
                    .split(',')
                    .map(str::trim)
                    .filter(|word| *word != "nothing")
                    .map(str::to_owned)
                    .collect(),
                values: values
                    .split(" ; ")
                    .map(str::trim)
                    .filter(|text| !text.is_empty())
                    .map(|text| yaml(path, text))
                    .collect(),
                given: if given.is_empty() { json!({}) } else { yaml(path, given) },
            };
            (path.to_owned(), row)
        });
    let count = rows.clone().count();
    let rows: BTreeMap<_, _> = rows.collect();
    assert_eq!(rows.len(), count, "a field stands twice in fields.txt");
    rows
}

fn yaml(path: &str, text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("fields.txt: {path}: {text}: {error}"))
}

/// The possible values of a field: those of the table, else those of the schema.
pub fn values(field: &Field, row: &Row) -> Vec<Value> {
    if !row.values.is_empty() {
        return row.values.clone();
    }
    let schema = &field.schema;
    if let Some(choices) = schema["enum"].as_array() {
        return choices.clone();
    }
    if let Some(choices) = schema["items"]["enum"].as_array() {
        let halves = choices.split_at(choices.len() / 2);
        return vec![json!(choices), json!(halves.0), json!(halves.1)];
    }
    match (
        schema["type"].as_str(),
        schema["minimum"].as_f64(),
        schema["maximum"].as_f64(),
    ) {
        (Some("boolean"), ..) => vec![json!(true), json!(false)],
        (Some("integer"), Some(low), Some(high)) => {
            #[expect(clippy::cast_possible_truncation, reason = "bounds of the schema are whole numbers")]
            let (low, high) = (low as i64, high as i64);
            vec![json!(low), json!(i64::midpoint(low, high)), json!(high)]
        }
        _ => panic!(
            "{}: the schema names no values, so fields.txt must: {schema}",
            field.path
        ),
    }
}
