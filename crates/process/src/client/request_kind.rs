//! Verb and resource of a request to the API server, from its method and path; for deadlines and metric labels.

use axum::http::{Method, StatusCode, Uri};
use tenantry_core::object::Kind;

/// The verb of a request, as in RBAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// One object, or discovery.
    Get,
    /// Many objects.
    List,
    /// A stream of changes.
    Watch,
    /// POST.
    Create,
    /// PUT.
    Update,
    /// PATCH, server-side apply included.
    Patch,
    /// DELETE of one object.
    Delete,
    /// DELETE of many objects.
    DeleteCollection,
    /// A method that Kubernetes does not use.
    Other,
}

impl Verb {
    /// The label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
            Self::Other => "other",
        }
    }
}

/// Resources besides the managed kinds that have a label value of their own.
const OTHERS: &[(&str, &str)] = &[
    ("tenants", "tenants/status"),
    ("tenanttemplates", "tenanttemplates/status"),
    ("tenantnamespaces", "tenantnamespaces/status"),
    ("customresourcedefinitions", "customresourcedefinitions/status"),
    ("validatingadmissionpolicies", "validatingadmissionpolicies/status"),
    ("events", "events/status"),
    ("leases", "leases/status"),
    ("pods", "pods/status"),
    ("nodes", "nodes/status"),
];

/// The label values of a resource and of its status. All other resources are "other", so a path cannot invent a label value.
fn known(plural: &str) -> Option<(&'static str, &'static str)> {
    let managed = Kind::ALL
        .into_iter()
        .map(|kind| (kind.plural(), kind.status_resource()));
    managed.chain(OTHERS.iter().copied()).find(|(name, _)| *name == plural)
}

/// Verb and resource of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestKind {
    /// The verb.
    pub verb: Verb,
    /// The resource: a plural, `<plural>/status`, "discovery" or "other".
    pub resource: &'static str,
}

impl RequestKind {
    /// Parses method and path; never fails.
    pub fn of(method: &Method, uri: &Uri) -> Self {
        let mut segments = uri.path().split('/').filter(|segment| !segment.is_empty());
        let versioned = match segments.next() {
            Some("api") => segments.next().is_some(),
            Some("apis") => segments.next().is_some() && segments.next().is_some(),
            _ => {
                return Self {
                    verb: Verb::of(method, true, false),
                    resource: "other",
                };
            }
        };
        let mut rest: Vec<&str> = segments.collect();
        // /namespaces/<ns>/<plural>/... is in a namespace; /namespaces/<name> and its subresources are the object itself.
        if rest.len() >= 3 && rest[0] == "namespaces" && !matches!(rest[2], "status" | "finalize") {
            rest.drain(..2);
        }
        let Some(plural) = rest.first().filter(|_| versioned) else {
            return Self {
                verb: Verb::of(method, true, false),
                resource: "discovery",
            };
        };
        let resource = match (known(plural), rest.get(2).copied()) {
            (Some((name, _)), None) => name,
            (Some((_, status)), Some("status")) => status,
            (Some(_), Some(_)) | (None, _) => "other",
        };
        let watching = uri
            .query()
            .is_some_and(|query| query.split('&').any(|pair| matches!(pair, "watch=true" | "watch=1")));
        Self {
            verb: Verb::of(method, rest.len() >= 2, watching),
            resource,
        }
    }
}

impl Verb {
    fn of(method: &Method, names_one: bool, watching: bool) -> Self {
        match (method.as_str(), names_one) {
            ("GET", _) if watching => Self::Watch,
            ("GET", true) => Self::Get,
            ("GET", false) => Self::List,
            ("POST", _) => Self::Create,
            ("PUT", _) => Self::Update,
            ("PATCH", _) => Self::Patch,
            ("DELETE", true) => Self::Delete,
            ("DELETE", false) => Self::DeleteCollection,
            _ => Self::Other,
        }
    }
}

/// The label value of a status: its class, except for the three codes that have a meaning of their own.
pub fn code_label(status: StatusCode) -> &'static str {
    match status.as_u16() {
        200..300 => "2xx",
        300..400 => "3xx",
        404 => "404",
        409 => "409",
        429 => "429",
        400..500 => "4xx",
        _ => "5xx",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(method: &str, path: &str) -> (&'static str, &'static str) {
        let method: Method = method.parse().expect("a method");
        let kind = RequestKind::of(&method, &path.parse().expect("a path"));
        (kind.verb.as_str(), kind.resource)
    }

    #[test]
    fn paths_become_verbs_and_resources() {
        for (method, path, verb, resource) in [
            ("GET", "/api/v1/namespaces", "list", "namespaces"),
            ("GET", "/api/v1/namespaces/blue", "get", "namespaces"),
            ("PATCH", "/api/v1/namespaces/blue?fieldManager=x", "patch", "namespaces"),
            (
                "PATCH",
                "/api/v1/namespaces/blue/resourcequotas/tenantry?fieldManager=x",
                "patch",
                "resourcequotas",
            ),
            (
                "GET",
                "/api/v1/namespaces/blue/resourcequotas?limit=500",
                "list",
                "resourcequotas",
            ),
            (
                "GET",
                "/api/v1/resourcequotas?&watch=true&timeoutSeconds=290",
                "watch",
                "resourcequotas",
            ),
            (
                "PATCH",
                "/apis/tenantry.dev/v1alpha1/tenants/acme/status",
                "patch",
                "tenants/status",
            ),
            (
                "DELETE",
                "/apis/tenantry.dev/v1alpha1/tenants/acme",
                "delete",
                "tenants",
            ),
            (
                "DELETE",
                "/api/v1/namespaces/blue/configmaps",
                "deletecollection",
                "configmaps",
            ),
            (
                "POST",
                "/apis/events.k8s.io/v1/namespaces/default/events",
                "create",
                "events",
            ),
            (
                "PUT",
                "/apis/coordination.k8s.io/v1/namespaces/ops/leases/tenantry",
                "update",
                "leases",
            ),
            (
                "GET",
                "/apis/coordination.k8s.io/v1/namespaces/ops/leases/tenantry",
                "get",
                "leases",
            ),
            (
                "GET",
                "/api/v1/namespaces/namespaces/configmaps/namespaces",
                "get",
                "configmaps",
            ),
            ("GET", "/apis", "get", "discovery"),
            ("GET", "/apis/tenantry.dev/v1alpha1", "get", "discovery"),
            ("GET", "/api/v1", "get", "discovery"),
            ("GET", "/version", "get", "other"),
            ("GET", "/", "get", "other"),
        ] {
            assert_eq!(kind(method, path), (verb, resource), "{method} {path}");
        }
    }

    #[test]
    fn a_path_cannot_invent_a_label() {
        assert_eq!(kind("GET", "/apis/evil.example/v1/gadgets/one"), ("get", "other"));
        assert_eq!(kind("GET", "/api/v1/namespaces/blue/pods/web/log"), ("get", "other"));
        assert_eq!(kind("BREW", "/api/v1/pods"), ("other", "pods"));
    }

    #[test]
    fn codes_fall_into_classes() {
        for (code, label) in [
            (200, "2xx"),
            (201, "2xx"),
            (301, "3xx"),
            (403, "4xx"),
            (404, "404"),
            (409, "409"),
            (429, "429"),
            (503, "5xx"),
        ] {
            assert_eq!(code_label(StatusCode::from_u16(code).expect("a code")), label);
        }
    }
}
