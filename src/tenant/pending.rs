//! Quota writes whose outcome is not known: they may still come to stand, so they count in the next plan.
//!
//! A write carries the resourceVersion that it was computed from, so it can only land while the quota still has that
//! version; once the watch shows another, it has landed or never will.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    api::names,
    apply::{
        Inventory, Key, Kind, Live, Object,
        writer::{self, Outcome, Writer},
    },
    domain::Quantity,
};

/// The open quota writes of every tenant.
#[derive(Debug, Default)]
pub struct PendingQuotas {
    by_tenant: Mutex<HashMap<String, BTreeMap<String, Write>>>,
}

#[derive(Debug)]
struct Write {
    /// Version that the quota had, `None` if there was none.
    base: Option<u64>,
    hard: BTreeMap<String, Quantity>,
}

impl PendingQuotas {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, BTreeMap<String, Write>>> {
        self.by_tenant.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a quota, and remembers the write until its outcome is certain.
    pub async fn write(
        &self,
        writer: &Writer,
        tenant: &str,
        quota: &Object,
        live: Option<&Arc<Live>>,
    ) -> Result<Outcome, writer::Error> {
        let namespace = quota.key.namespace.to_string();
        let hard = quota.content["spec"]["hard"].as_object().into_iter().flatten();
        let hard = hard.filter_map(|(resource, amount)| Some((resource.clone(), amount.as_str()?.parse().ok()?))).collect();
        let base = live.map(|live| live.version);
        self.lock().entry(tenant.to_owned()).or_default().insert(namespace.clone(), Write { base, hard });
        let result = writer.ensure(quota, live).await;
        if result.as_ref().map_or_else(is_certain, |_| true) {
            self.settle(tenant, &namespace);
        }
        result
    }

    fn settle(&self, tenant: &str, namespace: &str) {
        let mut by_tenant = self.lock();
        if let Some(writes) = by_tenant.get_mut(tenant) {
            writes.remove(namespace);
            if writes.is_empty() {
                by_tenant.remove(tenant);
            }
        }
    }

    /// What may still come to stand in each namespace of the tenant.
    pub fn of_tenant(&self, tenant: &str, inventory: &Inventory) -> BTreeMap<String, BTreeMap<String, Quantity>> {
        let mut by_tenant = self.lock();
        let Some(writes) = by_tenant.get_mut(tenant) else { return BTreeMap::new() };
        writes.retain(|namespace, write| {
            let live = inventory.get(&Key::new(Kind::ResourceQuota, namespace, names::OBJECT));
            live.map(|live| live.version) == write.base
        });
        writes.iter().map(|(namespace, write)| (namespace.clone(), write.hard.clone())).collect()
    }

    /// Forgets a tenant that is gone.
    pub fn forget(&self, tenant: &str) {
        self.lock().remove(tenant);
    }
}

/// Whether a failed write surely left nothing behind: the API server said no, or it was never sent.
fn is_certain(error: &writer::Error) -> bool {
    match error {
        writer::Error::Api { source, .. } => match &**source {
            kube::Error::Api(status) => (400..500).contains(&status.code),
            _ => false,
        },
        writer::Error::Outdated { .. } | writer::Error::Foreign { .. } | writer::Error::NotLeading { .. } => true,
        writer::Error::Malformed { .. } => false,
    }
}

