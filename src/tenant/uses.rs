//! Which template each Tenant names, and which Tenants are gone, out of the events of their watch.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
};

use kube::{ResourceExt as _, core::DeserializeGuard, runtime::watcher::Event};

use tenantry_api::v1alpha1::Tenant;

/// What an event brought.
#[derive(Debug, PartialEq, Eq)]
pub enum News {
    /// The Tenant of this name is gone.
    Gone(String),
    /// A Tenant has begun or ceased to name this template.
    Users(String),
    /// A Tenant that cannot be read, or could not, changed or went: it may concern any template.
    UsersOfAny,
}

/// What was told so far.
#[derive(Debug, Default)]
pub struct Uses {
    /// Templates by Tenant; `None` where a Tenant cannot be read.
    templates: BTreeMap<String, Option<String>>,
    /// Names in the list under way that were known before it and have not come again.
    missing: BTreeSet<String>,
    /// News of the list under way: a store takes a list over as a whole.
    held: Vec<News>,
}

impl Uses {
    /// What an event changes, in the order in which it should be told: at the earliest when the store has it.
    pub fn take(&mut self, event: &Event<DeserializeGuard<Tenant>>) -> Vec<News> {
        match event {
            Event::Init => {
                self.missing = self.templates.keys().cloned().collect();
                Vec::new()
            }
            Event::InitApply(tenant) => {
                self.missing.remove(&tenant.name_any());
                let news = self.upsert(tenant);
                self.held.extend(news);
                Vec::new()
            }
            Event::InitDone => {
                let mut news = mem::take(&mut self.held);
                for gone in mem::take(&mut self.missing) {
                    news.extend(self.remove(gone));
                }
                news
            }
            Event::Apply(tenant) => self.upsert(tenant),
            Event::Delete(tenant) => self.remove(tenant.name_any()),
        }
    }

    fn upsert(&mut self, tenant: &DeserializeGuard<Tenant>) -> Vec<News> {
        let name = tenant.name_any();
        let now = tenant
            .0
            .as_ref()
            .ok()
            .map(|tenant| tenant.spec.template_ref.name.clone());
        let before = self.templates.insert(name, now.clone());
        match (before, now) {
            (Some(None), _) | (_, None) => vec![News::UsersOfAny],
            (Some(before), now) if before == now => Vec::new(),
            (before, now) => before.flatten().into_iter().chain(now).map(News::Users).collect(),
        }
    }

    fn remove(&mut self, tenant: String) -> Vec<News> {
        let users = match self.templates.remove(&tenant) {
            None => None,
            Some(None) => Some(News::UsersOfAny),
            Some(Some(template)) => Some(News::Users(template)),
        };
        [News::Gone(tenant)].into_iter().chain(users).collect()
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

    fn gone(name: &str) -> News {
        News::Gone(name.to_owned())
    }

    fn users(template: &str) -> News {
        News::Users(template.to_owned())
    }

    #[test]
    fn a_tenant_that_changes_its_template_concerns_both() {
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
    fn what_a_list_leaves_out_is_gone_and_told_when_the_list_is_whole() {
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
    fn a_list_that_begins_again_forgets_nobody() {
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
    fn a_tenant_nobody_can_read_concerns_every_template() {
        let any = || News::UsersOfAny;
        let mut uses = Uses::default();
        assert_eq!(uses.take(&Event::Apply(unreadable())), [any()]);
        assert_eq!(uses.take(&Event::Apply(tenant("acme", "free"))), [any()]);
        assert_eq!(uses.take(&Event::Apply(tenant("acme", "free"))), []);
        assert_eq!(uses.take(&Event::Apply(unreadable())), [any()]);
        assert_eq!(uses.take(&Event::Delete(unreadable())), [gone("acme"), any()]);
    }
}
