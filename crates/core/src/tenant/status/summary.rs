//! Namespaces and amounts in the status of a Tenant.

use serde_json::Value;

use super::conflicts;
use crate::tenant::{
    build::Place,
    outcome::{Applied, Progress},
    validate::{Rights, ValidTenant},
};
use tenantry_api::{
    quantity::Quantity,
    v1alpha1::{NamespaceState, NamespaceStatus, QuotaStatus},
};

/// Entries of `status.namespaces`.
const MOST: usize = 200;

/// Every namespace of the tenant, in order of name.
pub(super) fn namespaces(valid: &ValidTenant, applied: &Applied) -> Vec<NamespaceStatus> {
    let entry = |name: &str, state, message: Option<&str>| NamespaceStatus {
        name: name.to_owned(),
        state,
        message: message.map(str::to_owned),
    };
    let mut all: Vec<_> = applied
        .namespaces
        .iter()
        .filter_map(|namespace| {
            Some(match (&namespace.progress, namespace.place) {
                (Progress::Conflict(_), _) => return None,
                (Progress::Failed, _) => entry(&namespace.name, NamespaceState::Pending, None),
                (Progress::AwaitingQuota | Progress::Complete, Place::Retained) => {
                    entry(&namespace.name, NamespaceState::Retained, None)
                }
                (Progress::AwaitingQuota, Place::Wanted | Place::Home) => entry(
                    &namespace.name,
                    NamespaceState::Fenced,
                    Some("the quota controller has not counted the quota yet"),
                ),
                (Progress::Complete, Place::Home) => entry(&namespace.name, NamespaceState::Home, None),
                (Progress::Complete, Place::Wanted) if valid.members.is_empty() || valid.rights != Rights::Granted => {
                    entry(&namespace.name, NamespaceState::Fenced, None)
                }
                (Progress::Complete, Place::Wanted) => entry(&namespace.name, NamespaceState::Active, None),
            })
        })
        .collect();
    all.extend(
        conflicts(valid, &applied.namespaces)
            .map(|(name, message)| entry(name, NamespaceState::Conflict, Some(message))),
    );
    all.extend(
        applied
            .leaving
            .iter()
            .map(|going| entry(&going.name, NamespaceState::Terminating, going.held.as_deref())),
    );
    all.extend(
        valid
            .turned_away
            .iter()
            .map(|away| entry(&away.key.name, NamespaceState::Closed, Some(&away.message))),
    );
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all.dedup_by(|a, b| a.name == b.name);
    // As many as the schema allows; the column NAMESPACES counts all.
    all.truncate(MOST);
    all
}

/// Grant, allocation and use of each limited resource.
pub(super) fn quota(valid: &ValidTenant, applied: &Applied) -> Vec<QuotaStatus> {
    let bodies: Vec<Value> = applied
        .namespaces
        .iter()
        .filter_map(|namespace| namespace.quota.as_ref().map(|quota| quota.body()))
        .collect();
    let sum = |path: &str, resource: &str, grant: Quantity| {
        let amounts = bodies
            .iter()
            .filter_map(|body| body.pointer(path)?.get(resource)?.as_str()?.parse::<Quantity>().ok());
        amounts
            .fold(Quantity::from_nanos(0, grant.format()), Quantity::saturating_add)
            .with_format(grant.format())
    };
    let entry = |(resource, grant): (&String, &Quantity)| QuotaStatus {
        resource: resource.clone(),
        grant: *grant,
        allocated: sum("/spec/hard", resource, *grant),
        used: sum("/status/used", resource, *grant),
    };
    valid.quota.grants.iter().map(entry).collect()
}

/// The resource with the largest share in use, in whole percent.
pub(super) fn fullest(quota: &[QuotaStatus]) -> Option<String> {
    let percent = |entry: &QuotaStatus| {
        (entry.grant.nanos() > 0).then(|| entry.used.nanos().saturating_mul(100) / entry.grant.nanos())
    };
    let fullest = quota
        .iter()
        .filter_map(|entry| percent(entry).map(|percent| (percent, entry)));
    // The first of equals, so that the result is stable.
    let (percent, entry) = fullest.reduce(|best, next| if next.0 > best.0 { next } else { best })?;
    Some(format!("{} {percent}%", entry.resource))
}
