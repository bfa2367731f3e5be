//! The template controller: who uses a template, and what each part of it honestly comes to on this cluster.
//!
//! A changed template wakes its tenants directly (see [`crate::tenant::controller`]); this controller writes only the
//! template's own status and keeps a template that is in use from going away.

pub mod controls;
pub mod soundness;

use std::{future::Future, sync::Arc, time::Duration};

use futures::{Stream, StreamExt as _};
use jiff::Timestamp;
use kube::{
    ResourceExt as _,
    core::{DeserializeGuard, error_boundary::InvalidObject},
    runtime::{
        Controller,
        controller::{Action, Config, Error as ControllerError},
        reflector::{ObjectRef, Store},
        watcher,
    },
};
use tokio::sync::mpsc::UnboundedReceiver;
use tracing::Instrument as _;

use crate::{
    cluster::custom::{CustomWriter, Error},
    metrics,
};
use tenantry_api::{
    names,
    v1alpha1::{ControlState, Tenant, TenantTemplate, TenantTemplateStatus},
};
use tenantry_core::{
    conditions::{Statement, conditions},
    settings::Settings,
    tenant::{
        facts::Served,
        status::types::{READY, RECONCILING, STALLED},
    },
};
use tenantry_process::{backoff::Backoff, clock::Clock};

/// Name of the controller in logs and metrics.
pub const CONTROLLER: &str = "template";

/// Condition: every field that the template sets has an effect today.
const ALL_FIELDS_EFFECTIVE: &str = "AllFieldsEffective";

/// How long changes of the number of tenants are gathered before the status is written.
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
    /// Metrics.
    pub metrics: Arc<metrics::Metrics>,
    /// Delay after failures.
    pub backoff: Backoff,
}

/// Writes one template's status.
pub async fn reconcile(guard: Arc<DeserializeGuard<TenantTemplate>>, context: Arc<Context>) -> Result<Action, Error> {
    let name = guard.name_any();
    let span = tracing::info_span!("reconcile", controller = CONTROLLER, template = %name, correlation_id = %format!("{:08x}", fastrand::u32(..)));
    let started = context.clock.monotonic();
    let result = match &guard.0 {
        Ok(template) => run(template, &name, &context).instrument(span).await,
        Err(invalid) => run_unreadable(invalid, &name, &context).instrument(span).await,
    };
    let outcome = match &result {
        Ok(outcome) => *outcome,
        Err(error) => {
            context.metrics.reconcile_failed(CONTROLLER, error.category());
            metrics::Outcome::Error
        }
    };
    context
        .metrics
        .reconciled(CONTROLLER, outcome, context.clock.monotonic().since(started));
    result.map(|_| {
        context.backoff.succeeded(&guard.uid().unwrap_or_default());
        Action::await_change()
    })
}

async fn run(template: &TenantTemplate, name: &str, context: &Context) -> Result<metrics::Outcome, Error> {
    let tenants = users(name, context).await?;
    let held = template.finalizers().iter().any(|finalizer| finalizer == names::IN_USE);
    let deleting = template.metadata.deletion_timestamp.is_some();
    // While it is deleted nothing can be added; while it is used and not held, hold it; unused and deleted, let it go.
    let template = match (held, deleting, tenants) {
        (true, true, 0) => {
            context.custom.finalizer(template, names::IN_USE, false).await?;
            tracing::info!("template is gone");
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
    match context.custom.status(template, &status).await {
        Ok(_) => Ok(metrics::Outcome::Changed),
        Err(Error::Outdated { .. }) => Ok(metrics::Outcome::Waiting),
        Err(error) => Err(error),
    }
}

/// Keeps a template that cannot be read while it is used, and lets it go when it is not: its metadata is enough for both.
async fn run_unreadable(invalid: &InvalidObject, name: &str, context: &Context) -> Result<metrics::Outcome, Error> {
    tracing::warn!(error = %invalid.error, "the stored TenantTemplate cannot be read; apply it again in its current form");
    let metadata = &invalid.metadata;
    let mut finalizers = metadata.finalizers.iter().flatten();
    let held = finalizers.any(|finalizer| finalizer == names::IN_USE);
    let deleting = metadata.deletion_timestamp.is_some();
    let is_kept = match (held, deleting, users(name, context).await?) {
        (true, true, 0) => false,
        (false, false, 1..) => true,
        _ => return Ok(metrics::Outcome::Waiting),
    };
    let custom = &context.custom;
    custom
        .finalizer_of_unreadable::<TenantTemplate>(metadata, names::IN_USE, is_kept)
        .await?;
    if !is_kept {
        tracing::info!("template is gone");
    }
    Ok(metrics::Outcome::Changed)
}

/// How many Tenants name the template. Which one an unreadable Tenant names, only the API server can say.
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

/// The status of a template: pure.
fn status(
    template: &TenantTemplate,
    users: usize,
    served: &Served,
    settings: &Settings,
    now: Timestamp,
) -> TenantTemplateStatus {
    let controls = controls::controls(&template.spec, served, settings);
    let without_effect: Vec<_> = controls
        .iter()
        .filter(|control| control.state == ControlState::NotEnforced)
        .map(|control| control.field.as_str())
        .collect();
    let contradictions = soundness::contradictions(&template.spec);
    let mut statements = if template.metadata.deletion_timestamp.is_some() {
        let message = format!(
            "{users} tenants use it; it goes when none does (kubectl get tenants --field-selector spec.templateRef.name={})",
            template.name_any()
        );
        vec![
            Statement::fails(READY, "InUse", message.clone()),
            Statement::holds(RECONCILING, "InUse", message),
        ]
    } else if contradictions.is_empty() {
        vec![Statement::holds(READY, "Sound", "the template can be used")]
    } else {
        let message = contradictions.join("; ");
        vec![
            Statement::fails(READY, "Contradiction", message.clone()),
            Statement::holds(STALLED, "Contradiction", message),
        ]
    };
    statements.push(if without_effect.is_empty() {
        Statement::holds(
            ALL_FIELDS_EFFECTIVE,
            "AllEffective",
            "every field that is set has an effect",
        )
    } else {
        Statement::fails(
            ALL_FIELDS_EFFECTIVE,
            "NotEnforced",
            format!(
                "nothing makes these true; see status.controls: {}",
                without_effect.join(", ")
            ),
        )
    });
    let previous = template.status.as_ref().map_or(&[][..], |status| &status.conditions);
    TenantTemplateStatus {
        observed_generation: template.metadata.generation,
        conditions: conditions(statements, previous, template.metadata.generation, now),
        tenants: i64::try_from(users).unwrap_or(i64::MAX),
        controls,
    }
}

/// Runs the controller until `shutdown`. `used` names templates whose number of tenants may have changed.
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
            if let Err(ControllerError::QueueError(error)) = &result {
                context.metrics.watch_failed("TenantTemplate");
                tracing::warn!(controller = CONTROLLER, %error, "a watch broke; it is started again");
            }
            std::future::ready(())
        })
        .await;
}

/// A thousand new tenants change the number of users once a second, not a thousand times.
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

fn error_policy(template: Arc<DeserializeGuard<TenantTemplate>>, error: &Error, context: Arc<Context>) -> Action {
    let delay = context.backoff.failed(&template.uid().unwrap_or_default());
    tracing::warn!(controller = CONTROLLER, template = %template.name_any(), %error, retry_in = ?delay, "reconcile failed");
    Action::requeue(delay)
}

#[cfg(test)]
mod tests;
