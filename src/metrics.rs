//! Every metric of the process: name, help, labels and buckets, in one table ([`definitions`]).
//!
//! `docs/metrics.md` is rendered from the same table. Label values are enums or `&'static str`, so their number is
//! fixed at compile time. Names of objects appear only in logs, Events and traces.

use std::sync::{Arc, PoisonError, RwLock};

use prometheus::{
    IntGauge, IntGaugeVec, Registry,
    core::{Collector, Desc},
    proto::MetricFamily,
};
pub use tenantry_process::metrics::Outcome;
use tenantry_process::metrics::{Definition, ProcessMetrics, int_gauge, int_gauge_vec, label_names, opts, to_i64};

pub mod definitions;

use definitions as def;

/// The state of a tenant according to its status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TenantState {
    /// The operator has carried out the Tenant completely.
    Ready,
    /// The operator is still working on it.
    Reconciling,
    /// The operator cannot continue until somebody changes something.
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

/// The process's metrics in their own registry; share it in an `Arc`.
#[derive(Debug, Clone)]
pub struct Metrics {
    process: ProcessMetrics,
    leader: IntGauge,
    objects_managed: IntGaugeVec,
    tenants: Snapshot,
    crd_missing: IntGaugeVec,
}

impl Metrics {
    /// Registers every metric; fails only if the table itself is wrong (a duplicate or malformed name).
    pub fn new() -> Result<Self, prometheus::Error> {
        let process = ProcessMetrics::new(env!("CARGO_PKG_VERSION"))?;
        let registry = process.registry();
        Ok(Self {
            leader: int_gauge(registry, &def::LEADER)?,
            objects_managed: int_gauge_vec(registry, &def::OBJECTS_MANAGED)?,
            tenants: snapshot(registry, &def::TENANTS)?,
            crd_missing: int_gauge_vec(registry, &def::CRD_MISSING)?,
            process,
        })
    }

    /// The metrics that every process of ours has: requests, tasks, the build; also encodes the text that is scraped.
    pub fn process(&self) -> &ProcessMetrics {
        &self.process
    }

    /// Whether this process leads.
    pub fn set_leader(&self, leading: bool) {
        self.leader.set(i64::from(leading));
    }

    /// How many objects of a kind are managed.
    pub fn set_objects_managed(&self, kind: &'static str, count: usize) {
        self.objects_managed.with_label_values(&[kind]).set(to_i64(count));
    }

    /// Sets the number of tenants by tier and state; a combination that is not given counts as zero.
    pub fn set_tenants(&self, counts: impl IntoIterator<Item = (&'static str, TenantState, usize)>) {
        self.tenants.set(
            counts
                .into_iter()
                .map(|(tier, state, count)| ([tier, state.as_str()], to_i64(count))),
        );
    }

    /// Whether the cluster lacks the CRD of an optional kind.
    pub fn set_crd_missing(&self, kind: &'static str, missing: bool) {
        self.crd_missing.with_label_values(&[kind]).set(i64::from(missing));
    }
}

/// A gauge whose values change all at once: a scrape sees either all old values or all new ones.
#[derive(Debug, Clone)]
struct Snapshot {
    definition: &'static Definition,
    /// Describes the gauge and has no values.
    empty: IntGaugeVec,
    values: Arc<RwLock<IntGaugeVec>>,
}

impl Snapshot {
    fn set<const LABELS: usize>(&self, values: impl IntoIterator<Item = ([&'static str; LABELS], i64)>) {
        // `empty` was built from the same definition, so this cannot fail.
        let Ok(next) = IntGaugeVec::new(opts(self.definition), &label_names(self.definition)) else {
            return;
        };
        for (labels, value) in values {
            next.with_label_values(&labels).set(value);
        }
        *self.values.write().unwrap_or_else(PoisonError::into_inner) = next;
    }
}

impl Collector for Snapshot {
    fn desc(&self) -> Vec<&Desc> {
        self.empty.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.values.read().unwrap_or_else(PoisonError::into_inner).collect()
    }
}

fn snapshot(registry: &Registry, definition: &'static Definition) -> Result<Snapshot, prometheus::Error> {
    let empty = IntGaugeVec::new(opts(definition), &label_names(definition))?;
    let metric = Snapshot {
        definition,
        values: Arc::new(RwLock::new(empty.clone())),
        empty,
    };
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

#[cfg(test)]
mod tests;
