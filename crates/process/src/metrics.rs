//! A table of metrics, and the metrics that each of our processes has.

use std::time::Duration;

use prometheus::{
    GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};
use tenantry_core::error_class::ErrorClass;

/// One metric.
#[derive(Debug, Clone, Copy)]
pub struct Definition {
    /// Full name: `tenantry_<thing>_<unit>[_total]`.
    pub name: &'static str,
    /// What it counts, as one sentence.
    pub help: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Its labels, in the order in which values are given.
    pub labels: &'static [Label],
}

/// The type of a metric.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It rises and falls.
    Gauge,
    /// Distribution over buckets with these upper bounds, in the metric's unit.
    Histogram(&'static [f64]),
}

/// A label of a metric.
#[derive(Debug, Clone, Copy)]
pub struct Label {
    /// Its name.
    pub name: &'static str,
    /// Its values, for docs/metrics.md.
    pub values: &'static str,
}

const CONTROLLER: Label = Label {
    name: "controller",
    values: "`tenant`, `template`",
};

const RECONCILE_TOTAL: Definition = Definition {
    name: "tenantry_reconcile_total",
    help: "Reconciles that ended, by outcome.",
    kind: Kind::Counter,
    labels: &[
        CONTROLLER,
        Label {
            name: "outcome",
            values: "`changed`, `unchanged`, `waiting`, `conflict` (the cluster changed since it was seen: tried again, no error), `error`",
        },
    ],
};

const RECONCILE_DURATION: Definition = Definition {
    name: "tenantry_reconcile_duration_seconds",
    help: "How long a reconcile took, its API calls included.",
    kind: Kind::Histogram(&[
        0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    ]),
    labels: &[CONTROLLER],
};

const RECONCILE_ERRORS: Definition = Definition {
    name: "tenantry_reconcile_errors_total",
    help: "Reconciles that failed, by class of the error; a conflict is no error.",
    kind: Kind::Counter,
    labels: &[
        CONTROLLER,
        Label {
            name: "category",
            values: "`forbidden`, `quota`, `invalid`, `not_found`, `timeout`, `throttled` (429), `unavailable` (5xx or no connection), `malformed` (an answer that cannot be read), `not_leader`",
        },
    ],
};

const WATCH_ERRORS: Definition = Definition {
    name: "tenantry_watch_errors_total",
    help: "Watches that failed and were started again.",
    kind: Kind::Counter,
    labels: &[Label {
        name: "kind",
        values: "a watched kind",
    }],
};

const BACKING_OFF: Definition = Definition {
    name: "tenantry_backing_off_objects",
    help: "Objects whose last reconcile failed or met a conflict and that wait for another try.",
    kind: Kind::Gauge,
    labels: &[CONTROLLER],
};

const WATCH_LAST_SUCCESS: Definition = Definition {
    name: "tenantry_watch_last_success_timestamp_seconds",
    help: "When the watch of a kind last had a list, an event or a bookmark, in seconds since 1970.",
    kind: Kind::Gauge,
    labels: &[Label {
        name: "kind",
        values: "a watched kind",
    }],
};

const API_REQUESTS: Definition = Definition {
    name: "tenantry_api_requests_total",
    help: "Requests sent to the API server, every retry counted.",
    kind: Kind::Counter,
    labels: &[
        Label {
            name: "verb",
            values: "`get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`, `other`",
        },
        Label {
            name: "resource",
            values: "plural, with `/status` for that subresource; `discovery`; `other`",
        },
        Label {
            name: "code",
            values: "`2xx`, `3xx`, `404`, `409`, `429`, `4xx` (the rest), `5xx`, `timeout` (no answer in time), `transport` (no connection)",
        },
    ],
};

const RUNTIME_ALIVE_TASKS: Definition = Definition {
    name: "tenantry_runtime_alive_tasks",
    help: "Asynchronous tasks that have not ended; it stays level in a process that leaks none.",
    kind: Kind::Gauge,
    labels: &[],
};

const BUILD_INFO: Definition = Definition {
    name: "tenantry_build_info",
    help: "Always 1; its label tells the version.",
    kind: Kind::Gauge,
    labels: &[Label {
        name: "version",
        values: "the version of this build",
    }],
};

const fn process(name: &'static str, help: &'static str, kind: Kind) -> Definition {
    Definition {
        name,
        help,
        kind,
        labels: &[],
    }
}

/// The metrics of [`ProcessMetrics`], in the order of docs/metrics.md. The `process_` metrics come from the Linux
/// kernel.
pub const DEFINITIONS: &[Definition] = &[
    RECONCILE_TOTAL,
    RECONCILE_DURATION,
    RECONCILE_ERRORS,
    BACKING_OFF,
    WATCH_ERRORS,
    WATCH_LAST_SUCCESS,
    API_REQUESTS,
    RUNTIME_ALIVE_TASKS,
    BUILD_INFO,
    process(
        "process_cpu_seconds_total",
        "CPU time used, user and system, in whole seconds.",
        Kind::Counter,
    ),
    process("process_open_fds", "Open file descriptors.", Kind::Gauge),
    process(
        "process_max_fds",
        "Most file descriptors that may be open.",
        Kind::Gauge,
    ),
    process("process_virtual_memory_bytes", "Virtual memory.", Kind::Gauge),
    process("process_resident_memory_bytes", "Resident memory.", Kind::Gauge),
    process(
        "process_start_time_seconds",
        "When the process started, in seconds since 1970.",
        Kind::Gauge,
    ),
    process("process_threads", "Threads of the operating system.", Kind::Gauge),
];

impl Kind {
    /// Its type as Prometheus names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// How a reconcile ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It wrote something.
    Changed,
    /// Nothing needed a change.
    Unchanged,
    /// It waits for a controller, a template or a cluster admin.
    Waiting,
    /// The cluster changed after it was read; the reconcile is retried.
    Conflict,
    /// It failed and is retried.
    Error,
}

impl Outcome {
    /// All outcomes.
    pub const ALL: [Self; 5] = [
        Self::Changed,
        Self::Unchanged,
        Self::Waiting,
        Self::Conflict,
        Self::Error,
    ];

    /// The label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::Waiting => "waiting",
            Self::Conflict => "conflict",
            Self::Error => "error",
        }
    }
}

/// The metrics of any process, and the registry in which it registers its own; clones share them.
#[derive(Debug, Clone)]
pub struct ProcessMetrics {
    registry: Registry,
    reconcile_total: IntCounterVec,
    reconcile_duration: HistogramVec,
    reconcile_errors: IntCounterVec,
    backing_off: IntGaugeVec,
    watch_errors: IntCounterVec,
    watch_last_success: IntGaugeVec,
    api_requests: IntCounterVec,
    runtime_alive_tasks: IntGauge,
}

impl ProcessMetrics {
    /// A registry with the metrics of a process of this version; fails only if the table itself is wrong.
    pub fn new(version: &str) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let build_info = gauge_vec(&registry, &BUILD_INFO)?;
        build_info.with_label_values(&[version]).set(1.0);
        #[cfg(target_os = "linux")]
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(Self {
            reconcile_total: counter_vec(&registry, &RECONCILE_TOTAL)?,
            reconcile_duration: histogram_vec(&registry, &RECONCILE_DURATION)?,
            reconcile_errors: counter_vec(&registry, &RECONCILE_ERRORS)?,
            backing_off: int_gauge_vec(&registry, &BACKING_OFF)?,
            watch_errors: counter_vec(&registry, &WATCH_ERRORS)?,
            watch_last_success: int_gauge_vec(&registry, &WATCH_LAST_SUCCESS)?,
            api_requests: counter_vec(&registry, &API_REQUESTS)?,
            runtime_alive_tasks: int_gauge(&registry, &RUNTIME_ALIVE_TASKS)?,
            registry,
        })
    }

    /// The registry, in which a process registers further metrics.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The text that Prometheus scrapes.
    pub fn encode(&self) -> Result<String, prometheus::Error> {
        // Updated at each scrape, because nobody reads the value in between.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            self.runtime_alive_tasks
                .set(to_i64(runtime.metrics().num_alive_tasks()));
        }
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    /// Creates the counters of a controller with value zero, so that a rate over them includes the first event.
    pub fn announce_controller(&self, controller: &'static str) {
        for outcome in Outcome::ALL {
            self.reconcile_total
                .with_label_values(&[controller, outcome.as_str()])
                .inc_by(0);
        }
        for class in ErrorClass::ALL.into_iter().filter(|class| class.is_error()) {
            self.reconcile_errors
                .with_label_values(&[controller, class.as_str()])
                .inc_by(0);
        }
    }

    /// Counts a reconcile that ended.
    pub fn reconciled(&self, controller: &'static str, outcome: Outcome, took: Duration) {
        self.reconcile_total
            .with_label_values(&[controller, outcome.as_str()])
            .inc();
        self.reconcile_duration
            .with_label_values(&[controller])
            .observe(took.as_secs_f64());
    }

    /// Counts a reconcile that failed with an error of this class; call [`Self::reconciled`] as well.
    pub fn reconcile_failed(&self, controller: &'static str, class: ErrorClass) {
        self.reconcile_errors
            .with_label_values(&[controller, class.as_str()])
            .inc();
    }

    /// Counts a failure of a watch of this kind.
    pub fn watch_failed(&self, kind: &'static str) {
        self.watch_errors.with_label_values(&[kind]).inc();
    }

    /// Sets how many objects wait for a retry after a failure.
    pub fn set_backing_off(&self, controller: &'static str, count: usize) {
        self.backing_off.with_label_values(&[controller]).set(to_i64(count));
    }

    /// Sets when a watch of this kind last received something from the API server, in seconds since 1970.
    pub fn watch_heard(&self, kind: &'static str, at: i64) {
        self.watch_last_success.with_label_values(&[kind]).set(at);
    }

    /// Removes the value of a kind that is no longer watched.
    pub fn forget_watch(&self, kind: &'static str) {
        // It fails only if there is no value, so nothing needs to be removed.
        let _ = self.watch_last_success.remove_label_values(&[kind]);
    }

    /// Counts a request to the API server by its result.
    pub fn api_request(&self, verb: &'static str, resource: &'static str, code: &'static str) {
        self.api_requests.with_label_values(&[verb, resource, code]).inc();
    }
}

/// A count as the value of a gauge.
pub fn to_i64(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Name and help of a metric.
pub fn opts(definition: &Definition) -> Opts {
    Opts::new(definition.name, definition.help)
}

/// Names of a metric's labels.
pub fn label_names(definition: &Definition) -> Vec<&'static str> {
    definition.labels.iter().map(|label| label.name).collect()
}

/// Registers a metric of the table.
pub fn counter_vec(registry: &Registry, definition: &Definition) -> Result<IntCounterVec, prometheus::Error> {
    let metric = IntCounterVec::new(opts(definition), &label_names(definition))?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn gauge_vec(registry: &Registry, definition: &Definition) -> Result<GaugeVec, prometheus::Error> {
    let metric = GaugeVec::new(opts(definition), &label_names(definition))?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

/// Registers a metric of the table.
pub fn int_gauge(registry: &Registry, definition: &Definition) -> Result<IntGauge, prometheus::Error> {
    let metric = IntGauge::with_opts(opts(definition))?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

/// Registers a metric of the table.
pub fn int_gauge_vec(registry: &Registry, definition: &Definition) -> Result<IntGaugeVec, prometheus::Error> {
    let metric = IntGaugeVec::new(opts(definition), &label_names(definition))?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

/// Registers a metric of the table.
pub fn histogram_vec(registry: &Registry, definition: &Definition) -> Result<HistogramVec, prometheus::Error> {
    let buckets = match definition.kind {
        Kind::Histogram(buckets) => buckets.to_vec(),
        Kind::Counter | Kind::Gauge => prometheus::DEFAULT_BUCKETS.to_vec(),
    };
    let options = HistogramOpts::new(definition.name, definition.help).buckets(buckets);
    let metric = HistogramVec::new(options, &label_names(definition))?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}
