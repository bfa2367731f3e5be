//! The smaller blocks of a template: AI, monitoring, placement, pricing, support, rollout.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;
use crate::quantity::Quantity;

/// AI features of the tier. The amounts are `quotas.mlModelInstances` and `quotas.aiProcessingUnits`.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AiSpec {
    /// The level that was sold. Handed to workloads in the ConfigMap `tenant-limits`.
    #[serde(default)]
    pub level: AiLevel,
    /// Models that the tenant may use, by name. Handed to workloads in `tenant-limits` (state NotEnforced).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 253)))]
    pub models: Vec<String>,
}

/// Level of AI features.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum AiLevel {
    /// None.
    #[default]
    None,
    /// Shared models.
    Basic,
    /// Own model instances.
    Full,
    /// Own model instances and accelerators.
    Enterprise,
    /// No limit.
    Unlimited,
    /// As agreed with the customer.
    Custom,
}

impl AiLevel {
    /// The value as written in YAML.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Basic => "Basic",
            Self::Full => "Full",
            Self::Enterprise => "Enterprise",
            Self::Unlimited => "Unlimited",
            Self::Custom => "Custom",
        }
    }
}

/// Monitoring of the tenant. Needs the CRDs of the prometheus-operator; where they are missing the condition
/// MonitoringReady says so and nothing else is held up.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct MonitoringSpec {
    /// Scrape pods that carry the label `tenantry.dev/scrape: "true"` on their port named `metrics` (one PodMonitor a
    /// namespace), and services with that label (one ServiceMonitor a namespace).
    #[serde(default)]
    pub metrics: bool,
    /// Seconds between two scrapes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 5, max = 3600))]
    pub scrape_interval_seconds: Option<i64>,
    /// Samples that one scrape of one target may bring; more makes the scrape fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub sample_limit: Option<i64>,
    /// Targets that one namespace may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub target_limit: Option<i64>,
    /// Alerts on quotas that run full, as one PrometheusRule a namespace.
    #[serde(default)]
    pub alerts: bool,
    /// A Grafana dashboard as a ConfigMap with the label `grafana_dashboard: "1"`, in the tenant's first namespace.
    #[serde(default)]
    pub dashboard: bool,
    /// Labels for the PodMonitor, ServiceMonitor and PrometheusRule, so that your Prometheus selects them, for example
    /// `release: kube-prometheus-stack`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::labels")]
    pub labels: BTreeMap<String, String>,
    /// Service level objectives. No burn-rate rules are made of them yet: reported NotEnforced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slo: Option<SloSpec>,
}

/// Service level objectives.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SloSpec {
    /// Share of good requests in percent, as text: `"99.9"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::percent")]
    pub availability: Option<String>,
    /// Milliseconds that 99 of 100 requests stay under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 600_000))]
    pub latency_p99_milliseconds: Option<i64>,
    /// Days that the objective is measured over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 90))]
    pub window_days: Option<i64>,
}

/// Where the tenant's pods run.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PlacementSpec {
    /// Labels that the nodes must carry. Stamped on every pod where the cluster serves MutatingAdmissionPolicy
    /// (Kubernetes 1.36), and required of every pod in any case.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::labels")]
    pub node_selector: BTreeMap<String, String>,
    /// Tolerations stamped on every pod. Pods may carry no others, but those that Kubernetes sets by itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub tolerations: Vec<Toleration>,
    /// Regions that the tenant's data may be in. With one region every pod is bound to nodes with that
    /// `topology.kubernetes.io/region`; with several the choice is not made yet: reported NotEnforced.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::regions")]
    pub regions: Vec<String>,
    /// Priority classes that pods may name. Left out: none but the cluster's default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::object_names::<16>")]
    pub priority_classes: Vec<String>,
    /// Runtime classes of which every pod must name one. Left out: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::runtime_classes")]
    pub runtime_classes: Option<Vec<String>>,
}

/// A toleration of a node taint.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.operator != 'Exists' || !has(self.value)").message("value must be left out with operator Exists").field_path(".value"))]
pub struct Toleration {
    /// Key of the taint.
    #[schemars(schema_with = "schema::taint_key")]
    pub key: String,
    /// Equal compares the value, Exists takes any.
    #[serde(default)]
    pub operator: TolerationOperator,
    /// Value of the taint, with Equal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::taint_value")]
    pub value: Option<String>,
    /// Effect of the taint. Left out: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::optional::<TaintEffect>")]
    pub effect: Option<TaintEffect>,
}

/// How a toleration compares.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TolerationOperator {
    /// The value must be equal.
    #[default]
    Equal,
    /// Any value.
    Exists,
}

/// Effect of a taint.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaintEffect {
    /// New pods stay away.
    NoSchedule,
    /// New pods stay away if they can.
    PreferNoSchedule,
    /// Running pods must leave.
    NoExecute,
}

/// Prices, for cost reports. Not used yet: reported NotEnforced.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PricingSpec {
    /// Currency, ISO 4217: `EUR`.
    #[schemars(schema_with = "schema::currency")]
    pub currency: String,
    /// Price of the tier itself, per month.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::price")]
    pub monthly_base: Option<Quantity>,
    /// Price of one core for one hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::price")]
    pub cpu_hour: Option<Quantity>,
    /// Price of one GiB of memory for one hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::price")]
    pub memory_gib_hour: Option<Quantity>,
    /// Price of one GiB of storage for one month.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::price")]
    pub storage_gib_month: Option<Quantity>,
    /// Price of one accelerator for one hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::price")]
    pub accelerator_hour: Option<Quantity>,
}

/// Support that comes with the tier. Stands in `tenant-limits` for tools; nothing is enforced.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SupportSpec {
    /// How fast and how personal the help is, from Community (other users) to Dedicated (a team of one's own).
    #[serde(default)]
    pub level: SupportLevel,
    /// Minutes until the first answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub response_minutes: Option<i64>,
    /// Where to ask: an address or a URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub contact: Option<String>,
}

/// Level of support.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum SupportLevel {
    /// Other users help.
    #[default]
    Community,
    /// Office hours.
    Standard,
    /// Extended hours.
    Premium,
    /// Around the clock.
    Enterprise,
    /// A named person.
    WhiteGlove,
    /// A team of one's own.
    Dedicated,
}

impl SupportLevel {
    /// The value as written in YAML.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Community => "Community",
            Self::Standard => "Standard",
            Self::Premium => "Premium",
            Self::Enterprise => "Enterprise",
            Self::WhiteGlove => "WhiteGlove",
            Self::Dedicated => "Dedicated",
        }
    }
}

/// How a change of the template reaches its tenants. Only AllAtOnce is done yet: Staged is reported NotEnforced.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RolloutSpec {
    /// AllAtOnce reaches every tenant as soon as possible, Staged goes stage by stage.
    #[serde(default)]
    pub strategy: RolloutStrategy,
    /// Percent of the tenants in one stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub batch_percent: Option<i64>,
    /// Seconds between two stages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 604_800))]
    pub pause_seconds: Option<i64>,
}

/// How a change of the template reaches its tenants.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RolloutStrategy {
    /// Every tenant as soon as possible.
    #[default]
    AllAtOnce,
    /// Stage by stage.
    Staged,
}
