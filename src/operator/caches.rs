//! The watches behind a leader's work, and when enough of them was heard to begin.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use futures::StreamExt as _;
use kube::{Client, runtime::watcher};
use tokio::{
    sync::{mpsc, watch},
    task::AbortHandle,
};

use crate::{
    cluster::{self, Inventory, served},
    metrics::Metrics,
    tenant::{
        claims::{self, Claims},
        controller,
        refusals::{self, Refusals},
    },
};
use tenantry_core::{object::Kind, tenant::facts::Served};
use tenantry_process::{
    clock::Clock,
    health::{GateHandle, Gates},
    source::Source,
};

/// How long the start waits for what quotas refused before it. Without it a share could go back before it is known that
/// somebody waits for it; with an API server that does not answer, other tenants should not wait longer.
const HEARING: Duration = Duration::from_secs(5);

/// Starts the watch of what quotas refuse; the namespaces must be known.
pub(super) async fn hear_refusals(
    client: Client,
    refusals: Arc<Refusals>,
    inventory: Arc<Inventory>,
    wake: mpsc::UnboundedSender<Box<str>>,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
) {
    let (sender, mut heard) = watch::channel(false);
    let listed = move || {
        sender.send_replace(true);
    };
    tokio::spawn(refusals::watch(
        client, refusals, inventory, wake, metrics, clock, listed,
    ));
    if tokio::time::timeout(HEARING, heard.wait_for(|heard| *heard))
        .await
        .is_err()
    {
        tracing::warn!("FailedCreate events could not be listed in time; shares follow what is refused from now on");
    }
}

/// The watches of managed kinds, with what they found.
pub(super) struct Caches<F> {
    pub(super) receiver: watch::Receiver<Served>,
    /// Keeps the set of optional watches in step with the CRDs that are there.
    pub(super) run: F,
}

impl Caches<()> {
    /// Starts every watch and waits until each kind that is served was listed.
    pub(super) async fn start(
        source: Source,
        inventory: Arc<Inventory>,
        claims: Arc<Claims>,
        wake: mpsc::UnboundedSender<Box<str>>,
        gates: &Gates,
        metrics: Arc<Metrics>,
        settings: &tenantry_core::settings::Settings,
    ) -> anyhow::Result<Caches<impl Future<Output = ()> + Send + use<>>> {
        // What owners asked for must not seem gone because it was not heard yet.
        let asked = gates.register("watch:TenantNamespace");
        asked.unready("not listed yet");
        let (claims_listed, mut all_claims_listed) = watch::channel(false);
        let listed = move || {
            claims_listed.send_replace(true);
        };
        tokio::spawn(claims::watch(
            source.clone(),
            claims,
            wake.clone(),
            metrics.clone(),
            listed,
        ));

        let (report, mut reports) = mpsc::unbounded_channel();
        let watches = Watches {
            source: source.clone(),
            inventory,
            wake,
            metrics: metrics.clone(),
            report,
        };
        let mut waiting = BTreeMap::new();
        for kind in Kind::ALL.into_iter().filter(|kind| !kind.is_optional()) {
            let gate = gates.register(format!("watch:{}", kind.as_str()));
            gate.unready("not listed yet");
            waiting.insert(kind, gate);
            watches.start(kind);
        }
        let model = settings.model_resource.clone();
        let mut installed = Box::pin(served::installed(source.clone(), controller::optional_crds(&model)));
        let first = installed
            .next()
            .await
            .context("the watch of CustomResourceDefinitions ended")?;
        let mut optional: BTreeMap<Kind, AbortHandle> = BTreeMap::new();
        let mut served = Served {
            models: first.contains(&model),
            kinds: BTreeSet::new(),
        };
        for kind in wanted(&first) {
            served::until_listed(&source.client, kind).await;
            waiting.insert(kind, closed_gate(gates, kind));
            optional.insert(kind, watches.start(kind));
            served.kinds.insert(kind);
        }
        report_missing(&metrics, &served);
        while !waiting.is_empty() {
            let kind = reports.recv().await.context("the watches ended")?;
            if let Some(gate) = waiting.remove(&kind) {
                gate.ready();
            }
        }
        all_claims_listed
            .wait_for(|listed| *listed)
            .await
            .context("the watch of TenantNamespaces ended")?;
        asked.ready();
        let (sender, receiver) = watch::channel(served);
        let run = async move {
            loop {
                tokio::select! {
                    names = installed.next() => {
                        let Some(names) = names else { return };
                        let wanted: BTreeSet<Kind> = wanted(&names).collect();
                        sender.send_if_modified(|served| {
                            let changed = served.models != names.contains(&model);
                            served.models = names.contains(&model);
                            changed
                        });
                        for kind in optional.keys().copied().filter(|kind| !wanted.contains(kind)).collect::<Vec<_>>() {
                            if let Some(task) = optional.remove(&kind) {
                                task.abort();
                            }
                            sender.send_modify(|served| { served.kinds.remove(&kind); });
                            cluster::watch::forget(kind, &watches.inventory, &watches.wake);
                            tracing::info!(kind = kind.as_str(), "the cluster no longer serves the kind");
                        }
                        for kind in wanted {
                            optional.entry(kind).or_insert_with(|| watches.start_when_listed(kind));
                        }
                        report_missing(&metrics, &sender.borrow());
                    }
                    kind = reports.recv() => {
                        let Some(kind) = kind else { return };
                        if optional.contains_key(&kind) && sender.send_if_modified(|served| served.kinds.insert(kind)) {
                            tracing::info!(kind = kind.as_str(), "the cluster serves the kind now");
                            report_missing(&metrics, &sender.borrow());
                        }
                    }
                }
            }
        };
        Ok(Caches { receiver, run })
    }
}

fn closed_gate(gates: &Gates, kind: Kind) -> GateHandle {
    let gate = gates.register(format!("watch:{}", kind.as_str()));
    gate.unready("not listed yet");
    gate
}

fn wanted(names: &BTreeSet<String>) -> impl Iterator<Item = Kind> {
    Kind::ALL
        .into_iter()
        .filter(|kind| kind.optional_crd().is_some_and(|name| names.contains(&name)))
}

fn report_missing(metrics: &Metrics, served: &Served) {
    for kind in Kind::ALL.into_iter().filter(|kind| kind.is_optional()) {
        metrics.set_crd_missing(kind.as_str(), !served.kinds.contains(&kind));
    }
}

#[derive(Clone)]
struct Watches {
    source: Source,
    inventory: Arc<Inventory>,
    wake: mpsc::UnboundedSender<Box<str>>,
    metrics: Arc<Metrics>,
    report: mpsc::UnboundedSender<Kind>,
}

impl Watches {
    fn start(&self, kind: Kind) -> AbortHandle {
        let Self {
            source,
            inventory,
            wake,
            ..
        } = self.clone();
        tokio::spawn(cluster::watch::watch(
            source,
            kind,
            inventory,
            wake,
            Arc::new(self.clone()),
        ))
        .abort_handle()
    }

    fn start_when_listed(&self, kind: Kind) -> AbortHandle {
        let this = self.clone();
        tokio::spawn(async move {
            served::until_listed(&this.source.client, kind).await;
            let Self {
                source,
                inventory,
                wake,
                ..
            } = this.clone();
            cluster::watch::watch(source, kind, inventory, wake, Arc::new(this)).await;
        })
        .abort_handle()
    }
}

impl cluster::watch::Observer for Watches {
    fn synced(&self, kind: Kind) {
        // A closed channel means that the process is going down.
        let _ = self.report.send(kind);
    }

    fn failed(&self, kind: Kind, error: &watcher::Error) {
        self.metrics.process().watch_failed(kind.as_str());
        tracing::warn!(kind = kind.as_str(), %error, "a watch broke; it is started again");
    }
}
