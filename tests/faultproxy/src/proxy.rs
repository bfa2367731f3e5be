//! The server, and the way from a request to its answer.

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http_body_util::BodyExt as _;
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING},
    http::request::Parts,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::Value;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

use crate::{
    Action, Asked, Entry, Error, Moment, Rule, RuleFile, Status, Verb,
    answer::{self, Answer, BoxError},
    events::{Judge, judged},
    state::{State, text},
};

/// A running proxy; gone when dropped, with every connection through it.
pub struct Proxy {
    shared: Arc<Shared>,
    url: String,
    _server: JoinSet<()>,
}

/// A moment between two requests.
#[derive(Clone, Debug)]
pub struct Mark(u64);

struct Shared {
    client: Client,
    state: Mutex<State>,
    /// Notifies waiters of every change of the state.
    changed: watch::Sender<()>,
}

/// The connection is to end without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection is reset by a fault rule")]
struct Reset;

impl Proxy {
    /// Listens on a port of its own and sends to the API server of a kubeconfig, with the sender's credentials.
    pub async fn start(kubeconfig: &Path) -> Result<Self, Error> {
        let unusable = |why: String| Error::Kubeconfig {
            path: kubeconfig.to_owned(),
            why,
        };
        let file = Kubeconfig::read_from(kubeconfig).map_err(|error| unusable(error.to_string()))?;
        let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await;
        let config = config.map_err(|error| unusable(error.to_string()))?;
        Self::to(config).await
    }

    /// As [`Proxy::start`], to the API server of a configuration.
    pub async fn to(mut config: Config) -> Result<Self, Error> {
        // Each request brings its own credentials.
        config.auth_info = kube::config::AuthInfo::default();
        config.default_retry = false;
        config.read_timeout = None;
        let url = config.cluster_url.to_string();
        let unreachable = |why: String| Error::Unreachable { url: url.clone(), why };
        let client = Client::try_from(config).map_err(|error| unreachable(error.to_string()))?;
        let probe = Request::get("/version").body(kube::client::Body::empty());
        let probe = probe.map_err(|error| unreachable(error.to_string()))?;
        client.send(probe).await.map_err(|error| unreachable(causes(&error)))?;

        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(Error::Listen)?;
        let url = format!("http://{}", listener.local_addr().map_err(Error::Listen)?);
        let shared = Arc::new(Shared {
            client,
            state: Mutex::default(),
            changed: watch::Sender::new(()),
        });
        let mut server = JoinSet::new();
        server.spawn(serve(listener, shared.clone()));
        Ok(Self {
            shared,
            url,
            _server: server,
        })
    }

    /// The address that the operator uses as its API server.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Replaces all rules by these; their counts start at 0.
    pub fn set_rules(&self, rules: impl Into<RuleFile>) {
        self.shared.state().set_rules(rules.into());
    }

    /// Every request so far, in order of arrival, and every event that a rule matched.
    pub fn log(&self) -> Vec<Entry> {
        self.shared.state().log()
    }

    /// Waits until so many requests hang at once.
    pub async fn until_held(&self, number: usize) {
        self.shared
            .until(|state| state.held.values().map(Vec::len).sum::<usize>() >= number)
            .await;
    }

    /// The rules by which requests hang now, as JSON, in order of arrival.
    pub fn held(&self) -> Vec<String> {
        self.shared.state().held.values().flatten().cloned().collect()
    }

    /// Waits until no request but watches is in flight, those of senders that have exited included.
    pub async fn until_idle(&self) {
        self.shared.until(|state| state.under_way == 0).await;
    }

    /// Lets every request that hangs now go on.
    pub fn release(&self) {
        let now = self.mark();
        self.release_before(&now);
    }

    /// A moment, for [`Proxy::release_before`].
    pub fn mark(&self) -> Mark {
        let mut state = self.shared.state();
        state.turn += 1;
        Mark(state.turn)
    }

    /// Lets every request go on that came before this moment and hangs.
    pub fn release_before(&self, mark: &Mark) {
        self.shared.change(|state| {
            state.released = state.released.max(mark.0);
            state.held = state.held.split_off(&mark.0);
        });
    }
}

/// An error with all that led to it.
fn causes(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", causes(source)),
        None => error.to_string(),
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    connections.spawn(converse(stream, shared.clone()));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn converse(stream: TcpStream, shared: Arc<Shared>) {
    let service = service_fn(|request| shared.clone().answer(request));
    let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // The connection ends when either side closes it, or when a rule resets it.
    if let Err(error) = connection.await {
        tracing::debug!(%error, "connection ended");
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn until(&self, holds: impl Fn(&State) -> bool) {
        let mut changes = self.changed.subscribe();
        while !holds(&self.state()) {
            // The state, and so the sender, lives as long as this task.
            let _ = changes.changed().await;
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.send_replace(());
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Answer, BoxError> {
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let asked = Asked::read(&head.method, &head.uri, &body);
        let (place, rule) = self.state().arrive(&asked, states_what_it_means(&asked, &body));
        if asked.verb == Verb::Watch {
            return Ok(self.carry(asked, place, rule, head, body).await?);
        }
        self.change(|state| state.under_way += 1);
        // In a task of its own: the request reaches the API server even if its sender exits before the answer.
        let task = tokio::spawn(async move {
            let answer = self.clone().carry(asked, place, rule, head, body).await;
            self.change(|state| state.under_way -= 1);
            answer
        });
        Ok(task.await??)
    }

    /// To the API server and back, with the fault on its side of it.
    async fn carry(
        self: Arc<Self>,
        asked: Asked,
        place: usize,
        rule: Option<Rule>,
        head: Parts,
        body: Bytes,
    ) -> Result<Answer, Reset> {
        let stale = matches!(&rule, Some(rule) if rule.action == Action::Stale);
        let list = (asked.verb == Verb::List).then(|| head.uri.to_string());
        let (before, after) = match rule {
            Some(rule) if rule.at == Moment::Before => (Some(rule), None),
            rule => (None, rule),
        };
        if let Some(answer) = self.meet(before).await? {
            return Ok(answer);
        }
        let answer = self.clone().forward(asked, head, body).await;
        self.state().answered(place, answer.status());
        let answer = match list {
            Some(uri) if answer.status() == StatusCode::OK => self.remember(uri, answer, stale).await,
            _ => answer,
        };
        let instead = self.meet(after).await?;
        Ok(instead.unwrap_or(answer))
    }

    /// Carries out a rule; returns the answer that replaces the API server's, if any.
    async fn meet(&self, rule: Option<Rule>) -> Result<Option<Answer>, Reset> {
        let Some(rule) = rule else { return Ok(None) };
        let text = text(&rule);
        match rule.action {
            Action::Reset => Err(Reset),
            Action::Status(status) => Ok(Some(answer::status(&status, "a fault rule says so"))),
            Action::Hang => {
                let mut turn = 0;
                self.change(|state| {
                    turn = state.turn;
                    state.held.entry(turn).or_default().push(text);
                });
                self.until(|state| state.released > turn).await;
                Ok(None)
            }
            Action::Slow(milliseconds) => {
                tokio::time::sleep(Duration::from_millis(milliseconds)).await;
                Ok(None)
            }
            Action::Drop | Action::Duplicate | Action::Expire | Action::Cut | Action::Delay(_) | Action::Stale => {
                Ok(None)
            }
        }
    }

    /// Keeps a list's answer for the next same request; a stale answer is the one kept before.
    async fn remember(&self, uri: String, answer: Answer, stale: bool) -> Answer {
        let (mut head, body) = answer.into_parts();
        let fresh = match body.collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => return lost(&error.to_string()),
        };
        let kept = self.state().remember(uri, fresh.clone(), stale);
        head.headers.remove(CONTENT_LENGTH);
        Response::from_parts(head, answer::whole(kept.unwrap_or(fresh)))
    }

    async fn forward(self: Arc<Self>, asked: Asked, mut head: Parts, body: Bytes) -> Answer {
        for ours in [HOST, CONNECTION, TRANSFER_ENCODING] {
            head.headers.remove(ours);
        }
        let request = Request::from_parts(head, kube::client::Body::from(body));
        let (mut head, body) = match self.client.send(request).await {
            Ok(answer) => answer.into_parts(),
            Err(error) => return lost(&causes(&error)),
        };
        head.headers.remove(CONNECTION);
        head.headers.remove(TRANSFER_ENCODING);
        if asked.verb == Verb::Watch && head.status == StatusCode::OK {
            head.headers.remove(CONTENT_LENGTH);
            return Response::from_parts(head, judged(asked, body, self));
        }
        match body.collect().await {
            Ok(body) => Response::from_parts(head, answer::whole(body.to_bytes())),
            Err(error) => lost(&error.to_string()),
        }
    }
}

impl Judge for Arc<Shared> {
    fn is_needed(&self) -> bool {
        self.state().has_rules_of_events()
    }

    fn action(&self, event: &Asked) -> Option<Action> {
        self.state().event(event).map(|rule| rule.action)
    }
}

/// Whether a write can change only the version that its sender saw: a delete with preconditions, another write with a
/// resourceVersion, and every create.
fn states_what_it_means(asked: &Asked, body: &[u8]) -> bool {
    let of = |pointer: &str| -> bool {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        body.pointer(pointer).is_some_and(Value::is_string)
    };
    match asked.verb {
        Verb::Create | Verb::Get | Verb::List | Verb::Watch => true,
        Verb::Update | Verb::Patch => of("/metadata/resourceVersion"),
        Verb::Delete => of("/preconditions/uid") && of("/preconditions/resourceVersion"),
    }
}

/// A load balancer's answer when the API server cannot be reached.
fn lost(why: &str) -> Answer {
    let status = Status {
        code: 502,
        retry_after: None,
    };
    answer::status(&status, &format!("no answer from the API server: {why}"))
}
