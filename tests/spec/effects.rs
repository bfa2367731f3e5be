//! `fields.txt` is complete and correct.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tenantry_core::template::controls::controls;

use crate::{
    cluster::{self, Cluster},
    shared::{
        fields::{self, Field, Row},
        start,
    },
};

const KINDS: [&str; 2] = ["Tenant", "TenantTemplate"];

#[test]
fn the_table_has_every_field_of_both_specs_and_no_other() {
    let of_schema: BTreeSet<String> = KINDS
        .into_iter()
        .flat_map(fields::fields_of)
        .map(|field| field.path)
        .collect();
    let of_table: BTreeSet<String> = fields::table().into_keys().collect();
    let missing: Vec<_> = of_schema.difference(&of_table).collect();
    let unknown: Vec<_> = of_table.difference(&of_schema).collect();
    assert!(
        missing.is_empty() && unknown.is_empty(),
        "fields.txt lacks {missing:?} and has {unknown:?} too much"
    );
}

/// `with` merged into `base`: maps are merged, null removes, everything else is replaced.
fn merged(mut base: Value, with: &Value) -> Value {
    match (&mut base, with) {
        (Value::Object(fields), Value::Object(with)) => {
            for (key, value) in with {
                let previous = fields.remove(key).unwrap_or_default();
                let value = merged(previous, value);
                if !value.is_null() {
                    fields.insert(key.clone(), value);
                }
            }
            base
        }
        _ => with.clone(),
    }
}

fn laid_over(base: Value, with: Option<&Value>) -> Value {
    match with {
        Some(with) => merged(base, with),
        None => base,
    }
}

/// Everything that depends on a spec, by the words of the table.
fn outcome(tenant: &Value, template: &Value, given: &Value) -> BTreeMap<String, Value> {
    let mut cluster = Cluster::new();
    if let Some(leftover) = given["leftover"].as_str() {
        let mut before = tenant.clone();
        before["namespaces"]
            .as_array_mut()
            .unwrap()
            .push(json!({ "name": leftover }));
        cluster
            .settle(&cluster::tenant(&before), &cluster::template(Some(template)))
            .unwrap();
    }
    cluster.used = given["used"].clone();
    if let Some(made) = given["made"].as_str() {
        cluster.made(&format!("{}-{made}", start::TENANT));
    }
    let other = start::other_template();
    let named = match tenant["templateRef"]["name"].as_str() {
        Some(start::TEMPLATE) => Some(template),
        Some(start::OTHER_TEMPLATE) => Some(&other),
        _ => None,
    };
    let refused = cluster
        .settle(&cluster::tenant(tenant), &cluster::template(named))
        .err();
    let mut outcome = BTreeMap::new();
    if let Some(invalid) = refused {
        // A refused spec changes nothing, and a fresh cluster is empty.
        outcome.insert("refused".to_owned(), json!(invalid.reason.as_str()));
        return outcome;
    }
    for (key, body) in cluster.state() {
        let kind = key.split(' ').next().unwrap_or_default();
        outcome.entry(kind.to_owned()).or_insert_with(|| json!({}))[&key] = body;
    }
    let spec = serde_json::from_value(template.clone()).unwrap();
    let controls = controls(&spec, &cluster::served(), &cluster::settings());
    outcome.insert("controls".to_owned(), serde_json::to_value(controls).unwrap());
    outcome
}

/// The words under which two outcomes differ. For a refused Tenant only `refused`.
fn differences(before: &BTreeMap<String, Value>, after: &BTreeMap<String, Value>) -> BTreeSet<String> {
    let words: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    if let Some(refused) = words.iter().find(|word| **word == "refused") {
        return BTreeSet::from([(*refused).clone()]);
    }
    words
        .into_iter()
        .filter(|word| before.get(*word) != after.get(*word))
        .cloned()
        .collect()
}

/// The spec with one field set, in the first item of each list; `None` removes it.
fn with(spec: &Value, path: &str, value: Option<&Value>) -> Value {
    let mut spec = spec.clone();
    let steps: Vec<&str> = path.split('.').skip(2).collect();
    let (last, parents) = steps.split_last().expect("a field below spec");
    let mut at = &mut spec;
    for step in parents {
        at = match step.strip_suffix("[]") {
            Some(items) => &mut at[items][0],
            None => &mut at[*step],
        };
        if at.is_null() {
            *at = json!({});
        }
    }
    let fields = at
        .as_object_mut()
        .unwrap_or_else(|| panic!("{path} is not below an object"));
    match value {
        Some(value) => drop(fields.insert((*last).to_owned(), value.clone())),
        None => drop(fields.remove(*last)),
    }
    spec
}

/// The effects of a change of each single field.
fn effects(kind: &str, field: &Field, row: &Row) -> BTreeMap<String, BTreeSet<String>> {
    let Row { given, .. } = row;
    let tenant = if kind == "Tenant" {
        start::overriding_tenant()
    } else {
        start::tenant()
    };
    let tenant = laid_over(tenant, given.get("tenant"));
    let template = laid_over(start::template(), given.get("template"));
    let before = outcome(&tenant, &template, given);
    let of = |value: Option<&Value>| {
        let after = match kind {
            "Tenant" => outcome(&with(&tenant, &field.path, value), &template, given),
            _ => outcome(&tenant, &with(&template, &field.path, value), given),
        };
        let text = value.map_or_else(|| "left out".to_owned(), Value::to_string);
        (text, differences(&before, &after))
    };
    let values = fields::values(field, row);
    let left_out = (!is_required(kind, &field.path)).then(|| of(None));
    values.iter().map(|value| of(Some(value))).chain(left_out).collect()
}

fn is_required(kind: &str, path: &str) -> bool {
    let mut schema = fields::spec_schema(kind);
    let steps: Vec<&str> = path.split('.').skip(2).collect();
    let (last, parents) = steps.split_last().expect("a field below spec");
    for step in parents {
        let below = &schema["properties"][step.trim_end_matches("[]")];
        schema = if step.ends_with("[]") {
            below["items"].clone()
        } else {
            below.clone()
        };
    }
    schema["required"]
        .as_array()
        .is_some_and(|required| required.contains(&json!(last)))
}

/// The chart's policies on Tenants, which read some fields themselves.
fn policies() -> String {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/charts/tenantry/templates/policies/tenants.yaml"
    );
    std::fs::read_to_string(path).unwrap()
}

fn check(kind: &str) {
    let table = fields::table();
    let mut wrong = Vec::new();
    for field in fields::fields_of(kind) {
        let row = &table[&field.path];
        let found = effects(kind, &field, row);
        let mut all: BTreeSet<String> = found.values().flatten().cloned().collect();
        let name = field.path.rsplit('.').next().unwrap_or_default();
        if row.changes.contains("admission") && policies().contains(&format!("spec.?{name}")) {
            all.insert("admission".to_owned());
        }
        if all != row.changes {
            wrong.push(format!(
                "{} changes {all:?}, the table says {:?}; by value: {found:?}",
                field.path, row.changes
            ));
        }
    }
    assert!(wrong.is_empty(), "{} fields:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn tenant_field_changes_only_what_the_table_lists() {
    check("Tenant");
}

#[test]
fn template_field_changes_only_what_the_table_lists() {
    check("TenantTemplate");
}
