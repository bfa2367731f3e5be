//! The proxy in front of a server that records what reaches it. Needs no control plane.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests fail by panicking"
)]

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use faultproxy::{Proxy, RuleFile};
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Bytes, service::service_fn};
use hyper_util::rt::TokioIo;
use kube::{Client, Config, client::Body};
use tokio::net::TcpListener;

const QUOTA: &str = "/api/v1/namespaces/a/resourcequotas/tenantry";
const EVENTS: &str = "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"x\"}}}\n\
                      {\"type\":\"DELETED\",\"object\":{\"metadata\":{\"name\":\"x\"}}}\n";

/// A server, what reached it, and the proxy before it.
struct Bench {
    seen: Arc<Mutex<Vec<String>>>,
    proxy: Proxy,
    client: Client,
}

impl Bench {
    async fn new(rules: &str) -> Self {
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let noted = seen.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let noted = noted.clone();
                let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                    let token = request
                        .headers()
                        .get("authorization")
                        .map(|value| value.to_str().unwrap());
                    let line = format!("{} {} {}", request.method(), request.uri(), token.unwrap_or_default());
                    noted.lock().unwrap().push(line);
                    let asked = noted.lock().unwrap().len();
                    let text = if request.uri().query() == Some("watch=true") {
                        EVENTS.to_owned()
                    } else if request.uri().path() == "/api/v1/pods" {
                        format!("{{\"asked\":{asked}}}")
                    } else {
                        "{}".to_owned()
                    };
                    async move { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(text)))) }
                });
                let connection = hyper::server::conn::http1::Builder::new();
                tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
            }
        });
        let proxy = Proxy::to(Config::new(url.parse().unwrap())).await.unwrap();
        proxy.set_rules(RuleFile::parse(rules).unwrap());
        seen.lock().unwrap().clear();
        let mut config = Config::new(proxy.url().parse().unwrap());
        config.default_retry = false;
        Self {
            seen,
            client: Client::try_from(config).unwrap(),
            proxy,
        }
    }

    /// Status, Retry-After and body, or the error.
    async fn ask(&self, method: &str, uri: &str) -> Result<(u16, String, String), kube::Error> {
        self.send(method, uri, "{}").await
    }

    async fn send(&self, method: &str, uri: &str, body: &str) -> Result<(u16, String, String), kube::Error> {
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header("authorization", "Bearer mine")
            .body(Body::from(body.as_bytes().to_vec()))
            .unwrap();
        let answer = self.client.send(request).await?;
        let wait = answer
            .headers()
            .get("retry-after")
            .map(|wait| wait.to_str().unwrap().to_owned());
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        Ok((
            status,
            wait.unwrap_or_default(),
            String::from_utf8(body.to_vec()).unwrap(),
        ))
    }

    fn seen(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

#[tokio::test]
async fn unmatched_request_passes_with_its_token_and_is_logged() {
    let bench = Bench::new("rules: [{ match: { verbs: [delete] }, action: reset }]").await;
    assert_eq!(bench.ask("PUT", QUOTA).await.unwrap().0, 200);
    assert_eq!(bench.ask("PUT", QUOTA).await.unwrap().0, 200);
    assert_eq!(bench.seen.lock().unwrap()[0], format!("PUT {QUOTA} Bearer mine"));
    let last = bench.proxy.log().pop().unwrap();
    assert_eq!(last.asked.to_string(), "update resourcequotas a/tenantry");
    assert_eq!((last.nth, last.status, last.rule), (2, Some(200), None));
}

#[tokio::test]
async fn reset_before_sends_nothing_and_reset_after_takes_effect() {
    for (at, reached) in [("before", 0), ("after", 1)] {
        let bench = Bench::new(&format!("rules: [{{ at: {at}, action: reset }}]")).await;
        assert!(bench.ask("PUT", QUOTA).await.is_err());
        assert_eq!(bench.seen(), reached, "{at}");
    }
}

#[tokio::test]
async fn a_status_comes_with_its_retry_after_at_the_nth_request_only() {
    let rule = "{ when: { nth: 2 }, at: after, action: { status: { code: 429, retryAfter: soon } } }";
    let bench = Bench::new(&format!("rules: [{rule}]")).await;
    assert_eq!(bench.ask("PUT", QUOTA).await.unwrap().0, 200);
    let (status, wait, body) = bench.ask("PUT", QUOTA).await.unwrap();
    assert_eq!((status, &*wait), (429, "soon"));
    assert!(body.contains("TooManyRequests"), "{body}");
    assert_eq!(bench.ask("PUT", QUOTA).await.unwrap().0, 200);
    let fired: Vec<_> = bench.proxy.log().into_iter().filter_map(|entry| entry.rule).collect();
    assert_eq!(fired.len(), 1);
    assert!(fired[0].contains("soon"), "{fired:?}");
}

#[tokio::test]
async fn hanging_request_is_sent_on_release_without_its_sender() {
    let bench = Bench::new("rules: [{ action: hang }]").await;
    tokio::select! {
        _ = bench.ask("PUT", QUOTA) => unreachable!("it hangs"),
        () = bench.proxy.until_held(1) => {}
    }
    assert_eq!(bench.seen(), 0);
    bench.proxy.release();
    bench.proxy.until_idle().await;
    assert_eq!(bench.seen(), 1);
}

#[tokio::test]
async fn rules_change_while_it_runs() {
    let bench = Bench::new("rules: [{ action: { status: { code: 503 } } }]").await;
    assert_eq!(bench.ask("GET", QUOTA).await.unwrap().0, 503);
    bench.proxy.set_rules(vec![]);
    assert_eq!(bench.ask("GET", QUOTA).await.unwrap().0, 200);
    bench
        .proxy
        .set_rules(RuleFile::parse("rules: [{ action: { slow: 1 } }]").unwrap());
    assert_eq!(bench.ask("GET", QUOTA).await.unwrap().0, 200);
}

#[tokio::test]
async fn events_of_watches_are_dropped_doubled_delayed_and_expired() {
    for (action, expected) in [
        ("drop", "ADDED"),
        ("duplicate", "ADDED DELETED DELETED"),
        ("expire", "ADDED ERROR"),
        ("cut", "ADDED"),
        ("{ delay: 1 }", "ADDED DELETED"),
    ] {
        let rule = format!("{{ match: {{ verbs: [watch], event: DELETED, name: x }}, action: {action} }}");
        let bench = Bench::new(&format!("rules: [{rule}]")).await;
        let (_, _, body) = bench.ask("GET", "/api/v1/resourcequotas?watch=true").await.unwrap();
        let types: Vec<String> = body
            .lines()
            .map(|line| {
                serde_json::from_str::<serde_json::Value>(line).unwrap()["type"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            })
            .collect();
        assert_eq!(types.join(" "), expected);
    }
}

#[tokio::test]
async fn stale_list_is_the_previous_answer() {
    let bench = Bench::new("rules: [{ match: { verbs: [list] }, when: { nth: 3 }, action: stale }]").await;
    let mut answers = Vec::new();
    for _ in 0..4 {
        answers.push(bench.ask("GET", "/api/v1/pods").await.unwrap().2);
    }
    // The server counts what it is asked.
    assert_eq!(answers[2], answers[1]);
    assert_ne!(answers[3], answers[2]);
}

#[tokio::test]
async fn log_marks_writes_that_name_their_version() {
    // A rule that nothing meets.
    let bench = Bench::new("rules: [{ match: { resource: pods }, action: reset }]").await;
    let sure = r#"{"preconditions":{"uid":"u","resourceVersion":"1"}}"#;
    for (method, body, guarded) in [
        ("DELETE", "{}", false),
        ("DELETE", sure, true),
        ("PUT", "{}", false),
        ("PUT", r#"{"metadata":{"resourceVersion":"1"}}"#, true),
    ] {
        bench.send(method, QUOTA, body).await.unwrap();
        assert_eq!(bench.proxy.log().last().unwrap().guarded, guarded, "{method} {body}");
    }
}

#[tokio::test]
async fn error_names_the_folder_without_a_control_plane() {
    let port = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let error = Proxy::to(Config::new(format!("http://127.0.0.1:{port}").parse().unwrap())).await;
    let error = error.err().expect("nobody listens").to_string();
    assert!(
        error.contains(&port.to_string()) && error.contains("is the control plane running?"),
        "{error}"
    );
    let missing = Proxy::start("/nowhere/kubeconfig".as_ref()).await;
    let missing = missing.err().expect("no such file").to_string();
    assert!(missing.contains("/nowhere/kubeconfig"), "{missing}");
}
