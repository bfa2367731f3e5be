//! Random edits of a spec, one field at a time. The schema and its rules admit most of them.

use serde_json::{Value, json};

use super::fields::{self, Field, Row};

/// Which of the two specs is edited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Document {
    Tenant,
    Template,
}

/// One edit: the whole spec after it.
#[derive(Clone, Debug)]
pub struct Edit {
    pub document: Document,
    /// Path and change.
    pub what: String,
    pub spec: Value,
}

/// Draws edits.
pub struct Editor {
    rng: fastrand::Rng,
    fields: Vec<(Document, Field, Row)>,
    schemas: [Value; 2],
}

impl Editor {
    pub fn new(seed: u64) -> Self {
        let mut table = fields::table();
        let documents = [(Document::Tenant, "Tenant"), (Document::Template, "TenantTemplate")];
        let all = documents
            .into_iter()
            .flat_map(|(document, kind)| fields::fields_of(kind).into_iter().map(move |field| (document, field)));
        let fields = all.map(|(document, field)| {
            let row = table
                .remove(&field.path)
                .unwrap_or_else(|| panic!("fields.txt lacks {}", field.path));
            (document, field, row)
        });
        Self {
            rng: fastrand::Rng::with_seed(seed),
            fields: fields.collect(),
            schemas: documents.map(|(_, kind)| fields::spec_schema(kind)),
        }
    }

    /// A number below `end`, from the same seed.
    pub fn below(&mut self, end: usize) -> usize {
        self.rng.usize(0..end)
    }

    /// Draws an edit that changes something.
    pub fn draw(&mut self, tenant: &Value, template: &Value) -> Edit {
        loop {
            let (document, field, row) = self.fields[self.rng.usize(0..self.fields.len())].clone();
            let before = match document {
                Document::Tenant => tenant,
                Document::Template => template,
            };
            let schema = self.schemas[document as usize].clone();
            let mut spec = before.clone();
            let steps: Vec<&str> = field.path.split('.').skip(2).collect();
            let done = self.edit(&mut spec, &schema, &steps, &field, &row);
            self.complete(
                &mut spec,
                &schema,
                field.path.split('.').next().unwrap_or_default(),
                "spec",
            );
            mend(&mut spec);
            if spec != *before && keys_are_unique(&spec, &schema) {
                return Edit {
                    document,
                    what: format!("{}: {done}", field.path),
                    spec,
                };
            }
        }
    }

    fn edit(&mut self, value: &mut Value, schema: &Value, steps: &[&str], field: &Field, row: &Row) -> String {
        let [step, rest @ ..] = steps else {
            return "nothing".to_owned();
        };
        let (name, is_list) = step.strip_suffix("[]").map_or((*step, false), |name| (name, true));
        let below = &schema["properties"][name];
        if is_list {
            if !value[name].is_array() {
                value[name] = json!([]);
            }
            let items = value[name].as_array_mut().expect("a list was put there");
            let place = self.rng.usize(0..=items.len());
            if place == items.len() {
                items.push(json!({}));
            } else if self.rng.u8(0..5) == 0 {
                return format!("without {}", items.remove(place));
            }
            return self.edit(&mut items[place], &below["items"], rest, field, row);
        }
        if !rest.is_empty() {
            if !value[name].is_object() {
                value[name] = json!({});
            }
            return self.edit(&mut value[name], below, rest, field, row);
        }
        let required = schema["required"]
            .as_array()
            .is_some_and(|required| required.contains(&json!(name)));
        let fields = value.as_object_mut().expect("the schema says so");
        if !required && fields.contains_key(name) && self.rng.u8(0..4) == 0 {
            fields.remove(name);
            return "left out".to_owned();
        }
        let values = fields::values(field, row);
        let drawn = values[self.rng.usize(0..values.len())].clone();
        let done = drawn.to_string();
        fields.insert(name.to_owned(), drawn);
        done
    }

    /// Fills in what the schema requires.
    fn complete(&mut self, value: &mut Value, schema: &Value, kind: &str, path: &str) {
        if let Some(items) = value.as_array_mut() {
            for item in items {
                self.complete(item, &schema["items"], kind, &format!("{path}[]"));
            }
            return;
        }
        let (Some(properties), Some(fields)) = (schema["properties"].as_object(), value.as_object_mut()) else {
            return;
        };
        for required in schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
        {
            if !fields.contains_key(required) {
                let path = format!("{kind}.{path}.{required}");
                let known = self.fields.iter().find(|(_, field, _)| field.path == path);
                let (_, field, row) = known.unwrap_or_else(|| panic!("{path} is required and no field"));
                let values = fields::values(field, row);
                fields.insert(required.to_owned(), values[self.rng.usize(0..values.len())].clone());
            }
        }
        for (name, below) in properties {
            if let Some(value) = fields.get_mut(name) {
                self.complete(value, below, kind, &format!("{path}.{name}"));
            }
        }
    }
}

/// Adjusts fields that rules of the CRD tie to each other.
fn mend(value: &mut Value) {
    if let Some(items) = value.as_array_mut() {
        return items.iter_mut().for_each(mend);
    }
    let Some(fields) = value.as_object_mut() else { return };
    fields.values_mut().for_each(mend);
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (kind, name, operator) = (text("kind"), text("name"), text("operator"));
    if kind == "ServiceAccount" && !name.starts_with("system:") {
        fields.insert("name".to_owned(), json!("system:serviceaccount:ci:deployer"));
    } else if !kind.is_empty() && kind != "ServiceAccount" && name.starts_with("system:") {
        fields.insert("name".to_owned(), json!("ann@example.com"));
    }
    if operator == "Exists" {
        fields.remove("value");
    }
    let number = |name: &str| fields.get(name).and_then(Value::as_i64);
    if let (Some(port), Some(end)) = (number("port"), number("endPort"))
        && end < port
    {
        fields.insert("endPort".to_owned(), json!(port));
    }
}

/// Whether no list-map has a key twice.
fn keys_are_unique(value: &Value, schema: &Value) -> bool {
    if let Some(items) = value.as_array() {
        let keys: Vec<&str> = schema["x-kubernetes-list-map-keys"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let key = |item: &Value| keys.iter().map(|key| item[*key].to_string()).collect::<Vec<_>>();
        let seen: std::collections::BTreeSet<_> = items.iter().map(key).collect();
        return (keys.is_empty() || seen.len() == items.len())
            && items.iter().all(|item| keys_are_unique(item, &schema["items"]));
    }
    let fields = value.as_object().into_iter().flatten();
    fields
        .into_iter()
        .all(|(name, below)| keys_are_unique(below, &schema["properties"][name]))
}
