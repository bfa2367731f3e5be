//! Which optional kinds the cluster serves. A watch on the names of CRDs notices a kind that is installed later,
//! without polling and without a restart.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::{Stream, StreamExt as _};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client,
    core::PartialObjectMeta,
    runtime::watcher::{self, Event},
};

use crate::metrics::Metrics;
use tenantry_core::object::Kind;
use tenantry_process::{source::Source, watches::Watch};

/// The installed CRDs among `wanted`, each time this set changes.
///
/// `wanted` are names of CRDs, `<plural>.<group>`.
pub fn installed(
    source: &Source,
    health: Watch,
    metrics: Arc<Metrics>,
    wanted: BTreeSet<String>,
) -> impl Stream<Item = BTreeSet<String>> + Send + use<> {
    let events = source.watch(
        health,
        Api::<PartialObjectMeta<CustomResourceDefinition>>::all,
        watcher::Config::default(),
    );
    let state = (Box::pin(events), BTreeSet::new(), BTreeSet::new(), (wanted, metrics));
    futures::stream::unfold(
        state,
        async |(mut events, mut present, mut listing, (wanted, metrics))| {
            while let Some(event) = events.next().await {
                let before = present.clone();
                let mut listed = false;
                match event {
                    Ok(Event::Init) => listing = BTreeSet::new(),
                    Ok(Event::InitApply(crd)) => {
                        listing.extend(crd.metadata.name.filter(|name| wanted.contains(name)));
                    }
                    Ok(Event::InitDone) => {
                        present = std::mem::take(&mut listing);
                        listed = true;
                    }
                    Ok(Event::Apply(crd)) => {
                        present.extend(
                            crd.metadata
                                .name
                                .filter(|name| wanted.contains(name) && crd.metadata.deletion_timestamp.is_none()),
                        );
                    }
                    Ok(Event::Delete(crd)) => {
                        present.remove(&crd.metadata.name.unwrap_or_default());
                    }
                    Err(error) => {
                        metrics.process().watch_failed("CustomResourceDefinition");
                        tracing::warn!(%error, "the watch of CustomResourceDefinitions failed; restarting it");
                    }
                }
                if listed || present != before {
                    return Some((present.clone(), (events, present, listing, (wanted, metrics))));
                }
            }
            None
        },
    )
}

/// Waits until discovery lists a kind: a CRD exists a moment before its kind is served. After each look that does not
/// find the kind, calls `after_miss` with the number of misses so far.
pub async fn until_listed(client: &Client, kind: Kind, after_miss: impl Fn(u32)) {
    let resource = kind.api_resource();
    let mut pause = Duration::from_millis(50);
    let mut misses = 0;
    loop {
        match client.list_api_group_resources(&resource.api_version).await {
            Ok(list) if list.resources.iter().any(|listed| listed.name == resource.plural) => return,
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, kind = kind.as_str(), "the kind is not listed yet"),
        }
        misses += 1;
        after_miss(misses);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(30));
    }
}
