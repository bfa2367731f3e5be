//! What wakes a Tenant. The only file of this folder that knows about watches, besides the caches' own.

use std::{collections::BTreeSet, future::Future, sync::Arc, time::Duration};

use futures::{Stream, StreamExt as _, stream};
use kube::{
    Resource as _, ResourceExt as _,
    core::DeserializeGuard,
    runtime::{
        Controller, WatchStreamExt as _,
        controller::{Action, Config, Error as ControllerError},
        reflector::{ObjectRef, Store},
        watcher,
    },
};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::{
    CONTROLLER, Context, Error, claim_finalizers, reconcile,
    uses::{Change, Uses},
};
use tenantry_api::v1alpha1::Tenant;
use tenantry_process::{source::Source, watches::Watch};

/// Sources of wake-ups, besides the Tenants' own watch.
pub struct Triggers<T> {
    /// Tenants whose objects changed.
    pub woken: UnboundedReceiver<Box<str>>,
    /// Names of templates whose spec changed, after the store has the change.
    pub templates: T,
    /// The set of served kinds changed.
    pub served: tokio::sync::watch::Receiver<super::Served>,
}

/// Runs the controller until `shutdown`, then waits until every running reconcile has ended.
pub async fn run<S, T>(
    tenants: S,
    store: Store<DeserializeGuard<Tenant>>,
    triggers: Triggers<T>,
    concurrency: u16,
    context: Arc<Context>,
    shutdown: impl Future<Output = ()> + Send + Sync + 'static,
) where
    S: Stream<Item = Result<DeserializeGuard<Tenant>, watcher::Error>> + Send + 'static,
    T: Stream<Item = Result<String, watcher::Error>> + Send + 'static,
{
    let Triggers {
        woken,
        templates,
        served,
    } = triggers;
    let (users, watching) = (store.clone(), context.clone());
    let users_of_changed = templates.flat_map(move |changed| {
        stream::iter(match changed {
            Ok(template) => users_of(&users, &template),
            Err(error) => {
                watching.metrics.process().watch_failed("TenantTemplate");
                tracing::warn!(controller = CONTROLLER, %error, "the watch of templates failed; restarting it");
                Vec::new()
            }
        })
    });
    let woken = UnboundedReceiverStream::new(woken).map(|name| ObjectRef::new(&name));
    // The first value is the one with which everything starts, so it wakes nobody.
    let served = tokio_stream::wrappers::WatchStream::from_changes(served).map(drop);
    Controller::for_stream(tenants, store)
        .with_config(Config::default().concurrency(concurrency))
        .reconcile_on(users_of_changed)
        .reconcile_on(woken)
        .reconcile_all_on(served)
        .graceful_shutdown_on(shutdown)
        .run(reconcile, error_policy, context.clone())
        // Handling the result for a deleted Tenant may wait for an answer, and must not delay the other results.
        .for_each_concurrent(None, |result| finished(result, &context))
        .await;
}

/// The Tenants that use a template. Not by owner reference or namespace, because a Tenant must have one key in the
/// queue.
fn users_of(tenants: &Store<DeserializeGuard<Tenant>>, template: &str) -> Vec<ObjectRef<DeserializeGuard<Tenant>>> {
    let uses = |tenant: &DeserializeGuard<Tenant>| matches!(&tenant.0, Ok(tenant) if tenant.spec.template_ref.name == template);
    tenants
        .state_filter(|tenant| uses(tenant))
        .iter()
        .map(|tenant| ObjectRef::new(&tenant.name_any()))
        .collect()
}

fn error_policy(tenant: Arc<DeserializeGuard<Tenant>>, _: &Error, context: Arc<Context>) -> Action {
    context.harness.retry(&*tenant)
}

type Outcome = Result<(ObjectRef<DeserializeGuard<Tenant>>, Action), ControllerError<Error, watcher::Error>>;

/// How often the operator tries to remove the finalizers of TenantNamespaces whose Tenant is gone. Pauses start at a
/// second and double.
const TRIES: u32 = 5;

async fn finished(result: Outcome, context: &Context) {
    context.harness.observe(&result);
    // An object of a Tenant changed after the Tenant was deleted.
    if let Err(ControllerError::ObjectNotFound(tenant)) = result {
        release_orphans(&tenant.name, context).await;
    }
}

async fn release_orphans(tenant: &str, context: &Context) {
    for number in 0..TRIES {
        let Err(error) = claim_finalizers::release_orphans(tenant, context).await else {
            return;
        };
        tracing::warn!(controller = CONTROLLER, %tenant, %error, "failed to remove the finalizer of a TenantNamespace whose Tenant is gone");
        tokio::time::sleep(Duration::from_secs(1 << number)).await;
    }
}

/// Watches Tenants into `writer`. Calls `notify` with each change after the store has it.
///
/// To wait until the store contains every Tenant, use `health` and not the store: if two tasks wait for one store, kube
/// wakes only the later one, and the controller waits for it already.
pub fn tenants(
    source: Source,
    health: Watch,
    writer: kube::runtime::reflector::store::Writer<DeserializeGuard<Tenant>>,
    notify: impl Fn(Change) + Send + 'static,
) -> impl Stream<Item = Result<DeserializeGuard<Tenant>, watcher::Error>> + Send {
    let api = kube::Api::<DeserializeGuard<Tenant>>::all;
    let mut uses = Uses::default();
    source
        .watch(health, api, watcher::Config::default())
        .modify(|tenant| tenant.meta_mut().managed_fields = None)
        .reflect(writer)
        .inspect(move |event| {
            for change in event.iter().flat_map(|event| uses.take(event)) {
                notify(change);
            }
        })
        .applied_objects()
}

/// Names of every optional CRD that the operator uses.
pub fn optional_crds(model_resource: &str) -> BTreeSet<String> {
    let kinds = tenantry_core::object::Kind::ALL
        .into_iter()
        .filter_map(tenantry_core::object::Kind::optional_crd);
    kinds.chain([model_resource.to_owned()]).collect()
}
