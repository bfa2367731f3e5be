//! What a reconcile tells: the status, one log line and an event where the reason of Ready changed.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::{
    events::{Event, EventType},
    reflector::ObjectRef,
};

use super::{Context, Error};
use tenantry_api::{
    names,
    v1alpha1::{NamespaceState, NamespaceStatus, Tenant, TenantNamespace, TenantNamespaceStatus, TenantStatus},
};
use tenantry_core::object::{Key, Kind};
use tenantry_core::tenant::{
    outcome::Applied,
    status::{self, types::READY},
    validate::{ValidClaim, ValidTenant, Verdict},
};

/// The reason of Ready.
pub(super) fn reason(status: &TenantStatus) -> &str {
    status::reason(status, READY)
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
    turn_away(name, &previous, status, context).await;
    announce(tenant, &previous, status, context).await;
    Ok(None)
}

/// Tells owners, in an Event in the home namespace, which they may read, of each namespace that stays closed.
async fn turn_away(name: &str, previous: &TenantStatus, status: &TenantStatus, context: &Context) {
    let is_closed = |seen: &&NamespaceStatus| seen.state == NamespaceState::Closed;
    for closed in status.namespaces.iter().filter(is_closed) {
        if previous.namespaces.contains(closed) {
            continue;
        }
        let quota = Key::new(Kind::ResourceQuota, &names::home(name), names::OBJECT);
        let about = reference(&quota);
        let why = closed.message.as_deref().unwrap_or_default();
        let note = format!("namespace {} stays closed: {why}", closed.name);
        // kube takes Events about the same objects for one that repeats itself, and keeps the words of the first.
        let event = Event {
            secondary: Some(reference(&Key::namespace(&closed.name))),
            ..event(EventType::Warning, "NamespaceClosed", note)
        };
        publish(context, &about, event).await;
    }
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

/// Writes the statuses of TenantNamespaces that differ, where the verdict is one that is meant.
pub(super) async fn write_claims(
    valid: &ValidTenant,
    applied: &Applied,
    now: Timestamp,
    is_meant: impl Fn(&Verdict) -> bool,
    context: &Context,
) -> Result<(), Error> {
    let stays = |claim: &&ValidClaim| !matches!(claim.verdict, Verdict::Withdrawn { .. });
    let meant = valid
        .claims
        .iter()
        .filter(stays)
        .filter(|claim| is_meant(&claim.verdict));
    for ValidClaim { seen, verdict } in meant {
        if let Ok(claim) = &seen.0 {
            let status = status::of_claim(claim, verdict, valid, applied, now);
            write_claim(claim, &status, context).await?;
        }
    }
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
    let object = ObjectRef::from_obj(tenant).into();
    if stalled(status) || after == "ApplyFailed" {
        publish(
            context,
            &object,
            event(EventType::Warning, after, ready.message.clone()),
        )
        .await;
    } else if stalled(previous) && after == "Reconciled" {
        publish(context, &object, event(EventType::Normal, after, ready.message.clone())).await;
    }
}

/// Tells that somebody undoes what is written, each time it is.
pub(super) async fn contested(tenant: &Tenant, key: &Key, context: &Context) {
    tracing::warn!(object = %key, "somebody changes it again and again");
    let plural = key.kind.api_resource().plural;
    let within = match &*key.namespace {
        "" => String::new(),
        namespace => format!(" --namespace {namespace}"),
    };
    let note = format!(
        "{key} is changed again and again, and put back each time; to see by whom: kubectl get {plural} {}{within} --output yaml --show-managed-fields",
        key.name
    );
    let event = Event {
        secondary: Some(reference(key)),
        ..event(EventType::Warning, "Contested", note)
    };
    publish(context, &ObjectRef::from_obj(tenant).into(), event).await;
}

fn reference(key: &Key) -> ObjectReference {
    let namespace = Some(key.namespace.to_string()).filter(|namespace| !namespace.is_empty());
    ObjectReference {
        api_version: Some(key.kind.api_version()),
        kind: Some(key.kind.as_str().to_owned()),
        namespace,
        name: Some(key.name.to_string()),
        ..ObjectReference::default()
    }
}

/// An event of this controller.
pub(super) fn event(type_: EventType, reason: &str, mut note: String) -> Event {
    // The API server takes at most 1 kB.
    while note.len() > 1000 {
        note.pop();
    }
    Event {
        type_,
        reason: reason.to_owned(),
        note: Some(note),
        action: "Reconcile".to_owned(),
        secondary: None,
    }
}

/// Publishes one event; a failure is logged, as no decision hangs on it.
pub(super) async fn publish(context: &Context, about: &ObjectReference, event: Event) {
    if let Err(error) = context.recorder.publish(&event, about).await {
        tracing::warn!(%error, reason = event.reason, "failed to publish an event");
    }
}
