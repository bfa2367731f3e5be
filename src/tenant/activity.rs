//! When the usage of each quota last changed, as this process saw it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tenantry_core::object::{Key, Kind, Live};
use tenantry_process::clock::Monotonic;

/// How long a quota keeps its share after its usage changed. The quota controller's cache of pods lags the API server
/// by some milliseconds, and by tens on a loaded machine. A full namespace waits this much longer for a larger share.
pub const QUIET: Duration = Duration::from_millis(120);

/// The usage of quotas, by tenant and namespace.
#[derive(Debug, Default)]
pub struct Activity {
    seen: Mutex<HashMap<String, BTreeMap<String, Seen>>>,
}

#[derive(Debug)]
struct Seen {
    version: u64,
    /// As JSON text, because it is only compared.
    used: Box<str>,
    since: Monotonic,
}

impl Activity {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, BTreeMap<String, Seen>>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The namespaces whose usage changed less than [`QUIET`] ago, with the time until that has passed. A tenant with a
    /// single quota is never busy, because no share can move.
    pub fn busy(&self, tenant: &str, live: &BTreeMap<Key, Arc<Live>>, now: Monotonic) -> BTreeMap<String, Duration> {
        let quotas: Vec<_> = live.iter().filter(|(key, _)| key.kind == Kind::ResourceQuota).collect();
        let mut tenants = self.lock();
        if quotas.len() < 2 {
            tenants.remove(tenant);
            return BTreeMap::new();
        }
        let seen = tenants.entry(tenant.to_owned()).or_default();
        seen.retain(|namespace, _| quotas.iter().any(|(key, _)| *key.namespace == **namespace));
        let mut busy = BTreeMap::new();
        for (key, quota) in quotas {
            let namespace = key.namespace.to_string();
            if seen.get(&namespace).is_none_or(|seen| seen.version != quota.version) {
                let used: Box<str> = quota.body()["status"]["used"].to_string().into();
                let since = match seen.get(&namespace) {
                    Some(before) if before.used == used => before.since,
                    _ => now,
                };
                let version = quota.version;
                seen.insert(namespace.clone(), Seen { version, used, since });
            }
            let left = seen
                .get(&namespace)
                .and_then(|seen| QUIET.checked_sub(now.since(seen.since)));
            busy.extend(left.filter(|left| !left.is_zero()).map(|left| (namespace, left)));
        }
        busy
    }

    /// Forgets a deleted tenant.
    pub fn forget(&self, tenant: &str) {
        self.lock().remove(tenant);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tenant::fixture;

    fn at(millis: u64) -> Monotonic {
        Monotonic::new(Duration::from_millis(millis))
    }

    /// Quotas of `a` and `b`; that of `a` has this version and this many pods in use.
    fn live(version: u64, pods: u32) -> BTreeMap<Key, Arc<Live>> {
        let hard = json!({ "pods": "9" });
        let (key, _) = fixture::live_quota("acme-a", &hard, &hard, &json!({}));
        let content = json!({
            "metadata": { "resourceVersion": version.to_string() }, "status": { "used": { "pods": pods.to_string() } },
        });
        let quota = fixture::live(&key, &content);
        BTreeMap::from([(key, quota), fixture::live_quota("acme-b", &hard, &hard, &json!({}))])
    }

    #[test]
    fn a_quota_is_busy_only_after_a_change_of_its_usage() {
        let activity = Activity::default();
        assert_eq!(
            activity.busy("acme", &live(1, 0), at(0)).len(),
            2,
            "seen for the first time"
        );
        assert_eq!(activity.busy("acme", &live(1, 0), at(500)).len(), 0);
        let busy = activity.busy("acme", &live(2, 1), at(600));
        assert_eq!(busy, BTreeMap::from([("acme-a".to_owned(), QUIET)]));
        let later = activity.busy("acme", &live(3, 1), at(620));
        assert_eq!(later["acme-a"], QUIET.checked_sub(Duration::from_millis(20)).unwrap());
        assert_eq!(activity.busy("acme", &live(3, 1), at(720)).len(), 0);
    }

    #[test]
    fn a_single_quota_is_never_busy() {
        let activity = Activity::default();
        let mut one = live(1, 0);
        one.pop_last();
        assert_eq!(activity.busy("acme", &one, at(0)).len(), 0);
    }
}
