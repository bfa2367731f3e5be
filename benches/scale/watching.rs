//! Waits for objects by one watch: polling would cost the server more than the measured work.

use std::{collections::HashSet, time::Duration};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ResourceQuota, ServiceAccount};
use kube::{
    Api, Client, ResourceExt as _,
    api::ListParams,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, watcher},
    },
};
use lab::eventually;
use tenantry_api::v1alpha1::Tenant;

pub const PATIENCE: Duration = Duration::from_secs(900);

/// Counts, by one watch, the objects for which `holds`; polling would cost the server more than the measured work.
pub fn track<K>(api: Api<K>, holds: impl Fn(&K) -> bool + Send + 'static) -> tokio::sync::watch::Receiver<usize>
where
    K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
{
    let (sender, receiver) = tokio::sync::watch::channel(0);
    tokio::spawn(async move {
        let mut events = std::pin::pin!(watcher(api, watcher::Config::default()).default_backoff());
        let mut held: HashSet<(Option<String>, String)> = HashSet::new();
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                // Nobody waits any more: a watch that continues would disturb the next measurement.
                () = sender.closed() => return,
            };
            let Some(event) = event else { return };
            let id = |object: &K| (object.namespace(), object.name_any());
            match event {
                Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) if holds(&object) => {
                    held.insert(id(&object));
                }
                Ok(
                    watcher::Event::Apply(object) | watcher::Event::InitApply(object) | watcher::Event::Delete(object),
                ) => {
                    held.remove(&id(&object));
                }
                Ok(watcher::Event::Init | watcher::Event::InitDone) => {}
                Err(error) => println!("the bench's watch broke: {error}"),
            }
            sender.send_replace(held.len());
        }
    });
    receiver
}

/// Waits until a tracked number is reached.
pub async fn reach(what: &str, mut tracked: tokio::sync::watch::Receiver<usize>, count: usize) {
    let reached = tokio::time::timeout(PATIENCE, tracked.wait_for(|held| *held >= count))
        .await
        .is_ok();
    assert!(
        reached,
        "waited {PATIENCE:?} for {what}: {} of {count}",
        *tracked.borrow()
    );
}

pub fn is_counted(quota: &ResourceQuota) -> bool {
    let hard = quota.spec.as_ref().and_then(|spec| spec.hard.as_ref());
    quota
        .status
        .as_ref()
        .is_some_and(|status| status.hard.as_ref() == hard && status.used.is_some())
}

async fn count<K>(client: &Client, wanted: &ListParams) -> usize
where
    K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let list = Api::<K>::all(client.clone()).list_metadata(wanted).await;
    list.map_or(0, |list| list.items.len())
}

/// Waits until the controller manager has filled every namespace. It lags after a burst, and the server is busy until
/// then.
pub async fn namespaces_furnished(client: &Client) {
    let named = |name| ListParams::default().fields(&format!("metadata.name={name}"));
    let (account, authority) = (named("default"), named("kube-root-ca.crt"));
    eventually(
        "every namespace to have its ServiceAccount and its root CA",
        PATIENCE,
        || async {
            let namespaces = count::<Namespace>(client, &ListParams::default()).await;
            let accounts = count::<ServiceAccount>(client, &account).await;
            let authorities = count::<ConfigMap>(client, &authority).await;
            if namespaces > 0 && accounts == namespaces && authorities == namespaces {
                Ok(())
            } else {
                Err(format!(
                    "{namespaces} namespaces, {accounts} accounts, {authorities} root CAs"
                ))
            }
        },
    )
    .await;
}

pub async fn quotas_counted(client: &Client, prefix: &'static str, count: usize, pods: String) {
    let counted = track(Api::<ResourceQuota>::all(client.clone()), move |quota| {
        let hard = quota.spec.as_ref().and_then(|spec| spec.hard.as_ref());
        let as_wanted = hard
            .and_then(|hard| hard.get("pods"))
            .is_some_and(|amount| amount.0 == pods);
        quota
            .metadata
            .namespace
            .as_deref()
            .is_some_and(|name| name.starts_with(prefix))
            && as_wanted
            && is_counted(quota)
    });
    reach("every quota to be counted", counted, count).await;
}

pub fn is_ready(tenant: &Tenant) -> bool {
    let status = tenant.status.as_ref();
    status.is_some_and(|status| {
        status.observed_generation == tenant.metadata.generation
            && status
                .conditions
                .iter()
                .any(|condition| condition.type_ == "Ready" && condition.status == "True")
    })
}
