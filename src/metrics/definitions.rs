//! The table of metrics, and the page that is rendered from it.

use std::fmt::Write;

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

const CONTROLLER: Label = Label {
    name: "controller",
    values: "`tenant`, `template`",
};
const MANAGED_KIND: Label = Label {
    name: "kind",
    values: "a managed kind, such as `ResourceQuota`",
};

pub(super) const RECONCILE_TOTAL: Definition = Definition {
    name: "tenantry_reconcile_total",
    help: "Reconciles that ended, by outcome.",
    kind: Kind::Counter,
    labels: &[
        CONTROLLER,
        Label {
            name: "outcome",
            values: "`changed`, `unchanged`, `waiting`, `error`",
        },
    ],
};

pub(super) const RECONCILE_DURATION: Definition = Definition {
    name: "tenantry_reconcile_duration_seconds",
    help: "How long a reconcile took, its API calls included.",
    kind: Kind::Histogram(&[
        0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    ]),
    labels: &[CONTROLLER],
};

pub(super) const RECONCILE_ERRORS: Definition = Definition {
    name: "tenantry_reconcile_errors_total",
    help: "Reconciles that failed, by category of the error.",
    kind: Kind::Counter,
    labels: &[
        CONTROLLER,
        Label {
            name: "category",
            values: "the error's category, the reason of its Event",
        },
    ],
};

pub(super) const API_REQUESTS: Definition = Definition {
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

pub(super) const LEADER: Definition = Definition {
    name: "tenantry_leader",
    help: "1 while this process leads, else 0.",
    kind: Kind::Gauge,
    labels: &[],
};

pub(super) const OBJECTS_MANAGED: Definition = Definition {
    name: "tenantry_objects_managed",
    help: "Objects in the cluster that carry the operator's label.",
    kind: Kind::Gauge,
    labels: &[MANAGED_KIND],
};

pub(super) const TENANTS: Definition = Definition {
    name: "tenantry_tenants",
    help: "Tenants, by tier and by what their status says.",
    kind: Kind::Gauge,
    labels: &[
        Label {
            name: "tier",
            values: "a tier, such as `Premium`",
        },
        Label {
            name: "state",
            values: "`ready`, `reconciling`, `stalled`",
        },
    ],
};

pub(super) const WATCH_ERRORS: Definition = Definition {
    name: "tenantry_watch_errors_total",
    help: "Watches that failed and were started again.",
    kind: Kind::Counter,
    labels: &[Label {
        name: "kind",
        values: "a watched kind",
    }],
};

pub(super) const WATCH_LAST_SUCCESS: Definition = Definition {
    name: "tenantry_watch_last_success_timestamp_seconds",
    help: "When the watch of a kind last had a list, an event or a bookmark, in seconds since 1970.",
    kind: Kind::Gauge,
    labels: &[Label {
        name: "kind",
        values: "a watched kind",
    }],
};

pub(super) const CRD_MISSING: Definition = Definition {
    name: "tenantry_crd_missing",
    help: "1 while an optional kind cannot be listed in the version that the operator uses, else 0.",
    kind: Kind::Gauge,
    labels: &[Label {
        name: "kind",
        values: "an optional kind, such as `PodMonitor`",
    }],
};

pub(super) const BACKING_OFF: Definition = Definition {
    name: "tenantry_backing_off_objects",
    help: "Objects whose last reconcile failed and that wait for another try.",
    kind: Kind::Gauge,
    labels: &[CONTROLLER],
};

pub(super) const RUNTIME_ALIVE_TASKS: Definition = Definition {
    name: "tenantry_runtime_alive_tasks",
    help: "Asynchronous tasks that have not ended; it stays level in a process that leaks none.",
    kind: Kind::Gauge,
    labels: &[],
};

pub(super) const BUILD_INFO: Definition = Definition {
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

/// Every metric, in the order of the page. The `process_` ones come from the kernel, on Linux.
pub const ALL: &[Definition] = &[
    RECONCILE_TOTAL,
    RECONCILE_DURATION,
    RECONCILE_ERRORS,
    API_REQUESTS,
    LEADER,
    OBJECTS_MANAGED,
    TENANTS,
    WATCH_ERRORS,
    WATCH_LAST_SUCCESS,
    CRD_MISSING,
    BACKING_OFF,
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
    fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// The page `docs/metrics.md`.
pub fn render_markdown() -> String {
    let mut page = String::from(
        "# Metrics\n\n<!-- Generated by `tenantry generate`; do not edit. -->\n\n\
         Served as Prometheus text on `/metrics`. The number of label values is bounded: no label holds the name of an\n\
         object; those are in logs, Events and traces.\n",
    );
    for definition in ALL {
        // Writing to a String cannot fail.
        let _ = write!(
            page,
            "\n## {}\n\n{} Type: {}.\n",
            definition.name,
            definition.help,
            definition.kind.name()
        );
        if let Kind::Histogram(buckets) = definition.kind {
            let bounds: Vec<String> = buckets.iter().map(ToString::to_string).collect();
            let _ = writeln!(page, "Upper bounds of its buckets: {}.", bounds.join(", "));
        }
        if !definition.labels.is_empty() {
            page.push_str("\n| label | values |\n| --- | --- |\n");
            for label in definition.labels {
                let _ = writeln!(page, "| `{}` | {} |", label.name, label.values);
            }
        }
    }
    page
}
