//! Which template each Tenant uses, and which Tenants are deleted, from the events of their watch.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
};

use kube::{ResourceExt as _, core::DeserializeGuard, runtime::watcher::Event};

use tenantry_api::v1alpha1::Tenant;

/// What an event changed.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    /// The Tenant of this name is deleted.
    Gone(String),
    /// A Tenant started or stopped using this template.
    Users(String),
    /// A Tenant that is or was unreadable changed or was deleted. That may concern any template.
    UsersOfAny,
}

/// What the events have shown so far.
#[derive(Debug, Default)]
pub struct Uses {
    /// Templates by Tenant; `None` for a Tenant that cannot be read.
    templates: BTreeMap<String, Option<String>>,
    /// Names that were known before the running list and that it has not contained so far.
    missing: BTreeSet<String>,
    /// Changes from the running list. They wait until it is complete, because a store applies a list as a whole.
    deferred: Vec<Change>,
}

impl Uses {
    /// The changes that an event causes, in order. Do not act on them before the store has the event.
    pub fn take(&mut self, event: &Event<DeserializeGuard<Tenant>>) -> Vec<Change> {
        match event {
            Event::Init => {
                self.missing = self.templates.keys().cloned().collect();
                Vec::new()
            }
            Event::InitApply(tenant) => {
                self.missing.remove(&tenant.name_any());
                let changes = self.upsert(tenant);
                self.deferred.extend(changes);
                Vec::new()
            }
            Event::InitDone => {
                let mut changes = mem::take(&mut self.deferred);
                for gone in mem::take(&mut self.missing) {
                    changes.extend(self.remove(gone));
                }
                changes
            }
            Event::Apply(tenant) => self.upsert(tenant),
            Event::Delete(tenant) => self.remove(tenant.name_any()),
        }
    }

    fn upsert(&mut self, tenant: &DeserializeGuard<Tenant>) -> Vec<Change> {
        let name = tenant.name_any();
        let now = tenant
            .0
            .as_ref()
            .ok()
            .map(|tenant| tenant.spec.template_ref.name.clone());
        let before = self.templates.insert(name, now.clone());
        match (before, now) {
            (Some(None), _) | (_, None) => vec![Change::UsersOfAny],
            (Some(before), now) if before == now => Vec::new(),
            (before, now) => before.flatten().into_iter().chain(now).map(Change::Users).collect(),
        }
    }

    fn remove(&mut self, tenant: String) -> Vec<Change> {
        let users = match self.templates.remove(&tenant) {
            None => None,
            Some(None) => Some(Change::UsersOfAny),
            Some(Some(template)) => Some(Change::Users(template)),
        };
        [Change::Gone(tenant)].into_iter().chain(users).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tenant(name: &str, template: &str) -> DeserializeGuard<Tenant> {
        serde_json::from_value(json!({
            "apiVersion": "tenantry.dev/v1alpha1", "kind": "Tenant", "metadata": { "name": name },
            "spec": { "templateRef": { "name": template } },
        }))
        .unwrap()
    }

    fn gone(name: &str) -> Change {
        Change::Gone(name.to_owned())
    }

    fn users(template: &str) -> Change {
        Change::Users(template.to_owned())
    }

    #[test]
    fn a_tenant_that_changes_its_template_affects_both() {
        let mut uses = Uses::default();
        assert_eq!(uses.take(&Event::Apply(tenant("acme", "free"))), [users("free")]);
        assert_eq!(uses.take(&Event::Apply(tenant("acme", "free"))), []);
        assert_eq!(
            uses.take(&Event::Apply(tenant("acme", "premium"))),
            [users("free"), users("premium")]
        );
        assert_eq!(
            uses.take(&Event::Delete(tenant("acme", "premium"))),
            [gone("acme"), users("premium")]
        );
    }

    #[test]
    fn tenants_missing_from_a_list_are_gone_when_it_is_complete() {
        let mut uses = Uses::default();
        uses.take(&Event::Apply(tenant("acme", "free")));
        uses.take(&Event::Apply(tenant("blue", "free")));
        assert_eq!(uses.take(&Event::Init), []);
        assert_eq!(uses.take(&Event::InitApply(tenant("blue", "premium"))), []);
        assert_eq!(
            uses.take(&Event::InitDone),
            [users("free"), users("premium"), gone("acme"), users("free")]
        );
    }

    #[test]
    fn a_list_that_restarts_loses_no_change() {
        let mut uses = Uses::default();
        uses.take(&Event::Init);
        uses.take(&Event::InitApply(tenant("acme", "free")));
        uses.take(&Event::Init);
        uses.take(&Event::InitApply(tenant("acme", "free")));
        assert_eq!(uses.take(&Event::InitDone), [users("free")]);
        uses.take(&Event::Init);
        assert_eq!(uses.take(&Event::InitDone), [gone("acme"), users("free")]);
    }

    fn unreadable() -> DeserializeGuard<Tenant> {
        let unreadable = json!({
            "apiVersion": "tenantry.dev/v1alpha1", "kind": "Tenant", "metadata": { "name": "acme" }, "spec": 1,
        });
        serde_json::from_value(unreadable).unwrap()
    }

    #[test]
    fn an_unreadable_tenant_affects_every_template() {
        let any = || Change::UsersOfAny;
        let mut uses = Uses::default();
        assert_eq!(uses.take(&Event::Apply(unreadable())), [any()]);
        assert_eq!(uses.take(&Event::Apply(tenant("acme", "free"))), [any()]);
        assert_eq!(uses.take(&Event::Apply(tenant("acme", "free"))), []);
        assert_eq!(uses.take(&Event::Apply(unreadable())), [any()]);
        assert_eq!(uses.take(&Event::Delete(unreadable())), [gone("acme"), any()]);
    }
}
