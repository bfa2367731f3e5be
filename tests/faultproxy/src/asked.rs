//! What a request asks of the API server, read off its method, path and body.

use std::fmt;

use hyper::{Method, Uri};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a request does, in the words of RBAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// POST.
    Create,
    /// PUT.
    Update,
    /// PATCH.
    Patch,
    /// DELETE, of many objects too.
    Delete,
    /// GET of one object, discovery, or anything else.
    Get,
    /// GET of many.
    List,
    /// A stream of changes.
    Watch,
}

impl Verb {
    /// Those that change something.
    pub const WRITES: [Self; 4] = [Self::Create, Self::Update, Self::Patch, Self::Delete];
}

/// What a request asks for, or the object of a watch event.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Asked {
    /// What is done.
    pub verb: Verb,
    /// Empty for the core group.
    pub group: String,
    /// Plural; empty for discovery.
    pub resource: String,
    /// Such as `status`, or empty.
    pub subresource: String,
    /// Empty if it has none.
    pub namespace: String,
    /// Of a create: the name in the body. Of a list: the only one that its field selector lets through, or empty.
    pub name: String,
    /// Type of an event of a watch; empty for a request.
    pub event: String,
}

impl Asked {
    pub(crate) fn read(method: &Method, uri: &Uri, body: &[u8]) -> Self {
        let mut path = uri.path().split('/').filter(|segment| !segment.is_empty());
        let grouped = path.next() == Some("apis");
        let group = if grouped { path.next() } else { None }.unwrap_or_default();
        // The version.
        path.next();
        let mut rest: Vec<&str> = path.collect();
        let mut namespace = "";
        // /namespaces/<ns>/<plural>/... is in a namespace; /namespaces/<name> and its subresources are the object itself.
        if rest.len() >= 3 && rest[0] == "namespaces" && !matches!(rest[2], "status" | "finalize") {
            namespace = rest[1];
            rest.drain(..2);
        }
        let part = |index: usize| rest.get(index).copied().unwrap_or_default();
        let query = uri.query().unwrap_or_default();
        let verb = match *method {
            Method::POST => Verb::Create,
            Method::PUT => Verb::Update,
            Method::PATCH => Verb::Patch,
            Method::DELETE => Verb::Delete,
            _ if query.split('&').any(|pair| matches!(pair, "watch=true" | "watch=1")) => Verb::Watch,
            _ if rest.len() == 1 => Verb::List,
            _ => Verb::Get,
        };
        let body: Value = match verb {
            Verb::Create => serde_json::from_slice(body).unwrap_or_default(),
            _ => Value::Null,
        };
        // As the API server does: a list of one name asks for that one.
        let selected = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("fieldSelector=metadata.name%3D"));
        let name = match part(1) {
            "" => selected.unwrap_or_else(|| name_of(&body)),
            name => name,
        };
        Self {
            verb,
            group: group.to_owned(),
            resource: part(0).to_owned(),
            subresource: part(2).to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            event: String::new(),
        }
    }

    /// The object of an event of this watch.
    pub(crate) fn of_event(&self, event: &Value) -> Self {
        let object = &event["object"];
        Self {
            namespace: object["metadata"]["namespace"].as_str().unwrap_or_default().to_owned(),
            name: name_of(object).to_owned(),
            event: event["type"].as_str().unwrap_or_default().to_owned(),
            ..self.clone()
        }
    }

    /// Whether it may change something.
    pub fn is_write(&self) -> bool {
        Verb::WRITES.contains(&self.verb)
    }
}

fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = format!("{:?}", self.verb).to_lowercase();
        write!(f, "{verb} {}", self.resource)?;
        if !self.subresource.is_empty() {
            write!(f, "/{}", self.subresource)?;
        }
        write!(f, " {}/{}", self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(method: &str, uri: &str, body: &str) -> String {
        let asked = Asked::read(&method.parse().unwrap(), &uri.parse().unwrap(), body.as_bytes());
        format!("{} [{}]", asked, asked.group)
    }

    #[test]
    fn request_is_parsed_into_verb_resource_namespace_and_name() {
        for (method, uri, expected) in [
            ("GET", "/api/v1/namespaces", "list namespaces / []"),
            ("GET", "/api/v1/namespaces/a", "get namespaces /a []"),
            (
                "PUT",
                "/api/v1/namespaces/a/finalize",
                "update namespaces/finalize /a []",
            ),
            (
                "GET",
                "/api/v1/resourcequotas?watch=true&limit=5",
                "watch resourcequotas / []",
            ),
            (
                "PUT",
                "/api/v1/namespaces/a/resourcequotas/q",
                "update resourcequotas a/q []",
            ),
            (
                "PATCH",
                "/apis/tenantry.dev/v1alpha1/tenants/acme/status?x=y",
                "patch tenants/status /acme [tenantry.dev]",
            ),
            (
                "DELETE",
                "/apis/rbac.authorization.k8s.io/v1/namespaces/a/rolebindings/o",
                "delete rolebindings a/o [rbac.authorization.k8s.io]",
            ),
            (
                "GET",
                "/apis/tenantry.dev/v1alpha1/tenants?&fieldSelector=metadata.name%3Dacme",
                "list tenants /acme [tenantry.dev]",
            ),
            ("GET", "/version", "get  / []"),
            ("GET", "/apis", "get  / []"),
        ] {
            assert_eq!(read(method, uri, ""), expected);
        }
    }

    #[test]
    fn create_has_the_name_of_its_body() {
        let body = r#"{"metadata":{"name":"tenantry"}}"#;
        assert_eq!(
            read("POST", "/api/v1/namespaces/a/limitranges", body),
            "create limitranges a/tenantry []"
        );
        assert_eq!(read("POST", "/api/v1/namespaces", "no JSON"), "create namespaces / []");
    }
}
