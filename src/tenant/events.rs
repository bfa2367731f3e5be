//! A bounded queue of Events and one task that sends them, so that no reconcile waits for an answer.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, Recorder};
use tokio::sync::{mpsc, oneshot};

/// Size of the queue. One tenant causes a few Events; a larger burst repeats the same Event many times.
const QUEUE: usize = 256;

/// Accepts Events. No decision depends on them, so an Event that finds the queue full is dropped and logged.
#[derive(Debug)]
pub struct Events {
    queue: mpsc::Sender<Message>,
    dropped: AtomicU64,
}

enum Message {
    Publish(Box<(ObjectReference, Event)>),
    /// Resolves when every earlier Event has been published or has failed.
    Flush(oneshot::Sender<()>),
}

impl Events {
    /// The queue, and the future that publishes its Events. The future ends when the queue is dropped.
    pub fn new(recorder: Recorder) -> (Self, impl Future<Output = ()> + Send) {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let dropped = AtomicU64::new(0);
        (Self { queue, dropped }, publish_all(recorder, waiting))
    }

    /// Puts an Event about an object into the queue.
    pub fn publish(&self, about: ObjectReference, event: Event) {
        let reason = event.reason.clone();
        if let Err(error) = self.queue.try_send(Message::Publish(Box::new((about, event)))) {
            let dropped = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
            let why = match error {
                mpsc::error::TrySendError::Full(_) => "too many Events wait for the API server",
                mpsc::error::TrySendError::Closed(_) => "no task publishes Events any more",
            };
            tracing::warn!(%reason, dropped, why, "dropped an Event");
        }
    }

    /// How many Events were dropped.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Waits until every Event in the queue was published or failed, or until `at_most` has passed.
    pub async fn flush(&self, at_most: Duration) {
        let flushed = async {
            let (done, is_done) = oneshot::channel();
            if self.queue.send(Message::Flush(done)).await.is_ok() {
                // If the task dropped the sender, nothing is published any more.
                let _ = is_done.await;
            }
        };
        if tokio::time::timeout(at_most, flushed).await.is_err() {
            tracing::warn!("Events were still in the queue at the end; they are lost");
        }
    }
}

async fn publish_all(recorder: Recorder, mut waiting: mpsc::Receiver<Message>) {
    while let Some(message) = waiting.recv().await {
        match message {
            Message::Publish(event) => {
                let (about, event) = *event;
                if let Err(error) = recorder.publish(&event, &about).await {
                    tracing::warn!(%error, reason = event.reason, "failed to publish an Event");
                }
            }
            // The caller may have stopped waiting.
            Message::Flush(done) => drop(done.send(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::runtime::events::{EventType, Reporter};

    use super::*;
    use crate::tenant::{
        fixture::server::{Server, Trouble},
        report::event,
    };

    fn events(server: &Server) -> (Events, impl Future<Output = ()> + Send + use<>) {
        let reporter = Reporter {
            controller: "tenantry".to_owned(),
            instance: None,
        };
        Events::new(Recorder::new(server.client(), reporter))
    }

    fn publish(events: &Events, count: usize) {
        for _ in 0..count {
            events.publish(
                ObjectReference::default(),
                event(EventType::Normal, "Reconciled", String::new()),
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn events_beyond_the_queue_are_dropped_and_counted() {
        let server = Server::new();
        server.trouble("create events", Trouble::Hang);
        let (events, publishing) = events(&server);
        publish(&events, QUEUE + 3);
        assert_eq!(events.dropped(), 3);
        let flushed = events.flush(Duration::from_secs(2));
        tokio::select! {
            () = flushed => {}
            () = publishing => panic!("publishing must hang"),
        }
        assert_eq!(server.whats().len(), 1, "one at a time");
    }

    #[tokio::test]
    async fn a_flush_waits_for_every_event_before_it() {
        let server = Server::new();
        let (events, publishing) = events(&server);
        publish(&events, 1);
        let flushed = events.flush(Duration::from_secs(60));
        tokio::select! {
            () = flushed => {}
            () = publishing => panic!("publishing must not end before the queue is dropped"),
        }
        assert_eq!(server.whats().len(), 1);
        assert_eq!(events.dropped(), 0);
    }
}
