//! Fluent builders for what tests create.

use serde_json::{Value, json};
use tenantry_api::v1alpha1::{Tenant, TenantTemplate};

/// A pod that every Pod Security Standard admits and that requests so much.
pub fn pod(requests: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "generateName": "p-" },
        "spec": {
            "securityContext": { "runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": { "type": "RuntimeDefault" } },
            "containers": [{
                "name": "app", "image": "registry.example.com/app:1",
                "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
                "resources": { "requests": requests, "limits": requests },
            }],
        },
    })
}

/// A Tenant under construction.
pub struct TenantBuilder(Value);

/// A Tenant of a template, without owners or namespaces.
pub fn tenant(name: &str, template: &str) -> TenantBuilder {
    TenantBuilder(json!({
        "apiVersion": "tenantry.dev/v1alpha1", "kind": "Tenant",
        "metadata": { "name": name },
        "spec": { "templateRef": { "name": template }, "owners": [], "namespaces": [] },
    }))
}

impl TenantBuilder {
    /// With another namespace.
    pub fn namespace(mut self, name: &str) -> Self {
        self.0["spec"]["namespaces"]
            .as_array_mut()
            .unwrap()
            .push(json!({ "name": name }));
        self
    }

    /// With another namespace of this weight.
    pub fn weighted(mut self, name: &str, weight: i32) -> Self {
        self.0["spec"]["namespaces"]
            .as_array_mut()
            .unwrap()
            .push(json!({ "name": name, "weight": weight }));
        self
    }

    /// With another owner, editor or viewer.
    pub fn member(mut self, kind: &str, name: &str, role: &str) -> Self {
        self.0["spec"]["owners"]
            .as_array_mut()
            .unwrap()
            .push(json!({ "kind": kind, "name": name, "role": role }));
        self
    }

    /// With a user as Owner.
    pub fn owner(self, name: &str) -> Self {
        self.member("User", name, "Owner")
    }

    /// With this field of the spec.
    pub fn with(mut self, field: &str, value: Value) -> Self {
        self.0["spec"][field] = value;
        self
    }

    /// The Tenant.
    pub fn build(self) -> Tenant {
        serde_json::from_value(self.0).unwrap()
    }
}

/// A TenantTemplate with this spec.
pub fn template(name: &str, spec: Value) -> TenantTemplate {
    let object = json!({
        "apiVersion": "tenantry.dev/v1alpha1", "kind": "TenantTemplate", "metadata": { "name": name }, "spec": spec,
    });
    serde_json::from_value(object).unwrap()
}

/// A RoleBinding that gives a ServiceAccount of the namespace one of our roles.
pub fn binding(metadata: &Value, role: &str, account: &str, namespace: &str) -> Value {
    json!({
        "metadata": metadata,
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role },
        "subjects": [{ "kind": "ServiceAccount", "name": account, "namespace": namespace }],
    })
}
