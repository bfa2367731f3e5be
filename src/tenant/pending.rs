//! Quota writes whose outcome is not known. They may still take effect, so the next plan counts them.
//!
//! A write carries the resourceVersion from which it was computed, so it can only succeed while the quota has that
//! version. Once the watch shows another version, the write has succeeded or never will.
//!
//! That is true for writes of this process. A write of an earlier leader may arrive arbitrarily late: a process that
//! was frozen just before it sent the write sends it when it resumes. So if a tenant has several quotas, this process
//! raises none before it has written each of them once ([`OwnWrites`]). After that, no write that was computed earlier
//! can succeed.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::cluster::{
    Inventory,
    writer::{self, Outcome, Writer},
};
use tenantry_api::{Quantity, names};
use tenantry_core::object::{Key, Kind, Live, Object, drift};
use tenantry_core::tenant::facts::LiveObjects as _;
use tenantry_core::tenant::facts::{OwnWrites, Pending};
use tenantry_process::{client::middleware::EARLIER_TRY_UNANSWERED, error_class::has_cause};

/// The quota writes of every tenant whose outcome is not known.
#[derive(Debug)]
pub struct PendingQuotas {
    process: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    by_tenant: HashMap<String, Vec<Write>>,
    own: HashMap<String, OwnWrites>,
}

#[derive(Debug)]
struct Write {
    id: u64,
    namespace: String,
    /// The version of the quota from which the write was computed; `None` if there was no quota.
    base: Option<u64>,
    hard: BTreeMap<String, Quantity>,
}

impl PendingQuotas {
    /// No writes yet. `process` must be a name that no other process ever had.
    pub fn new(process: String) -> Self {
        Self {
            process,
            state: Mutex::default(),
        }
    }

    /// Name of this process.
    pub fn process(&self) -> &str {
        &self.process
    }

    /// Which quotas of a tenant this process has written.
    pub fn own_writes(&self, tenant: &str) -> OwnWrites {
        let own = self.lock().own.get(tenant).cloned();
        own.unwrap_or_else(|| OwnWrites::Only(BTreeSet::new()))
    }

    /// Notes that no other process can have written a quota of this tenant.
    pub fn is_mine(&self, tenant: &str) {
        self.lock().own.insert(tenant.to_owned(), OwnWrites::All);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a quota, and remembers the write until its outcome is certain.
    pub async fn write(
        &self,
        writer: &Writer,
        tenant: &str,
        quota: &Object,
        live: Option<&Arc<Live>>,
    ) -> Result<Outcome, writer::Error> {
        let hard = quota.content["spec"]["hard"].as_object().into_iter().flatten();
        let hard = hard
            .filter_map(|(resource, amount)| Some((resource.clone(), amount.as_str()?.parse().ok()?)))
            .collect();
        let base = live.map(|live| live.version);
        let open = self.is_open(tenant, &quota.key.namespace, base);
        let id = self.begin(tenant, &quota.key.namespace, base, hard);
        let overtaking = live
            .filter(|live| open && drift::is_as_desired(&live.body(), quota))
            .map(|_| self.overtaking(quota, id));
        let quota = overtaking.as_ref().unwrap_or(quota);
        let result = writer.ensure(quota, live).await;
        if result
            .as_ref()
            .map_or_else(|error| is_certain(error, live.is_none()), |_| true)
        {
            self.settle(tenant, id);
        }
        let fenced = quota.annotations.contains_key(names::FENCE);
        if matches!(&result, Ok(Outcome::Changed(_) | Outcome::Created(_))) || (fenced && result.is_ok()) {
            self.wrote(tenant, &quota.key.namespace);
        }
        result
    }

    /// Whether a write to this version of the quota may still succeed.
    fn is_open(&self, tenant: &str, namespace: &str, base: Option<u64>) -> bool {
        let state = self.lock();
        let mut writes = state.by_tenant.get(tenant).into_iter().flatten();
        writes.any(|write| write.namespace == namespace && write.base == base)
    }

    /// The same quota with a unique annotation, so that the write changes its version. Then no earlier write can
    /// succeed. Otherwise a lost write would be counted until somebody had another reason to write that quota.
    fn overtaking(&self, quota: &Object, id: u64) -> Object {
        let mut quota = quota.clone();
        let unique = format!("{}/{id}", self.process);
        quota.annotations.insert(names::FENCE.to_owned(), unique.into());
        quota
    }

    fn begin(&self, tenant: &str, namespace: &str, base: Option<u64>, hard: BTreeMap<String, Quantity>) -> u64 {
        let mut state = self.lock();
        state.last += 1;
        let id = state.last;
        let write = Write {
            id,
            namespace: namespace.to_owned(),
            base,
            hard,
        };
        state.by_tenant.entry(tenant.to_owned()).or_default().push(write);
        id
    }

    fn wrote(&self, tenant: &str, namespace: &str) {
        let mut state = self.lock();
        let own = state
            .own
            .entry(tenant.to_owned())
            .or_insert_with(|| OwnWrites::Only(BTreeSet::new()));
        if let OwnWrites::Only(namespaces) = own {
            namespaces.insert(namespace.to_owned());
        }
    }

    fn settle(&self, tenant: &str, id: u64) {
        self.lock().retain(tenant, |write| write.id != id);
    }

    /// The writes that may still take effect, by namespace of the tenant.
    pub fn of_tenant(&self, tenant: &str, inventory: &Inventory) -> Pending {
        let mut state = self.lock();
        state.retain(tenant, |write| {
            let live = inventory.get(&Key::new(Kind::ResourceQuota, &write.namespace, names::OBJECT));
            live.map(|live| live.version) == write.base
        });
        let mut pending = Pending::new();
        for write in state.by_tenant.get(tenant).into_iter().flatten() {
            pending
                .entry(write.namespace.clone())
                .or_default()
                .push(write.hard.clone());
        }
        pending
    }

    /// Forgets a deleted tenant.
    pub fn forget(&self, tenant: &str) {
        let mut state = self.lock();
        state.by_tenant.remove(tenant);
        state.own.remove(tenant);
    }
}

impl State {
    fn retain(&mut self, tenant: &str, keep: impl FnMut(&Write) -> bool) {
        if let Some(writes) = self.by_tenant.get_mut(tenant) {
            writes.retain(keep);
            if writes.is_empty() {
                self.by_tenant.remove(tenant);
            }
        }
    }
}

/// Whether a failed write certainly had no effect: the API server refused each of its tries, or it was never sent.
/// `new` means that there was no quota before.
fn is_certain(error: &writer::Error, new: bool) -> bool {
    match error {
        // If a create finds a quota, another request follows it, and the result of that one proves nothing about the
        // create.
        writer::Error::Api { verb, .. } if *verb == "get" || (new && *verb != "create") => false,
        writer::Error::Api { source, .. } => match &**source {
            kube::Error::Api(status) => {
                let unanswered = has_cause(status, EARLIER_TRY_UNANSWERED);
                (400..500).contains(&status.code) && !unanswered
            }
            _ => false,
        },
        writer::Error::Foreign { .. } | writer::Error::NotLeading { .. } | writer::Error::Unknown { .. } => true,
        // A retry may be refused because the first try succeeded; the watch will show it.
        writer::Error::Outdated { .. } | writer::Error::Malformed { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::tenant::fixture;

    fn quota(version: u64) -> Live {
        Live::from_value(json!({ "metadata": { "uid": "u", "resourceVersion": version.to_string() } })).unwrap()
    }

    #[test]
    fn a_write_counts_until_the_quota_has_another_version() {
        let (pending, inventory) = (PendingQuotas::new("p1".to_owned()), Inventory::default());
        let key = Key::new(Kind::ResourceQuota, "acme-dev", names::OBJECT);
        inventory.upsert(key.clone(), quota(5));
        let hard = BTreeMap::from([("pods".to_owned(), "7".parse().unwrap())]);
        pending.begin("acme", "acme-dev", Some(5), hard.clone());
        assert_eq!(pending.of_tenant("acme", &inventory)["acme-dev"], [hard]);
        inventory.upsert(key, quota(6));
        assert!(pending.of_tenant("acme", &inventory).is_empty());
    }

    #[test]
    fn a_settled_write_is_forgotten_and_the_others_stay() {
        let (pending, inventory) = (PendingQuotas::new("p1".to_owned()), Inventory::default());
        let first = pending.begin("acme", "acme-dev", None, BTreeMap::new());
        pending.begin("acme", "acme-prod", None, BTreeMap::new());
        pending.settle("acme", first);
        assert_eq!(
            pending.of_tenant("acme", &inventory).into_keys().collect::<Vec<_>>(),
            ["acme-prod"]
        );
    }

    fn refused(verb: &'static str, causes: Value) -> writer::Error {
        let status = json!({ "code": 403, "details": { "causes": causes } });
        fixture::answered(verb, Kind::ResourceQuota, status)
    }

    #[test]
    fn a_refusal_is_certain_if_no_earlier_try_can_have_succeeded() {
        assert!(is_certain(&refused("replace", json!([])), false));
        assert!(is_certain(&refused("create", json!([])), true));
        let unanswered = json!([{ "reason": EARLIER_TRY_UNANSWERED }]);
        assert!(!is_certain(&refused("replace", unanswered.clone()), false));
        assert!(!is_certain(&refused("create", unanswered), true));
        assert!(!is_certain(&refused("get", json!([])), true));
        assert!(
            !is_certain(&refused("replace", json!([])), true),
            "the earlier create may have succeeded"
        );
    }
}
