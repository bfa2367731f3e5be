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
    /// AI level of the tier. Default: None. Nothing enforces it; workloads can read it in the ConfigMap
    /// `tenant-limits`.
    #[serde(default)]
    pub level: AiLevel,
    /// Names of the models that the tenant may use. Nothing enforces them (state NotEnforced); workloads can read them
    /// in the ConfigMap `tenant-limits`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 253)))]
    pub models: Vec<String>,
}

/// Level of AI features. A label for workloads and tools; it enforces nothing.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum AiLevel {
    /// No AI features.
    #[default]
    None,
    /// Shared models.
    Basic,
    /// Model instances of its own.
    Full,
    /// Model instances and accelerators of its own.
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

/// Monitoring of the tenant. Metrics and alerts need the CRDs of the prometheus-operator. If they are missing, the
/// condition MonitoringReady reports it, and everything else still works.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct MonitoringSpec {
    /// Whether Prometheus scrapes the tenant's pods and Services that have the label `tenantry.dev/scrape: "true"`, at
    /// their port named `metrics`. The operator creates one PodMonitor and one ServiceMonitor in each namespace.
    /// Default: false.
    #[serde(default)]
    pub metrics: bool,
    /// Seconds between two scrapes. Left out: Prometheus' own default. Set on the PodMonitor and ServiceMonitor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 5, max = 3600))]
    pub scrape_interval_seconds: Option<i64>,
    /// Most samples that one scrape of one target may return; a scrape with more fails. Left out: no limit. Prometheus
    /// enforces it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub sample_limit: Option<i64>,
    /// Most scrape targets of one PodMonitor or ServiceMonitor. Left out: no limit. Prometheus enforces it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub target_limit: Option<i64>,
    /// Whether the operator creates one PrometheusRule in each namespace, which alerts when a quota is nearly full.
    /// Default: false.
    #[serde(default)]
    pub alerts: bool,
    /// Whether the operator creates a Grafana dashboard, as a ConfigMap with the label `grafana_dashboard: "1"` in the
    /// tenant's first namespace. A Grafana sidecar must load it. Default: false.
    #[serde(default)]
    pub dashboard: bool,
    /// Labels on the PodMonitor, ServiceMonitor and PrometheusRule, so that your Prometheus selects them, for example
    /// `release: kube-prometheus-stack`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::labels")]
    pub labels: BTreeMap<String, String>,
    /// Has no effect in this version: no burn-rate rules are created. Service level objectives; reported NotEnforced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slo: Option<SloSpec>,
}

/// Has no effect in this version. Service level objectives.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SloSpec {
    /// Has no effect in this version. Good requests in percent of all, as text: `"99.9"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::percent")]
    pub availability: Option<String>,
    /// Has no effect in this version. Latency in milliseconds that 99 of 100 requests must not exceed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 600_000))]
    pub latency_p99_milliseconds: Option<i64>,
    /// Has no effect in this version. Days over which the objective is measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 90))]
    pub window_days: Option<i64>,
}

/// Nodes, priority classes and runtime classes that the tenant's pods may use.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PlacementSpec {
    /// Labels of the nodes on which the tenant's pods may run. A ValidatingAdmissionPolicy refuses pods without this
    /// node selector. From Kubernetes 1.36 on, a MutatingAdmissionPolicy adds it to each pod.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::labels")]
    pub node_selector: BTreeMap<String, String>,
    /// Tolerations that a MutatingAdmissionPolicy adds to every pod (Kubernetes 1.36 and later). Pods may have no
    /// others, except those that Kubernetes adds itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub tolerations: Vec<Toleration>,
    /// Regions in which the tenant's data may be. With one region, the API server admits only pods that are bound to
    /// nodes with that `topology.kubernetes.io/region`. Several regions have no effect in this version: reported
    /// NotEnforced.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::regions")]
    pub regions: Vec<String>,
    /// Priority classes that pods may use. Left out: only the cluster's default. A ValidatingAdmissionPolicy enforces
    /// it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::object_names::<16>")]
    pub priority_classes: Vec<String>,
    /// Runtime classes that pods may use; each pod must name one of them. Left out: no restriction. A
    /// ValidatingAdmissionPolicy enforces it.
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
    /// Equal tolerates a taint with this value, Exists a taint with any value. Default: Equal.
    #[serde(default)]
    pub operator: TolerationOperator,
    /// Value of the taint; only with operator Equal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::taint_value")]
    pub value: Option<String>,
    /// Effect of the taint. Left out: every effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::optional::<TaintEffect>")]
    pub effect: Option<TaintEffect>,
}

/// How a toleration compares the value of a taint.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TolerationOperator {
    /// The value of the taint must be the same.
    #[default]
    Equal,
    /// The taint may have any value.
    Exists,
}

/// Effect of a taint.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaintEffect {
    /// The scheduler puts no new pod on the node.
    NoSchedule,
    /// The scheduler avoids the node for new pods.
    PreferNoSchedule,
    /// Running pods are evicted from the node.
    NoExecute,
}

/// Has no effect in this version: cost reports do not exist yet. Prices of the tier; reported NotEnforced.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PricingSpec {
    /// Has no effect in this version. Currency of all prices (ISO 4217), for example `EUR`.
    #[schemars(schema_with = "schema::currency")]
    pub currency: String,
    /// Has no effect in this version. Price of the tier itself for one month.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::price")]
    pub monthly_base: Option<Quantity>,
    /// Has no effect in this version. Price of one CPU core for one hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::price")]
    pub cpu_hour: Option<Quantity>,
    /// Has no effect in this version. Price of one GiB of memory for one hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::price")]
    pub memory_gib_hour: Option<Quantity>,
    /// Has no effect in this version. Price of one GiB of storage for one month.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::price")]
    pub storage_gib_month: Option<Quantity>,
    /// Has no effect in this version. Price of one accelerator for one hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::price")]
    pub accelerator_hour: Option<Quantity>,
}

/// Support of the tier. Nothing enforces it; workloads and tools can read it in the ConfigMap `tenant-limits`.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SupportSpec {
    /// Support level, from Community (help from other users) to Dedicated (a team for this tenant alone). Default:
    /// Community. Nothing enforces it.
    #[serde(default)]
    pub level: SupportLevel,
    /// Minutes until the first answer. Nothing enforces it (state NotEnforced); workloads can read it in the ConfigMap
    /// `tenant-limits`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub response_minutes: Option<i64>,
    /// Where tenants ask for help: a mail address or a URL. Shown in the ConfigMap `tenant-limits`.
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
    /// Help during office hours.
    Standard,
    /// Help during extended hours.
    Premium,
    /// Help around the clock.
    Enterprise,
    /// A named contact person.
    WhiteGlove,
    /// A team for this tenant alone.
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

/// Has no effect in this version: a change reaches all tenants at once. How a change of the template is rolled out;
/// Staged is reported NotEnforced.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RolloutSpec {
    /// Has no effect in this version: Staged works like AllAtOnce and is reported NotEnforced. Default: AllAtOnce.
    #[serde(default)]
    pub strategy: RolloutStrategy,
    /// Has no effect in this version. Percent of the tenants in one stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub batch_percent: Option<i64>,
    /// Has no effect in this version. Seconds between two stages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 604_800))]
    pub pause_seconds: Option<i64>,
}

/// How a change of the template is rolled out to its tenants.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RolloutStrategy {
    /// A change reaches every tenant as soon as possible.
    #[default]
    AllAtOnce,
    /// Has no effect in this version. A change reaches the tenants in stages.
    Staged,
}
