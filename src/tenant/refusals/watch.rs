//! The watch of `FailedCreate` events.
//!
//! This is not kube's watcher. The API server sends no bookmarks for events, so the version of the last event expires
//! every ten minutes, and kube's watcher would list all events again. A watch without a version first delivers the
//! existing events and then continues, which saves one call.

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

/// The field selector of the events.
const SELECTOR: &str = "reason=FailedCreate";

/// Events in one page of a list: a tenant can make controllers write events of a megabyte.
const PAGE: u32 = 20;

/// Seconds until the API server closes the watch.
const OPEN: u32 = 290;

/// A watch that ends sooner is reopened only after a pause.
const SHORT: Duration = Duration::from_secs(5);

/// Keeps `refusals` up to date with a watch of `FailedCreate` events, and wakes the tenants that they concern. Reports
/// to `health`.
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
            // A closed channel means that the process is shutting down.
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
            // A watch without a version begins with the existing events.
            Err(kube::Error::Api(status)) if status.code == 410 => from = Start::Version(String::new()),
            Err(error) => {
                health.failed(&error);
                metrics.process().watch_failed("Event");
                tracing::warn!(%error, "the watch of FailedCreate events failed; restarting it");
            }
        }
        tokio::time::sleep(backoff.next().unwrap_or(SHORT)).await;
    }
}

enum Start {
    List,
    /// The version to continue from. If empty, the watch begins with the existing events.
    Version(String),
}

/// Calls `heard` with each existing event; returns the version from which to continue.
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

/// Calls `heard` with each new event until the watch ends; returns the version from which to continue.
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
            // Deletions do not matter: the API server keeps an event for an hour, longer than a refusal counts.
            WatchEvent::Deleted(event) => event.metadata.resource_version,
            WatchEvent::Bookmark(mark) => Some(mark.metadata.resource_version),
            WatchEvent::Error(status) => return Err(kube::Error::Api(status)),
        };
        // Existing events are delivered in no particular order of versions.
        if let Some(version) = version.filter(|version| number(version) > number(&last)) {
            last = version;
        }
    }
    Ok(last)
}

fn number(version: &str) -> u64 {
    version.parse().unwrap_or_default()
}
