//! The watches that fill a leader's caches, and how long the start waits for their first lists.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::StreamExt as _;
use kube::runtime::watcher;
use tokio::{
    sync::{mpsc, watch},
    task::AbortHandle,
};

use super::optional::Optional;
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
    source::Source,
    tasks::{Role, Spawner},
    watches::{FAILING, Watch, Watches},
};

/// How long the start waits for the list of earlier FailedCreate events. Without this list a share could be returned
/// before the operator knows that a workload needs it. If the API server does not answer, other tenants do not wait any
/// longer.
const EARLIER_EVENTS: Duration = Duration::from_secs(5);

/// How long the start waits to know which optional kinds are served. Without this wait, every restart would briefly
/// report monitors as missing. A CRD that hangs or a missing right must not delay the start any longer.
const OPTIONAL: Duration = Duration::from_secs(5);

/// Number of looks at discovery (a third of a second in all) after which an optional kind counts as not served for now.
const LOOKS: u32 = 4;

/// How often the operator checks whether the watch of a served optional kind has been failing for long.
const TICK: Duration = Duration::from_secs(10);

/// The health of the watches that must have listed before a reconcile can begin.
pub(super) struct Required {
    kinds: Vec<(Kind, Watch)>,
    claims: Watch,
}

impl Required {
    /// Registers each watch; its readiness gate stays closed until the watch has listed.
    pub(super) fn new(watches: &Watches) -> Self {
        let kinds = Kind::ALL.into_iter().filter(|kind| !kind.is_optional());
        Self {
            kinds: kinds
                .map(|kind| (kind, watches.required(kind.as_str(), kind.as_str())))
                .collect(),
            claims: watches.required("TenantNamespace", "TenantNamespace"),
        }
    }
}

/// Starts watches, each as a named task.
#[derive(Clone)]
pub(super) struct Feeds {
    pub(super) source: Source,
    pub(super) inventory: Arc<Inventory>,
    pub(super) wake: mpsc::UnboundedSender<Box<str>>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) watches: Watches,
    pub(super) spawner: Spawner,
}

impl Feeds {
    /// Starts every watch and waits until each required kind is listed. Waits for optional kinds no longer than
    /// [`OPTIONAL`].
    pub(super) async fn fill(
        &self,
        required: Required,
        claims: Arc<Claims>,
        model_resource: &str,
    ) -> watch::Receiver<Served> {
        let Required { kinds, claims: claimed } = required;
        let claims = claims::watch(
            self.source.clone(),
            claimed.clone(),
            claims,
            self.wake.clone(),
            self.metrics.clone(),
        );
        self.spawner.spawn(Role::Feed, name("TenantNamespace"), claims);
        for (kind, health) in &kinds {
            let observer = Arc::new(Log(self.metrics.clone()));
            let watch = self.watch(*kind, health.clone(), observer);
            self.spawner.spawn(Role::Feed, name(kind.as_str()), watch);
        }
        let (served, decided) = self.follow_optional(model_resource);
        let listed = async {
            for (_, health) in kinds {
                health.until_listed().await;
            }
            // Without this wait a claim that is not listed yet would look deleted.
            claimed.until_listed().await;
        };
        tokio::join!(listed, self.until_decided(decided, &served));
        served
    }

    /// Starts the watch of FailedCreate events. Call it when the Namespaces are listed: events of unknown namespaces
    /// are ignored.
    pub(super) async fn watch_refusals(&self, refusals: Arc<Refusals>, clock: Arc<dyn Clock>) {
        let health = self.watches.optional("Event");
        let watch = refusals::watch(
            self.source.client.clone(),
            health.clone(),
            refusals,
            self.inventory.clone(),
            self.wake.clone(),
            self.metrics.clone(),
            clock,
        );
        self.spawner.spawn(Role::Feed, name("Event"), watch);
        if tokio::time::timeout(EARLIER_EVENTS, health.until_listed())
            .await
            .is_err()
        {
            tracing::warn!("FailedCreate events were not listed in time; shares follow only refusals from now on");
        }
    }

    fn watch(
        &self,
        kind: Kind,
        health: Watch,
        observer: Arc<dyn cluster::watch::Observer>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let Self {
            source,
            inventory,
            wake,
            ..
        } = self.clone();
        cluster::watch::watch(source, health, kind, inventory, wake, observer)
    }

    /// Keeps the optional watches in step with the installed CRDs.
    fn follow_optional(&self, model_resource: &str) -> (watch::Receiver<Served>, watch::Receiver<Undecided>) {
        let (served, receiver) = watch::channel(Served::default());
        let (undecided, decided) = watch::channel(None);
        let (report, reports) = mpsc::unbounded_channel();
        let optional = Following {
            feeds: self.clone(),
            model: model_resource.to_owned(),
            state: Optional::default(),
            running: BTreeMap::new(),
            report,
            served,
            undecided,
        };
        self.spawner
            .spawn(Role::Feed, name("CustomResourceDefinition"), optional.run(reports));
        (receiver, decided)
    }

    /// Waits until it is known of each optional kind whether it is served, but no longer than [`OPTIONAL`].
    async fn until_decided(&self, mut decided: watch::Receiver<Undecided>, served: &watch::Receiver<Served>) {
        let none_left = decided.wait_for(|undecided| undecided.as_ref().is_some_and(BTreeSet::is_empty));
        // An error means that the task has ended because the process is shutting down.
        if tokio::time::timeout(OPTIONAL, none_left).await.is_ok() {
            return;
        }
        match &*decided.borrow() {
            None => tracing::warn!(
                "the API server did not list CustomResourceDefinitions within {OPTIONAL:?}; starting without optional kinds"
            ),
            Some(kinds) => {
                let kinds: Vec<_> = kinds.iter().map(|kind| kind.as_str()).collect();
                tracing::warn!(
                    ?kinds,
                    "the API server did not list these optional kinds within {OPTIONAL:?}; starting without them"
                );
            }
        }
        report_missing(&self.metrics, &served.borrow());
    }
}

/// Optional kinds that may or may not be served; `None` before the CRDs are listed.
type Undecided = Option<BTreeSet<Kind>>;

/// What happened to the watch of an optional kind.
enum Report {
    Listed(Kind),
    Failed(Kind),
    /// The API server does not serve the kind in the version that the operator uses.
    NotFound(Kind),
}

/// The task behind [`Feeds::follow_optional`].
struct Following {
    feeds: Feeds,
    model: String,
    state: Optional,
    running: BTreeMap<Kind, (AbortHandle, Watch)>,
    report: mpsc::UnboundedSender<Report>,
    served: watch::Sender<Served>,
    undecided: watch::Sender<Undecided>,
}

impl Following {
    async fn run(mut self, mut reports: mpsc::UnboundedReceiver<Report>) {
        let Feeds {
            source,
            watches,
            metrics,
            ..
        } = &self.feeds;
        let health = watches.optional("CustomResourceDefinition");
        let names = controller::optional_crds(&self.model);
        let mut installed = Box::pin(served::installed(source, health, metrics.clone(), names));
        loop {
            let published = tokio::select! {
                names = installed.next() => {
                    let Some(names) = names else { return };
                    self.installed(&names);
                    true
                }
                Some(report) = reports.recv() => self.apply(report),
                () = tokio::time::sleep(TICK) => self.lose_failing(),
            };
            if published {
                self.publish();
            }
        }
    }

    fn installed(&mut self, names: &BTreeSet<String>) {
        let wanted = Kind::ALL.into_iter();
        let wanted = wanted.filter(|kind| kind.optional_crd().is_some_and(|name| names.contains(&name)));
        let changes = self.state.installed(&wanted.collect());
        for kind in changes.stop {
            self.stop(kind);
            tracing::info!(kind = kind.as_str(), "the cluster no longer serves the kind");
        }
        for kind in changes.start {
            self.start(kind);
        }
        let models = names.contains(&self.model);
        self.served
            .send_if_modified(|served| std::mem::replace(&mut served.models, models) != models);
    }

    /// Applies a report; returns whether to publish.
    fn apply(&mut self, report: Report) -> bool {
        match report {
            Report::Listed(kind) => self.state.listed(kind),
            Report::Failed(kind) => self.state.failed(kind),
            Report::NotFound(kind) => {
                self.state.failed(kind);
                self.lose(kind);
            }
        }
        true
    }

    /// Drops kinds whose watch has failed for minutes while the API server answers others: a tenant should not fail
    /// because its monitors cannot be written. Returns whether a kind was dropped.
    fn lose_failing(&mut self) -> bool {
        if self.feeds.watches.required_fail() {
            return false;
        }
        let failing = self.running.iter();
        let failing = failing.filter(|(_, (_, health))| health.failing_for().is_some_and(|time| time >= FAILING));
        let failing: Vec<_> = failing.map(|(kind, _)| *kind).collect();
        failing.into_iter().filter(|kind| self.lose(*kind)).count() > 0
    }

    /// Marks a kind as not served and restarts its watch with a list. Returns whether it was served.
    fn lose(&mut self, kind: Kind) -> bool {
        let was_served = self.state.lost(kind);
        if was_served {
            self.stop(kind);
            self.start(kind);
            tracing::warn!(
                kind = kind.as_str(),
                "the API server can no longer list the kind; continuing without it"
            );
        }
        was_served
    }

    fn start(&mut self, kind: Kind) {
        let health = self.feeds.watches.optional(kind.as_str());
        let reporting = Reporting {
            metrics: self.feeds.metrics.clone(),
            report: self.report.clone(),
        };
        let client = self.feeds.source.client.clone();
        let missed = self.report.clone();
        let watch = self.feeds.watch(kind, health.clone(), Arc::new(reporting));
        let task = async move {
            served::until_listed(&client, kind, |looks| {
                if looks == LOOKS {
                    let _ = missed.send(Report::Failed(kind));
                }
            })
            .await;
            watch.await;
        };
        let abort = self.feeds.spawner.spawn(Role::Feed, name(kind.as_str()), task);
        self.running.insert(kind, (abort, health));
    }

    fn stop(&mut self, kind: Kind) {
        if let Some((task, _)) = self.running.remove(&kind) {
            task.abort();
        }
        self.served.send_if_modified(|served| served.kinds.remove(&kind));
        cluster::watch::forget(kind, &self.feeds.inventory, &self.feeds.wake);
    }

    /// Publishes the served kinds to the controllers, to the metric and to the start.
    fn publish(&self) {
        let kinds = self.state.served();
        self.served.send_if_modified(|served| {
            for kind in kinds.difference(&served.kinds) {
                tracing::info!(kind = kind.as_str(), "the cluster serves the kind");
            }
            let changed = served.kinds != kinds;
            served.kinds.clone_from(&kinds);
            changed
        });
        let undecided = self.state.undecided();
        if undecided.as_ref().is_some_and(BTreeSet::is_empty) {
            report_missing(&self.feeds.metrics, &self.served.borrow());
        }
        self.undecided.send_replace(undecided);
    }
}

fn name(kind: &str) -> String {
    format!("the watch of {kind}")
}

fn report_missing(metrics: &Metrics, served: &Served) {
    for kind in Kind::ALL.into_iter().filter(|kind| kind.is_optional()) {
        metrics.set_crd_missing(kind.as_str(), !served.kinds.contains(&kind));
    }
}

/// Counts and logs the failures of a required kind's watch.
struct Log(Arc<Metrics>);

impl cluster::watch::Observer for Log {
    fn synced(&self, _: Kind) {}

    fn failed(&self, kind: Kind, error: &watcher::Error) {
        self.0.process().watch_failed(kind.as_str());
        tracing::warn!(kind = kind.as_str(), %error, "a watch failed; restarting it");
    }
}

/// Like [`Log`], for an optional kind; also reports to [`Following`].
struct Reporting {
    metrics: Arc<Metrics>,
    report: mpsc::UnboundedSender<Report>,
}

impl cluster::watch::Observer for Reporting {
    fn synced(&self, kind: Kind) {
        // A closed channel means that the process is shutting down.
        let _ = self.report.send(Report::Listed(kind));
    }

    fn failed(&self, kind: Kind, error: &watcher::Error) {
        Log(self.metrics.clone()).failed(kind, error);
        let report = if is_not_found(error) {
            Report::NotFound(kind)
        } else {
            Report::Failed(kind)
        };
        let _ = self.report.send(report);
    }
}

fn is_not_found(error: &watcher::Error) -> bool {
    let (watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error)) = error else {
        return false;
    };
    matches!(error, kube::Error::Api(status) if status.code == 404)
}
