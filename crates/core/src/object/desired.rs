//! A desired object, and the key that identifies it in the cluster.

use serde_json::{Map, Value, json};

use super::Kind;

/// Identifies an object in the cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Kind.
    pub kind: Kind,
    /// Namespace; empty for a Namespace.
    pub namespace: Box<str>,
    /// Name.
    pub name: Box<str>,
}

impl Key {
    /// Key of an object in a namespace.
    pub fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        Self {
            kind,
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// Key of a Namespace.
    pub fn namespace(name: &str) -> Self {
        Self::new(Kind::Namespace, "", name)
    }

    /// The namespace that contains the object; for a Namespace its own name.
    pub fn home(&self) -> &str {
        if self.kind == Kind::Namespace {
            &self.name
        } else {
            &self.namespace
        }
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &*self.namespace {
            "" => write!(f, "{} {}", self.kind.as_str(), self.name),
            namespace => write!(f, "{} {namespace}/{}", self.kind.as_str(), self.name),
        }
    }
}

/// A desired object: exactly the fields that the operator sets.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// Identity.
    pub key: Key,
    /// Labels that must be there.
    pub labels: Map<String, Value>,
    /// Annotations that must be there.
    pub annotations: Map<String, Value>,
    /// The only owner reference; `None` when rendered offline.
    pub owner: Option<Value>,
    /// Every top-level field except apiVersion, kind, metadata and status: `spec`, `data`, `subjects` ...
    pub content: Map<String, Value>,
}

impl Object {
    /// The manifest, as created on the cluster and printed by `render`.
    pub fn manifest(&self) -> Value {
        let Self {
            key,
            labels,
            annotations,
            owner,
            content,
        } = self;
        let mut metadata = Map::from_iter([("name".to_owned(), json!(key.name))]);
        if !key.namespace.is_empty() {
            metadata.insert("namespace".to_owned(), json!(key.namespace));
        }
        metadata.insert("labels".to_owned(), Value::Object(labels.clone()));
        if !annotations.is_empty() {
            metadata.insert("annotations".to_owned(), Value::Object(annotations.clone()));
        }
        if let Some(owner) = owner {
            metadata.insert("ownerReferences".to_owned(), json!([owner]));
        }
        let mut manifest = Map::from_iter([
            ("apiVersion".to_owned(), json!(key.kind.api_version())),
            ("kind".to_owned(), json!(key.kind.as_str())),
            ("metadata".to_owned(), Value::Object(metadata)),
        ]);
        manifest.extend(content.clone());
        Value::Object(manifest)
    }
}
