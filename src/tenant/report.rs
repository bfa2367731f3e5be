//! What a reconcile reports: the status, and a log line and an Event when the reason of Ready changes.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    core::error_boundary::InvalidObject,
    runtime::{
        events::{Event, EventType},
        reflector::ObjectRef,
    },
};

use super::{Context, Error};
use crate::cluster::{custom, together::together};
use tenantry_api::{
    Reason,
    conditions::types::{READY, STALLED},
    names,
    v1alpha1::{NamespaceState, NamespaceStatus, Tenant, TenantNamespace, TenantNamespaceStatus, TenantStatus},
};
use tenantry_core::object::{Key, Kind};
use tenantry_core::tenant::{
    facts::Facts,
    outcome::{Applied, Failure},
    status,
    validate::{Invalid, ValidClaim, ValidTenant, Verdict},
};

/// The reason of Ready as it is stored: also one of another version. Empty if there is none.
fn reason(status: &TenantStatus) -> &str {
    let mut conditions = status.conditions.iter();
    let ready = conditions.find(|condition| condition.type_ == READY);
    ready.map_or("", |condition| &condition.reason)
}

/// Writes the status if it differs. If only usage differs and the last write is recent, returns the time to wait
/// instead.
pub(super) async fn write_status(
    tenant: &Tenant,
    name: &str,
    status: &TenantStatus,
    context: &Context,
) -> Result<Option<Duration>, Error> {
    let previous = tenant.status.clone().unwrap_or_default();
    context
        .memory
        .note(name, tenant.metadata.uid.as_deref().unwrap_or_default(), status);
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
    turn_away(name, &previous, status, context);
    announce(tenant, &previous, status, context);
    Ok(None)
}

/// Publishes an Event for each namespace that stays closed. It is about the home namespace's quota, so owners can read
/// it.
fn turn_away(name: &str, previous: &TenantStatus, status: &TenantStatus, context: &Context) {
    let is_closed = |seen: &&NamespaceStatus| seen.state == NamespaceState::Closed;
    for closed in status.namespaces.iter().filter(is_closed) {
        if previous.namespaces.contains(closed) {
            continue;
        }
        let quota = Key::new(Kind::ResourceQuota, &names::home(name), names::OBJECT);
        let about = reference(&quota);
        let why = closed.message.as_deref().unwrap_or_default();
        let note = format!("namespace {} stays closed: {why}", closed.name);
        // kube treats Events about the same objects as repetitions, and keeps the text of the first.
        let event = Event {
            secondary: Some(reference(&Key::namespace(&closed.name))),
            ..event(EventType::Warning, "NamespaceClosed", note)
        };
        context.events.publish(about, event);
    }
}

/// Writes the statuses of TenantNamespaces that differ and whose verdict matches `is_meant`.
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
    let statuses = meant.filter_map(|ValidClaim { seen, verdict }| {
        let claim = seen.0.as_ref().ok()?;
        Some((claim, status::of_claim(claim, verdict, valid, applied, now)))
    });
    write_each(statuses.collect(), context).await
}

/// Writes the statuses of an invalid Tenant's TenantNamespaces that differ.
pub(super) async fn write_claims_of_invalid(
    facts: &Facts,
    invalid: &Invalid,
    now: Timestamp,
    context: &Context,
) -> Result<(), Error> {
    let readable = facts.claims.iter().filter_map(|claim| claim.0.as_ref().ok());
    let statuses = readable.map(|claim| (claim, status::of_claim_of_invalid(claim, invalid, now)));
    write_each(statuses.collect(), context).await
}

/// Writes every status that differs, even after one failed. Then returns the first error, preferring any other error to
/// an outdated object.
async fn write_each(statuses: Vec<(&TenantNamespace, TenantNamespaceStatus)>, context: &Context) -> Result<(), Error> {
    let differ = statuses
        .into_iter()
        .filter(|(claim, status)| claim.status.as_ref() != Some(status));
    let writes = differ.map(async |(claim, status)| {
        let version = context.custom.status(claim, &status).await?;
        context.claims.wrote(claim, &status, version);
        Ok::<_, custom::Error>(())
    });
    let results = together(writes.collect()).await;
    let mut errors: Vec<Error> = results.into_iter().filter_map(Result::err).map(Error::from).collect();
    errors.sort_by_key(|error| matches!(error, Error::Outdated));
    errors.into_iter().next().map_or(Ok(()), Err)
}

/// Writes a log line, and publishes at most one Event, for each change of the reason of Ready.
fn announce(tenant: &Tenant, previous: &TenantStatus, status: &TenantStatus, context: &Context) {
    let (before, after) = (reason(previous), reason(status));
    if before == after {
        return;
    }
    let Some(ready) = status.conditions.iter().find(|condition| condition.type_ == READY) else {
        return;
    };
    tracing::info!(ready = %ready.status, reason = %ready.reason, previous = %before, message = %ready.message, "tenant changed");
    let stalled = |status: &TenantStatus| status.conditions.iter().any(|condition| condition.type_ == STALLED);
    let object = ObjectRef::from_obj(tenant).into();
    if stalled(status) || after == Reason::ApplyFailed.as_str() {
        let event = event(EventType::Warning, after, ready.message.clone());
        context.events.publish(object, event);
    } else if stalled(previous) && after == Reason::Reconciled.as_str() {
        let event = event(EventType::Normal, after, ready.message.clone());
        context.events.publish(object, event);
    }
}

/// Reports that somebody keeps changing a managed object.
pub(super) fn contested(tenant: &Tenant, key: &Key, context: &Context) {
    tracing::warn!(object = %key, "somebody keeps changing the object, and the operator keeps restoring it");
    let plural = key.kind.api_resource().plural;
    let within = match &*key.namespace {
        "" => String::new(),
        namespace => format!(" --namespace {namespace}"),
    };
    let note = format!(
        "somebody keeps changing {key}, and the operator keeps restoring it; to see who: kubectl get {plural} {}{within} --output yaml --show-managed-fields",
        key.name
    );
    let event = Event {
        secondary: Some(reference(key)),
        ..event(EventType::Warning, "Contested", note)
    };
    context.events.publish(ObjectRef::from_obj(tenant).into(), event);
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

/// An Event of this controller.
pub(super) fn event(type_: EventType, reason: &str, mut note: String) -> Event {
    // The API server accepts at most 1 kB.
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

/// Reports that a stored Tenant cannot be read, and the consequence.
pub(super) fn unreadable(name: &str, invalid: &InvalidObject, consequence: &str, context: &Context) {
    tracing::warn!(error = %invalid.error, consequence, "the stored Tenant cannot be read");
    let note = format!("the stored object cannot be read: {}; {consequence}", invalid.error);
    let about = ObjectRef::<Tenant>::new(name).into();
    context
        .events
        .publish(about, event(EventType::Warning, "Undecodable", note));
}

/// Combines the errors from writing objects and from writing statuses. Returns the worse one and logs the other; of two
/// that are equally bad, returns that of the objects.
pub(super) fn settle<T>(failures: Vec<Failure>, written: Result<T, Error>) -> Result<T, Error> {
    match (Error::from_failures(failures), written) {
        (Ok(()), written) => written,
        (Err(objects), Ok(_)) => Err(objects),
        (Err(Error::Outdated), Err(status)) => Err(status),
        (Err(objects), Err(status)) => {
            tracing::warn!(error = %status, "writing the status failed too");
            Err(objects)
        }
    }
}
