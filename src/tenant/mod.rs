//! The tenant controller: [`reconcile`] is five calls, one step a file.
//!
//! ```text
//! dereference (caches) -> validate (pure) -> build (pure) -> apply (writes) -> status (pure, one write)
//! ```
//!
//! A Tenant that is as it should be costs no call: live objects come from watches, and nothing is written that stands.

pub mod apply;
pub mod build;
pub mod cleanup;
pub mod controller;
pub mod dereference;
pub mod error;
#[cfg(test)]
pub(crate) mod fixture;
pub mod memory;
pub mod pending;
pub mod status;
pub mod validate;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use kube::{
    Api, Client, ResourceExt as _,
    api::{Patch, PatchParams},
    core::DeserializeGuard,
    runtime::{
        controller::Action,
        events::{Event, EventType, Recorder},
        reflector::{ObjectRef, Store},
    },
};
use serde_json::{Value, json};
use tracing::Instrument as _;

pub use self::error::Error;
use self::{
    apply::Applied,
    dereference::{Served, Template, dereference},
    memory::Memory,
    pending::PendingQuotas,
    status::types::READY,
    validate::validate,
};
use crate::{
    api::{
        names,
        v1alpha1::{Tenant, TenantStatus, TenantTemplate},
    },
    apply::{Inventory, writer::Writer},
    cli::Admission,
    runtime::{backoff::Backoff, clock::Clock, metrics},
};

/// Name of the controller in logs, metrics and events.
pub const CONTROLLER: &str = "tenant";

/// How long a Tenant may wait for the quota controller before its status says so: it is done sooner as a rule, and a write
/// is saved. Until then a fresh Tenant reads as in progress by its observedGeneration.
const QUIET_WAY: Duration = Duration::from_secs(2);

/// What differs from cluster to cluster.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Extended resources that `quotas.aiProcessingUnits` counts.
    pub accelerator_resources: Vec<String>,
    /// Resource that `quotas.mlModelInstances` counts, `<plural>.<group>`.
    pub model_resource: String,
    /// Admission policies that are installed.
    pub admission: BTreeSet<Admission>,
    /// How often a mere change of use is written to a status.
    pub status_interval: Duration,
}

/// What a reconcile works with.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// Writes managed objects.
    pub writer: Writer,
    /// Live objects.
    pub inventory: Arc<Inventory>,
    /// Templates.
    pub templates: Store<DeserializeGuard<TenantTemplate>>,
    /// Optional kinds that the cluster serves.
    pub served: tokio::sync::watch::Receiver<Served>,
    /// What differs from cluster to cluster.
    pub settings: Settings,
    /// Quota writes with an open end.
    pub pending: PendingQuotas,
    /// What this process remembers of each Tenant.
    pub memory: Memory,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Events.
    pub recorder: Recorder,
    /// Metrics.
    pub metrics: Arc<metrics::Metrics>,
    /// Delay after failures.
    pub backoff: Backoff,
}

/// Makes one Tenant as it should be. Never returns an error for what a user wrote: that is a condition.
pub async fn reconcile(guard: Arc<DeserializeGuard<Tenant>>, context: Arc<Context>) -> Result<Action, Error> {
    let name = guard.name_any();
    let id = format!("{:08x}", fastrand::u32(..));
    let span = tracing::info_span!("reconcile", controller = CONTROLLER, tenant = %name, correlation_id = %id);
    let started = context.clock.monotonic();
    let result = reconcile_guarded(&guard, &name, &context).instrument(span).await;
    let took = context.clock.monotonic().since(started);
    let outcome = match &result {
        Ok((outcome, _)) => *outcome,
        Err(error) => {
            context.metrics.reconcile_failed(CONTROLLER, error.category());
            metrics::Outcome::Error
        }
    };
    context.metrics.reconciled(CONTROLLER, outcome, took);
    result.map(|(_, action)| {
        context.backoff.succeeded(&guard.uid().unwrap_or_default());
        action
    })
}

async fn reconcile_guarded(
    guard: &DeserializeGuard<Tenant>,
    name: &str,
    context: &Context,
) -> Result<(metrics::Outcome, Action), Error> {
    match &guard.0 {
        Ok(tenant) if tenant.metadata.deletion_timestamp.is_some() => finish(tenant, name, context).await,
        Ok(tenant) => run(tenant, name, context).await,
        Err(invalid) => {
            if context.memory.is_news(name, "Undecodable") {
                tracing::warn!(error = %invalid.error, "the stored Tenant cannot be read; apply it again in its current form");
                let note = format!(
                    "the stored object cannot be read: {}; apply it again in its current form",
                    invalid.error
                );
                publish(
                    context,
                    &ObjectRef::<Tenant>::new(name),
                    EventType::Warning,
                    "Undecodable",
                    note,
                )
                .await;
            }
            Ok((metrics::Outcome::Waiting, Action::await_change()))
        }
    }
}

/// The five steps.
async fn run(tenant: &Tenant, name: &str, context: &Context) -> Result<(metrics::Outcome, Action), Error> {
    let with_finalizer = ensure_finalizer(tenant, context).await?;
    let tenant = with_finalizer.as_ref().unwrap_or(tenant);
    let now = context.clock.now();

    // dereference: caches only. A namespace that is not ours is waited for before it is looked at, so that no change of
    // it is missed.
    for entry in &tenant.spec.namespaces {
        let namespace = names::namespace(name, &entry.name);
        context.inventory.wait_for_namespace(&namespace, name);
    }
    let facts = facts(tenant, name, context);

    // validate: pure
    let valid = match validate(tenant, &facts, &context.settings) {
        Ok(valid) => valid,
        Err(invalid) => {
            // Whoever was removed from the owners loses their rights even while nothing else can be done.
            let may_hold = validate::subjects_by_binding(tenant, &facts);
            let mut applied = Applied::default();
            apply::withdraw_rights(
                &context.writer,
                tenant.metadata.uid.as_deref(),
                &facts,
                &may_hold,
                &mut applied,
            )
            .await;
            let status = status::of_invalid(tenant, &invalid, now);
            write_status(tenant, name, &status, context).await?;
            Error::from_failures(applied.failures)?;
            return Ok((metrics::Outcome::Waiting, Action::await_change()));
        }
    };

    // build: pure, cannot fail
    let objects = build::build(&valid);

    // apply: writes what differs
    let applied = apply::apply(&context.writer, &context.pending, &valid, &facts, &objects).await;

    // status: pure, one write if it differs
    let status = status::of_applied(tenant, &valid, &applied, now);
    if applied.failures.is_empty() && matches!(reason(&status), "AwaitingQuota" | "QuotaMoving") {
        let since = context.memory.under_way(name, context.clock.monotonic());
        if since < QUIET_WAY {
            let wait = QUIET_WAY.saturating_sub(since);
            return Ok((metrics::Outcome::Changed, Action::requeue(wait)));
        }
    } else {
        context.memory.arrived(name);
    }
    let wait = write_status(tenant, name, &status, context).await?;
    let Applied {
        namespaces,
        changed,
        failures,
        ..
    } = applied;
    for namespace in &namespaces {
        if let apply::Progress::Conflict(_) = namespace.progress {
            context.inventory.wait_for_namespace(&namespace.name, name);
        }
    }
    Error::from_failures(failures)?;
    let outcome = match (changed, reason(&status)) {
        (true, _) => metrics::Outcome::Changed,
        (false, "AllStands") => metrics::Outcome::Unchanged,
        (false, _) => metrics::Outcome::Waiting,
    };
    Ok((outcome, wait.map_or_else(Action::await_change, Action::requeue)))
}

/// The end of a Tenant.
async fn finish(tenant: &Tenant, name: &str, context: &Context) -> Result<(metrics::Outcome, Action), Error> {
    if !tenant.finalizers().iter().any(|finalizer| finalizer == names::CLEANUP) {
        return Ok((metrics::Outcome::Unchanged, Action::await_change()));
    }
    let facts = facts(tenant, name, context);
    let remaining = cleanup::cleanup(&context.writer, tenant, &facts).await;
    if remaining.is_nothing() {
        remove_finalizer(tenant, context).await?;
        context.memory.forget(name);
        context.pending.forget(name);
        tracing::info!("tenant is gone");
        return Ok((metrics::Outcome::Changed, Action::await_change()));
    }
    if !remaining.namespaces.is_empty() {
        let status = status::of_deleting(tenant, &remaining.namespaces, context.clock.now());
        write_status(tenant, name, &status, context).await?;
    }
    Error::from_failures(remaining.applied.failures)?;
    Ok((metrics::Outcome::Waiting, Action::await_change()))
}

fn facts(tenant: &Tenant, name: &str, context: &Context) -> dereference::Facts {
    let key = ObjectRef::<DeserializeGuard<TenantTemplate>>::new(&tenant.spec.template_ref.name);
    let template = match context.templates.get(&key).as_deref() {
        None => Template::Missing,
        Some(DeserializeGuard(Ok(template))) => Template::Found(Arc::new(template.spec.clone())),
        Some(DeserializeGuard(Err(error))) => Template::Undecodable(error.to_string()),
    };
    let pending = context.pending.of_tenant(name, &context.inventory);
    dereference(
        tenant,
        name,
        template,
        &context.inventory,
        context.served.borrow().clone(),
        pending,
    )
}

/// The reason of Ready.
fn reason(status: &TenantStatus) -> &str {
    status
        .conditions
        .iter()
        .find(|condition| condition.type_ == READY)
        .map_or("", |condition| &condition.reason)
}

/// Writes the status if it differs; gives the time to wait if only use differs and it was written just now.
async fn write_status(
    tenant: &Tenant,
    name: &str,
    status: &TenantStatus,
    context: &Context,
) -> Result<Option<Duration>, Error> {
    let previous = tenant.status.clone().unwrap_or_default();
    context.memory.note(name, status);
    if previous == *status {
        return Ok(None);
    }
    if status::differ_in_use_only(&previous, status)
        && let Some(wait) =
            context
                .memory
                .wait_for_status(name, context.clock.monotonic(), context.settings.status_interval)
    {
        return Ok(Some(wait));
    }
    let mut body = serde_json::to_value(status).map_err(Error::Serialize)?;
    // A merge patch removes only what is null.
    if let Value::Object(fields) = &mut body {
        for field in [
            "conditions",
            "tier",
            "namespacesReady",
            "fullest",
            "namespaces",
            "quota",
        ] {
            fields.entry(field).or_insert(Value::Null);
        }
    }
    let patch = json!({
        "metadata": { "uid": tenant.metadata.uid, "resourceVersion": tenant.metadata.resource_version },
        "status": body,
    });
    context.writer.check_leading()?;
    let api: Api<Tenant> = Api::all(context.client.clone());
    api.patch_status(name, &params(), &Patch::Merge(patch))
        .await
        .map_err(Error::status)?;
    context.memory.status_written(name, context.clock.monotonic());
    announce(tenant, &previous, status, context).await;
    Ok(None)
}

/// One log line and at most one event for each change of the reason why a Tenant is or is not Ready.
async fn announce(tenant: &Tenant, previous: &TenantStatus, status: &TenantStatus, context: &Context) {
    let (before, after) = (reason(previous), reason(status));
    if before == after {
        return;
    }
    let Some(ready) = status.conditions.iter().find(|condition| condition.type_ == READY) else {
        return;
    };
    tracing::info!(ready = %ready.status, reason = %ready.reason, previous = %before, message = %ready.message, "tenant changed");
    let stalled = |status: &TenantStatus| {
        status
            .conditions
            .iter()
            .any(|condition| condition.type_ == status::types::STALLED)
    };
    let object = ObjectRef::from_obj(tenant);
    if stalled(status) || after == "ApplyFailed" {
        publish(context, &object, EventType::Warning, after, ready.message.clone()).await;
    } else if stalled(previous) && after == "AllStands" {
        publish(context, &object, EventType::Normal, after, ready.message.clone()).await;
    }
}

async fn publish(context: &Context, object: &ObjectRef<Tenant>, type_: EventType, reason: &str, mut note: String) {
    // The API server takes at most 1 kB.
    while note.len() > 1000 {
        note.pop();
    }
    let event = Event {
        type_,
        reason: reason.to_owned(),
        note: Some(note),
        action: "Reconcile".to_owned(),
        secondary: None,
    };
    if let Err(error) = context.recorder.publish(&event, &object.clone().into()).await {
        tracing::warn!(%error, reason, "failed to publish an event");
    }
}

fn params() -> PatchParams {
    PatchParams {
        field_manager: Some(names::TENANT_MANAGER.to_owned()),
        ..PatchParams::default()
    }
}

async fn ensure_finalizer(tenant: &Tenant, context: &Context) -> Result<Option<Tenant>, Error> {
    if tenant.finalizers().iter().any(|finalizer| finalizer == names::CLEANUP) {
        return Ok(None);
    }
    let finalizers: Vec<_> = tenant
        .finalizers()
        .iter()
        .map(String::as_str)
        .chain([names::CLEANUP])
        .collect();
    write_finalizers(tenant, &finalizers, context).await.map(Some)
}

async fn remove_finalizer(tenant: &Tenant, context: &Context) -> Result<(), Error> {
    let finalizers: Vec<_> = tenant
        .finalizers()
        .iter()
        .map(String::as_str)
        .filter(|finalizer| *finalizer != names::CLEANUP)
        .collect();
    match write_finalizers(tenant, &finalizers, context).await {
        Err(Error::Finalizer(error)) if is_not_found(&error) => Ok(()),
        result => result.map(drop),
    }
}

fn is_not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_not_found())
}

async fn write_finalizers(tenant: &Tenant, finalizers: &[&str], context: &Context) -> Result<Tenant, Error> {
    let patch = json!({ "metadata": {
        "uid": tenant.metadata.uid, "resourceVersion": tenant.metadata.resource_version, "finalizers": finalizers,
    } });
    context.writer.check_leading()?;
    let api: Api<Tenant> = Api::all(context.client.clone());
    api.patch(&tenant.name_any(), &params(), &Patch::Merge(patch))
        .await
        .map_err(Error::finalizer)
}

#[cfg(test)]
mod tests;
