//! Which templates changed in what tenants depend on: the spec.
//!
//! A template's status says how many tenants use it. Were that a change, new tenants would wake all others once a second:
//! with 1,000 there it kept a core busy for 90 ms each time, and a new Tenant waited for that.

use std::collections::{BTreeMap, BTreeSet};

use futures::{Stream, StreamExt as _, stream};
use kube::{
    ResourceExt as _,
    core::DeserializeGuard,
    runtime::watcher::{self, Event},
};

use tenantry_api::v1alpha1::TenantTemplate;

/// Names of templates whose spec is new, changed or gone, out of the events of their watch.
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

/// One spec in time.
type Version = (Option<String>, Option<i64>);

#[derive(Default)]
struct Known {
    specs: BTreeMap<String, Version>,
    /// Names in the list under way that were known before it and have not come again.
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

    fn told(events: Vec<Event<DeserializeGuard<TenantTemplate>>>) -> Vec<String> {
        changes(stream::iter(events.into_iter().map(Ok)))
            .map(Result::unwrap)
            .collect::<Vec<_>>()
            .now_or_never()
            .unwrap()
    }

    #[test]
    fn a_new_status_tells_nothing_and_a_new_spec_does() {
        let events = vec![
            Event::Apply(template("gold", "a", 1)),
            Event::Apply(template("gold", "a", 1)),
            Event::Apply(template("gold", "a", 2)),
        ];
        assert_eq!(told(events), ["gold", "gold"]);
    }

    #[test]
    fn one_that_was_made_anew_is_told() {
        let events = vec![
            Event::Apply(template("gold", "a", 1)),
            Event::Delete(template("gold", "a", 1)),
            Event::Apply(template("gold", "b", 1)),
            Event::Apply(template("gold", "c", 1)),
        ];
        assert_eq!(told(events), ["gold", "gold", "gold", "gold"]);
    }

    #[test]
    fn a_list_tells_what_came_went_or_changed_since_the_last_one() {
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
        assert_eq!(told(events), ["gold", "lost", "same", "gold", "lost"]);
    }
}
