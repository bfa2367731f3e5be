//! Where caches are filled from: watches that begin anew with a list now and then.
//!
//! A watch tells of what changes after it began. An event that is lost on the way is never told again, and whoever keeps a
//! cache of what was told is wrong from then on. A list every hour bounds for how long.

use std::{
    fmt::Debug,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{Stream, StreamExt as _, stream};
use kube::{
    Api, Client, Resource,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;

/// Where caches are filled from.
#[derive(Clone)]
pub struct Source {
    /// The API server.
    pub client: Client,
    every: Duration,
    rng: Arc<Mutex<fastrand::Rng>>,
}

impl Source {
    /// Each watch begins anew after `every`, a fifth more or less as `rng` says, so that not all lists come at once.
    pub fn new(client: Client, every: Duration, rng: fastrand::Rng) -> Self {
        Self {
            client,
            every,
            rng: Arc::new(Mutex::new(rng)),
        }
    }

    fn pause(&self) -> Duration {
        pause(self.every, &mut self.rng.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// As [`watcher`] with its default back-off. Where it begins anew comes [`Event::Init`], also amid a list.
    pub fn watch<K>(
        &self,
        api: Api<K>,
        config: watcher::Config,
    ) -> impl Stream<Item = watcher::Result<Event<K>>> + Send + use<K>
    where
        K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
    {
        let this = self.clone();
        stream::repeat_with(move || {
            let end = tokio::time::sleep(this.pause());
            watcher(api.clone(), config.clone()).default_backoff().take_until(end)
        })
        .flatten()
    }
}

fn pause(every: Duration, rng: &mut fastrand::Rng) -> Duration {
    every.mul_f64(0.8 + 0.4 * rng.f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_differ_by_a_fifth_at_most() {
        let mut rng = fastrand::Rng::with_seed(1);
        let pauses: Vec<_> = (0..100).map(|_| pause(Duration::from_secs(10), &mut rng)).collect();
        let seconds = |number| Duration::from_secs(number);
        assert!(pauses.iter().all(|pause| (seconds(8)..=seconds(12)).contains(pause)));
        assert!(pauses.iter().any(|pause| *pause < seconds(9)) && pauses.iter().any(|pause| *pause > seconds(11)));
    }
}
