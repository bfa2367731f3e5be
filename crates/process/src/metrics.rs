//! Metrics as a table, and those that every process of ours has.

use prometheus::{
    GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

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
    /// Only grows.
    Counter,
    /// Goes both ways.
    Gauge,
    /// Distribution over buckets with these upper bounds, in the metric's unit.
    Histogram(&'static [f64]),
}

/// A label of a metric.
#[derive(Debug, Clone, Copy)]
pub struct Label {
    /// Its name.
    pub name: &'static str,
    /// Its values, for the page.
    pub values: &'static str,
}

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

/// The metrics of [`ProcessMetrics`], in the order of the page. The `process_` ones come from the kernel, on Linux.
pub const DEFINITIONS: &[Definition] = &[
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
    /// As Prometheus names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// The metrics of any process, and the registry in which it registers its own; clones share them.
#[derive(Debug, Clone)]
pub struct ProcessMetrics {
    registry: Registry,
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
            api_requests: counter_vec(&registry, &API_REQUESTS)?,
            runtime_alive_tasks: int_gauge(&registry, &RUNTIME_ALIVE_TASKS)?,
            registry,
        })
    }

    /// Where a process registers what it measures besides.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The text that Prometheus scrapes.
    pub fn encode(&self) -> Result<String, prometheus::Error> {
        // Counted when it is asked for: between two questions nobody needs to know.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            self.runtime_alive_tasks
                .set(to_i64(runtime.metrics().num_alive_tasks()));
        }
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    /// The API server answered, or did not.
    pub fn api_request(&self, verb: &'static str, resource: &'static str, code: &'static str) {
        self.api_requests.with_label_values(&[verb, resource, code]).inc();
    }
}

/// A count as a gauge takes it.
pub fn to_i64(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn opts(definition: &Definition) -> Opts {
    Opts::new(definition.name, definition.help)
}

fn label_names(definition: &Definition) -> Vec<&'static str> {
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
