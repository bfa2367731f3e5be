//! Every metric of the process: name, help, labels and buckets, in one table ([`definitions`]).
//!
//! `docs/metrics.md` is rendered from the same table. Label values are enums or `&'static str`, so their number is known
//! when the program is built; names of objects go to logs, events and traces.

use std::time::Duration;

use prometheus::{
    GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

pub mod definitions;

use definitions as def;

/// How a reconcile ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Something was written.
    Changed,
    /// The cluster was as it should be.
    Unchanged,
    /// It waits for someone else: a controller, a template, an admin.
    Waiting,
    /// It failed and is tried again.
    Error,
}

impl Outcome {
    /// All outcomes.
    pub const ALL: [Self; 4] = [Self::Changed, Self::Unchanged, Self::Waiting, Self::Error];

    /// The label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::Waiting => "waiting",
            Self::Error => "error",
        }
    }
}

/// What a tenant's status says, as one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TenantState {
    /// Everything that its tier promises stands.
    Ready,
    /// On its way there.
    Reconciling,
    /// Cannot get there without someone's help.
    Stalled,
}

impl TenantState {
    /// The label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Reconciling => "reconciling",
            Self::Stalled => "stalled",
        }
    }
}

/// The process's metrics in a registry of their own; share it in an `Arc`.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    reconcile_total: IntCounterVec,
    reconcile_duration: HistogramVec,
    reconcile_errors: IntCounterVec,
    api_requests: IntCounterVec,
    leader: IntGauge,
    objects_managed: IntGaugeVec,
    tenants: IntGaugeVec,
    watch_errors: IntCounterVec,
    watch_last_success: IntGaugeVec,
    crd_missing: IntGaugeVec,
    backing_off: IntGaugeVec,
    runtime_alive_tasks: IntGauge,
}

impl Metrics {
    /// Registers every metric; fails only if the table itself is wrong (two of a name, a malformed one).
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let build_info = gauge_vec(&registry, &def::BUILD_INFO)?;
        build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1.0);
        #[cfg(target_os = "linux")]
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(Self {
            reconcile_total: counter_vec(&registry, &def::RECONCILE_TOTAL)?,
            reconcile_duration: histogram_vec(&registry, &def::RECONCILE_DURATION)?,
            reconcile_errors: counter_vec(&registry, &def::RECONCILE_ERRORS)?,
            api_requests: counter_vec(&registry, &def::API_REQUESTS)?,
            leader: int_gauge(&registry, &def::LEADER)?,
            objects_managed: int_gauge_vec(&registry, &def::OBJECTS_MANAGED)?,
            tenants: int_gauge_vec(&registry, &def::TENANTS)?,
            watch_errors: counter_vec(&registry, &def::WATCH_ERRORS)?,
            watch_last_success: int_gauge_vec(&registry, &def::WATCH_LAST_SUCCESS)?,
            crd_missing: int_gauge_vec(&registry, &def::CRD_MISSING)?,
            backing_off: int_gauge_vec(&registry, &def::BACKING_OFF)?,
            runtime_alive_tasks: int_gauge(&registry, &def::RUNTIME_ALIVE_TASKS)?,
            registry,
        })
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

    /// Makes the counters of a controller appear at zero, so that a rate over them is right from the first event on.
    pub fn announce_controller(&self, controller: &'static str) {
        for outcome in Outcome::ALL {
            self.reconcile_total
                .with_label_values(&[controller, outcome.as_str()])
                .inc_by(0);
        }
    }

    /// A reconcile ended.
    pub fn reconciled(&self, controller: &'static str, outcome: Outcome, took: Duration) {
        self.reconcile_total
            .with_label_values(&[controller, outcome.as_str()])
            .inc();
        self.reconcile_duration
            .with_label_values(&[controller])
            .observe(took.as_secs_f64());
    }

    /// A reconcile failed with an error of this category; count the outcome by [`Metrics::reconciled`] as well.
    pub fn reconcile_failed(&self, controller: &'static str, category: &'static str) {
        self.reconcile_errors.with_label_values(&[controller, category]).inc();
    }

    /// The API server answered, or did not.
    pub fn api_request(&self, verb: &'static str, resource: &'static str, code: &'static str) {
        self.api_requests.with_label_values(&[verb, resource, code]).inc();
    }

    /// Whether this process leads.
    pub fn set_leader(&self, leading: bool) {
        self.leader.set(i64::from(leading));
    }

    /// How many objects of a kind are managed.
    pub fn set_objects_managed(&self, kind: &'static str, count: usize) {
        self.objects_managed.with_label_values(&[kind]).set(to_i64(count));
    }

    /// How many tenants there are, by tier and state; what is left out is zero.
    pub fn set_tenants(&self, counts: impl IntoIterator<Item = (&'static str, TenantState, usize)>) {
        self.tenants.reset();
        for (tier, state, count) in counts {
            self.tenants
                .with_label_values(&[tier, state.as_str()])
                .set(to_i64(count));
        }
    }

    /// A watch of a kind failed; it is started again.
    pub fn watch_failed(&self, kind: &'static str) {
        self.watch_errors.with_label_values(&[kind]).inc();
    }

    /// When a watch of a kind last heard from the API server, in seconds since 1970.
    pub fn watch_heard(&self, kind: &'static str, at: i64) {
        self.watch_last_success.with_label_values(&[kind]).set(at);
    }

    /// A kind is no longer watched.
    pub fn forget_watch(&self, kind: &'static str) {
        // It fails only where there is no value, and then nothing is to be removed.
        let _ = self.watch_last_success.remove_label_values(&[kind]);
    }

    /// Whether the CRD of a kind that a template asks for is missing.
    pub fn set_crd_missing(&self, kind: &'static str, missing: bool) {
        self.crd_missing.with_label_values(&[kind]).set(i64::from(missing));
    }

    /// How many objects wait for another try after a failure.
    pub fn set_backing_off(&self, controller: &'static str, count: usize) {
        self.backing_off.with_label_values(&[controller]).set(to_i64(count));
    }
}

fn to_i64(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn opts(definition: &def::Definition) -> Opts {
    Opts::new(definition.name, definition.help)
}

fn label_names(definition: &def::Definition) -> Vec<&'static str> {
    definition.labels.iter().map(|label| label.name).collect()
}

fn counter_vec(registry: &Registry, definition: &def::Definition) -> Result<IntCounterVec, prometheus::Error> {
    let metric = IntCounterVec::new(opts(definition), &label_names(definition))?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn gauge_vec(registry: &Registry, definition: &def::Definition) -> Result<GaugeVec, prometheus::Error> {
    let metric = GaugeVec::new(opts(definition), &label_names(definition))?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn int_gauge(registry: &Registry, definition: &def::Definition) -> Result<IntGauge, prometheus::Error> {
    let metric = IntGauge::with_opts(opts(definition))?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn int_gauge_vec(registry: &Registry, definition: &def::Definition) -> Result<IntGaugeVec, prometheus::Error> {
    let metric = IntGaugeVec::new(opts(definition), &label_names(definition))?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn histogram_vec(registry: &Registry, definition: &def::Definition) -> Result<HistogramVec, prometheus::Error> {
    let buckets = match definition.kind {
        def::Kind::Histogram(buckets) => buckets.to_vec(),
        def::Kind::Counter | def::Kind::Gauge => prometheus::DEFAULT_BUCKETS.to_vec(),
    };
    let options = HistogramOpts::new(definition.name, definition.help).buckets(buckets);
    let metric = HistogramVec::new(options, &label_names(definition))?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

#[cfg(test)]
mod tests;
