//! Step 3: builds every object that a [`ValidTenant`] needs. It is pure and deterministic, and cannot fail.
//!
//! The operator, `tenantry render` and the golden tests call the same [`build`].

mod home;
mod limits;
mod monitoring;
mod namespace;
mod network_policy;
mod quota;
mod rights;
mod tenant_policy;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::validate::{ValidNamespace, ValidTenant};
use crate::object::{Key, Kind, Object, drift};
use tenantry_api::names;

/// Whether a namespace is wanted, retained or the home namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The Tenant lists it, or an owner asked for it.
    Wanted,
    /// Nobody wants it any more; it stays, without rights for owners.
    Retained,
    /// The home namespace, in which owners create TenantNamespaces.
    Home,
}

/// The objects of one namespace.
#[derive(Clone, Debug, PartialEq)]
pub struct NamespaceObjects {
    /// Whether the namespace is wanted, retained or the home namespace.
    pub place: Place,
    /// The Namespace itself, with all its labels.
    pub namespace: Object,
    /// Objects that must exist before anybody gets rights, in order of application.
    pub guards: Vec<Object>,
    /// Objects that must exist too, but protect nothing.
    pub extras: Vec<Object>,
    /// RoleBindings.
    pub rights: Vec<Object>,
}

impl NamespaceObjects {
    /// Every object, in order of application.
    pub fn all(&self) -> impl Iterator<Item = &Object> {
        let Self {
            place: _,
            namespace,
            guards,
            extras,
            rights,
        } = self;
        std::iter::once(namespace).chain(guards).chain(extras).chain(rights)
    }
}

/// Builds every object of the tenant, by namespace; the home namespace comes last.
pub fn build(tenant: &ValidTenant) -> Vec<NamespaceObjects> {
    let first = tenant
        .namespaces
        .iter()
        .find(|namespace| namespace.is_wanted())
        .map(|namespace| &namespace.name);
    let objects = |namespace: &ValidNamespace| {
        let mut extras = vec![limits::config_map(tenant, namespace)];
        extras.extend(monitoring::objects(tenant, namespace, first == Some(&namespace.name)));
        NamespaceObjects {
            place: if namespace.is_wanted() {
                Place::Wanted
            } else {
                Place::Retained
            },
            namespace: namespace::namespace(tenant, namespace),
            guards: vec![
                quota::limit_range(tenant, namespace),
                quota::resource_quota(tenant, namespace),
                network_policy::default_deny(tenant, namespace),
                network_policy::allow(tenant, namespace),
                tenant_policy::tenant_policy(tenant, namespace),
            ],
            extras,
            rights: rights::role_bindings(tenant, namespace),
        }
    };
    let home = tenant.home.iter().map(|home| home::objects(tenant, home));
    tenant.namespaces.iter().map(objects).chain(home).collect()
}

/// An object with the metadata of every managed object: our labels and the Tenant as its owner.
fn object(tenant: &ValidTenant, key: Key, content: Value) -> Object {
    let labels = [(names::MANAGED_BY, names::MANAGED_BY_US), (names::TENANT, &tenant.name)];
    let owner = tenant
        .uid
        .as_ref()
        .map(|uid| json!({ "apiVersion": "tenantry.dev/v1alpha1", "kind": "Tenant", "name": tenant.name, "uid": uid }));
    Object {
        key,
        labels: labels
            .map(|(key, value)| (key.to_owned(), json!(value)))
            .into_iter()
            .collect(),
        annotations: Map::new(),
        owner,
        content: match content {
            Value::Object(content) => content,
            _ => Map::new(),
        },
    }
}

/// Adds the labels of a spec to the object's own, which take precedence. An annotation lists their keys, so that drift
/// removes a label that the spec no longer contains.
fn add_labels(object: &mut Object, labels: &BTreeMap<String, String>) {
    if labels.is_empty() {
        return;
    }
    for (key, value) in labels {
        object.labels.entry(key.clone()).or_insert_with(|| json!(value));
    }
    let keys: Vec<_> = labels.keys().map(String::as_str).collect();
    object
        .annotations
        .insert(drift::OUR_LABELS.to_owned(), json!(keys.join(",")));
}

fn in_namespace(tenant: &ValidTenant, namespace: &ValidNamespace, kind: Kind, name: &str, content: Value) -> Object {
    let mut object = object(tenant, Key::new(kind, &namespace.name, name), content);
    if kind.is_optional() {
        // The live object only has to contain the desired fields. This hash changes when a field is no longer desired.
        let content = Value::Object(object.content.clone()).to_string();
        object
            .annotations
            .insert(names::CONTENT.to_owned(), json!(format!("{:016x}", fnv1a(&content))));
    }
    object
}

/// A hash that is the same in every build (FNV-1a, 64 bits). It is not cryptographic, and no secret depends on it.
fn fnv1a(text: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, step)
}

#[cfg(test)]
mod tests;
