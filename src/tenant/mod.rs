//! The tenant controller: [`reconcile`] is five steps, one file each.
//!
//! ```text
//! dereference (caches) -> validate (pure) -> build (pure) -> apply (writes) -> status (pure, one write)
//! ```
//!
//! A settled Tenant costs no call: live objects come from watches, and an object that is as desired is not written.

pub mod activity;
pub mod apply;
pub mod claim_finalizers;
pub mod claims;
pub mod cleanup;
pub mod controller;
pub mod deletions;
pub mod error;
pub mod events;
#[cfg(test)]
pub(crate) mod fixture;
pub mod memory;
pub mod pending;
pub mod refusals;
mod report;
pub mod template_changes;
pub mod uses;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use kube::{
    Resource as _, ResourceExt as _,
    api::ObjectMeta,
    core::{DeserializeGuard, error_boundary::InvalidObject},
    runtime::{
        controller::Action,
        events::EventType,
        reflector::{ObjectRef, Store},
    },
};

pub use self::error::Error;
use self::{
    activity::Activity,
    claim_finalizers::is_deleted,
    claims::Claims,
    events::Events,
    memory::Memory,
    pending::PendingQuotas,
    refusals::Refusals,
    report::{event, settle, write_claims, write_claims_of_invalid, write_status},
};
use crate::{
    cluster::{Inventory, custom::CustomWriter, writer::Writer},
    metrics,
};
use tenantry_api::{
    Reason,
    conditions::types::READY,
    names,
    v1alpha1::{DeletionPolicy, TemplateRef, Tenant, TenantSpec, TenantState, TenantTemplate},
};
use tenantry_core::{
    object::{Key, Kind},
    settings::Settings,
    tenant::{
        build,
        facts::{self, Claim, Deletions, Facts, Served, Template, dereference},
        outcome::{Applied, Failure, Progress},
        status,
        validate::{self, ValidTenant, Verdict, validate},
    },
};
use tenantry_process::{clock::Clock, controller::Harness};

/// Name of the controller in logs, metrics and events.
pub const CONTROLLER: &str = "tenant";

/// How long conflicts with other writers may repeat before the status reports them.
const STUCK: Duration = Duration::from_secs(60);

/// How long the quota controller may take to count TenantNamespaces before the operator writes their quota again. The
/// quota controller notices a new kind within 30 s. It revisits a quota that it already processed only after five
/// minutes, or when the spec changes.
const NUDGE: Duration = Duration::from_secs(15);

/// What a reconcile works with.
pub struct Context {
    /// Writes the status and the finalizer of Tenants.
    pub custom: CustomWriter,
    /// Writes managed objects.
    pub writer: Writer,
    /// Live objects.
    pub inventory: Arc<Inventory>,
    /// TenantNamespaces.
    pub claims: Arc<Claims>,
    /// Templates.
    pub templates: Store<DeserializeGuard<TenantTemplate>>,
    /// Optional kinds that the cluster serves.
    pub served: tokio::sync::watch::Receiver<Served>,
    /// What differs from cluster to cluster.
    pub settings: Settings,
    /// Quota writes whose outcome is not known.
    pub pending: PendingQuotas,
    /// When the usage of each quota last changed.
    pub activity: Activity,
    /// Recent refusals by quotas.
    pub refusals: Arc<Refusals>,
    /// What this process remembers of each Tenant.
    pub memory: Memory,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Events.
    pub events: Events,
    /// Metrics.
    pub metrics: Arc<metrics::Metrics>,
    /// Runs reconciles.
    pub harness: Harness,
}

impl Context {
    /// Forgets a deleted Tenant.
    pub fn forget(&self, tenant: &str) {
        self.memory.forget(tenant);
        self.pending.forget(tenant);
        self.activity.forget(tenant);
        self.inventory.wait_for_none(tenant);
    }

    /// Forgets the Tenants that are not in `store`. A reconcile that was running when its Tenant was deleted may have
    /// noted it after [`Self::forget`].
    pub fn forget_gone(&self, store: &Store<DeserializeGuard<Tenant>>) {
        let uid = |name: &str| {
            store
                .get(&ObjectRef::new(name))
                .map(|tenant| tenant.uid().unwrap_or_default())
        };
        self.memory.forget_gone(uid);
        self.inventory.forget_waiting(|name| uid(name).is_some());
        self.harness.forget_gone(store);
    }
}

/// Reconciles one Tenant. Invalid user input becomes a condition, never an error.
pub async fn reconcile(guard: Arc<DeserializeGuard<Tenant>>, context: Arc<Context>) -> Result<Action, Error> {
    let name = guard.name_any();
    let span =
        |id: &str| tracing::info_span!("reconcile", controller = CONTROLLER, tenant = %name, correlation_id = %id);
    // Boxed because it is large, and would be copied into two more futures.
    let work = Box::pin(reconcile_guarded(&guard, &name, &context));
    context.harness.reconcile(&*guard, span, work).await
}

async fn reconcile_guarded(
    guard: &DeserializeGuard<Tenant>,
    name: &str,
    context: &Context,
) -> Result<(metrics::Outcome, Action), Error> {
    match &guard.0 {
        Ok(tenant) if tenant.metadata.deletion_timestamp.is_some() => finish(tenant, name, context).await,
        Ok(tenant) => run(tenant, name, context).await,
        Err(invalid) if invalid.metadata.deletion_timestamp.is_some() => {
            finish_unreadable(invalid, name, context).await
        }
        Err(invalid) => {
            if context.memory.is_unreported(name, "Undecodable") {
                report::unreadable(name, invalid, "apply it again in its current form", context);
            }
            claim_finalizers::release_cascaded(name, context).await?;
            Ok((metrics::Outcome::Waiting, Action::await_change()))
        }
    }
}

/// The five steps for a Tenant that is not being deleted.
async fn run(tenant: &Tenant, name: &str, context: &Context) -> Result<(metrics::Outcome, Action), Error> {
    let with_finalizer;
    let tenant = if has_finalizer(tenant) {
        tenant
    } else {
        with_finalizer = context.custom.finalizer(tenant, names::CLEANUP, true).await?;
        // Nobody writes quotas of a Tenant without the finalizer, so no other process has written any.
        context.pending.is_mine(name);
        &with_finalizer
    };
    let now = context.clock.now();

    // dereference: caches only. The operator starts to wait for a foreign namespace before it reads the cache, so that
    // it misses no change.
    let home = names::home(name);
    // The finalizers come before any namespace of a TenantNamespace is created.
    let added = claim_finalizers::add_missing(&home, context).await;
    let claims = context.claims.within(&home);
    let named = facts::names_of(tenant, name, &claims);
    let named = named.iter().map(String::as_str);
    context.inventory.wait_for_namespaces(name, named);
    let is_ending = claims.iter().any(|claim| is_deleted(claim.meta()));
    let mut facts = facts(tenant, name, claims, context);
    // The only read from the API server: caches may not know yet why a TenantNamespace is being deleted.
    let mut unanswered = None;
    if is_ending {
        match deletions::of_claims(&context.writer, &home).await {
            Ok(deletions) => facts.deletions = deletions,
            Err(error) => unanswered = Some(Failure::from(error)),
        }
    }

    // validate: pure
    let valid = match validate(tenant, &facts, &context.settings) {
        Ok(valid) => valid,
        Err(invalid) => {
            // Removed owners lose their rights even while the Tenant is invalid.
            let allowed = validate::subjects_by_binding(tenant, &facts);
            let mut applied = Applied::default();
            apply::withdraw_rights(
                &context.writer,
                tenant.metadata.uid.as_deref(),
                &facts,
                &allowed,
                &mut applied,
            )
            .await;
            if tenant.spec.state == TenantState::Frozen {
                apply::freeze(&context.writer, tenant.metadata.uid.as_deref(), &facts, &mut applied).await;
            }
            let status = status::of_invalid(tenant, &invalid, now);
            let written = match write_status(tenant, name, &status, context).await {
                Ok(_) => write_claims_of_invalid(&facts, &invalid, now, context).await,
                Err(error) => Err(error),
            };
            applied.failures.extend(unanswered);
            settle(applied.failures, written)?;
            if facts.deletions == Deletions::Cascaded {
                claim_finalizers::release(&home, context, is_deleted).await?;
            }
            added?;
            return Ok((metrics::Outcome::Waiting, Action::await_change()));
        }
    };

    // build: pure, cannot fail
    let mut objects = build::build(&valid);
    // A namespace is not created before its TenantNamespace has the finalizer.
    let lacking_finalizer = lacking_finalizer(&valid, &facts);
    objects.retain(|objects| !lacking_finalizer.contains(&*objects.namespace.key.name));

    // apply: writes what differs
    let mut applied = apply::apply(&context.writer, &context.pending, &valid, &facts, &objects).await;

    applied.failures.extend(unanswered);
    let finalizers = added.and(claim_finalizers::release_done(&valid, context).await);

    let written = std::mem::take(&mut applied.written);
    for key in context.memory.written(name, written, context.clock.monotonic()) {
        report::contested(tenant, &key, context);
    }

    arrive(name, &applied, context)?;

    // No quota is raised before all are fenced against writes of an earlier leader. The fences are written now, so
    // reconcile again at once.
    if valid.quota.fence.is_some() && applied.failures.is_empty() {
        return Ok((metrics::Outcome::Changed, Action::requeue(Duration::ZERO)));
    }

    // status: pure, one write if it differs
    let status = status::of_applied(tenant, &valid, &applied, now);
    let at = context.clock.monotonic();
    let awaits_quota = applied.failures.is_empty() && status::awaits_quota(&status);
    if awaits_quota && let Some(quiet) = context.memory.quiet(name, at) {
        // A refused TenantNamespace waits for no quota, so its status is written now.
        let is_refused = |verdict: &Verdict| matches!(verdict, Verdict::Refused { .. });
        write_claims(&valid, &applied, now, is_refused, context).await?;
        finalizers?;
        let wait = valid.quota.look_again.map_or(quiet, |again| quiet.min(again));
        return Ok((metrics::Outcome::Changed, Action::requeue(wait)));
    }
    let written = match write_status(tenant, name, &status, context).await {
        Ok(wait) => write_claims(&valid, &applied, now, |_| true, context)
            .await
            .map(|()| wait),
        Err(error) => Err(error),
    };
    // Only after the status is written: a failed write is retried at once.
    if written.is_ok() && awaits_quota {
        context.memory.reported_wait(name, at);
    } else if written.is_ok() && applied.failures.is_empty() {
        context.memory.counted(name, at);
    }
    let Applied {
        namespaces,
        changed,
        failures,
        ..
    } = applied;
    for namespace in &namespaces {
        if let Progress::Conflict(_) = namespace.progress {
            context.inventory.wait_for_namespace(&namespace.name, name);
        }
    }
    let wait = settle(failures, written)?;
    finalizers?;
    let outcome = match (changed, status::reason(&status, READY)) {
        (true, _) => metrics::Outcome::Changed,
        (false, Some(Reason::Reconciled)) => metrics::Outcome::Unchanged,
        (false, _) => metrics::Outcome::Waiting,
    };
    let wait = wait
        .into_iter()
        .chain(facts.refusals_end)
        .chain(facts.look_again)
        .chain(valid.quota.look_again)
        .min();
    Ok((outcome, wait.map_or_else(Action::await_change, Action::requeue)))
}

/// Namespaces that do not exist yet and whose TenantNamespaces lack the finalizer.
fn lacking_finalizer(valid: &ValidTenant, facts: &Facts) -> BTreeSet<String> {
    let lacking = valid
        .claims
        .iter()
        .filter(|claim| !claim_finalizers::has_finalizer(claim.seen.meta()));
    lacking
        .filter_map(|claim| match &claim.verdict {
            Verdict::Granted(namespace) if !facts.namespaces.contains_key(namespace) => Some(namespace.clone()),
            Verdict::Granted(_) | Verdict::Refused { .. } | Verdict::Withdrawn { .. } => None,
        })
        .collect()
}

/// Carries out the deletion of a Tenant.
async fn finish(tenant: &Tenant, name: &str, context: &Context) -> Result<(metrics::Outcome, Action), Error> {
    if !has_finalizer(tenant) {
        return Ok((metrics::Outcome::Unchanged, Action::await_change()));
    }
    let facts = facts(tenant, name, Vec::new(), context);
    // The Tenant's deletion is enough to release all its TenantNamespaces, and nobody would release them later.
    let released = claim_finalizers::release(&names::home(name), context, |_| true).await;
    let remaining = cleanup::cleanup(&context.writer, tenant, &facts).await;
    if let Some(kept) = &remaining.kept {
        let (reason, message) = (kept.why.reason(), status::kept_message(kept));
        tracing::warn!(%reason, message, "the tenant is deleted and its namespaces stay");
        let note = event(EventType::Warning, reason.as_str(), message);
        context.events.publish(ObjectRef::from_obj(tenant).into(), note);
    }
    released?;
    // The status reports what was kept before the Tenant is gone; the next look no longer finds those namespaces.
    if remaining.is_nothing() && remaining.kept.is_some() {
        let status = status::of_deleting(tenant, &remaining, context.clock.now());
        write_status(tenant, name, &status, context).await?;
        return Ok((metrics::Outcome::Changed, Action::requeue(Duration::ZERO)));
    }
    if remaining.is_nothing() {
        context.custom.finalizer(tenant, names::CLEANUP, false).await?;
        context.forget(name);
        tracing::info!("the tenant is deleted");
        return Ok((metrics::Outcome::Changed, Action::await_change()));
    }
    arrive(name, &remaining.applied, context)?;
    let status = status::of_deleting(tenant, &remaining, context.clock.now());
    let written = write_status(tenant, name, &status, context).await;
    settle(remaining.applied.failures, written)?;
    Ok((metrics::Outcome::Waiting, Action::await_change()))
}

/// Carries out the deletion of a Tenant that cannot be read. Its deletionPolicy is not known, so nothing is deleted: as
/// with Retain, its namespaces stay without owners. Its status stays unchanged.
async fn finish_unreadable(
    invalid: &InvalidObject,
    name: &str,
    context: &Context,
) -> Result<(metrics::Outcome, Action), Error> {
    let tenant = retained(&invalid.metadata);
    if !has_finalizer(&tenant) {
        return Ok((metrics::Outcome::Unchanged, Action::await_change()));
    }
    if context.memory.is_unreported(name, "UndecodableDeleted") {
        let consequence = "it is deleted as with deletionPolicy Retain: its namespaces stay, without owners";
        report::unreadable(name, invalid, consequence, context);
    }
    let facts = facts(&tenant, name, Vec::new(), context);
    let released = claim_finalizers::release(&names::home(name), context, |_| true).await;
    let remaining = cleanup::cleanup(&context.writer, &tenant, &facts).await;
    released?;
    if remaining.is_nothing() {
        let custom = &context.custom;
        custom
            .finalizer_of_unreadable::<Tenant>(&invalid.metadata, names::CLEANUP, false)
            .await?;
        context.forget(name);
        tracing::info!("the tenant is deleted");
        return Ok((metrics::Outcome::Changed, Action::await_change()));
    }
    arrive(name, &remaining.applied, context)?;
    Error::from_failures(remaining.applied.failures)?;
    Ok((metrics::Outcome::Waiting, Action::await_change()))
}

/// A Tenant with only its metadata and deletionPolicy Retain.
fn retained(metadata: &ObjectMeta) -> Tenant {
    let spec = TenantSpec {
        template_ref: TemplateRef { name: String::new() },
        owners: Vec::new(),
        namespaces: Vec::new(),
        overrides: None,
        state: TenantState::default(),
        deletion_policy: DeletionPolicy::Retain,
        deletion_protection: false,
        branding: None,
    };
    let metadata = metadata.clone();
    Tenant {
        metadata,
        spec,
        status: None,
    }
}

/// Notes that the operator has done what it can for now. If all failures are objects that changed since they were seen,
/// returns [`Error::Outdated`] instead: the retry follows at once, so the status need not report it.
fn arrive(name: &str, applied: &Applied, context: &Context) -> Result<(), Error> {
    let outdated = applied.failures.iter().all(Failure::is_outdated);
    if !applied.failures.is_empty() && outdated && context.memory.under_way(name, context.clock.monotonic()) < STUCK {
        return Err(Error::Outdated);
    }
    context.memory.arrived(name);
    Ok(())
}

fn has_finalizer(tenant: &Tenant) -> bool {
    tenant.finalizers().iter().any(|finalizer| finalizer == names::CLEANUP)
}

fn facts(tenant: &Tenant, name: &str, claims: Vec<Claim>, context: &Context) -> Facts {
    let key = ObjectRef::<DeserializeGuard<TenantTemplate>>::new(&tenant.spec.template_ref.name);
    let template = match context.templates.get(&key).as_deref() {
        None => Template::Missing,
        Some(DeserializeGuard(Ok(template))) => Template::Found(Arc::new(template.spec.clone())),
        Some(DeserializeGuard(Err(error))) => Template::Undecodable(error.to_string()),
    };
    let facts = dereference(
        tenant,
        name,
        template,
        claims,
        &*context.inventory,
        context.served.borrow().clone(),
    );
    let now = context.clock.monotonic();
    let uncounted = uncounted_home(name, &facts).map(|version| context.memory.uncounted(name, version, now));
    let quotas = facts.live.keys().filter(|key| key.kind == Kind::ResourceQuota);
    let refused: Vec<_> = quotas
        .map(|key| (key.namespace.to_string(), context.refusals.of(&key.namespace, now)))
        .collect();
    Facts {
        pending: context.pending.of_tenant(name, &context.inventory),
        own_writes: context.pending.own_writes(name),
        process: context.pending.process().to_owned(),
        busy: context.activity.busy(name, &facts.live, now),
        nudge_home: uncounted.is_some_and(|since| since >= NUDGE),
        look_again: uncounted.map(|since| NUDGE.saturating_sub(since)),
        refusals_end: refused.iter().filter_map(|(_, (_, end))| *end).min(),
        refusals: refused
            .into_iter()
            .map(|(namespace, (refusals, _))| (namespace, refusals))
            .collect(),
        ..facts
    }
}

/// The version of the home namespace's quota, if the quota controller does not count TenantNamespaces in it.
fn uncounted_home(name: &str, facts: &Facts) -> Option<u64> {
    let quota = facts
        .live
        .get(&Key::new(Kind::ResourceQuota, &names::home(name), names::OBJECT))?;
    let status = &quota.body()["status"];
    (status["hard"].get(names::CLAIMS).is_some() && status["used"].get(names::CLAIMS).is_none())
        .then_some(quota.version)
}

#[cfg(test)]
mod tests;
