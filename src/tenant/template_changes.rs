//! Notices changes of templates' specs, which is all that Tenants depend on.
//!
//! A template's status has its number of Tenants. If that counted as a change, new Tenants would wake all others once a
//! second. With 1,000 Tenants that kept a core busy for 90 ms each time, and delayed each new Tenant.

use std::collections::{BTreeMap, BTreeSet};

use futures::{Stream, StreamExt as _, stream};
use kube::{
    ResourceExt as _,
    core::DeserializeGuard,
    runtime::watcher::{self, Event},
};

use tenantry_api::v1alpha1::TenantTemplate;

/// Names of templates whose spec is new, changed or deleted, from the events of their watch.
pub fn changes(
    events: impl Stream<Item = Result<Event<DeserializeGuard<TenantTemplate>>, watcher::Error>> + Send,
) -> impl Stream<Item = Result<String, watcher::Error>> + Send {
    let mut known = Known::default();
    events
        .map(move |event| event.map(|event| known.take(&event)))
        .flat_map(|changed| {
            stream::iter(match changed {
                Ok(names) => names.into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error)],
            })
        })
}

/// Identifies one version of a spec: uid and generation.
type Version = (Option<String>, Option<i64>);

#[derive(Default)]
struct Known {
    specs: BTreeMap<String, Version>,
    /// Names that were known before the running list and that it has not contained so far.
    missing: BTreeSet<String>,
}

impl Known {
    fn take(&mut self, event: &Event<DeserializeGuard<TenantTemplate>>) -> Vec<String> {
        match event {
            Event::Init => {
                self.missing = self.specs.keys().cloned().collect();
                Vec::new()
            }
            Event::InitApply(template) | Event::Apply(template) => {
                let name = template.name_any();
                self.missing.remove(&name);
                let version = (
                    template.uid(),
                    template.0.as_ref().map_or_else(
                        |invalid| invalid.metadata.generation,
                        |template| template.metadata.generation,
                    ),
                );
                let before = self.specs.insert(name.clone(), version.clone());
                if before == Some(version) {
                    Vec::new()
                } else {
                    vec![name]
                }
            }
            Event::Delete(template) => {
                let name = template.name_any();
                self.specs.remove(&name);
                vec![name]
            }
            Event::InitDone => {
                let gone = std::mem::take(&mut self.missing);
                self.specs.retain(|name, _| !gone.contains(name));
                gone.into_iter().collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn template(name: &str, uid: &str, generation: i64) -> DeserializeGuard<TenantTemplate> {
        let mut template =
            TenantTemplate::new(name, (*super::super::fixture::template(&serde_json::json!({}))).clone());
        template.metadata.uid = Some(uid.to_owned());
        template.metadata.generation = Some(generation);
        DeserializeGuard(Ok(template))
    }

    fn changed(events: Vec<Event<DeserializeGuard<TenantTemplate>>>) -> Vec<String> {
        changes(stream::iter(events.into_iter().map(Ok)))
            .map(Result::unwrap)
            .collect::<Vec<_>>()
            .now_or_never()
            .unwrap()
    }

    #[test]
    fn a_new_spec_is_a_change_and_a_new_status_is_none() {
        let events = vec![
            Event::Apply(template("gold", "a", 1)),
            Event::Apply(template("gold", "a", 1)),
            Event::Apply(template("gold", "a", 2)),
        ];
        assert_eq!(changed(events), ["gold", "gold"]);
    }

    #[test]
    fn a_template_that_is_created_again_is_a_change() {
        let events = vec![
            Event::Apply(template("gold", "a", 1)),
            Event::Delete(template("gold", "a", 1)),
            Event::Apply(template("gold", "b", 1)),
            Event::Apply(template("gold", "c", 1)),
        ];
        assert_eq!(changed(events), ["gold", "gold", "gold", "gold"]);
    }

    #[test]
    fn a_list_yields_every_change_since_the_last_one() {
        let events = vec![
            Event::Init,
            Event::InitApply(template("gold", "a", 1)),
            Event::InitApply(template("lost", "b", 1)),
            Event::InitApply(template("same", "c", 1)),
            Event::InitDone,
            Event::Init,
            Event::InitApply(template("gold", "a", 2)),
            Event::InitApply(template("same", "c", 1)),
            Event::InitDone,
        ];
        assert_eq!(changed(events), ["gold", "lost", "same", "gold", "lost"]);
    }
}
