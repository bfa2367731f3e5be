//! Connections that end when this process no longer leads.
//!
//! The operator checks [`LeaderHandle::is_leading`] when it begins a write. The write then waits for a connection,
//! whose handshake takes milliseconds, or for the pause before a retry. If the process is stopped at that point, it
//! sends the write when it is resumed. In a test with forty tenants, a leader that slept past its lease created two
//! namespaces for one of them. hyper encodes and sends in one task for each connection, so [`WhileLeading`] checks
//! again right before each poll of that task.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::Poll,
};

use hyper::rt::Executor;

use crate::leader::LeaderHandle;

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs hyper's tasks on tokio, and ends them when the process no longer leads.
#[derive(Clone)]
pub struct WhileLeading {
    leader: LeaderHandle,
}

impl WhileLeading {
    /// Runs tasks while `leader` leads.
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
    use crate::metrics::ProcessMetrics;
    use crate::{
        client::{self, CallPolicy},
        clock::TestClock,
    };

    /// A server that reports each request on a channel, and a leader's client for it.
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
        let metrics = ProcessMetrics::new("0").unwrap();
        let client = client::build_for_leader(Config::new(url), policy, metrics, leader).unwrap();
        (client, requests)
    }

    async fn write(client: &Client) -> Result<Namespace, kube::Error> {
        let namespaces: Api<Namespace> = Api::all(client.clone());
        namespaces.create(&PostParams::default(), &Namespace::default()).await
    }

    #[tokio::test]
    async fn a_write_begun_while_leading_is_not_sent_after_the_lease() {
        let clock = TestClock::new(Timestamp::UNIX_EPOCH);
        let (client, mut heard) = stage(&clock).await;
        let begun = write(&client);
        clock.advance(Duration::MAX);
        begun.await.unwrap_err();
        assert!(heard.try_recv().is_err(), "the write was sent");
    }

    #[tokio::test]
    async fn an_open_connection_sends_nothing_after_the_lease() {
        let clock = TestClock::new(Timestamp::UNIX_EPOCH);
        let (client, mut heard) = stage(&clock).await;
        write(&client).await.unwrap();
        heard.try_recv().unwrap();
        let begun = write(&client);
        clock.advance(Duration::MAX);
        begun.await.unwrap_err();
        assert!(heard.try_recv().is_err(), "the write was sent");
    }
}
