//! `tenantry render`: the objects of a Tenant, printed without a cluster.
//!
//! It uses the same functions as the operator ([`validate`], [`build`]), so it prints what the operator would create on
//! a new cluster.

pub mod input;

use std::{collections::BTreeMap, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use tenantry_api::{
    Quantity,
    v1alpha1::{Tenant, TenantTemplate},
};
use tenantry_core::{
    object::Kind,
    settings::Settings,
    tenant::{
        build::{NamespaceObjects, build},
        facts::{Facts, Served, Template},
        validate::validate,
    },
};

/// Manifests could not be read or a Tenant cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder cannot be read.
    #[error("failed to read {file}")]
    Unreadable {
        /// The file, or the folder.
        file: String,
        /// The cause.
        source: std::io::Error,
    },
    /// A file is not valid YAML.
    #[error("{file}: not YAML: {source}")]
    Yaml {
        /// The file.
        file: String,
        /// The cause.
        source: Box<serde_saphyr::Error>,
    },
    /// A document does not have the schema of its kind.
    #[error("{file}: {kind} {name}: {source}")]
    Shape {
        /// The file.
        file: String,
        /// Kind of the document.
        kind: String,
        /// Name of the document.
        name: String,
        /// The cause.
        source: serde_json::Error,
    },
    /// A field that the kind does not have; the API server refuses it too.
    #[error("{file}: {kind} {name}: there is no field {field}; docs/api.md lists them")]
    UnknownField {
        /// The file.
        file: String,
        /// Kind of the document.
        kind: String,
        /// Name of the document.
        name: String,
        /// Path of the field.
        field: String,
    },
    /// An amount below zero; the API server refuses it too.
    #[error("{file}: {kind} {name}: {field} is below 0; 0 forbids the use, leaving the field out sets no limit")]
    Negative {
        /// The file.
        file: String,
        /// Kind of the document.
        kind: String,
        /// Name of the document.
        name: String,
        /// Path of the field.
        field: String,
    },
    /// A document is neither a TenantTemplate nor a Tenant.
    #[error("{file}: {found} is neither a TenantTemplate nor a Tenant of tenantry.dev/v1alpha1")]
    Kind {
        /// The file.
        file: String,
        /// apiVersion and kind.
        found: String,
    },
    /// No Tenant in any file.
    #[error("no Tenant in the given files; name at least one file with a Tenant and one with its TenantTemplate")]
    NoTenant,
    /// A Tenant is invalid.
    #[error("Tenant {tenant}: {reason}: {message}")]
    Invalid {
        /// Name of the Tenant.
        tenant: String,
        /// Reason of the condition that the operator would set.
        reason: &'static str,
        /// What is wrong and what to do.
        message: String,
    },
}

/// Parses one document as strictly as the API server does, except for CEL rules.
struct Reader<'a> {
    file: &'a str,
    kind: &'a str,
    name: &'a str,
}

impl Reader<'_> {
    fn read<T: DeserializeOwned + Serialize>(&self, document: &Value) -> Result<T, Error> {
        let names = || (self.file.to_owned(), self.kind.to_owned(), self.name.to_owned());
        let shape = |source| {
            let (file, kind, name) = names();
            Error::Shape {
                file,
                kind,
                name,
                source,
            }
        };
        let object: T = serde_json::from_value(document.clone()).map_err(shape)?;
        let known = serde_json::to_value(&object).map_err(shape)?;
        let (file, kind, name) = names();
        if let Some(below) = unknown(&document["spec"], &known["spec"]) {
            let field = format!("spec{below}");
            return Err(Error::UnknownField {
                file,
                kind,
                name,
                field,
            });
        }
        if let Some(below) = negative(&document["spec"]) {
            let field = format!("spec{below}");
            return Err(Error::Negative {
                file,
                kind,
                name,
                field,
            });
        }
        Ok(object)
    }
}

/// The path of the first unknown field.
fn unknown(written: &Value, known: &Value) -> Option<String> {
    match (written, known) {
        (Value::Object(written), Value::Object(known)) => {
            written.iter().find_map(|(key, value)| match known.get(key) {
                Some(known) => unknown(value, known).map(|below| format!(".{key}{below}")),
                // Empty values of known fields are not written back.
                None if is_empty(value) => None,
                None => Some(format!(".{key}")),
            })
        }
        (Value::Array(written), Value::Array(known)) => {
            let mut pairs = written.iter().zip(known).enumerate();
            pairs.find_map(|(index, (written, known))| unknown(written, known).map(|below| format!("[{index}]{below}")))
        }
        _ => None,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// The path of the first amount below zero; none of our fields may be negative.
fn negative(written: &Value) -> Option<String> {
    match written {
        Value::Object(fields) => fields
            .iter()
            .find_map(|(key, value)| negative(value).map(|below| format!(".{key}{below}"))),
        Value::Array(items) => {
            let mut items = items.iter().enumerate();
            items.find_map(|(index, value)| negative(value).map(|below| format!("[{index}]{below}")))
        }
        Value::Number(number) if number.as_f64().is_some_and(|number| number < 0.0) => Some(String::new()),
        Value::String(text) if text.parse().is_ok_and(Quantity::is_negative) => Some(String::new()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

/// The manifests of every Tenant in `files` (name and text), in order of application.
pub fn render(files: &[(String, String)], served: &Served, settings: &Settings) -> Result<Vec<Value>, Error> {
    let mut templates: BTreeMap<String, TenantTemplate> = BTreeMap::new();
    let mut tenants: Vec<Tenant> = Vec::new();
    for (file, text) in files {
        let documents: Vec<Value> = serde_saphyr::from_multiple(text).map_err(|source| Error::Yaml {
            file: file.clone(),
            source: Box::new(source),
        })?;
        for document in documents.into_iter().filter(|document| !document.is_null()) {
            let text = |pointer: &str| {
                document
                    .pointer(pointer)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned()
            };
            let (api, kind, name) = (text("/apiVersion"), text("/kind"), text("/metadata/name"));
            let reader = Reader {
                file,
                kind: &kind,
                name: &name,
            };
            match (api.as_str(), kind.as_str()) {
                ("tenantry.dev/v1alpha1", "TenantTemplate") => {
                    templates.insert(name.clone(), reader.read(&document)?);
                }
                ("tenantry.dev/v1alpha1", "Tenant") => tenants.push(reader.read(&document)?),
                _ => {
                    return Err(Error::Kind {
                        file: file.clone(),
                        found: format!("{api} {kind}"),
                    });
                }
            }
        }
    }
    if tenants.is_empty() {
        return Err(Error::NoTenant);
    }
    let mut manifests = Vec::new();
    for tenant in &tenants {
        let template = templates.get(&tenant.spec.template_ref.name);
        let template = template.map_or(Template::Missing, |template| {
            Template::Found(Arc::new(template.spec.clone()))
        });
        let facts = Facts {
            template,
            served: served.clone(),
            ..Facts::default()
        };
        let valid = validate(tenant, &facts, settings).map_err(|invalid| Error::Invalid {
            tenant: tenant.metadata.name.clone().unwrap_or_default(),
            reason: invalid.reason.as_str(),
            message: invalid.message,
        })?;
        let objects = build(&valid);
        manifests.extend(
            objects
                .iter()
                .flat_map(NamespaceObjects::all)
                .map(tenantry_core::object::Object::manifest),
        );
    }
    Ok(manifests)
}

/// The manifests as one object, a `v1` List.
pub fn list(manifests: Vec<Value>) -> Value {
    json!({ "apiVersion": "v1", "kind": "List", "items": manifests })
}

/// The kinds in `names`: optional kinds, as `PodMonitor` or `podmonitors.monitoring.coreos.com`, and the kind that
/// counts as a model. Fails with the first unknown name.
pub fn served(names: &[String], settings: &Settings) -> Result<Served, String> {
    let mut served = Served::default();
    for name in names {
        let is = |other: &str| other.eq_ignore_ascii_case(name);
        let kind = Kind::ALL
            .into_iter()
            .find(|kind| kind.optional_crd().is_some_and(|crd| is(&crd) || is(kind.as_str())));
        match kind {
            Some(kind) => drop(served.kinds.insert(kind)),
            None if is(&settings.model_resource) => served.models = true,
            None => return Err(name.clone()),
        }
    }
    Ok(served)
}

#[cfg(test)]
mod tests;
