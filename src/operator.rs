//! The operator as a process: what is started and ended, in which order.
//!
//! Start: signals, endpoints, leader election; then, as the leader, the phases of [`lead`]. End: the controllers finish
//! running work, the process releases its Lease, the endpoints close. If the process loses its Lease, or a task ends
//! unexpectedly, the process exits with an error. A second signal ends the process at once.

mod caches;
mod lead;
mod optional;

use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use kube::{Client, Config};
use tokio::{net::TcpListener, sync::watch};

use self::lead::Leader;
use crate::{cli::Settings, metrics::Metrics, template, tenant};
use tenantry_process::{
    admin::{self, Admin},
    client::{self, CallPolicy},
    clock::{Clock, SystemClock},
    health::{Gates, Heartbeats},
    leader::{self, Elector, Ended, KubeLease, LeaderHandle},
    shutdown::{self, Shutdown},
    tasks::{Role, Tasks},
    watches::Watches,
};

/// Name of the task that runs the leader election.
const ELECTION: &str = "the election";

/// Name of the task that serves the endpoints.
const ENDPOINTS: &str = "the server of the endpoints";

/// How long aborted tasks may take to end: one may be in the middle of a poll.
const ABORTED: Duration = Duration::from_secs(2);

/// How long releasing the Lease may take.
const RELEASE: Duration = Duration::from_secs(5);

/// How long requests to the endpoints that are still open may take.
const ANSWERS: Duration = Duration::from_secs(2);

/// Runs the operator until it gets a signal.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let (trigger, shutdown) = shutdown::channel();
    let signals = trigger.signals().context("failed to listen for signals")?;
    let heartbeats = Heartbeats::new(clock.clone());
    let mut tasks = Tasks::new(heartbeats.clone());
    tasks.spawner().spawn(Role::Process, "the signal handler", signals);
    let forced = shutdown.clone().forced();
    tokio::select! {
        result = live(settings, clock, heartbeats, shutdown, &mut tasks) => result,
        () = forced => bail!("a second signal ended the process before its work was done"),
    }
}

/// Everything between opening and closing the endpoints.
async fn live(
    settings: Settings,
    clock: Arc<dyn Clock>,
    heartbeats: Heartbeats,
    shutdown: Shutdown,
    tasks: &mut Tasks,
) -> anyhow::Result<()> {
    let metrics = Arc::new(Metrics::new().context("failed to register the metrics")?);
    for name in [tenant::CONTROLLER, template::CONTROLLER] {
        metrics.process().announce_controller(name);
    }
    let config = client::load_config(&settings.cluster).await?;
    let policy = CallPolicy::new(settings.request_timeout);
    let reads = client::build(config.clone(), policy, metrics.process().clone())?;
    let gates = Gates::new();
    let close_endpoints = serve(&settings, &gates, &heartbeats, &metrics, tasks).await?;
    let (leader, release) = take_part(&settings, &reads, &clock, &heartbeats, tasks);
    let writes = writing(config, policy, &metrics, &leader)?;

    let late = {
        let (shutdown, grace) = (shutdown.clone(), settings.shutdown_grace);
        async move {
            shutdown.requested().await;
            tokio::time::sleep(grace).await;
            grace
        }
    };
    let work = {
        let spawner = tasks.spawner();
        let (metrics, shutdown) = (metrics.clone(), shutdown.clone());
        async move {
            if !leader.clone().acquired().await {
                // The task of the election has ended and reports why.
                return std::future::pending().await;
            }
            metrics.set_leader(true);
            tracing::info!("leading");
            let watches = Watches::new(clock.clone(), gates.clone(), metrics.process().clone());
            let leader = Leader {
                settings,
                reads,
                writes,
                leadership: leader,
                gates,
                watches,
                metrics,
                clock,
                shutdown,
                spawner,
            };
            leader.lead().await
        }
    };
    let result = until_ended(work, tasks, &shutdown, late).await;

    metrics.set_leader(false);
    // The work must have ended before another replica leads.
    let aborted = tasks.abort(&[Role::Work, Role::Feed]);
    if tokio::time::timeout(ABORTED, aborted).await.is_err() {
        tracing::warn!("some tasks did not end within {ABORTED:?} after they were aborted");
    }
    // The receivers may have been dropped already.
    let _ = release.send(true);
    if tokio::time::timeout(RELEASE, tasks.finished(ELECTION)).await.is_err() {
        tracing::warn!("the election did not end within {RELEASE:?}; the Lease will expire");
    }
    let _ = close_endpoints.send(true);
    if tokio::time::timeout(ANSWERS, tasks.finished(ENDPOINTS)).await.is_err() {
        tracing::debug!("requests to the endpoints were still open");
    }
    tracing::info!(ok = result.is_ok(), "tenantry ends");
    result
}

/// Waits until running work has ended after a signal, or until a task fails or the grace period is over.
async fn until_ended(
    work: impl Future<Output = anyhow::Result<Infallible>>,
    tasks: &mut Tasks,
    shutdown: &Shutdown,
    late: impl Future<Output = Duration>,
) -> anyhow::Result<()> {
    let mut drained = pin!(tasks.drained(shutdown));
    tokio::select! {
        result = &mut drained => Ok(result?),
        result = work => match result? {},
        grace = late => bail!("running work did not end within {grace:?}"),
    }
}

/// Serves the endpoints; sending `true` closes them.
async fn serve(
    settings: &Settings,
    gates: &Gates,
    heartbeats: &Heartbeats,
    metrics: &Arc<Metrics>,
    tasks: &Tasks,
) -> anyhow::Result<watch::Sender<bool>> {
    let listener = TcpListener::bind(settings.listen)
        .await
        .with_context(|| format!("failed to listen on {}", settings.listen))?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), listen = %listener.local_addr()?, "tenantry starts");
    let admin = Admin {
        gates: gates.clone(),
        heartbeats: heartbeats.clone(),
        metrics: metrics.process().clone(),
    };
    let (close, closed) = watch::channel(false);
    tasks.spawner().try_spawn(Role::Process, ENDPOINTS, async {
        Ok(admin::serve(listener, admin, until_true(closed)).await?)
    });
    Ok(close)
}

/// Starts the leader election, if there is one; sending `true` releases the Lease.
fn take_part(
    settings: &Settings,
    client: &Client,
    clock: &Arc<dyn Clock>,
    heartbeats: &Heartbeats,
    tasks: &Tasks,
) -> (LeaderHandle, watch::Sender<bool>) {
    let (release, released) = watch::channel(false);
    let Some(lease) = &settings.lease else {
        return (LeaderHandle::always(clock.clone()), release);
    };
    let mut rng = fastrand::Rng::new();
    let identity = leader::identity(&lease.identity, &mut rng);
    let api = KubeLease::new(client.clone(), &lease.namespace, &lease.name);
    let (elector, handle) = Elector::new(api, identity.clone(), lease.election, clock.clone(), rng);
    tracing::info!(lease = %format!("{}/{}", lease.namespace, lease.name), %identity, "waiting to lead");
    // The elector's longest pause between two steps is shorter than the Lease.
    let silence = lease.election.lease_duration() * 2 + Duration::from_secs(30);
    let elector = elector.beating(heartbeats.register("the election's steps", silence));
    tasks.spawner().try_spawn(Role::Process, ELECTION, async {
        match elector.run(until_true(released)).await {
            Ended::Stopped => Ok(()),
            Ended::Lost(loss) => Err(format!("this process lost the leadership: {loss}").into()),
        }
    });
    (handle, release)
}

/// A client that sends nothing once leadership is lost.
fn writing(
    config: Config,
    policy: CallPolicy,
    metrics: &Arc<Metrics>,
    leader: &LeaderHandle,
) -> Result<Client, client::ClientError> {
    client::build_for_leader(config, policy, metrics.process().clone(), leader.clone())
}

async fn until_true(mut flag: watch::Receiver<bool>) {
    // A dropped sender means the same as `true`.
    let _ = flag.wait_for(|set| *set).await;
}
