//! The template controller: it counts the Tenants of a template and reports what each of its fields achieves on this
//! cluster.
//!
//! A changed template wakes its Tenants directly (see [`crate::tenant::controller`]). This controller writes only the
//! template's own status, and keeps a template that is in use from being deleted.

use std::{future::Future, sync::Arc, time::Duration};

use futures::{Stream, StreamExt as _};
use kube::{
    ResourceExt as _,
    core::{DeserializeGuard, error_boundary::InvalidObject},
    runtime::{
        Controller,
        controller::{Action, Config},
        reflector::{ObjectRef, Store},
        watcher,
    },
};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::{
    cluster::custom::{CustomWriter, Error},
    metrics,
};
use tenantry_api::{
    names,
    v1alpha1::{Tenant, TenantTemplate},
};
use tenantry_core::template::status::status;
use tenantry_core::{settings::Settings, tenant::facts::Served};
use tenantry_process::{clock::Clock, controller::Harness};

/// Name of the controller in logs and metrics.
pub const CONTROLLER: &str = "template";

/// How long to collect changes of the number of Tenants before the status is written.
const GATHER: Duration = Duration::from_secs(1);

/// What a reconcile works with.
pub struct Context {
    /// Writes the status and the finalizer of templates.
    pub custom: CustomWriter,
    /// Tenants, to count users.
    pub tenants: Store<DeserializeGuard<Tenant>>,
    /// Optional kinds that the cluster serves.
    pub served: tokio::sync::watch::Receiver<Served>,
    /// What differs from cluster to cluster.
    pub settings: Settings,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Runs reconciles.
    pub harness: Harness,
}

/// Writes one template's status.
pub async fn reconcile(guard: Arc<DeserializeGuard<TenantTemplate>>, context: Arc<Context>) -> Result<Action, Error> {
    let name = guard.name_any();
    let span =
        |id: &str| tracing::info_span!("reconcile", controller = CONTROLLER, template = %name, correlation_id = %id);
    let work = async {
        let outcome = match &guard.0 {
            Ok(template) => run(template, &name, &context).await?,
            Err(invalid) => run_unreadable(invalid, &name, &context).await?,
        };
        Ok((outcome, Action::await_change()))
    };
    context.harness.reconcile(&*guard, span, work).await
}

async fn run(template: &TenantTemplate, name: &str, context: &Context) -> Result<metrics::Outcome, Error> {
    let tenants = users(name, context).await?;
    let has_finalizer = template.finalizers().iter().any(|finalizer| finalizer == names::IN_USE);
    let deleting = template.metadata.deletion_timestamp.is_some();
    // A finalizer cannot be added to an object that is being deleted. A used template gets the finalizer; a deleted
    // template without Tenants loses it.
    let template = match (has_finalizer, deleting, tenants) {
        (true, true, 0) => {
            context.custom.finalizer(template, names::IN_USE, false).await?;
            tracing::info!("the template is no longer in use and can be deleted");
            return Ok(metrics::Outcome::Changed);
        }
        (false, false, 1..) => &context.custom.finalizer(template, names::IN_USE, true).await?,
        _ => template,
    };
    let status = status(
        template,
        tenants,
        &context.served.borrow(),
        &context.settings,
        context.clock.now(),
    );
    let previous = template.status.clone().unwrap_or_default();
    if previous == status {
        return Ok(metrics::Outcome::Unchanged);
    }
    context.custom.status(template, &status).await?;
    Ok(metrics::Outcome::Changed)
}

/// Keeps the finalizer on an unreadable template while Tenants use it, and removes it when none does. Metadata is
/// enough for both.
async fn run_unreadable(invalid: &InvalidObject, name: &str, context: &Context) -> Result<metrics::Outcome, Error> {
    tracing::warn!(error = %invalid.error, "the stored TenantTemplate cannot be read; apply it again in its current form");
    let metadata = &invalid.metadata;
    let mut finalizers = metadata.finalizers.iter().flatten();
    let has_finalizer = finalizers.any(|finalizer| finalizer == names::IN_USE);
    let deleting = metadata.deletion_timestamp.is_some();
    let keep = match (has_finalizer, deleting, users(name, context).await?) {
        (true, true, 0) => false,
        (false, false, 1..) => true,
        _ => return Ok(metrics::Outcome::Waiting),
    };
    let custom = &context.custom;
    custom
        .finalizer_of_unreadable::<TenantTemplate>(metadata, names::IN_USE, keep)
        .await?;
    if !keep {
        tracing::info!("the template is no longer in use and can be deleted");
    }
    Ok(metrics::Outcome::Changed)
}

/// How many Tenants name the template. For an unreadable Tenant, only the API server can evaluate which template it
/// names.
async fn users(template: &str, context: &Context) -> Result<usize, Error> {
    let names = |tenant: &DeserializeGuard<Tenant>| matches!(&tenant.0, Ok(tenant) if tenant.spec.template_ref.name == template);
    let mut users = context.tenants.state_filter(|tenant| names(tenant)).len();
    for unreadable in context.tenants.state_filter(|tenant| tenant.0.is_err()) {
        let tenant = unreadable.name_any();
        users += usize::from(
            context
                .custom
                .has::<Tenant>(&tenant, "spec.templateRef.name", template)
                .await?,
        );
    }
    Ok(users)
}

/// Runs the controller until `shutdown`. `used` yields the names of templates whose number of Tenants may have changed.
pub async fn run_controller<S>(
    templates: S,
    store: Store<DeserializeGuard<TenantTemplate>>,
    used: UnboundedReceiver<String>,
    concurrency: u16,
    context: Arc<Context>,
    shutdown: impl Future<Output = ()> + Send + Sync + 'static,
) where
    S: Stream<Item = Result<DeserializeGuard<TenantTemplate>, watcher::Error>> + Send + 'static,
{
    let served = tokio_stream::wrappers::WatchStream::from_changes(context.served.clone()).map(drop);
    Controller::for_stream(templates, store)
        .with_config(Config::default().concurrency(concurrency))
        .reconcile_on(gathered(used))
        .reconcile_all_on(served)
        .graceful_shutdown_on(shutdown)
        .run(reconcile, error_policy, context.clone())
        .for_each(|result| {
            context.harness.observe(&result);
            std::future::ready(())
        })
        .await;
}

/// Batches wake-ups: a thousand new Tenants cause one status write a second, not a thousand.
fn gathered(used: UnboundedReceiver<String>) -> impl Stream<Item = ObjectRef<DeserializeGuard<TenantTemplate>>> + Send {
    let bursts = futures::stream::unfold(used, async |mut used| {
        let first = used.recv().await?;
        let mut names = std::collections::BTreeSet::from([first]);
        tokio::time::sleep(GATHER).await;
        while let Ok(name) = used.try_recv() {
            names.insert(name);
        }
        Some((futures::stream::iter(names), used))
    });
    bursts.flatten().map(|name| ObjectRef::new(&name))
}

fn error_policy(template: Arc<DeserializeGuard<TenantTemplate>>, _: &Error, context: Arc<Context>) -> Action {
    context.harness.retry(&*template)
}

#[cfg(test)]
mod tests;
