//! Names that stand on objects: labels, annotations, finalizers, field managers and object names.
//!
//! They are a contract with users, policies and other tools (OpenCost, log routers): never rename one.

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

/// Labels of Pod Security admission; the version is pinned so that a cluster upgrade does not tighten by itself.
pub const POD_SECURITY_MODES: [&str; 3] = ["enforce", "audit", "warn"];
/// Prefix of the Pod Security labels.
pub const POD_SECURITY: &str = "pod-security.kubernetes.io/";

/// Label on a tenant's home namespace, where TenantNamespaces are asked for.
pub const HOME: &str = "tenantry.dev/home";
/// Name of the home namespace inside the tenant; no other namespace of a tenant is called so.
pub const HOME_NAME: &str = "home";
/// Key of ResourceQuota that counts TenantNamespaces.
pub const CLAIMS: &str = "count/tenantnamespaces.tenantry.dev";
/// ClusterRole and RoleBinding of a home namespace: asking for namespaces and giving them back.
pub const HOME_OWNER: &str = "tenantry-home-owner";
/// ClusterRole and RoleBinding of a home namespace: seeing what was asked for.
pub const HOME_VIEWER: &str = "tenantry-home-viewer";

/// ClusterRole and RoleBinding of a home namespace: making and deleting namespaces directly.
pub const HOME_DIRECT: &str = "tenantry-home-direct";
/// Label on namespaces that an owner made directly.
pub const SELF_SERVICE: &str = "tenantry.dev/self-service";
/// Value of [`SELF_SERVICE`].
pub const DIRECT: &str = "Direct";

/// Annotation by which a cluster admin hands an existing namespace to the named tenant.
pub const ADOPT_BY: &str = "tenantry.dev/adopt-by";
/// Label on the scratch namespaces of `tenantry adopt`, with the name of the namespace that is tried there.
pub const ADOPTION: &str = "tenantry.dev/adoption";
/// Annotation on objects of optional kinds: a number made of all that we say there, as the API server may have added more.
pub const CONTENT: &str = "tenantry.dev/content";
/// Annotation on a quota that names the process which wrote it, put there where a write of an earlier leader may be under way.
pub const FENCE: &str = "tenantry.dev/fence";
/// Annotation of a Namespace that is being deleted: what its quota bounds, for when the quota is gone and objects are not.
pub const HELD: &str = "tenantry.dev/held";
/// Finalizer on Tenants: owners' rights are withdrawn before anything else goes.
pub const CLEANUP: &str = "tenantry.dev/cleanup";
/// Finalizer on TenantNamespaces: the operator sees that one is deleted, and what is merely absent was not.
pub const CLAIM: &str = "tenantry.dev/claim";
/// Annotation of a Namespace that a TenantNamespace asked for, with the weight of its share. It stays while the TenantNamespace is
/// missing, and goes when the operator has seen that it was deleted.
pub const CLAIM_WEIGHT: &str = "tenantry.dev/claim-weight";
/// Finalizer on TenantTemplates: a template goes only when no tenant uses it.
pub const IN_USE: &str = "tenantry.dev/in-use";

/// Field manager of the tenant controller.
pub const TENANT_MANAGER: &str = "tenantry/tenant";
/// Field manager of the template controller.
pub const TEMPLATE_MANAGER: &str = "tenantry/template";

/// Name of the one ResourceQuota, LimitRange, PodMonitor and PrometheusRule of a namespace.
pub const OBJECT: &str = "tenantry";
/// NetworkPolicy that denies everything in both directions.
pub const DEFAULT_DENY: &str = "tenantry-default-deny";
/// NetworkPolicy that opens what the template allows.
pub const ALLOW: &str = "tenantry-allow";
/// The TenantPolicy that admission policies read.
pub const EFFECTIVE: &str = "effective";
/// ConfigMap that hands the limits that Kubernetes cannot enforce to workloads.
pub const LIMITS: &str = "tenant-limits";
/// ConfigMap with the Grafana dashboard.
pub const DASHBOARD: &str = "tenantry-dashboard";

/// The full name of a tenant's namespace: `<tenant>-<name>`.
pub fn namespace(tenant: &str, name: &str) -> String {
    format!("{tenant}-{name}")
}

/// The name inside the tenant of the namespace that is called so, if it may be one of the tenant's.
pub fn inside<'a>(tenant: &str, namespace: &'a str) -> Option<&'a str> {
    let name = namespace.strip_prefix(tenant)?.strip_prefix('-')?;
    (!name.is_empty()).then_some(name)
}

/// The tenant's home namespace.
pub fn home(tenant: &str) -> String {
    namespace(tenant, HOME_NAME)
}

/// Whether a name inside a tenant is, or could be, that of a home namespace: of this tenant or of one called `<tenant>-<name>`.
pub fn is_home(name: &str) -> bool {
    name == HOME_NAME || tenant_at_home(name).is_some()
}

/// The tenant whose home namespace would be called so.
pub fn tenant_at_home(namespace: &str) -> Option<&str> {
    namespace.strip_suffix(HOME_NAME)?.strip_suffix('-')
}
