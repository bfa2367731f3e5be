//! What a leader does, phase by phase: the definitions, the caches, the controllers. Every task that it starts has a
//! name and belongs to the process's one set of tasks.

use std::{convert::Infallible, future::pending, sync::Arc, time::Duration};

use futures::{FutureExt as _, StreamExt as _};
use kube::{
    Api, Client, ResourceExt as _,
    core::DeserializeGuard,
    runtime::{
        WatchStreamExt as _,
        events::{Recorder, Reporter},
        reflector, watcher,
    },
};
use tokio::sync::{mpsc, watch};

use super::caches::{self, Feeds};
use crate::{
    cli::Settings,
    cluster::{Inventory, custom::CustomWriter, served, writer::Writer},
    metrics::Metrics,
    template,
    tenant::{
        self, activity::Activity, claims::Claims, controller, events::Events, memory::Memory, pending::PendingQuotas,
        refusals::Refusals, template_changes, uses::Change,
    },
};
use tenantry_api::{
    names,
    v1alpha1::{Tenant, TenantTemplate},
};
use tenantry_core::{object::Kind, tenant::facts::Served};
use tenantry_process::{
    backoff::{Backoff, BackoffConfig},
    clock::Clock,
    controller::Harness,
    health::{GateHandle, Gates},
    leader::LeaderHandle,
    shutdown::Shutdown,
    source::Source,
    tasks::{Role, Spawner},
    watches::{Watch, Watches},
};

/// How often the gauges and the gates are refreshed.
const TICK: Duration = Duration::from_secs(10);

/// How long the shutdown waits for Events that are still in the queue.
const FLUSH: Duration = Duration::from_secs(2);

/// Number of templates that are reconciled at the same time.
const TEMPLATES_AT_ONCE: u16 = 2;

/// What a leader works with.
pub(super) struct Leader {
    pub(super) settings: Settings,
    /// For lists, watches and Events. Events describe the past, so a former leader may still send them.
    pub(super) reads: Client,
    /// For all other writes; sends nothing once leadership is lost.
    pub(super) writes: Client,
    pub(super) leadership: LeaderHandle,
    pub(super) gates: Gates,
    pub(super) watches: Watches,
    pub(super) metrics: Arc<Metrics>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) shutdown: Shutdown,
    pub(super) spawner: Spawner,
}

/// The health of each watch that a leader needs to be ready. All gates are closed before any opens, so that /readyz
/// never reports ready between two phases.
struct Required {
    definitions: GateHandle,
    caches: caches::Required,
    tenants: Watch,
    /// The watch of templates that wakes Tenants.
    templates: Watch,
    /// The template controller's own watch of templates.
    own_templates: Watch,
}

/// The caches that reconciles read, after their first lists.
struct Filled {
    source: Source,
    inventory: Arc<Inventory>,
    claims: Arc<Claims>,
    refusals: Arc<Refusals>,
    served: watch::Receiver<Served>,
    /// Tenants whose objects changed.
    woken: mpsc::UnboundedReceiver<Box<str>>,
}

type Tenants = reflector::Store<DeserializeGuard<Tenant>>;
type Templates = reflector::Store<DeserializeGuard<TenantTemplate>>;

/// What the template controller gets from the tenant controller.
struct Users {
    tenants: Tenants,
    /// Resolves when `tenants` contains every Tenant.
    listed: Watch,
    /// Names of templates whose number of users may have changed.
    changed: mpsc::UnboundedReceiver<String>,
}

impl Leader {
    /// Starts everything, phase by phase, then never returns: the process ends when a task ends.
    pub(super) async fn lead(self) -> anyhow::Result<Infallible> {
        let Required {
            definitions,
            caches,
            tenants,
            templates,
            own_templates,
        } = self.required();
        self.tick();
        self.await_definitions(&definitions).await;
        let filled = self.fill(caches).await;
        let served = filled.served.clone();
        let source = filled.source.clone();
        let users = self.start_tenants(filled, tenants, templates);
        self.start_templates(source, own_templates, users, served);
        pending().await
    }

    fn required(&self) -> Required {
        let definitions = self.gates.register("crds");
        definitions.unready("waiting for the CRDs of tenantry.dev to be served");
        Required {
            definitions,
            caches: caches::Required::new(&self.watches),
            tenants: self.watches.required("Tenant", "Tenant"),
            templates: self.watches.required("TenantTemplate", "TenantTemplate"),
            own_templates: self
                .watches
                .required("TenantTemplate", "TenantTemplate (template controller)"),
        }
    }

    /// Keeps the readiness gates and the metrics of watches up to date.
    fn tick(&self) {
        let watches = self.watches.clone();
        self.spawner.spawn(Role::Feed, "the check of watches", async move {
            loop {
                watches.check();
                tokio::time::sleep(TICK).await;
            }
        });
    }

    /// Phase 1: waits until the API server serves our definitions; before that there is nothing to watch.
    async fn await_definitions(&self, gate: &GateHandle) {
        served::until_listed(&self.reads, Kind::TenantPolicy, |_| {}).await;
        gate.ready();
    }

    /// Phase 2: lists everything that a reconcile reads from a cache.
    async fn fill(&self, required: caches::Required) -> Filled {
        let source = Source::new(self.reads.clone(), self.settings.relist_interval, fastrand::Rng::new());
        let (wake, woken) = mpsc::unbounded_channel();
        let inventory: Arc<Inventory> = Arc::default();
        let claims: Arc<Claims> = Arc::default();
        let feeds = Feeds {
            source: source.clone(),
            inventory: inventory.clone(),
            wake: wake.clone(),
            metrics: self.metrics.clone(),
            watches: self.watches.clone(),
            spawner: self.spawner.clone(),
        };
        let served = feeds
            .fill(required, claims.clone(), &self.settings.resources.model)
            .await;
        let refusals: Arc<Refusals> = Arc::default();
        feeds.watch_refusals(refusals.clone(), self.clock.clone()).await;
        Filled {
            source,
            inventory,
            claims,
            refusals,
            served,
            woken,
        }
    }

    /// Phase 3: starts the tenant controller and the watch of templates that wakes it.
    fn start_tenants(&self, filled: Filled, health: Watch, template_health: Watch) -> Users {
        let Filled {
            source,
            inventory,
            claims,
            refusals,
            served,
            woken,
        } = filled;
        let (templates, changed_templates) = self.watch_templates(&source, template_health);
        let (store, writer) = reflector::store();
        let events = self.publish_events();
        let context = Arc::new(tenant::Context {
            custom: CustomWriter::new(self.writes.clone(), self.leadership.clone(), names::TENANT_MANAGER),
            writer: Writer::new(self.writes.clone(), inventory.clone(), self.leadership.clone()),
            inventory,
            claims,
            templates: templates.clone(),
            served: served.clone(),
            settings: of_tenants(&self.settings),
            pending: PendingQuotas::new(format!("{:08x}", fastrand::u32(..))),
            activity: Activity::default(),
            refusals,
            memory: Memory::default(),
            clock: self.clock.clone(),
            events,
            metrics: self.metrics.clone(),
            harness: self.harness(tenant::CONTROLLER, "Tenant"),
        });
        self.count(context.clone(), store.clone());
        let (used, changed) = mpsc::unbounded_channel::<String>();
        let forgetting = context.clone();
        let all_templates = templates.clone();
        let notify = move |change| match change {
            // A closed channel means that the process is shutting down.
            Change::Users(template) => drop(used.send(template)),
            Change::UsersOfAny => wake_all(&all_templates, &used),
            Change::Gone(tenant) => forgetting.forget(&tenant),
        };
        let tenants = controller::tenants(source, health.clone(), writer, notify);
        let triggers = controller::Triggers {
            woken,
            templates: changed_templates,
            served,
        };
        let concurrency = self.settings.concurrency;
        let (own_store, shutdown) = (store.clone(), self.shutdown.clone());
        let run = async move {
            // A Tenant must not be validated before its template is in the store. Waiting fails only if the store's
            // writer is gone, and then the process is shutting down.
            let _ = templates.wait_until_ready().await;
            let requested = shutdown.requested();
            let controller = controller::run(tenants, own_store, triggers, concurrency, context.clone(), requested);
            controller.await;
            context.events.flush(FLUSH).await;
        };
        let run = or_unlisted(run, store.clone(), self.shutdown.clone());
        self.spawner.spawn(Role::Work, "the tenant controller", run);
        Users {
            tenants: store,
            listed: health,
            changed,
        }
    }

    /// Phase 4: starts the template controller.
    fn start_templates(&self, source: Source, health: Watch, users: Users, served: watch::Receiver<Served>) {
        let (store, writer) = reflector::store();
        let templates = templates(&source, health, writer).applied_objects();
        let context = Arc::new(template::Context {
            custom: CustomWriter::new(self.writes.clone(), self.leadership.clone(), names::TEMPLATE_MANAGER),
            tenants: users.tenants,
            served,
            settings: of_tenants(&self.settings),
            clock: self.clock.clone(),
            harness: self.harness(template::CONTROLLER, "TenantTemplate"),
        });
        let (counted, known) = (context.clone(), store.clone());
        self.spawner
            .spawn(Role::Feed, "the refresh of the gauges of templates", async move {
                loop {
                    tokio::time::sleep(TICK).await;
                    counted.harness.forget_gone(&known);
                }
            });
        let (own_store, requested) = (store.clone(), self.shutdown.clone().requested());
        let (listed, changed) = (users.listed, users.changed);
        let run = async move {
            // Tenants are counted only when all are listed. Otherwise a restart would write every intermediate number
            // to the status.
            listed.until_listed().await;
            template::run_controller(templates, own_store, changed, TEMPLATES_AT_ONCE, context, requested).await;
        };
        let run = or_unlisted(run, store, self.shutdown.clone());
        self.spawner.spawn(Role::Work, "the template controller", run);
    }

    /// A store of templates, and the names of those that changed.
    fn watch_templates(
        &self,
        source: &Source,
        health: Watch,
    ) -> (
        Templates,
        impl futures::Stream<Item = Result<String, watcher::Error>> + Send + use<>,
    ) {
        let (store, writer) = reflector::store();
        let changes = template_changes::changes(templates(source, health, writer));
        let (sender, names) = mpsc::unbounded_channel();
        // This is a task of its own because the controller does not poll its streams before the store is full.
        self.spawner
            .spawn(Role::Feed, "the watch of TenantTemplate", async move {
                let mut changes = std::pin::pin!(changes);
                while let Some(change) = changes.next().await {
                    // A closed channel means that the process is shutting down.
                    let _ = sender.send(change);
                }
            });
        (store, tokio_stream::wrappers::UnboundedReceiverStream::new(names))
    }

    /// Refreshes the gauges, and forgets deleted Tenants and old writes.
    fn count(&self, context: Arc<tenant::Context>, tenants: Tenants) {
        let metrics = self.metrics.clone();
        self.spawner.spawn(Role::Feed, "the refresh of gauges", async move {
            loop {
                tokio::time::sleep(TICK).await;
                context.forget_gone(&tenants);
                metrics.set_tenants(context.memory.counts());
                for (kind, count) in context.inventory.counts() {
                    metrics.set_objects_managed(kind.as_str(), count);
                }
                context.memory.forget_old_writes(context.clock.monotonic());
            }
        });
    }

    /// Creates the queue of Events, and starts the task that publishes them.
    fn publish_events(&self) -> Events {
        let reporter = Reporter {
            controller: "tenantry".to_owned(),
            instance: None,
        };
        let (events, publishing) = Events::new(Recorder::new(self.reads.clone(), reporter));
        self.spawner.spawn(Role::Feed, "the publishing of Events", publishing);
        events
    }

    fn harness(&self, controller: &'static str, kind: &'static str) -> Harness {
        let backoff = Backoff::new(BackoffConfig::default(), self.clock.clone(), fastrand::Rng::new());
        let metrics = self.metrics.process().clone();
        Harness::new(controller, kind, metrics, self.clock.clone(), backoff)
    }
}

/// Wakes every template. One that is not in the store yet is reconciled when it gets there.
fn wake_all(templates: &Templates, wake: &mpsc::UnboundedSender<String>) {
    for template in templates.state() {
        // A closed channel means that the process is shutting down.
        let _ = wake.send(template.name_any());
    }
}

fn of_tenants(settings: &Settings) -> tenantry_core::settings::Settings {
    tenantry_core::settings::Settings {
        accelerator_resources: settings.resources.accelerators.clone(),
        model_resource: settings.resources.model.clone(),
        admission: settings.admission.clone(),
        status_interval: settings.status_interval,
    }
}

/// Watches templates into `writer`.
fn templates(
    source: &Source,
    health: Watch,
    writer: reflector::store::Writer<DeserializeGuard<TenantTemplate>>,
) -> impl futures::Stream<Item = watcher::Result<watcher::Event<DeserializeGuard<TenantTemplate>>>> + Send + use<> {
    let api = Api::<DeserializeGuard<TenantTemplate>>::all;
    source.watch(health, api, watcher::Config::default()).reflect(writer)
}

/// Runs a controller to its end. If `shutdown` comes before its objects are listed, it ends at once. No work can be
/// running then, and kube would otherwise keep waiting for the list.
async fn or_unlisted<K>(controller: impl Future<Output = ()>, store: reflector::Store<K>, shutdown: Shutdown)
where
    K: reflector::Lookup + Clone + 'static,
    K::DynamicType: Eq + std::hash::Hash + Clone,
{
    let unlisted = async {
        shutdown.requested().await;
        if store.wait_until_ready().now_or_never().is_some() {
            pending::<()>().await;
        }
    };
    tokio::select! {
        () = controller => {}
        () = unlisted => {}
    }
}
