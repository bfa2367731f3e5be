//! Names that the operator uses on objects: labels, annotations, finalizers, field managers and object names.
//!
//! Users, policies and other tools (OpenCost, log routers) rely on them: never rename one.

/// API group of every kind that we define.
pub const GROUP: &str = "tenantry.dev";

/// Label that marks a managed object; watches and policies select on it.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Value of [`MANAGED_BY`] on our objects.
pub const MANAGED_BY_US: &str = "tenantry";

/// Label with the tenant's name, on every managed object.
pub const TENANT: &str = "tenantry.dev/tenant";
/// Label with the tier, on namespaces.
pub const TIER: &str = "tenantry.dev/tier";
/// Label with the template's name, on namespaces.
pub const TEMPLATE: &str = "tenantry.dev/template";
/// Label with the environment, on namespaces.
pub const ENVIRONMENT: &str = "tenantry.dev/environment";

/// Labels of Pod Security admission; the operator pins the version, so that a cluster upgrade does not make the
/// standard stricter.
pub const POD_SECURITY_MODES: [&str; 3] = ["enforce", "audit", "warn"];
/// Prefix of the Pod Security labels.
pub const POD_SECURITY: &str = "pod-security.kubernetes.io/";

/// Label on a tenant's home namespace, where owners create TenantNamespaces.
pub const HOME: &str = "tenantry.dev/home";
/// Name of the home namespace inside the tenant; no other namespace of a tenant has it.
pub const HOME_NAME: &str = "home";
/// Key of ResourceQuota that counts TenantNamespaces.
pub const CLAIMS: &str = "count/tenantnamespaces.tenantry.dev";
/// ClusterRole and RoleBinding of a home namespace: create and delete TenantNamespaces.
pub const HOME_OWNER: &str = "tenantry-home-owner";
/// ClusterRole and RoleBinding of a home namespace: read TenantNamespaces.
pub const HOME_VIEWER: &str = "tenantry-home-viewer";

/// ClusterRole and RoleBinding of a home namespace: create and delete namespaces directly.
pub const HOME_DIRECT: &str = "tenantry-home-direct";
/// Label on namespaces that an owner created directly.
pub const SELF_SERVICE: &str = "tenantry.dev/self-service";
/// Value of [`SELF_SERVICE`].
pub const DIRECT: &str = "Direct";

/// Annotation with which a cluster admin hands an existing namespace to the tenant that it names.
pub const ADOPT_BY: &str = "tenantry.dev/adopt-by";
/// Label on the scratch namespaces of `tenantry adopt`; its value is the name of the namespace to adopt.
pub const ADOPTION: &str = "tenantry.dev/adoption";
/// Annotation on objects of optional kinds: a hash of the content that the operator wrote. The API server may add fields of its
/// own, so comparing the whole object would show a difference.
pub const CONTENT: &str = "tenantry.dev/content";
/// Annotation on a quota that names the process which wrote it. The operator sets it when a write of an earlier leader
/// may still be on its way (a fence).
pub const FENCE: &str = "tenantry.dev/fence";
/// Annotation on a Namespace that is being deleted: the amounts of its quota. The operator needs them when the quota is
/// already gone and other objects are not.
pub const HELD: &str = "tenantry.dev/held";
/// Finalizer on Tenants: the operator withdraws owners' rights before anything else is deleted.
pub const CLEANUP: &str = "tenantry.dev/cleanup";
/// Finalizer on TenantNamespaces: with it the operator sees each deletion. A TenantNamespace that is absent without
/// that was not deleted by a request.
pub const CLAIM: &str = "tenantry.dev/claim";
/// Annotation on a Namespace that a TenantNamespace requested, with the weight of its share. The operator keeps it
/// while the TenantNamespace is missing, and removes it after it has seen the TenantNamespace's deletion.
pub const CLAIM_WEIGHT: &str = "tenantry.dev/claim-weight";
/// Finalizer on TenantTemplates: a template is deleted only when no tenant uses it.
pub const IN_USE: &str = "tenantry.dev/in-use";

/// Field manager of the tenant controller.
pub const TENANT_MANAGER: &str = "tenantry/tenant";
/// Field manager of the template controller.
pub const TEMPLATE_MANAGER: &str = "tenantry/template";

/// Name of the one ResourceQuota, LimitRange, PodMonitor and PrometheusRule of a namespace.
pub const OBJECT: &str = "tenantry";
/// NetworkPolicy that denies everything in both directions.
pub const DEFAULT_DENY: &str = "tenantry-default-deny";
/// NetworkPolicy with the traffic that the template allows.
pub const ALLOW: &str = "tenantry-allow";
/// The TenantPolicy that admission policies read.
pub const EFFECTIVE: &str = "effective";
/// ConfigMap with limits that Kubernetes cannot enforce, for workloads to read.
pub const LIMITS: &str = "tenant-limits";
/// ConfigMap with the Grafana dashboard.
pub const DASHBOARD: &str = "tenantry-dashboard";

/// The full name of a tenant's namespace: `<tenant>-<name>`.
pub fn namespace(tenant: &str, name: &str) -> String {
    format!("{tenant}-{name}")
}

/// The name inside the tenant of the namespace `namespace`; none if its name does not start with `<tenant>-`.
pub fn inside<'a>(tenant: &str, namespace: &'a str) -> Option<&'a str> {
    let name = namespace.strip_prefix(tenant)?.strip_prefix('-')?;
    (!name.is_empty()).then_some(name)
}

/// The tenant's home namespace.
pub fn home(tenant: &str) -> String {
    namespace(tenant, HOME_NAME)
}

/// Whether a name inside a tenant is or could be that of a home namespace: this tenant's own, or that of another tenant
/// whose name starts with `<tenant>-`.
pub fn is_home(name: &str) -> bool {
    name == HOME_NAME || tenant_at_home(name).is_some()
}

/// The tenant whose home namespace would have this name.
pub fn tenant_at_home(namespace: &str) -> Option<&str> {
    namespace.strip_suffix(HOME_NAME)?.strip_suffix('-')
}
