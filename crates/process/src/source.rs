//! Watches that fill the caches and re-list from time to time.
//!
//! A watch reports changes after its start, each once. If an event is lost, a cache of these events stays wrong. A list
//! every hour bounds how long it stays wrong.

use std::{
    fmt::Debug,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use futures::{Stream, StreamExt as _, stream::BoxStream};
use kube::{
    Api, Client, Resource,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use tokio::time::Sleep;

use self::heard::Heard;
use crate::watches::Watch;

mod heard;

/// The events of a watch.
pub type Events<K> = BoxStream<'static, watcher::Result<Event<K>>>;

/// Opens watches, from which the caches are filled.
#[derive(Clone)]
pub struct Source {
    /// The API server.
    pub client: Client,
    every: Duration,
    rng: Arc<Mutex<fastrand::Rng>>,
}

impl Source {
    /// `every` is how often each watch re-lists (±20 %, random by `rng`, so that the lists do not all run at the same
    /// time).
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

    /// Like [`watcher`] with its default back-off; records successes and failures in `health`. Each new list begins
    /// with [`Event::Init`].
    pub fn watch<K>(&self, health: Watch, api: impl FnOnce(Client) -> Api<K>, config: watcher::Config) -> Events<K>
    where
        K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
    {
        let this = self.clone();
        let namespace = self.client.default_namespace().to_owned();
        let api = api(Client::new(Heard::new(self.client.clone(), health.clone()), namespace));
        let relisting = Relisting {
            health,
            open: move || watcher(api.clone(), config.clone()).default_backoff().boxed(),
            pause: move || this.pause(),
            events: None,
            due: None,
            taken: false,
        };
        relisting.boxed()
    }
}

fn pause(every: Duration, rng: &mut fastrand::Rng) -> Duration {
    every.mul_f64(0.8 + 0.4 * rng.f64())
}

/// A watch that is reopened some time after each list.
struct Relisting<K, O, P> {
    health: Watch,
    /// Opens the watch, which begins with a list.
    open: O,
    /// How long after a list the next one is due.
    pause: P,
    events: Option<Events<K>>,
    /// When the next list is due. None during a list: a list is never cut short, no matter how long it takes.
    due: Option<Pin<Box<Sleep>>>,
    /// The reader has received the end of a list. When it polls for the next event, it has processed that list.
    taken: bool,
}

impl<K, O, P> Stream for Relisting<K, O, P>
where
    O: Fn() -> Events<K>,
    P: Fn() -> Duration,
{
    type Item = watcher::Result<Event<K>>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if std::mem::take(&mut this.taken) {
            this.health.listed();
        }
        if let Some(due) = &mut this.due
            && due.as_mut().poll(context).is_ready()
        {
            this.due = None;
            this.events = None;
        }
        let events = this.events.get_or_insert_with(&this.open);
        let next = std::task::ready!(events.poll_next_unpin(context));
        match &next {
            Some(Ok(Event::Init)) => this.due = None,
            Some(Ok(Event::InitDone)) => {
                this.taken = true;
                this.due = Some(Box::pin(tokio::time::sleep((this.pause)())));
            }
            Some(Ok(Event::Apply(_) | Event::Delete(_))) => this.health.heard(),
            Some(Err(error)) => this.health.failed(error),
            Some(Ok(Event::InitApply(_))) | None => {}
        }
        Poll::Ready(next)
    }
}

impl<K, O, P> Unpin for Relisting<K, O, P> {}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::{FutureExt as _, stream};

    use super::*;
    use crate::metrics::ProcessMetrics;
    use crate::{
        clock::SystemClock,
        health::Gates,
        watches::{FAILING, Watches},
    };

    fn health() -> Watch {
        let metrics = ProcessMetrics::new("0").unwrap();
        Watches::new(Arc::new(SystemClock::new()), Gates::new(), metrics).optional("Namespace")
    }

    /// A watch that `open` opens and that re-lists after `every`; and how often it was opened.
    fn relisting(
        health: Watch,
        every: Duration,
        open: impl Fn() -> Events<u8> + Send + 'static,
    ) -> (impl Stream<Item = watcher::Result<Event<u8>>>, Arc<AtomicUsize>) {
        let opened = Arc::new(AtomicUsize::new(0));
        let count = opened.clone();
        let stream = Relisting {
            health,
            open: move || {
                count.fetch_add(1, Ordering::Relaxed);
                open()
            },
            pause: move || every,
            events: None,
            due: None,
            taken: false,
        };
        (stream, opened)
    }

    #[test]
    fn pauses_differ_by_at_most_20_percent() {
        let mut rng = fastrand::Rng::with_seed(1);
        let pauses: Vec<_> = (0..100).map(|_| pause(Duration::from_secs(10), &mut rng)).collect();
        let seconds = |number| Duration::from_secs(number);
        assert!(pauses.iter().all(|pause| (seconds(8)..=seconds(12)).contains(pause)));
        assert!(pauses.iter().any(|pause| *pause < seconds(9)) && pauses.iter().any(|pause| *pause > seconds(11)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_longer_than_the_interval_completes() {
        let page = |event| async move {
            tokio::time::sleep(Duration::from_secs(5)).await;
            Ok(event)
        };
        let open = move || -> Events<u8> {
            let list = [Event::Init, Event::InitApply(1), Event::InitApply(2), Event::InitDone];
            stream::iter(list).then(page).chain(stream::pending()).boxed()
        };
        let (events, opened) = relisting(health(), Duration::from_secs(1), open);
        let events: Vec<_> = events.take(8).map(Result::unwrap).collect().await;
        let listed = events.iter().filter(|event| matches!(event, Event::InitDone)).count();
        assert_eq!((listed, opened.load(Ordering::Relaxed)), (2, 2), "{events:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_that_the_watcher_starts_postpones_the_next() {
        let open = || -> Events<u8> {
            let first = stream::iter([Event::Init, Event::InitDone, Event::Init]);
            let rest = async {
                tokio::time::sleep(Duration::from_secs(60)).await;
                Event::InitDone
            };
            let events = first.chain(stream::once(rest)).map(Ok);
            events.chain(stream::pending()).boxed()
        };
        let (events, opened) = relisting(health(), Duration::from_secs(10), open);
        let mut events = std::pin::pin!(events.map(Result::unwrap));
        let first: Vec<_> = events.by_ref().take(4).collect().await;
        assert!(matches!(first[3], Event::InitDone), "{first:?}");
        assert_eq!(opened.load(Ordering::Relaxed), 1);
        events.next().await.unwrap();
        assert_eq!(opened.load(Ordering::Relaxed), 2, "then the watch lists again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_counts_after_its_reader_has_processed_it() {
        let health = health();
        let open = || -> Events<u8> {
            let list = stream::iter([Event::Init, Event::InitDone]);
            list.map(Ok).chain(stream::pending()).boxed()
        };
        let (events, _) = relisting(health.clone(), FAILING, open);
        let mut events = std::pin::pin!(events);
        events.next().await.unwrap().unwrap();
        events.next().await.unwrap().unwrap();
        assert!(health.until_listed().now_or_never().is_none());
        assert!(events.next().now_or_never().is_none());
        health.until_listed().await;
    }

    #[tokio::test(start_paused = true)]
    async fn errors_count_as_failure_until_a_list() {
        let health = health();
        let open = || -> Events<u8> {
            let broken = stream::iter([Err(watcher::Error::NoResourceVersion), Ok(Event::InitDone)]);
            broken.chain(stream::pending()).boxed()
        };
        let (events, _) = relisting(health.clone(), FAILING, open);
        let mut events = std::pin::pin!(events);
        events.next().await.unwrap().unwrap_err();
        assert!(health.failing_for().is_some());
        events.next().await.unwrap().unwrap();
        assert!(events.next().now_or_never().is_none());
        assert!(health.failing_for().is_none());
    }
}
