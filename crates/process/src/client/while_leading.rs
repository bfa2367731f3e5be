//! Connections that live as long as this process leads.
//!
//! A write is checked when it is begun ([`LeaderHandle::is_leading`]); then it waits for a connection, whose handshake takes
//! milliseconds, or for the pause before another try. A process that is stopped just there would send it when it is resumed: of
//! forty tenants under way one was seen that got two namespaces by a leader that slept past its lease. hyper encodes and sends
//! in a task of its own for each connection, so it is asked once more right before that task runs.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::Poll,
};

use hyper::rt::Executor;

use crate::leader::LeaderHandle;

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs what hyper spawns, on tokio, and ends it when its process leads no more.
#[derive(Clone)]
pub struct WhileLeading {
    leader: LeaderHandle,
}

impl WhileLeading {
    /// While `leader` leads.
    pub fn new(leader: LeaderHandle) -> Self {
        Self { leader }
    }
}

impl Executor<Task> for WhileLeading {
    fn execute(&self, mut task: Task) {
        let leader = self.leader.clone();
        tokio::spawn(poll_fn(move |context| {
            if leader.is_leading() {
                task.as_mut().poll(context)
            } else {
                Poll::Ready(())
            }
        }));
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use axum::Router;
    use jiff::Timestamp;
    use k8s_openapi::api::core::v1::Namespace;
    use kube::{Api, Client, Config, api::PostParams};
    use tokio::{net::TcpListener, sync::mpsc};

    use super::*;
    use crate::{
        client::{self, CallPolicy},
        clock::TestClock,
    };
    use tenantry::metrics::Metrics;

    /// A server that tells of each request, and a leader's client of it.
    async fn stage(clock: &TestClock) -> (Client, mpsc::UnboundedReceiver<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let (heard, requests) = mpsc::unbounded_channel();
        let router = Router::new().fallback(move || {
            let _ = heard.send(());
            async { "{}" }
        });
        tokio::spawn(async { axum::serve(listener, router).await });
        let leader = LeaderHandle::always(Arc::new(clock.clone()));
        let policy = CallPolicy::new(Duration::from_secs(10));
        let metrics = Arc::new(Metrics::new().unwrap());
        let client = client::build_for_leader(Config::new(url), policy, metrics, leader).unwrap();
        (client, requests)
    }

    async fn write(client: &Client) -> Result<Namespace, kube::Error> {
        let namespaces: Api<Namespace> = Api::all(client.clone());
        namespaces.create(&PostParams::default(), &Namespace::default()).await
    }

    #[tokio::test]
    async fn a_write_that_was_begun_in_time_is_not_sent_too_late() {
        let clock = TestClock::new(Timestamp::UNIX_EPOCH);
        let (client, mut heard) = stage(&clock).await;
        let begun = write(&client);
        clock.advance(Duration::MAX);
        begun.await.unwrap_err();
        assert!(heard.try_recv().is_err(), "it was sent");
    }

    #[tokio::test]
    async fn a_connection_that_stands_already_carries_nothing_either() {
        let clock = TestClock::new(Timestamp::UNIX_EPOCH);
        let (client, mut heard) = stage(&clock).await;
        write(&client).await.unwrap();
        heard.try_recv().unwrap();
        let begun = write(&client);
        clock.advance(Duration::MAX);
        begun.await.unwrap_err();
        assert!(heard.try_recv().is_err(), "it was sent");
    }
}
