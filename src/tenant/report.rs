//! What a reconcile tells: the status, one log line and an event where the reason of Ready changed.

use std::time::Duration;

use kube::runtime::{
    events::{Event, EventType},
    reflector::ObjectRef,
};

use super::{
    Context, Error,
    status::{self, types::READY},
};
use crate::api::v1alpha1::{Tenant, TenantNamespace, TenantNamespaceStatus, TenantStatus};

/// The reason of Ready.
pub(super) fn reason(status: &TenantStatus) -> &str {
    status
        .conditions
        .iter()
        .find(|condition| condition.type_ == READY)
        .map_or("", |condition| &condition.reason)
}

/// Writes the status if it differs; gives the time to wait if only use differs and it was written just now.
pub(super) async fn write_status(
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
    context.custom.status(tenant, status).await?;
    context.memory.status_written(name, context.clock.monotonic());
    announce(tenant, &previous, status, context).await;
    Ok(None)
}

/// Writes the status of a TenantNamespace if it differs.
pub(super) async fn write_claim(
    claim: &TenantNamespace,
    status: &TenantNamespaceStatus,
    context: &Context,
) -> Result<(), Error> {
    if claim.status.as_ref() == Some(status) {
        return Ok(());
    }
    let version = context.custom.status(claim, status).await?;
    context.claims.wrote(claim, status, version);
    Ok(())
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

/// Publishes one event; a failure is logged, as no decision hangs on it.
pub(super) async fn publish(
    context: &Context,
    object: &ObjectRef<Tenant>,
    type_: EventType,
    reason: &str,
    mut note: String,
) {
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
