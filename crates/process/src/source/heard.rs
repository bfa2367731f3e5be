//! Notices that a watch's stream is alive: its response, and all data that arrives on it, including bookmarks.
//!
//! kube's watcher consumes bookmarks and does not report that it reopened a stream. Without them, the watch of a kind
//! that nobody changes looks the same as a broken one.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use hyper::body::{Frame, SizeHint};
use kube::{Client, client::Body};
use tower::Service;

use crate::watches::Watch;

type Request = axum::http::Request<Body>;
type Answer<B> = axum::http::Response<B>;

/// The HTTP service of one watch.
pub(super) struct Heard {
    client: Client,
    watch: Watch,
}

impl Heard {
    /// Sends requests through `client`, and records in `watch` each time that data arrives on a stream.
    pub(super) fn new(client: Client, watch: Watch) -> Self {
        Self { client, watch }
    }
}

impl Service<Request> for Heard {
    type Response = Answer<Stream>;
    type Error = kube::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        // The client waits until it is ready when it sends.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        // A list counts only when all of it was read, and only its reader knows that.
        let is_stream = request.uri().query().is_some_and(opens_a_stream);
        let watch = self.watch.clone();
        let client = self.client.clone();
        Box::pin(async move {
            let answer = client.send(request).await?;
            let watch = (is_stream && answer.status().is_success()).then_some(watch);
            if let Some(watch) = &watch {
                watch.heard();
            }
            Ok(answer.map(|body| Stream { body, watch }))
        })
    }
}

fn opens_a_stream(query: &str) -> bool {
    query.split('&').any(|pair| matches!(pair, "watch=true" | "watch=1"))
}

/// The body of a response.
pub(super) struct Stream {
    body: Body,
    watch: Option<Watch>,
}

impl hyper::body::Body for Stream {
    type Data = <Body as hyper::body::Body>::Data;
    type Error = <Body as hyper::body::Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let (Some(watch), Some(Ok(_))) = (&self.watch, &frame) {
            watch.heard();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, Mutex},
        time::Duration,
    };

    use axum::{Router, extract::RawQuery, routing::get};
    use futures::StreamExt as _;
    use jiff::Timestamp;
    use k8s_openapi::api::core::v1::Namespace;
    use kube::{
        Api, Config,
        api::{ListParams, WatchParams},
    };
    use tokio::{net::TcpListener, sync::mpsc};
    use tokio_stream::wrappers::UnboundedReceiverStream;

    use super::*;
    use crate::metrics::ProcessMetrics;
    use crate::{
        client::{self, CallPolicy},
        clock::TestClock,
        health::Gates,
        watches::Watches,
    };

    /// A stream with one bookmark and no further data.
    const BOOKMARK: &str = "{\"type\":\"BOOKMARK\",\"object\":{\"kind\":\"Namespace\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"7\"}}}\n";

    #[tokio::test]
    async fn a_bookmark_counts_and_a_list_does_not() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let (send, bookmarks) = mpsc::unbounded_channel::<Result<&str, std::io::Error>>();
        let bookmarks = Arc::new(Mutex::new(Some(bookmarks)));
        let answer = move |query: RawQuery| {
            let bookmarks = bookmarks.clone();
            async move {
                if opens_a_stream(&query.0.unwrap_or_default()) {
                    let stream = bookmarks.lock().unwrap().take().unwrap();
                    axum::body::Body::from_stream(UnboundedReceiverStream::new(stream))
                } else {
                    axum::body::Body::from("{\"metadata\":{\"resourceVersion\":\"1\"},\"items\":[]}")
                }
            }
        };
        let router = Router::new().route("/api/v1/namespaces", get(answer));
        tokio::spawn(async { axum::serve(listener, router).await });

        let clock = TestClock::new(Timestamp::UNIX_EPOCH);
        let metrics = ProcessMetrics::new("0").unwrap();
        let watches = Watches::new(Arc::new(clock.clone()), Gates::new(), metrics.clone());
        let heard = || {
            watches.check();
            let text = metrics.encode().unwrap();
            let prefix = "tenantry_watch_last_success_timestamp_seconds{kind=\"Namespace\"} ";
            let line = text.lines().find_map(|line| line.strip_prefix(prefix));
            line.map(|second| second.parse::<u64>().unwrap())
        };
        let policy = CallPolicy::new(Duration::from_secs(10));
        let inner = client::build(Config::new(url), policy, metrics.clone()).unwrap();
        let watch = watches.optional("Namespace");
        let api: Api<Namespace> = Api::all(Client::new(Heard::new(inner, watch.clone()), "default"));

        api.list(&ListParams::default()).await.unwrap();
        assert_eq!(heard(), None);
        clock.advance(Duration::from_secs(10));
        let mut events = Box::pin(api.watch(&WatchParams::default(), "1").await.unwrap());
        assert_eq!(heard(), Some(10), "it was opened");
        clock.advance(Duration::from_secs(10));
        send.send(Ok(BOOKMARK)).unwrap();
        events.next().await.unwrap().unwrap();
        assert_eq!(heard(), Some(20));
    }
}
