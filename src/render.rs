//! `tenantry render`: the objects of a Tenant, printed without a cluster.
//!
//! It takes the same steps as the operator ([`validate`], [`build`]), so what it prints is what a fresh cluster gets.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

use crate::{
    api::v1alpha1::{Tenant, TenantTemplate},
    apply::Kind,
    tenant::{
        Settings,
        build::{NamespaceObjects, build},
        dereference::{Facts, Served, Template},
        validate::validate,
    },
};

/// Manifests could not be read or a Tenant cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No YAML.
    #[error("{file}: not YAML: {source}")]
    Yaml {
        /// The file.
        file: String,
        /// The cause.
        source: Box<serde_saphyr::Error>,
    },
    /// A document is not what its kind says.
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
    /// Something else than a TenantTemplate or a Tenant.
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
    /// A Tenant is wrong.
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
            let shape = |source| Error::Shape {
                file: file.clone(),
                kind: kind.clone(),
                name: name.clone(),
                source,
            };
            match (api.as_str(), kind.as_str()) {
                ("tenantry.dev/v1alpha1", "TenantTemplate") => {
                    templates.insert(name.clone(), serde_json::from_value(document).map_err(shape)?);
                }
                ("tenantry.dev/v1alpha1", "Tenant") => tenants.push(serde_json::from_value(document).map_err(shape)?),
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
                .map(crate::apply::Object::manifest),
        );
    }
    Ok(manifests)
}

/// What `names` name: optional kinds, as `PodMonitor` or `podmonitors.monitoring.coreos.com`, and the kind that counts as
/// a model. An unknown name is given back.
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
