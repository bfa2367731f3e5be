//! Step 4: write the objects, guards before rights, and delete those that are no longer desired.
//!
//! The order in every run: first the operator withdraws rights that nobody should have any more. Then each namespace
//! gets its Namespace and its guards. It gets its RoleBindings only when all guards exist and the quota controller has
//! filled the quota's status. Last, the remaining surplus objects are deleted. An object that is as desired costs no
//! call.

use std::{collections::BTreeMap, collections::BTreeSet, sync::Arc};

use futures::{StreamExt as _, future, stream};
use serde_json::{Map, Value};

use super::pending::PendingQuotas;
use crate::cluster::{
    together::together,
    writer::{self, Outcome, Writer},
};
use tenantry_api::{
    names,
    v1alpha1::{DirectOverflow, PodSecurity},
};
use tenantry_core::object::{Key, Kind, Live, Object};
use tenantry_core::tenant::{
    build::NamespaceObjects,
    facts::Facts,
    outcome::{Applied, AppliedNamespace, Failure, Progress},
    validate::ValidTenant,
};

/// Brings the cluster to `objects`.
pub async fn apply(
    writer: &Writer,
    pending: &PendingQuotas,
    tenant: &ValidTenant,
    facts: &Facts,
    objects: &[NamespaceObjects],
) -> Applied {
    let mut applied = Applied::default();
    let rights = objects.iter().flat_map(|namespace| &namespace.rights);
    let allowed = rights
        .map(|right| (right.key.clone(), subjects(&right.content["subjects"])))
        .collect();
    withdraw_rights(writer, tenant.uid.as_deref(), facts, &allowed, &mut applied).await;
    // The withdrawal changed the bindings, so read them again. Keep everything else as it was seen: a write must carry
    // the version from which it was computed.
    let refreshed = applied
        .changed
        .then(|| with_bindings(facts, writer.of_tenant(&tenant.name)));
    let facts = refreshed.as_ref().unwrap_or(facts);
    leaving::leave(writer, tenant, facts, &mut applied).await;
    let overflow = tenant
        .turned_away
        .iter()
        .filter(|away| away.overflow == DirectOverflow::Remove && !away.live.deleting);
    let deletes: Vec<_> = overflow.map(|away| writer.delete(&away.key, &away.live)).collect();
    for result in together(deletes).await {
        record(&mut applied, result);
    }
    // Collected first: a lazy iterator of borrowing futures is not Send for every lifetime (rust-lang/rust#102211).
    let runs: Vec<_> = objects
        .iter()
        .map(|objects| apply_namespace(writer, pending, tenant, facts, objects))
        .collect();
    // A tenant has at most a hundred namespaces. Eight at a time keep one tenant from crowding out the others.
    let runs: Vec<Run> = stream::iter(runs).buffered(8).collect().await;
    for Run {
        namespace,
        written,
        failures,
    } in runs
    {
        applied.namespaces.push(namespace);
        applied.changed |= !written.is_empty();
        let lasting = |key: &Key| key.kind != Kind::ResourceQuota;
        applied.written.extend(written.into_iter().filter(lasting));
        applied.failures.extend(failures);
    }
    prune(writer, tenant, facts, objects, &mut applied).await;
    applied
}

/// `facts` with the RoleBindings replaced by those in `newer`.
fn with_bindings(facts: &Facts, newer: BTreeMap<Key, Arc<Live>>) -> Facts {
    let mut facts = facts.clone();
    facts.live.retain(|key, _| key.kind != Kind::RoleBinding);
    let bindings = newer.into_iter().filter(|(key, _)| key.kind == Kind::RoleBinding);
    facts.live.extend(bindings);
    facts
}

/// Records the result of one write.
fn record(applied: &mut Applied, result: Result<(), writer::Error>) {
    match result {
        Ok(()) => applied.changed = true,
        Err(error) => applied.failures.push(error.into()),
    }
}

/// Withdraws every live right that `allowed` does not contain, before anything else, and whether or not other writes
/// fail.
///
/// `allowed` has the subjects that each RoleBinding may keep. A binding that it does not name is deleted, and so is one
/// whose roleRef differs from its name. A binding that lost its owner reference is still ours, by its labels.
pub(super) async fn withdraw_rights(
    writer: &Writer,
    uid: Option<&str>,
    facts: &Facts,
    allowed: &BTreeMap<Key, Vec<Value>>,
    applied: &mut Applied,
) {
    let bindings = facts.live.iter().filter(|(key, live)| {
        key.kind == Kind::RoleBinding && uid.is_some() && (live.owner.is_none() || live.is_owned_by(uid))
    });
    let mut withdrawals = Vec::new();
    for (key, live) in bindings {
        let body = live.body();
        let current = body["subjects"].as_array().map_or(&[][..], Vec::as_slice);
        let as_named = body["roleRef"]["kind"] == "ClusterRole" && body["roleRef"]["name"] == *key.name;
        let allowed = allowed.get(key).filter(|_| as_named).map_or(&[][..], Vec::as_slice);
        let remaining: Vec<Value> = current
            .iter()
            .filter(|subject| allowed.contains(subject))
            .cloned()
            .collect();
        if remaining.len() == current.len() && !remaining.is_empty() {
            continue;
        }
        let restricted = (!remaining.is_empty()).then(|| Object {
            key: key.clone(),
            labels: Map::new(),
            annotations: Map::new(),
            owner: body["metadata"]["ownerReferences"].get(0).cloned(),
            content: Map::from_iter([
                ("roleRef".to_owned(), body["roleRef"].clone()),
                ("subjects".to_owned(), Value::Array(remaining)),
            ]),
        });
        withdrawals.push(async move {
            match restricted {
                None => writer.delete(key, live).await,
                Some(restricted) => writer.ensure(&restricted, Some(live)).await.map(drop),
            }
        });
    }
    for result in together(withdrawals).await {
        record(applied, result);
    }
}

/// Sets every TenantPolicy to refuse the tenant's writes, even if nothing else can be done for the tenant.
pub(super) async fn freeze(writer: &Writer, uid: Option<&str>, facts: &Facts, applied: &mut Applied) {
    let policies = facts
        .live
        .iter()
        .filter(|(key, live)| key.kind == Kind::TenantPolicy && live.is_owned_by(uid));
    let freezes: Vec<_> = policies.map(|(key, live)| writer.freeze(key, live)).collect();
    for result in together(freezes).await {
        match result {
            Ok(false) => {}
            result => record(applied, result.map(drop)),
        }
    }
}

struct Run {
    namespace: AppliedNamespace,
    written: Vec<Key>,
    failures: Vec<Failure>,
}

impl Run {
    /// Records the result for the Namespace; returns whether the Namespace exists now.
    fn note_namespace(&mut self, desired: &Object, result: Result<Outcome, writer::Error>) -> bool {
        if let Err(writer::Error::Foreign { .. }) = result {
            self.namespace.progress =
                Progress::Conflict("it exists and does not belong to this tenant; choose another name".to_owned());
            return false;
        }
        self.note(desired, result).is_some()
    }

    fn note(&mut self, desired: &Object, result: Result<Outcome, writer::Error>) -> Option<Arc<Live>> {
        match result {
            Ok(Outcome::Unchanged(live)) => Some(live),
            Ok(Outcome::Changed(live) | Outcome::Created(live)) => {
                self.written.push(desired.key.clone());
                Some(live)
            }
            Err(error) => {
                self.failures.push(error.into());
                None
            }
        }
    }
}

/// Whether the desired Pod Security Standard is laxer than the current one.
fn loosens(live: &Live, desired: &Object) -> bool {
    let key = format!("{}{}", names::POD_SECURITY, names::POD_SECURITY_MODES[0]);
    let level = |label: &Value| {
        let levels = [PodSecurity::Privileged, PodSecurity::Baseline, PodSecurity::Restricted];
        levels.into_iter().find(|level| label.as_str() == Some(level.label()))
    };
    level(&live.body()["metadata"]["labels"][&key]) > desired.labels.get(&key).and_then(level)
}

async fn apply_namespace(
    writer: &Writer,
    pending: &PendingQuotas,
    tenant: &ValidTenant,
    facts: &Facts,
    objects: &NamespaceObjects,
) -> Run {
    let NamespaceObjects {
        place,
        namespace,
        guards,
        extras,
        rights,
    } = objects;
    let name = namespace.key.name.to_string();
    let mut run = Run {
        namespace: AppliedNamespace {
            name: name.clone(),
            place: *place,
            progress: Progress::Failed,
            quota: None,
            monitors: BTreeSet::new(),
        },
        written: Vec::new(),
        failures: Vec::new(),
    };
    let existing = facts.namespaces.get(&name).or_else(|| facts.live.get(&namespace.key));
    // A laxer Pod Security Standard is written last: nothing is opened before everything else is closed.
    let loosened = existing.is_some_and(|live| loosens(live, namespace));
    let mut created = false;
    if !loosened {
        let result = writer.ensure(namespace, existing).await;
        created = matches!(result, Ok(Outcome::Created(_)));
        if !run.note_namespace(namespace, result) {
            return run;
        }
    }

    // A namespace that was just created is empty. Guards that are known for it belong to an earlier namespace of that
    // name.
    let live = |object: &Object| facts.live.get(&object.key).filter(|_| !created);
    let ensure = async |object: &Object| {
        if object.key.kind == Kind::ResourceQuota {
            pending.write(writer, &tenant.name, object, live(object)).await
        } else {
            writer.ensure(object, live(object)).await
        }
    };
    // LimitRange before ResourceQuota: a quota without defaults makes the API server refuse pods that name no
    // resources.
    let (ordered, independent): (Vec<_>, Vec<_>) = guards
        .iter()
        .partition(|object| matches!(object.key.kind, Kind::LimitRange | Kind::ResourceQuota));
    let ordered = async {
        let mut results = Vec::new();
        for object in ordered {
            results.push((object, ensure(object).await));
        }
        results
    };
    let independent = future::join_all(
        independent
            .into_iter()
            .chain(extras)
            .map(async |object| (object, ensure(object).await)),
    );
    // In an existing namespace, people may be at work: close exposures before a smaller quota takes effect. In a new
    // one nobody has rights yet, so the order does not matter.
    let (ordered, independent) = if existing.is_some() {
        let independent = independent.await;
        (ordered.await, independent)
    } else {
        future::join(ordered, independent).await
    };

    let mut guards_exist = true;
    for (object, result) in ordered.into_iter().chain(independent) {
        let present = run.note(object, result);
        guards_exist &= present.is_some() || !object.key.kind.is_guard();
        match (object.key.kind, present) {
            (Kind::ResourceQuota, present) => run.namespace.quota = present,
            (kind, Some(_)) if kind.is_optional() => {
                run.namespace.monitors.insert(kind);
            }
            _ => {}
        }
    }
    if !guards_exist || (loosened && !run.note_namespace(namespace, writer.ensure(namespace, existing).await)) {
        return run;
    }
    let enforced = run
        .namespace
        .quota
        .as_ref()
        .is_some_and(|quota| is_counted(&quota.body()));
    let is_new = |right: &Object| {
        let current = live(right)
            .map(|live| subjects(&live.body()["subjects"]))
            .unwrap_or_default();
        subjects(&right.content["subjects"])
            .iter()
            .any(|subject| !current.contains(subject))
    };
    if !enforced && rights.iter().any(is_new) {
        run.namespace.progress = Progress::AwaitingQuota;
        return run;
    }
    let results = future::join_all(rights.iter().map(&ensure)).await;
    let complete = rights
        .iter()
        .zip(results)
        .map(|(right, result)| run.note(right, result))
        .fold(true, |all, present| all & present.is_some());
    if complete {
        run.namespace.progress = if enforced {
            Progress::Complete
        } else {
            Progress::AwaitingQuota
        };
    }
    run
}

/// Whether the quota controller has filled the status for every key of the quota: until then the quota enforces
/// nothing.
fn is_counted(quota: &Value) -> bool {
    let empty = Map::new();
    let keys = |path: &str| {
        quota
            .pointer(path)
            .and_then(Value::as_object)
            .unwrap_or(&empty)
            .keys()
            .collect::<BTreeSet<_>>()
    };
    keys("/spec/hard").is_subset(&keys("/status/hard"))
        && keys("/spec/hard")
            .iter()
            .all(|key| quota["status"]["used"].get(key.as_str()).is_some() || is_unknown(key))
}

/// Whether no evaluator counts the resource, so that it never appears in `used`. Our own kind is counted at the latest
/// after the quota controller's next discovery, which runs every 30 s.
fn is_unknown(resource: &str) -> bool {
    resource.starts_with("count/") && resource != names::CLAIMS
}

/// Deletes objects that are ours, are in a namespace that stays, and are not desired.
///
/// A guard is deleted only if every desired guard of its namespace exists. An object of another kind is deleted only if
/// no write of its kind failed there, because the object that could not be written may replace it.
async fn prune(
    writer: &Writer,
    tenant: &ValidTenant,
    facts: &Facts,
    objects: &[NamespaceObjects],
    applied: &mut Applied,
) {
    let desired: BTreeSet<&Key> = objects
        .iter()
        .flat_map(NamespaceObjects::all)
        .map(|object| &object.key)
        .collect();
    let stays: BTreeSet<&str> = objects.iter().map(|objects| &*objects.namespace.key.name).collect();
    let guarded: BTreeSet<&str> = applied
        .namespaces
        .iter()
        .filter(|namespace| match namespace.progress {
            Progress::AwaitingQuota | Progress::Complete => true,
            Progress::Failed | Progress::Conflict(_) => false,
        })
        .map(|namespace| &*namespace.name)
        .collect();
    let failed: BTreeSet<(Kind, &str)> = applied
        .failures
        .iter()
        .filter_map(|failure| failure.key.as_ref())
        .map(|key| (key.kind, key.home()))
        .collect();
    let is_replaced =
        |key: &Key| !failed.contains(&(key.kind, key.home())) && (!key.kind.is_guard() || guarded.contains(key.home()));
    let surplus = facts.live.iter().filter(|(key, live)| {
        !matches!(key.kind, Kind::Namespace | Kind::RoleBinding)
            && stays.contains(key.home())
            && !desired.contains(key)
            && !live.deleting
            && live.is_owned_by(tenant.uid.as_deref())
            && is_replaced(key)
    });
    let deletes: Vec<_> = surplus.map(|(key, live)| writer.delete(key, live)).collect();
    for result in together(deletes).await {
        record(applied, result);
    }
}

fn subjects(subjects: &Value) -> Vec<Value> {
    subjects.as_array().cloned().unwrap_or_default()
}

mod leaving;
#[cfg(test)]
mod tests;
