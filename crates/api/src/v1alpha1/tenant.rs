//! Tenant: who gets it.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{EgressRule, Environment, PodSecurity, Quotas, ServiceType, Tier, Traffic, schema};
use crate::{names, quantity::Quantity};

/// A customer or team on the cluster: its template, its people, its namespaces.
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
    doc = "A Tenant is a customer or team on the cluster. The operator turns it into namespaces that are fenced, metered and watched as its template says, and keeps them so.",
    printcolumn(name = "Tier", type_ = "string", json_path = ".status.tier", description = "Tier of the template"),
    printcolumn(name = "State", type_ = "string", json_path = ".spec.state", description = "Active or Frozen"),
    printcolumn(name = "Namespaces", type_ = "string", json_path = ".status.namespacesReady", description = "Ready of all namespaces that the Tenant lists or its owners asked for"),
    printcolumn(name = "Full", type_ = "string", json_path = ".status.fullest", description = "The resource that is fullest"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status", description = "Whether everything that the template promises stands"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason", description = "Why"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp", description = "Time since creation"),
    printcolumn(name = "Template", type_ = "string", json_path = ".spec.templateRef.name", description = "Name of the template", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message", description = "Why, for people", priority = 1),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$') && size(self.metadata.name) <= 40").message("metadata.name must be a DNS label of at most 40 characters that starts with a letter (a-z, 0-9, -): it prefixes every namespace of the tenant"),
    validation = Rule::new("!has(self.spec.namespaces) || self.spec.namespaces.all(n, size(self.metadata.name) + 1 + size(n.name) <= 63)").message("spec.namespaces: <tenant>-<name> must not be longer than 63 characters; choose a shorter name").field_path(".spec.namespaces"),
    validation = Rule::new("!['kube', 'default', 'openshift', 'tenantry'].exists(p, self.metadata.name == p) && !self.metadata.name.startsWith('kube-') && !self.metadata.name.startsWith('openshift-')").message("metadata.name: kube, default, openshift and tenantry are reserved for the system; choose another name")
)]
#[serde(rename_all = "camelCase")]
pub struct TenantSpec {
    /// The template that says what this tenant gets.
    pub template_ref: TemplateRef,
    /// Who may use the tenant's namespaces. Removing someone withdraws all their rights.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["kind".into(), "name".into()]))]
    pub owners: Vec<Owner>,
    /// The tenant's namespaces. Removing one deletes it, or leaves it fenced without owners, as `deletionPolicy` says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub namespaces: Vec<TenantNamespaceEntry>,
    /// What this tenant gets differently from the template. Each field can tighten; it can loosen only where the
    /// template lists it in `overridable`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overrides: Option<Overrides>,
    /// Frozen refuses every write of the tenant at once and leaves alone what runs.
    #[serde(default)]
    pub state: TenantState,
    /// What happens to namespaces when the Tenant, or their entry in `namespaces`, is deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// Refuse to delete this Tenant, and keep every namespace of it, until the field is set to false.
    #[serde(default)]
    pub deletion_protection: bool,
    /// The reseller's own brand; only with a template of tier WhiteLabel. Handed to workloads in `tenant-limits`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branding: Option<Branding>,
}

/// Names a TenantTemplate.
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
    /// What `name` names: a user, a group or a ServiceAccount.
    pub kind: OwnerKind,
    /// The user or group as the API server knows it, or `system:serviceaccount:<namespace>:<name>`.
    #[schemars(schema_with = "schema::owner_name")]
    pub name: String,
    /// What they may do: Owner everything inside the fence, Editor workloads and configuration, Viewer reading.
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

/// What an owner may do. The rights are those of the chart's ClusterRole `tenantry-<role>`.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OwnerRole {
    /// Everything inside the fence, Secrets and RoleBindings to these three roles included.
    #[default]
    Owner,
    /// Workloads, services and configuration.
    Editor,
    /// Reading, without Secrets.
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
    /// Name inside the tenant; the namespace is called `<tenant>-<name>`. `home` and what ends in
    /// `-home` are home namespaces'.
    #[schemars(schema_with = "schema::namespace_name")]
    pub name: String,
    /// What it is for; stands on the namespace as the label `tenantry.dev/environment`.
    #[serde(default)]
    pub environment: Environment,
    /// Labels for the namespace, for tools outside this operator.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::namespace_labels")]
    pub labels: BTreeMap<String, String>,
    /// Share of the tenant's quotas, against the weights of the other namespaces. Left out: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub weight: Option<i32>,
}

/// What a tenant gets differently from its template.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Overrides {
    /// Amounts in place of the template's; not above them unless the template opens Quotas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quotas: Option<Quotas>,
    /// A stricter Pod Security Standard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::optional::<PodSecurity>")]
    pub pod_security: Option<PodSecurity>,
    /// Fewer registries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::registries")]
    pub registries: Option<Vec<String>>,
    /// Fewer storage classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::object_names::<32>")]
    pub storage_classes: Option<Vec<String>>,
    /// Fewer Service types.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4))]
    pub service_types: Option<Vec<ServiceType>>,
    /// Fewer hosts; each must be one of the template's, `{tenant}` already replaced or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::hosts")]
    pub ingress_hosts: Option<Vec<String>>,
    /// Deny where the template allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::optional::<Traffic>")]
    pub internet_egress: Option<Traffic>,
    /// Fewer destinations; each must be one of the template's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub egress: Option<Vec<EgressRule>>,
    /// Further labels that the nodes must carry, beside the template's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::labels")]
    pub node_selector: Option<BTreeMap<String, String>>,
}

/// Whether a tenant may write.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TenantState {
    /// As its roles say.
    #[default]
    Active,
    /// Not at all.
    Frozen,
}

/// What happens to namespaces that are no longer wanted.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeletionPolicy {
    /// They are deleted with everything in them.
    #[default]
    Delete,
    /// They stay, fenced, without owners.
    Retain,
}

/// The brand of a reseller.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Branding {
    /// Name shown to people.
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
    /// The metadata.generation that this status was computed from; -1 until the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, Reconciling, Stalled (kstatus) and one per concern: NamespacesReady, QuotaEnforced, PoliciesEnforced,
    /// AccessGranted, MonitoringReady, SelfServiceReady, Frozen, DeletionBlocked, NamespacesKept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// Tier of the template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::optional::<Tier>")]
    pub tier: Option<Tier>,
    /// Ready of all namespaces that the Tenant lists or its owners asked for, as `2/3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub namespaces_ready: Option<String>,
    /// The resource that is fullest, as `pods 80%`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub fullest: Option<String>,
    /// State of each namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 200))]
    pub namespaces: Vec<NamespaceStatus>,
    /// Grant, allocation and use of each limited resource, over all namespaces.
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
    /// How far it is.
    pub state: NamespaceState,
    /// What holds it, if something does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
}

/// How far a namespace is.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamespaceState {
    /// It does not stand yet, or lacks a guard.
    Pending,
    /// Every guard stands; owners have no rights yet.
    Fenced,
    /// Every guard stands and owners have their rights.
    Active,
    /// It exists and is not ours.
    Conflict,
    /// It is no longer wanted and stays, fenced, without owners.
    Retained,
    /// It is being deleted.
    Terminating,
    /// An owner made it beyond what is granted: it is closed to everybody until there is a place for it.
    Closed,
    /// It is the home namespace: nothing runs there, owners ask for namespaces by TenantNamespaces.
    Home,
}

/// Grant, allocation and use of one resource.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct QuotaStatus {
    /// Name as in ResourceQuota: `requests.cpu`, `pods`.
    #[schemars(length(max = 253))]
    pub resource: String,
    /// What the template grants.
    #[schemars(schema_with = "schema::plain_quantity")]
    pub grant: Quantity,
    /// What the namespaces' ResourceQuotas hold together.
    #[schemars(schema_with = "schema::plain_quantity")]
    pub allocated: Quantity,
    /// What is used.
    #[schemars(schema_with = "schema::plain_quantity")]
    pub used: Quantity,
}
