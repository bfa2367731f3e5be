//! The operator as a process: everything put together, in the order in which it starts and ends.
//!
//! Start: endpoints, leadership, CRDs, caches, controllers. End: controllers drain, the lease is given up, endpoints
//! close. A process that lost its lease, or of which a part ended, exits with an error.

mod caches;

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
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
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinSet,
};

use self::caches::Caches;
use crate::{
    cli::Settings,
    cluster::{Inventory, custom::CustomWriter, served, writer::Writer},
    metrics::Metrics,
    template,
    tenant::{
        self, activity::Activity, claims::Claims, controller, events::Events, memory::Memory, pending::PendingQuotas,
        refusals::Refusals, template_changes, uses::News,
    },
};
use tenantry_api::{
    names,
    v1alpha1::{Tenant, TenantTemplate},
};
use tenantry_core::object::Kind;
use tenantry_process::{
    admin::{self, Admin},
    backoff::{Backoff, BackoffConfig},
    client::{self, CallPolicy},
    clock::{Clock, SystemClock},
    controller::Harness,
    health::{Gates, Heartbeats},
    leader::{self, Elector, Ended, KubeLease, LeaderHandle},
    shutdown,
    source::Source,
};

/// How often the gauges are refreshed, and the process says that it lives.
const TICK: Duration = Duration::from_secs(10);

/// How long the end of the process waits for Events that are still in the queue.
const FLUSH: Duration = Duration::from_secs(2);

/// Runs the operator until it is asked to stop.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    let metrics = Arc::new(Metrics::new().context("failed to register the metrics")?);
    for name in [tenant::CONTROLLER, template::CONTROLLER] {
        metrics.process().announce_controller(name);
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let (trigger, shutdown) = shutdown::channel();
    trigger.on_signals().context("failed to listen for signals")?;
    let config = client::load_config(&settings.cluster).await?;
    let policy = CallPolicy::new(settings.request_timeout);
    let client = client::build(config.clone(), policy, metrics.process().clone())?;

    let gates = Gates::new();
    let heartbeats = Heartbeats::new(clock.clone());
    let (admin_stop, admin_stopped) = watch::channel(false);
    let listener = TcpListener::bind(settings.listen)
        .await
        .with_context(|| format!("failed to listen on {}", settings.listen))?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), listen = %listener.local_addr()?, "tenantry starts");
    let admin = Admin {
        gates: gates.clone(),
        heartbeats: heartbeats.clone(),
        metrics: metrics.process().clone(),
    };
    let admin = tokio::spawn(admin::serve(listener, admin, until_true(admin_stopped)));

    let (elector, leader) = match &settings.lease {
        None => (None, LeaderHandle::always(clock.clone())),
        Some(lease) => {
            let mut rng = fastrand::Rng::new();
            let identity = leader::identity(&lease.identity, &mut rng);
            let api = KubeLease::new(client.clone(), &lease.namespace, &lease.name);
            let (elector, handle) = Elector::new(api, identity.clone(), lease.election, clock.clone(), rng);
            tracing::info!(lease = %format!("{}/{}", lease.namespace, lease.name), %identity, "waiting to lead");
            (Some(elector), handle)
        }
    };
    let writes = client::build_for_leader(config, policy, metrics.process().clone(), leader.clone())?;
    let (release, released) = watch::channel(false);
    let mut election = tokio::spawn(async move {
        if let Some(elector) = elector {
            elector.run(until_true(released)).await
        } else {
            until_true(released).await;
            Ended::Stopped
        }
    });

    let result = tokio::select! {
        acquired = leader.clone().acquired() => {
            if acquired {
                metrics.set_leader(true);
                tracing::info!("leading");
                let clients = Clients { reads: client, writes };
                let lead = lead(settings, clients, leader, gates, heartbeats, metrics.clone(), clock, shutdown.clone());
                tokio::select! {
                    result = lead => result,
                    ended = &mut election => lost(ended),
                }
            } else {
                lost((&mut election).await)
            }
        }
        () = shutdown.clone().requested() => Ok(()),
    };
    metrics.set_leader(false);
    // The receivers may be gone already.
    let _ = release.send(true);
    if !election.is_finished() {
        let _ = tokio::time::timeout(Duration::from_secs(5), &mut election).await;
    }
    let _ = admin_stop.send(true);
    let _ = tokio::time::timeout(Duration::from_secs(2), admin).await;
    tracing::info!(ok = result.is_ok(), "tenantry ends");
    result
}

fn lost(ended: Result<Ended, tokio::task::JoinError>) -> anyhow::Result<()> {
    match ended {
        Ok(Ended::Stopped) => bail!("the election ended by itself"),
        Ok(Ended::Lost(loss)) => bail!("leadership was lost: {loss:?}"),
        Err(error) => Err(error).context("the election's task failed"),
    }
}

async fn until_true(mut flag: watch::Receiver<bool>) {
    // A sender that is gone means the same.
    let _ = flag.wait_for(|set| *set).await;
}

/// How a leader talks to the API server.
struct Clients {
    /// Lists and watches; and events, which tell of what was.
    reads: Client,
    /// Carries nothing once leadership is lost.
    writes: Client,
}

/// What a leader does.
#[expect(
    clippy::too_many_arguments,
    reason = "the composition root: each part is handed in once"
)]
async fn lead(
    settings: Settings,
    clients: Clients,
    leader: LeaderHandle,
    gates: Gates,
    heartbeats: Heartbeats,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
    shutdown: shutdown::Shutdown,
) -> anyhow::Result<()> {
    let Clients { reads: client, writes } = clients;
    let crds = gates.register("crds");
    crds.unready("waiting for the CRDs of tenantry.dev to be served");
    tokio::select! {
        () = served::until_listed(&client, Kind::TenantPolicy) => crds.ready(),
        () = shutdown.clone().requested() => return Ok(()),
    }
    let tenant_settings = of_tenants(&settings);
    let inventory = Arc::new(Inventory::default());
    let claims: Arc<Claims> = Arc::default();
    let source = Source::new(client.clone(), settings.relist_interval, fastrand::Rng::new());
    let (wake, woken) = mpsc::unbounded_channel();
    let wake_refused = wake.clone();
    let caches = Caches::start(
        source.clone(),
        inventory.clone(),
        claims.clone(),
        wake,
        &gates,
        metrics.clone(),
        &tenant_settings,
    );
    let served = tokio::select! {
        served = caches => served?,
        () = shutdown.clone().requested() => return Ok(()),
    };

    let mut tasks: JoinSet<&'static str> = JoinSet::new();
    let (template_reader, template_writer) = reflector::store();
    let templates_of_tenants = template_changes::changes(templates(source.clone(), template_writer));
    let (own_template_reader, own_template_writer) = reflector::store();
    let own_templates = templates(source.clone(), own_template_writer).applied_objects();
    let (tenant_reader, tenant_writer) = reflector::store();
    let (tenants_listed, all_tenants_listed) = watch::channel(false);

    let refusals: Arc<Refusals> = Arc::default();
    caches::hear_refusals(
        client.clone(),
        refusals.clone(),
        inventory.clone(),
        wake_refused,
        metrics.clone(),
        clock.clone(),
    )
    .await;
    let (used, used_templates) = mpsc::unbounded_channel::<String>();
    let (events, publishing) = events(client);
    let context = Arc::new(tenant::Context {
        custom: CustomWriter::new(writes.clone(), leader.clone(), names::TENANT_MANAGER),
        writer: Writer::new(writes.clone(), inventory.clone(), leader.clone()),
        inventory: inventory.clone(),
        claims,
        templates: template_reader.clone(),
        served: served.receiver.clone(),
        settings: tenant_settings.clone(),
        pending: PendingQuotas::new(format!("{:08x}", fastrand::u32(..))),
        activity: Activity::default(),
        refusals,
        memory: Memory::default(),
        clock: clock.clone(),
        events,
        metrics: metrics.clone(),
        harness: harness(tenant::CONTROLLER, "Tenant", &metrics, &clock),
    });
    let forgetting = context.clone();
    let all_templates = own_template_reader.clone();
    let tenants = controller::tenants(
        source,
        tenant_writer,
        move |news| match news {
            // A closed channel means that the process is going down.
            News::Users(template) => drop(used.send(template)),
            News::UsersOfAny => wake_all(&all_templates, &used),
            News::Gone(tenant) => forgetting.forget(&tenant),
        },
        tenants_listed,
    );
    // A Tenant must not be judged before its template could be seen.
    let (polled, templates_of_tenants) = until_ready(templates_of_tenants, template_reader.clone());
    let triggers = controller::Triggers {
        woken,
        templates: templates_of_tenants,
        served: served.receiver.clone(),
    };
    let tenant_run = {
        let (store, context, shutdown) = (tenant_reader.clone(), context.clone(), shutdown.clone());
        async move {
            polled.await;
            controller::run(
                tenants,
                store,
                triggers,
                settings.concurrency,
                context,
                shutdown.requested(),
            )
            .await;
        }
    };
    let tenant_run = or_unlisted(tenant_run, tenant_reader.clone(), shutdown.clone());
    tasks.spawn(tenant_run.map(|()| "the tenant controller"));
    let template_context = Arc::new(template::Context {
        custom: CustomWriter::new(writes, leader, names::TEMPLATE_MANAGER),
        tenants: tenant_reader.clone(),
        served: served.receiver.clone(),
        settings: tenant_settings,
        clock: clock.clone(),
        harness: harness(template::CONTROLLER, "TenantTemplate", &metrics, &clock),
    });
    let of_templates = template_context.clone();
    let template_shutdown = shutdown.clone().requested();
    let template_store = own_template_reader.clone();
    let template_run = async move {
        // Users are counted only when all Tenants are known, or a restart would count them anew one by one.
        until_true(all_tenants_listed).await;
        template::run_controller(
            own_templates,
            own_template_reader,
            used_templates,
            2,
            template_context,
            template_shutdown,
        )
        .await;
    };
    let template_run = or_unlisted(template_run, template_store, shutdown.clone());
    tasks.spawn(template_run.map(|()| "the template controller"));
    let beat = heartbeats.register("main", TICK * 6);
    let ticking = async {
        loop {
            tokio::time::sleep(TICK).await;
            beat.beat();
            of_templates.harness.forget_gone(&template_reader);
            count(&context, &tenant_reader);
        }
    };
    let draining = async {
        let mut first = None;
        while let Some(ended) = tasks.join_next().await {
            match ended {
                Ok(_) if shutdown.is_requested() => {}
                Ok(name) => first = first.or(Some(anyhow::anyhow!("{name} ended by itself"))),
                Err(error) => first = first.or(Some(anyhow::anyhow!("a controller's task failed: {error}"))),
            }
            if first.is_some() {
                break;
            }
        }
        context.events.flush(FLUSH).await;
        first.map_or(Ok(()), Err)
    };
    let late = async {
        shutdown.clone().requested().await;
        tokio::time::sleep(settings.shutdown_grace).await;
    };
    tokio::select! {
        result = draining => result,
        () = ticking => Ok(()),
        () = served.run => bail!("the watches ended by themselves"),
        () = publishing => bail!("the task that publishes Events ended by itself"),
        () = late => bail!("running work did not end within {:?}", settings.shutdown_grace),
    }
}

fn events(client: Client) -> (Events, impl Future<Output = ()> + Send) {
    let reporter = Reporter {
        controller: "tenantry".to_owned(),
        instance: None,
    };
    Events::new(Recorder::new(client, reporter))
}

/// Has every template looked at. One that is not in the store yet is looked at when it is.
fn wake_all(templates: &reflector::Store<DeserializeGuard<TenantTemplate>>, wake: &mpsc::UnboundedSender<String>) {
    for template in templates.state() {
        // A closed channel means that the process is going down.
        let _ = wake.send(template.name_any());
    }
}

fn count(context: &tenant::Context, tenants: &reflector::Store<DeserializeGuard<Tenant>>) {
    context.forget_gone(tenants);
    context.metrics.set_tenants(context.memory.counts());
    for (kind, count) in context.inventory.counts() {
        context.metrics.set_objects_managed(kind.as_str(), count);
    }
    context.memory.forget_old_writes(context.clock.monotonic());
}

fn harness(controller: &'static str, kind: &'static str, metrics: &Arc<Metrics>, clock: &Arc<dyn Clock>) -> Harness {
    let backoff = Backoff::new(BackoffConfig::default(), clock.clone(), fastrand::Rng::new());
    Harness::new(controller, kind, metrics.process().clone(), clock.clone(), backoff)
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
    source: Source,
    writer: reflector::store::Writer<DeserializeGuard<TenantTemplate>>,
) -> impl futures::Stream<Item = watcher::Result<watcher::Event<DeserializeGuard<TenantTemplate>>>> + Send {
    let api = Api::<DeserializeGuard<TenantTemplate>>::all(source.client.clone());
    source.watch(api, watcher::Config::default()).reflect(writer)
}

/// Runs a controller to its end. On `shutdown` before its objects are listed that is at once: nothing can be under way, and
/// kube, which runs nothing until they are listed, would go on waiting for that after it stopped listening.
async fn or_unlisted<K>(controller: impl Future<Output = ()>, store: reflector::Store<K>, shutdown: shutdown::Shutdown)
where
    K: reflector::Lookup + Clone + 'static,
    K::DynamicType: Eq + std::hash::Hash + Clone,
{
    let unlisted = async {
        shutdown.requested().await;
        if store.wait_until_ready().now_or_never().is_some() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = controller => {}
        () = unlisted => {}
    }
}

/// Splits a stream that fills a store: the future drives it until the store is full, the rest goes on from there.
fn until_ready<S, K>(
    stream: S,
    store: reflector::Store<K>,
) -> (
    impl Future<Output = ()> + Send,
    impl futures::Stream<Item = S::Item> + Send,
)
where
    S: futures::Stream + Send + 'static,
    S::Item: Send + 'static,
    K: reflector::Lookup + Clone + Send + Sync + 'static,
    K::DynamicType: Eq + std::hash::Hash + Clone + Send + Sync + 'static,
{
    let (sender, receiver) = mpsc::unbounded_channel();
    let driver = async move {
        let mut stream = std::pin::pin!(stream);
        while let Some(item) = stream.next().await {
            if sender.send(item).is_err() {
                return;
            }
        }
    };
    let ready = async move {
        tokio::spawn(driver);
        // Only a store whose writer is gone fails, and then the process is going down.
        let _ = store.wait_until_ready().await;
    };
    (ready, tokio_stream::wrappers::UnboundedReceiverStream::new(receiver))
}
