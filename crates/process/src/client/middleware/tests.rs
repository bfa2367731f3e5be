//! Tests with kube's own client and Api, a scripted server, and paused time.

use std::collections::VecDeque;

use futures::{AsyncBufReadExt, FutureExt, StreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchParams};
use kube::client::ClientBuilder;

use super::*;

/// How the server answers one request.
#[derive(Debug, Clone)]
enum Reply {
    Status(u16, Option<&'static str>),
    /// The head arrives at once, the body never.
    HangingBody,
    /// A stream that stays open after these bytes.
    Stream(&'static str),
    Hang,
    Refuse,
}

/// Answers as in the script, and after its end always with 200; records the methods that it received.
#[derive(Clone, Default)]
struct Server {
    script: Arc<Mutex<VecDeque<Reply>>>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn new(script: impl IntoIterator<Item = Reply>) -> Self {
        Self {
            script: Arc::new(Mutex::new(script.into_iter().collect())),
            ..Self::default()
        }
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("not poisoned").clone()
    }

    async fn answer(self, request: Request<Body>) -> Result<Response<ResponseBody>, BoxError> {
        let body = request.into_parts();
        let (head, body) = (body.0, body.1.collect_bytes().await?);
        self.seen
            .lock()
            .expect("not poisoned")
            .push(format!("{} {}", head.method, body.len().min(1)));
        let reply = self
            .script
            .lock()
            .expect("not poisoned")
            .pop_front()
            .unwrap_or(Reply::Status(200, None));
        let never = || ResponseBody::from_stream(futures::stream::pending::<Result<Bytes, BoxError>>());
        Ok(match reply {
            Reply::Hang => std::future::pending().await,
            Reply::Refuse => return Err("connection refused".into()),
            Reply::HangingBody => Response::new(never()),
            Reply::Stream(text) => {
                let first = futures::stream::iter([Ok::<_, BoxError>(Bytes::from_static(text.as_bytes()))]);
                Response::new(ResponseBody::from_stream(first.chain(futures::stream::pending())))
            }
            Reply::Status(code, retry_after) => {
                let body = if code == 200 {
                    r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"one"},"items":[]}"#.to_owned()
                } else {
                    format!(r#"{{"apiVersion":"v1","kind":"Status","status":"Failure","code":{code},"metadata":{{}}}}"#)
                };
                let builder = Response::builder().status(code);
                let builder = retry_after
                    .iter()
                    .fold(builder, |builder, value| builder.header(RETRY_AFTER, *value));
                builder.body(ResponseBody::from(body))?
            }
        })
    }
}

struct Setup {
    api: Api<ConfigMap>,
    server: Server,
    metrics: ProcessMetrics,
}

fn setup(script: impl IntoIterator<Item = Reply>) -> Setup {
    let server = Server::new(script);
    let metrics = ProcessMetrics::new("0").expect("the table is sound");
    let policy = CallPolicy::new(Duration::from_secs(10));
    let layer = ApiLayer::new(policy, metrics.clone(), fastrand::Rng::with_seed(5));
    let answering = server.clone();
    let service = tower::service_fn(move |request| answering.clone().answer(request));
    let client = ClientBuilder::new(service, "default").with_layer(&layer).build();
    Setup {
        api: Api::namespaced(client, "blue"),
        server,
        metrics,
    }
}

fn config_map() -> ConfigMap {
    ConfigMap {
        metadata: kube::core::ObjectMeta {
            name: Some("one".to_owned()),
            ..Default::default()
        },
        ..Default::default()
    }
}

fn deadline_of(error: &kube::Error) -> Option<Duration> {
    match error {
        kube::Error::Service(source) => source.downcast_ref::<DeadlineExceeded>().map(|error| error.after),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn an_overloaded_server_gets_every_method_again_with_its_body() {
    for code in [429, 503, 504] {
        let busy = || Reply::Status(code, None);
        let Setup { api, server, .. } = setup([busy(), busy(), busy()]);
        let patch = Patch::Apply(config_map());
        api.patch("one", &PatchParams::apply("x"), &patch)
            .await
            .expect("the fourth try succeeds");
        assert_eq!(server.seen(), vec!["PATCH 1"; 4], "{code}");
    }
    let busy = || Reply::Status(503, None);
    let Setup { api, server, .. } = setup([busy()]);
    api.create(&PostParams::default(), &config_map())
        .await
        .expect("tried again");
    server.script.lock().expect("not poisoned").push_back(busy());
    api.delete("one", &DeleteParams::default()).await.expect("tried again");
    assert_eq!(server.seen(), ["POST 1", "POST 1", "DELETE 1", "DELETE 1"]);
}

#[tokio::test(start_paused = true)]
async fn after_four_tries_the_last_answer_is_returned() {
    let Setup { api, server, .. } = setup((0..9).map(|_| Reply::Status(503, None)));
    let began = Instant::now();
    let error = api.get("one").await.expect_err("still overloaded");
    assert!(
        matches!(&error, kube::Error::Api(status) if status.code == 503),
        "{error}"
    );
    assert_eq!(server.seen().len(), 4);
    assert!(
        began.elapsed() <= Duration::from_millis(50 + 100 + 200 + 10),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn other_errors_are_returned_without_a_retry() {
    for code in [400, 403, 404, 409, 422, 500] {
        let Setup { api, server, .. } = setup([Reply::Status(code, Some("1"))]);
        let error = api.get("one").await.expect_err("refused");
        assert!(
            matches!(&error, kube::Error::Api(status) if status.code == code),
            "{error}"
        );
        assert_eq!(server.seen().len(), 1);
    }
    let Setup { api, server, .. } = setup([Reply::Refuse]);
    assert!(api.get("one").await.is_err());
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_honoured_up_to_five_seconds() {
    for (header, least, most) in [
        ("1", 1_000, 1_010),
        ("86400", 5_000, 5_010),
        ("18446744073709551615", 5_000, 5_010),
        ("soon", 0, 60),
    ] {
        let Setup { api, .. } = setup([Reply::Status(429, Some(header))]);
        let began = Instant::now();
        api.get("one").await.expect("tried again");
        let took = began.elapsed().as_millis();
        assert!((least..=most).contains(&took), "Retry-After {header}: {took} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_beyond_the_deadline_returns_the_last_answer() {
    let Setup { api, server, .. } = setup((0..9).map(|_| Reply::Status(429, Some("86400"))));
    let began = Instant::now();
    let error = api.get("one").await.expect_err("overloaded for long");
    assert!(
        matches!(&error, kube::Error::Api(status) if status.code == 429),
        "{error}"
    );
    assert_eq!(server.seen().len(), 2);
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn a_hanging_head_or_body_ends_the_call_at_its_deadline() {
    for hang in [Reply::Hang, Reply::HangingBody] {
        let Setup { api, metrics, .. } = setup([hang.clone(), hang.clone()]);
        let began = Instant::now();
        let error = api.get("one").await.expect_err("hangs");
        assert_eq!(deadline_of(&error), Some(Duration::from_secs(10)), "{error}");
        assert_eq!(began.elapsed().as_secs(), 10);
        let error = api.list(&ListParams::default()).await.expect_err("hangs");
        assert_eq!(
            deadline_of(&error),
            Some(Duration::from_secs(60)),
            "a list may take longer"
        );
        let text = metrics.encode().expect("encodes");
        assert!(
            text.contains(r#"{code="timeout",resource="configmaps",verb="get"} 1"#),
            "{text}"
        );
        assert!(
            text.contains(r#"{code="timeout",resource="configmaps",verb="list"} 1"#),
            "{text}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_has_a_deadline_for_its_head_but_not_its_stream() {
    let event = "{\"type\":\"BOOKMARK\"}\n";
    let Setup { api, .. } = setup([Reply::Stream(event), Reply::Hang]);
    let request = || {
        let request = kube::core::Request::new("/api/v1/configmaps").watch(&WatchParams::default(), "0");
        request.expect("a request")
    };
    let client = api.into_client();
    let stream = client.request_stream(request()).await.expect("the head is there");
    let mut lines = std::pin::pin!(stream.lines());
    assert_eq!(lines.next().await.expect("a line").expect("readable"), event.trim());
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(lines.next().now_or_never().is_none(), "still open");

    let error = client.request_stream(request()).await.err().expect("the head hangs");
    assert_eq!(deadline_of(&error), Some(Duration::from_secs(10)));
}

#[tokio::test(start_paused = true)]
async fn each_try_is_counted_by_verb_resource_and_code() {
    let Setup { api, metrics, .. } = setup([Reply::Status(429, None), Reply::Status(200, None), Reply::Refuse]);
    api.patch("one", &PatchParams::apply("x"), &Patch::Apply(config_map()))
        .await
        .expect("tried again");
    assert!(api.get("one").await.is_err());
    let text = metrics.encode().expect("encodes");
    for labels in [
        r#"{code="429",resource="configmaps",verb="patch"} 1"#,
        r#"{code="2xx",resource="configmaps",verb="patch"} 1"#,
        r#"{code="transport",resource="configmaps",verb="get"} 1"#,
    ] {
        assert!(text.contains(labels), "{labels} is missing in\n{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_says_if_an_earlier_try_may_have_succeeded() {
    let marked = async |script: Vec<Reply>| {
        let error = setup(script).api.create(&PostParams::default(), &config_map()).await;
        let Err(kube::Error::Api(status)) = error else {
            panic!("not refused: {error:?}");
        };
        let causes = status.details.map(|details| details.causes).unwrap_or_default();
        (
            status.code,
            causes.iter().any(|cause| cause.reason == EARLIER_TRY_UNANSWERED),
        )
    };
    let said = |code| Reply::Status(code, None);
    assert_eq!(marked(vec![said(403)]).await, (403, false));
    assert_eq!(
        marked(vec![said(429), said(403)]).await,
        (403, false),
        "429 does nothing"
    );
    assert_eq!(marked(vec![said(504), said(403)]).await, (403, true));
    assert_eq!(
        marked(vec![said(504), said(429), said(429), said(429)]).await,
        (429, true)
    );
    assert_eq!(marked(vec![said(503), said(409)]).await, (409, true));
}
