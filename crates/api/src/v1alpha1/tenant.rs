//! Tenant: a customer or team, and the template that it uses.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{EgressRule, Environment, PodSecurity, Quotas, ServiceType, Tier, Traffic, schema};
use crate::{names, quantity::Quantity};

/// A customer or team on the cluster: its template, owners and namespaces.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "tenantry.dev",
    version = "v1alpha1",
    kind = "Tenant",
    plural = "tenants",
    shortname = "tn",
    category = "tenantry",
    status = "TenantStatus",
    selectable = ".spec.templateRef.name",
    selectable = ".spec.state",
    derive = "PartialEq",
    doc = "A Tenant is a customer or team on the cluster. The operator creates its namespaces with the guards and rights that its template defines, and repairs them when they change.",
    printcolumn(name = "Tier", type_ = "string", json_path = ".status.tier", description = "Tier of the template"),
    printcolumn(name = "State", type_ = "string", json_path = ".spec.state", description = "Active or Frozen"),
    printcolumn(name = "Namespaces", type_ = "string", json_path = ".status.namespacesReady", description = "Ready namespaces, of those that the Tenant lists or its owners requested"),
    printcolumn(name = "Full", type_ = "string", json_path = ".status.fullest", description = "The resource with the highest use in percent of its grant"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status", description = "Whether the operator has carried out the Tenant completely"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason", description = "Reason of the Ready condition"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp", description = "Time since creation"),
    printcolumn(name = "Template", type_ = "string", json_path = ".spec.templateRef.name", description = "Name of the template", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message", description = "Message of the Ready condition", priority = 1),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$') && size(self.metadata.name) <= 40").message("metadata.name must be a DNS label of at most 40 characters that starts with a letter (a-z, 0-9, -): it prefixes every namespace of the tenant"),
    validation = Rule::new("!has(self.spec.namespaces) || self.spec.namespaces.all(n, size(self.metadata.name) + 1 + size(n.name) <= 63)").message("spec.namespaces: <tenant>-<name> must not be longer than 63 characters; choose a shorter name").field_path(".spec.namespaces"),
    validation = Rule::new("!['kube', 'default', 'openshift', 'tenantry'].exists(p, self.metadata.name == p) && !self.metadata.name.startsWith('kube-') && !self.metadata.name.startsWith('openshift-')").message("metadata.name: kube, default, openshift and tenantry are reserved for the system; choose another name")
)]
#[serde(rename_all = "camelCase")]
pub struct TenantSpec {
    /// The template that defines what this tenant gets.
    pub template_ref: TemplateRef,
    /// People, groups and ServiceAccounts with rights in the tenant's namespaces. If you remove an entry, the operator
    /// withdraws its rights in all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["kind".into(), "name".into()]))]
    pub owners: Vec<Owner>,
    /// The tenant's namespaces. If you remove an entry, `deletionPolicy` decides what happens to its namespace: it is
    /// deleted, or it stays with its guards and without owners' rights.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub namespaces: Vec<TenantNamespaceEntry>,
    /// Values for this tenant in place of the template's. A value may be stricter than the template's; it may be looser
    /// only if the template lists the field in `overridable`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overrides: Option<Overrides>,
    /// Frozen: the API server refuses every write of the tenant at once (a ValidatingAdmissionPolicy); running pods
    /// keep running. Default: Active.
    #[serde(default)]
    pub state: TenantState,
    /// What happens to a namespace when the Tenant is deleted, or the namespace's entry in `namespaces`. Default:
    /// Delete.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// Protects the Tenant and all its namespaces from deletion until you set the field to false. Default: false.
    #[serde(default)]
    pub deletion_protection: bool,
    /// Brand of the reseller; only allowed with a template of tier WhiteLabel. Workloads can read it in the ConfigMap
    /// `tenant-limits`; the operator does not use it otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branding: Option<Branding>,
}

/// Reference to a TenantTemplate.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct TemplateRef {
    /// Name of the TenantTemplate.
    #[schemars(schema_with = "schema::template_name")]
    pub name: String,
}

/// A person, group or ServiceAccount with rights in the tenant's namespaces.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.kind == 'ServiceAccount' || !self.name.startsWith('system:')").message("names that start with system: belong to Kubernetes; a ServiceAccount is named with kind ServiceAccount").field_path(".name"),
    validation = Rule::new("self.kind != 'ServiceAccount' || self.name.matches('^system:serviceaccount:[a-z0-9]([-a-z0-9]*[a-z0-9])?:[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')").message("a ServiceAccount is named in full: system:serviceaccount:<namespace>:<name>").field_path(".name")
)]
pub struct Owner {
    /// Whether `name` is a user, a group or a ServiceAccount.
    pub kind: OwnerKind,
    /// The user or group as the API server knows it, or `system:serviceaccount:<namespace>:<name>`.
    #[schemars(schema_with = "schema::owner_name")]
    pub name: String,
    /// Rights in the tenant's namespaces. Owner: everything that tenants may do; Editor: workloads and configuration;
    /// Viewer: reading. Default: Owner. RBAC enforces it.
    #[serde(default)]
    pub role: OwnerRole,
}

/// Kind of subject.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OwnerKind {
    /// A user.
    User,
    /// A group.
    Group,
    /// A ServiceAccount.
    ServiceAccount,
}

/// Rights of an owner: those of the chart's ClusterRole `tenantry-<role>`.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OwnerRole {
    /// Everything that tenants may do, including Secrets and RoleBindings to these three roles.
    #[default]
    Owner,
    /// Change workloads, Services and configuration.
    Editor,
    /// Read everything except Secrets.
    Viewer,
}

impl OwnerRole {
    /// Every role, from the strongest to the weakest.
    pub const ALL: [Self; 3] = [Self::Owner, Self::Editor, Self::Viewer];

    /// Name of the ClusterRole that the role is bound to, and of the RoleBinding.
    pub const fn cluster_role(self) -> &'static str {
        match self {
            Self::Owner => "tenantry-owner",
            Self::Editor => "tenantry-editor",
            Self::Viewer => "tenantry-viewer",
        }
    }

    /// Name of the ClusterRole that the role is bound to in the home namespace, and of the RoleBinding there.
    pub const fn home_role(self) -> &'static str {
        match self {
            Self::Owner => names::HOME_OWNER,
            Self::Editor | Self::Viewer => names::HOME_VIEWER,
        }
    }
}

/// One namespace of the tenant.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.name != 'home' && !self.name.endsWith('-home')").message("home is the tenant's home namespace, where TenantNamespaces are asked for, and <name>-home may be another tenant's; choose another name").field_path(".name"))]
pub struct TenantNamespaceEntry {
    /// Name of the namespace inside the tenant; in the cluster it is `<tenant>-<name>`. `home`, and names that end in
    /// `-home`, are reserved for home namespaces.
    #[schemars(schema_with = "schema::namespace_name")]
    pub name: String,
    /// Purpose of the namespace. The operator writes it to the namespace's label `tenantry.dev/environment`. Default:
    /// Development.
    #[serde(default)]
    pub environment: Environment,
    /// Further labels on the namespace, for other tools.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::namespace_labels")]
    pub labels: BTreeMap<String, String>,
    /// Relative share of the tenant's quotas, compared with the weights of its other namespaces. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub weight: Option<i32>,
}

/// Values for one tenant in place of its template's.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Overrides {
    /// Amounts in place of the template's. They may be higher only if the template's `overridable` lists Quotas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quotas: Option<Quotas>,
    /// Pod Security Standard in place of the template's. It may be less strict only if `overridable` lists PodSecurity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::optional::<PodSecurity>")]
    pub pod_security: Option<PodSecurity>,
    /// Registries in place of the template's list. They may include others only if `overridable` lists Registries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::registries")]
    pub registries: Option<Vec<String>>,
    /// Storage classes in place of the template's list. They may include others only if `overridable` lists
    /// StorageClasses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::object_names::<32>")]
    pub storage_classes: Option<Vec<String>>,
    /// Service types in place of the template's list. They may include others only if `overridable` lists ServiceTypes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4))]
    pub service_types: Option<Vec<ServiceType>>,
    /// Hosts in place of the template's list; write `{tenant}` or the tenant's name. They may include others only if
    /// `overridable` lists IngressHosts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::hosts")]
    pub ingress_hosts: Option<Vec<String>>,
    /// Internet access in place of the template's value. Allow in place of Deny needs InternetEgress in `overridable`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::optional::<Traffic>")]
    pub internet_egress: Option<Traffic>,
    /// Destinations in place of the template's list. They may include others only if `overridable` lists Egress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub egress: Option<Vec<EgressRule>>,
    /// Node labels in addition to the template's. Different values for the template's labels need NodeSelector in
    /// `overridable`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::labels")]
    pub node_selector: Option<BTreeMap<String, String>>,
}

/// Whether a tenant may write.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TenantState {
    /// Owners may write as their roles allow.
    #[default]
    Active,
    /// The API server refuses every write of the tenant.
    Frozen,
}

/// What happens to a namespace whose Tenant or entry was deleted.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeletionPolicy {
    /// The namespace is deleted with everything in it.
    #[default]
    Delete,
    /// The namespace stays with its guards; owners have no rights in it.
    Retain,
}

/// The brand of a reseller.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Branding {
    /// Name that users see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub display_name: Option<String>,
    /// Domain of the brand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::domain")]
    pub domain: Option<String>,
    /// Address of the logo, `https://`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::https_url")]
    pub logo_url: Option<String>,
    /// Main colour, `#rrggbb`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::color")]
    pub primary_color: Option<String>,
    /// Mail address of the brand's support.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::email")]
    pub support_email: Option<String>,
}

/// State of the tenant, written by the operator.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TenantStatus {
    /// The metadata.generation that the operator last processed; -1 before the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, Reconciling and Stalled (kstatus), and one for each concern: NamespacesReady, QuotaEnforced,
    /// PoliciesEnforced, AccessGranted, MonitoringReady, SelfServiceReady, Frozen, DeletionBlocked, NamespacesKept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// Tier of the template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::optional::<Tier>")]
    pub tier: Option<Tier>,
    /// How many namespaces are ready, of those that the Tenant lists or its owners requested, as `2/3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub namespaces_ready: Option<String>,
    /// The resource with the highest use in percent of the tenant's grant, as `pods 80%`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub fullest: Option<String>,
    /// State of each namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 200))]
    pub namespaces: Vec<NamespaceStatus>,
    /// For each limited resource: what the tenant may use, what its ResourceQuotas allow together, and what it uses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub quota: Vec<QuotaStatus>,
}

/// State of one namespace.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceStatus {
    /// Full name of the namespace.
    #[schemars(length(max = 63))]
    pub name: String,
    /// State of the namespace.
    pub state: NamespaceState,
    /// Why the namespace is not Active, if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
}

/// State of a namespace.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamespaceState {
    /// The namespace does not exist yet, or lacks a guard.
    Pending,
    /// Every guard exists; owners have no rights yet.
    Fenced,
    /// Every guard exists and owners have their rights.
    Active,
    /// A namespace of this name exists and does not belong to this Tenant.
    Conflict,
    /// Its Tenant or entry was deleted; it stays with its guards and without owners' rights.
    Retained,
    /// It is being deleted.
    Terminating,
    /// An owner created it when no place was left: nobody has rights in it until a place is free.
    Closed,
    /// It is the home namespace, where owners create TenantNamespaces. No pods run in it.
    Home,
}

/// Amounts of one resource, over all namespaces of the tenant.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct QuotaStatus {
    /// Name as in ResourceQuota: `requests.cpu`, `pods`.
    #[schemars(length(max = 253))]
    pub resource: String,
    /// The grant: what the tenant may use in all its namespaces together.
    #[schemars(schema_with = "schema::plain_quantity")]
    pub grant: Quantity,
    /// Sum of the namespaces' ResourceQuotas.
    #[schemars(schema_with = "schema::plain_quantity")]
    pub allocated: Quantity,
    /// Use of all namespaces together.
    #[schemars(schema_with = "schema::plain_quantity")]
    pub used: Quantity,
}
