//! The watch of `FailedCreate` events.
//!
//! Not kube's watcher: the API server sends no bookmarks for events, so every ten minutes the version of the last one is too old to go on from,
//! and the watcher lists all events again. A watch without a version tells what stands and goes on, which is one call less.

use std::{sync::Arc, time::Duration};

use futures::TryStreamExt as _;
use k8s_openapi::api::core::v1::Event;
use kube::{
    Api, Client,
    api::{ListParams, WatchEvent, WatchParams},
    runtime::watcher::DefaultBackoff,
};
use tokio::sync::mpsc::UnboundedSender;

use super::{Refusals, hear};
use crate::{cluster::Inventory, metrics::Metrics};
use tenantry_process::{clock::Clock, pages, watches::Watch};

/// Which events are heard.
const SELECTOR: &str = "reason=FailedCreate";

/// Events that a list holds at once: a tenant can have controllers write events of a megabyte.
const PAGE: u32 = 20;

/// Seconds that a watch is open.
const OPEN: u32 = 290;

/// A watch that ends sooner is not opened again at once.
const SHORT: Duration = Duration::from_secs(5);

/// Watches `FailedCreate` events into `refusals` and wakes the tenants that they concern; `health` learns how it goes.
pub async fn watch(
    client: Client,
    health: Watch,
    refusals: Arc<Refusals>,
    inventory: Arc<Inventory>,
    wake: UnboundedSender<Box<str>>,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
) {
    let events: Api<Event> = Api::all(client);
    let heard = |event: &Event| {
        health.heard();
        if let Some(tenant) = hear(event, &refusals, &inventory, &*clock) {
            // A closed channel means that the process is going down.
            let _ = wake.send(tenant);
        }
    };
    let mut backoff = DefaultBackoff::default();
    let mut from = Start::List;
    loop {
        let began = clock.monotonic();
        let result = match &from {
            Start::List => list(&events, &heard).await.inspect(|_| health.listed()),
            Start::Version(version) => follow(&events, version, &heard).await.inspect(|_| health.heard()),
        };
        let short = matches!(from, Start::Version(_)) && clock.monotonic().since(began) < SHORT;
        match result {
            Ok(version) => {
                from = Start::Version(version);
                if !short {
                    backoff = DefaultBackoff::default();
                    continue;
                }
            }
            // Without a version the watch begins with what stands.
            Err(kube::Error::Api(status)) if status.code == 410 => from = Start::Version(String::new()),
            Err(error) => {
                health.failed(&error);
                metrics.process().watch_failed("Event");
                tracing::warn!(%error, "the watch of FailedCreate events broke; it is started again");
            }
        }
        tokio::time::sleep(backoff.next().unwrap_or(SHORT)).await;
    }
}

enum Start {
    List,
    /// Empty: with what stands.
    Version(String),
}

/// Hears what stands; gives the version from which to go on.
async fn list(events: &Api<Event>, heard: &(impl Fn(&Event) + Sync)) -> Result<String, kube::Error> {
    let mut params = ListParams::default().fields(SELECTOR).limit(PAGE);
    loop {
        let page = events.list(&params).await?;
        page.items.iter().for_each(heard);
        if !pages::turn(&mut params, &page.metadata) {
            return Ok(page.metadata.resource_version.unwrap_or_default());
        }
    }
}

/// Hears what comes until the watch ends; gives the version from which to go on.
async fn follow(events: &Api<Event>, version: &str, heard: &(impl Fn(&Event) + Sync)) -> Result<String, kube::Error> {
    let params = WatchParams::default().fields(SELECTOR).timeout(OPEN);
    let mut last = version.to_owned();
    let mut stream = std::pin::pin!(events.watch(&params, version).await?);
    while let Some(event) = stream.try_next().await? {
        let version = match event {
            WatchEvent::Added(event) | WatchEvent::Modified(event) => {
                heard(&event);
                event.metadata.resource_version
            }
            // Events expire after an hour; a refusal counts for less.
            WatchEvent::Deleted(event) => event.metadata.resource_version,
            WatchEvent::Bookmark(mark) => Some(mark.metadata.resource_version),
            WatchEvent::Error(status) => return Err(kube::Error::Api(status)),
        };
        // What stands is told in no order of version.
        if let Some(version) = version.filter(|version| number(version) > number(&last)) {
            last = version;
        }
    }
    Ok(last)
}

fn number(version: &str) -> u64 {
    version.parse().unwrap_or_default()
}
