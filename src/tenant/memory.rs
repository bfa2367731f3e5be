//! What this process remembers of each Tenant, to write less and to count. Losing it costs a few writes, nothing more.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::metrics::TenantState;
use tenantry_api::conditions::types::{READY, STALLED};
use tenantry_api::v1alpha1::{TenantStatus, Tier};
use tenantry_core::object::Key;
use tenantry_process::clock::Monotonic;

/// Notes on every Tenant, by name.
#[derive(Debug, Default)]
pub struct Memory {
    notes: Mutex<Notes>,
}

#[derive(Debug, Default)]
struct Notes {
    tenants: HashMap<String, Note>,
    /// When quotas that a Tenant waited for were counted last.
    counted: Option<Monotonic>,
}

#[derive(Debug, Default)]
struct Note {
    under_way_since: Option<Monotonic>,
    awaiting: Option<Awaiting>,
    status_written: Option<Monotonic>,
    said: Option<Said>,
    news: &'static str,
    uncounted: Option<(u64, Monotonic)>,
    /// When the minute of each object began, and how often it was written in it.
    written: HashMap<Key, (Monotonic, u32)>,
}

/// What the status of a Tenant said last.
#[derive(Debug)]
struct Said {
    /// uid of the Tenant.
    by: String,
    tier: Option<Tier>,
    state: TenantState,
}

/// A Tenant that waits for quotas to be counted.
#[derive(Clone, Copy, Debug)]
struct Awaiting {
    since: Monotonic,
    /// When its status said so last.
    told: Option<Monotonic>,
}

/// An object that is written so often within [`MINUTE`] is fought over: nothing that users or templates change comes near it.
const CONTESTED: u32 = 20;
const MINUTE: Duration = Duration::from_secs(60);

/// How long a Tenant may wait for the quota controller before its status says so: it is done sooner as a rule, and a write
/// is saved. Until then a Tenant that its users changed reads as in progress by its observedGeneration. With 2 s here, 776 of
/// 1,000 statuses were written twice when all changed at once. Once it is said, each further step waits as long again.
const QUIET_WAY: Duration = Duration::from_secs(10);

/// The same while quotas of other Tenants are being counted, whose turn came first. With 10 s for all, 3,321 of 4,000 statuses
/// were written twice after a change of the template.
const BUSY_WAY: Duration = Duration::from_secs(60);

impl Memory {
    fn lock(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long the Tenant has been under way without a break.
    pub fn under_way(&self, tenant: &str, now: Monotonic) -> Duration {
        let mut notes = self.lock();
        let note = notes.tenants.entry(tenant.to_owned()).or_default();
        now.since(*note.under_way_since.get_or_insert(now))
    }

    /// The Tenant is where it can get by itself, or what keeps it is said.
    pub fn arrived(&self, tenant: &str) {
        if let Some(note) = self.lock().tenants.get_mut(tenant) {
            note.under_way_since = None;
        }
    }

    /// How long the status may yet be silent about the quotas that the Tenant waits for; `None`: say it now.
    pub fn quiet(&self, tenant: &str, now: Monotonic) -> Option<Duration> {
        let mut notes = self.lock();
        let others = notes.counted;
        let note = notes.tenants.entry(tenant.to_owned()).or_default();
        let Awaiting { since, told } = *note.awaiting.get_or_insert(Awaiting { since: now, told: None });
        let left = |of: Duration, from| of.checked_sub(now.since(from)).filter(|left| !left.is_zero());
        let from = told.unwrap_or(since);
        left(QUIET_WAY, from).or_else(|| Some(left(QUIET_WAY, others?)?.min(left(BUSY_WAY, from)?)))
    }

    /// The status says that the Tenant waits for quotas.
    pub fn told(&self, tenant: &str, now: Monotonic) {
        let mut notes = self.lock();
        if let Some(awaiting) = notes.tenants.get_mut(tenant).and_then(|note| note.awaiting.as_mut()) {
            awaiting.told = Some(now);
        }
    }

    /// The Tenant waits for no quota, and its status says so.
    pub fn counted(&self, tenant: &str, now: Monotonic) {
        let mut notes = self.lock();
        let awaited = notes.tenants.get_mut(tenant).and_then(|note| note.awaiting.take());
        if awaited.is_some() {
            notes.counted = Some(now);
        }
    }

    /// How long to wait before use is written again; `None`: now.
    pub fn wait_for_status(&self, tenant: &str, now: Monotonic, interval: Duration) -> Option<Duration> {
        let written = self.lock().tenants.get(tenant)?.status_written?;
        interval.checked_sub(now.since(written)).filter(|wait| !wait.is_zero())
    }

    /// The status was written.
    pub fn status_written(&self, tenant: &str, now: Monotonic) {
        self.lock().tenants.entry(tenant.to_owned()).or_default().status_written = Some(now);
    }

    /// How long the home namespace's quota has had this version without its TenantNamespaces being counted.
    pub fn uncounted(&self, tenant: &str, version: u64, now: Monotonic) -> Duration {
        let mut notes = self.lock();
        let note = notes.tenants.entry(tenant.to_owned()).or_default();
        match note.uncounted {
            Some((seen, since)) if seen == version => now.since(since),
            _ => {
                note.uncounted = Some((version, now));
                Duration::ZERO
            }
        }
    }

    /// What the status says, for metrics.
    pub fn note(&self, tenant: &str, uid: &str, status: &TenantStatus) {
        let is = |type_: &str| {
            status
                .conditions
                .iter()
                .any(|condition| condition.type_ == type_ && condition.status == "True")
        };
        let state = match (is(READY), is(STALLED)) {
            (true, _) => TenantState::Ready,
            (false, true) => TenantState::Stalled,
            (false, false) => TenantState::Reconciling,
        };
        let mut notes = self.lock();
        let note = notes.tenants.entry(tenant.to_owned()).or_default();
        note.news = "";
        note.said = Some(Said {
            by: uid.to_owned(),
            tier: status.tier,
            state,
        });
    }

    /// Whether `news` was not told of this Tenant yet.
    pub fn is_news(&self, tenant: &str, news: &'static str) -> bool {
        let mut notes = self.lock();
        let note = notes.tenants.entry(tenant.to_owned()).or_default();
        std::mem::replace(&mut note.news, news) != news
    }

    /// Notes that objects were written; gives those that it tells are fought over, each once a minute.
    pub fn written(&self, tenant: &str, keys: Vec<Key>, now: Monotonic) -> Vec<Key> {
        let mut notes = self.lock();
        let written = &mut notes.tenants.entry(tenant.to_owned()).or_default().written;
        forget_before_last_minute(written, now);
        let mut contested = Vec::new();
        for key in keys {
            let (_, times) = written.entry(key.clone()).or_insert((now, 0));
            *times += 1;
            if *times == CONTESTED {
                contested.push(key);
            }
        }
        contested
    }

    /// Forgets what was written more than a minute ago, and gives its memory back: a Tenant at rest writes nothing, so nobody else would.
    pub fn forget_old_writes(&self, now: Monotonic) {
        for note in self.lock().tenants.values_mut() {
            forget_before_last_minute(&mut note.written, now);
            note.written.shrink_to_fit();
        }
    }

    /// Forgets a Tenant that is gone.
    pub fn forget(&self, tenant: &str) {
        self.lock().tenants.remove(tenant);
    }

    /// Forgets every Tenant that is gone. `uid` gives the uid of the Tenant that has a name now. It is asked while nothing can be
    /// noted: a Tenant that is reconciled for the first time meanwhile is not forgotten.
    pub fn forget_gone(&self, uid: impl Fn(&str) -> Option<String>) {
        self.lock().tenants.retain(|name, note| {
            let now = uid(name);
            // Another Tenant has the name: its state is not known yet.
            if note.said.as_ref().is_some_and(|said| Some(&said.by) != now.as_ref()) {
                note.said = None;
            }
            now.is_some()
        });
    }

    /// Number of Tenants by tier and state; a Tenant without a known tier counts under the empty tier.
    pub fn counts(&self) -> Vec<(&'static str, TenantState, usize)> {
        let mut counts: HashMap<(&'static str, TenantState), usize> = HashMap::new();
        for said in self.lock().tenants.values().filter_map(|note| note.said.as_ref()) {
            *counts
                .entry((said.tier.map_or("", Tier::as_str), said.state))
                .or_default() += 1;
        }
        counts
            .into_iter()
            .map(|((tier, state), count)| (tier, state, count))
            .collect()
    }
}

fn forget_before_last_minute(written: &mut HashMap<Key, (Monotonic, u32)>, now: Monotonic) {
    written.retain(|_, (since, _)| now.since(*since) < MINUTE);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const INTERVAL: Duration = Duration::from_secs(10);

    #[test]
    fn an_object_that_is_written_again_and_again_is_told_of_once_a_minute() {
        let memory = Memory::default();
        let key = Key::new(tenantry_core::object::Kind::NetworkPolicy, "acme-dev", "tenantry-allow");
        let told = |seconds: std::ops::Range<u64>| -> usize {
            let told = seconds.map(|second| memory.written("acme", vec![key.clone()], at(second)).len());
            told.sum()
        };
        assert_eq!(told(0..19), 0);
        assert_eq!(told(19..60), 1);
        assert_eq!(told(60..120), 1);
        assert_eq!(
            (0..10)
                .map(|minute| told(60 * (minute + 3)..60 * (minute + 3) + 19))
                .sum::<usize>(),
            0
        );
    }

    #[test]
    fn what_was_written_takes_no_memory_after_a_minute() {
        let memory = Memory::default();
        let keys = |at: char| vec![Key::namespace(&format!("acme-{at}"))];
        memory.written("acme", keys('a'), at(0));
        memory.written("acme", keys('b'), at(30));
        memory.forget_old_writes(at(61));
        let left = |memory: &Memory| {
            let notes = memory.lock();
            let written = &notes.tenants["acme"].written;
            (written.len(), written.capacity() > 0)
        };
        assert_eq!(left(&memory), (1, true));
        memory.forget_old_writes(at(91));
        assert_eq!(left(&memory), (0, false));
    }

    fn at(seconds: u64) -> Monotonic {
        Monotonic::new(Duration::from_secs(seconds))
    }

    /// Seconds of silence that are left.
    fn quiet(memory: &Memory, tenant: &str, second: u64) -> Option<u64> {
        Some(memory.quiet(tenant, at(second))?.as_secs())
    }

    fn status(tier: Option<Tier>, conditions: &[(&str, &str)]) -> TenantStatus {
        let condition = |(type_, status): &(&str, &str)| json!({ "type": type_, "status": status, "reason": "R", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z" });
        let conditions: Vec<_> = conditions.iter().map(condition).collect();
        serde_json::from_value(json!({ "tier": tier, "conditions": conditions })).unwrap()
    }

    #[test]
    fn being_under_way_counts_until_the_tenant_arrived() {
        let memory = Memory::default();
        assert_eq!(memory.under_way("acme", at(5)), Duration::ZERO);
        assert_eq!(memory.under_way("acme", at(7)), Duration::from_secs(2));
        memory.arrived("acme");
        assert_eq!(memory.under_way("acme", at(9)), Duration::ZERO);
        memory.forget("acme");
        assert_eq!(memory.under_way("acme", at(11)), Duration::ZERO);
    }

    #[test]
    fn a_wait_for_quotas_is_told_after_ten_seconds_unless_those_of_others_are_being_counted() {
        let memory = Memory::default();
        let quiet = |tenant, second| quiet(&memory, tenant, second);
        assert_eq!(
            (quiet("acme", 0), quiet("acme", 4), quiet("acme", 10)),
            (Some(10), Some(6), None)
        );
        memory.under_way("other", at(9));
        memory.counted("other", at(10));
        assert_eq!(quiet("acme", 10), None, "that one was under way, but not for quotas");
        quiet("other", 11);
        memory.counted("other", at(12));
        assert_eq!(
            (quiet("acme", 12), quiet("acme", 15), quiet("acme", 22)),
            (Some(10), Some(7), None)
        );
        quiet("other", 50);
        memory.counted("other", at(54));
        assert_eq!(
            (quiet("acme", 55), quiet("acme", 60)),
            (Some(5), None),
            "a minute at most"
        );
        assert_eq!(quiet("acme", 61), None, "until it is told");
    }

    #[test]
    fn once_a_wait_is_told_its_next_step_waits_as_long_again() {
        let memory = Memory::default();
        let quiet = |tenant, second| quiet(&memory, tenant, second);
        quiet("acme", 0);
        memory.told("acme", at(10));
        assert_eq!((quiet("acme", 11), quiet("acme", 20)), (Some(9), None));
        quiet("other", 11);
        memory.counted("other", at(19));
        assert_eq!(
            (quiet("acme", 20), quiet("acme", 29)),
            (Some(9), None),
            "others are being counted"
        );
        quiet("other", 60);
        memory.counted("other", at(68));
        assert_eq!(
            (quiet("acme", 69), quiet("acme", 70)),
            (Some(1), None),
            "a minute at most"
        );
        memory.counted("acme", at(71));
        assert_eq!(quiet("acme", 72), Some(10), "another wait");
    }

    #[test]
    fn use_waits_for_what_is_left_of_the_interval_since_the_last_write() {
        let memory = Memory::default();
        let wait = |seconds| memory.wait_for_status("acme", at(seconds), INTERVAL);
        assert_eq!(wait(0), None, "never written");
        memory.status_written("acme", at(100));
        assert_eq!(wait(103), Some(Duration::from_secs(7)));
        assert_eq!(wait(110), None);
        assert_eq!(wait(200), None);
        assert_eq!(
            memory.wait_for_status("zebra", at(101), INTERVAL),
            None,
            "each by itself"
        );
    }

    #[test]
    fn a_quota_is_uncounted_for_as_long_as_it_has_one_version() {
        let memory = Memory::default();
        assert_eq!(memory.uncounted("acme", 7, at(5)), Duration::ZERO);
        assert_eq!(memory.uncounted("acme", 7, at(9)), Duration::from_secs(4));
        assert_eq!(memory.uncounted("acme", 8, at(9)), Duration::ZERO);
    }

    #[test]
    fn tenants_are_counted_by_tier_and_state() {
        let memory = Memory::default();
        let stalled = [(READY, "False"), (STALLED, "True")];
        memory.note("a", "ua", &status(Some(Tier::Free), &[(READY, "True")]));
        memory.note("b", "ub", &status(Some(Tier::Free), &[(READY, "True")]));
        memory.note("c", "uc", &status(Some(Tier::Free), &stalled));
        memory.note("d", "ud", &status(None, &[(READY, "False")]));
        memory.under_way("seen-only", at(0));
        let mut counts = memory.counts();
        counts.sort_by_key(|(tier, state, _)| (*tier, state.as_str()));
        assert_eq!(
            counts,
            [
                ("", TenantState::Reconciling, 1),
                ("Free", TenantState::Ready, 2),
                ("Free", TenantState::Stalled, 1)
            ]
        );
        memory.note("c", "uc", &status(Some(Tier::Free), &[(READY, "True")]));
        memory.forget("a");
        assert!(memory.counts().contains(&("Free", TenantState::Ready, 2)));
    }

    #[test]
    fn a_tenant_that_went_while_it_failed_is_counted_no_more() {
        let memory = Memory::default();
        for name in ["there", "gone", "again"] {
            memory.note(name, "first", &status(Some(Tier::Free), &[]));
        }
        // The reconcile that was under way notes the Tenant once more.
        memory.forget("gone");
        memory.note("gone", "first", &status(Some(Tier::Free), &[]));
        memory.forget_gone(|name| match name {
            "there" => Some("first".to_owned()),
            "again" => Some("second".to_owned()),
            _ => None,
        });
        assert_eq!(memory.counts(), [("Free", TenantState::Reconciling, 1)]);
        assert_eq!(memory.lock().tenants.len(), 2);
    }

    #[test]
    fn news_are_told_once_until_something_else_is_known() {
        let memory = Memory::default();
        assert!(memory.is_news("acme", "Undecodable"));
        assert!(!memory.is_news("acme", "Undecodable"));
        assert!(memory.is_news("zebra", "Undecodable"));
        memory.note("acme", "u", &status(None, &[]));
        assert!(memory.is_news("acme", "Undecodable"));
    }
}
