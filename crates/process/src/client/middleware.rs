//! A tower layer around the HTTP client: a deadline for the whole call, retries within it, and a metric of each
//! attempt.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body as ResponseBody, Bytes, HttpBody};
use axum::http::{
    HeaderMap, Request, Response, StatusCode,
    header::{CONTENT_LENGTH, RETRY_AFTER},
};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::time::Instant;
use tower::{BoxError, Layer, Service};

use super::request_kind::{RequestKind, Verb, code_label};
use crate::metrics::ProcessMetrics;

/// How long a call may take and how often it is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallPolicy {
    deadline: Duration,
}

impl CallPolicy {
    /// First attempt included.
    const MAX_TRIES: u32 = 4;
    const FIRST_DELAY: Duration = Duration::from_millis(50);
    const MAX_DELAY: Duration = Duration::from_secs(2);
    const MAX_RETRY_AFTER: Duration = Duration::from_secs(5);
    /// A list of all objects may take longer than a write: with a deadline of 10 s, this is the API server's own limit
    /// of 60 s.
    const LIST_FACTOR: u32 = 6;

    /// `deadline` bounds a call on one object, its retries included.
    pub fn new(deadline: Duration) -> Self {
        Self { deadline }
    }

    /// Deadline of a call on one object.
    pub fn deadline(self) -> Duration {
        self.deadline
    }

    fn deadline_of(self, verb: Verb) -> Duration {
        match verb {
            Verb::List | Verb::DeleteCollection => self.deadline * Self::LIST_FACTOR,
            // For a watch, only for the head of its response: kube detects a silent stream, but not a request that
            // hangs.
            Verb::Watch | Verb::Get | Verb::Create | Verb::Update | Verb::Patch | Verb::Delete | Verb::Other => {
                self.deadline
            }
        }
    }

    /// The pause before the next try, or None if the call must not be retried.
    ///
    /// Every method may be retried, because each of our writes is safe to repeat. An apply states the desired content,
    /// updates and deletes name the version or uid that they mean, and a second create is refused with AlreadyExists.
    fn pause(tries: u32, status: StatusCode, headers: &HeaderMap, random: f64) -> Option<Duration> {
        let may_pass = matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
        );
        if !may_pass || tries >= Self::MAX_TRIES {
            return None;
        }
        let doubled = Self::FIRST_DELAY
            .saturating_mul(1 << (tries - 1).min(16))
            .min(Self::MAX_DELAY);
        let backoff = doubled.mul_f64(0.5 + random / 2.0);
        let asked = headers
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.trim().parse::<u64>().ok());
        let asked = asked.map_or(Duration::ZERO, |seconds| {
            Duration::from_secs(seconds).min(Self::MAX_RETRY_AFTER)
        });
        Some(backoff.max(asked))
    }
}

/// The call's deadline passed; a write may or may not have happened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no complete answer to {verb} {resource} within {after:?}")]
pub struct DeadlineExceeded {
    /// The verb of the request.
    pub verb: &'static str,
    /// The resource of the request.
    pub resource: &'static str,
    /// The deadline.
    pub after: Duration,
}

/// Reason of a cause that this layer adds to a refusal if an earlier try of the same call may have succeeded: although
/// the last try was refused, the write may have taken effect.
pub const EARLIER_TRY_UNANSWERED: &str = "EarlierTryUnanswered";

/// Puts [`ApiService`] around a service.
#[derive(Debug, Clone)]
pub struct ApiLayer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    policy: CallPolicy,
    metrics: ProcessMetrics,
    rng: Mutex<fastrand::Rng>,
}

impl ApiLayer {
    /// `rng` gives the jitter.
    pub fn new(policy: CallPolicy, metrics: ProcessMetrics, rng: fastrand::Rng) -> Self {
        Self {
            shared: Arc::new(Shared {
                policy,
                metrics,
                rng: Mutex::new(rng),
            }),
        }
    }
}

impl<S> Layer<S> for ApiLayer {
    type Service = ApiService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ApiService {
            shared: self.shared.clone(),
            inner: Arc::new(Mutex::new(inner)),
        }
    }
}

/// See the module. A retry needs kube's own stack again, but it cannot be cloned, so a lock protects it. The lock is
/// taken only to pass a request to the stack, never across an await.
pub struct ApiService<S> {
    shared: Arc<Shared>,
    inner: Arc<Mutex<S>>,
}

type CallFuture = Pin<Box<dyn Future<Output = Result<Response<ResponseBody>, BoxError>> + Send>>;

impl<S, B> Service<Request<Body>> for ApiService<S>
where
    S: Service<Request<Body>, Response = Response<B>> + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<ResponseBody>;
    type Error = BoxError;
    type Future = CallFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        // Each attempt waits for the inner service itself.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> CallFuture {
        let shared = self.shared.clone();
        let inner = self.inner.clone();
        Box::pin(async move { shared.call(&inner, request).await })
    }
}

impl Shared {
    async fn call<S, B>(&self, inner: &Mutex<S>, request: Request<Body>) -> Result<Response<ResponseBody>, BoxError>
    where
        S: Service<Request<Body>, Response = Response<B>>,
        S::Error: Into<BoxError>,
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let kind = RequestKind::of(request.method(), request.uri());
        let after = self.policy.deadline_of(kind.verb);
        let deadline = Instant::now() + after;
        let mut request = request;
        let mut tries = 0;
        let mut unanswered = false;
        loop {
            tries += 1;
            let spare = try_clone(&request);
            let response = match tokio::time::timeout_at(deadline, attempt(inner, request, kind.verb)).await {
                Ok(Ok(response)) => response,
                Ok(Err(error)) => {
                    self.count(kind, "transport");
                    return Err(error);
                }
                Err(_) => {
                    self.count(kind, "timeout");
                    return Err(DeadlineExceeded {
                        verb: kind.verb.as_str(),
                        resource: kind.resource,
                        after,
                    }
                    .into());
                }
            };
            self.count(kind, code_label(response.status()));
            let random = self.rng.lock().unwrap_or_else(PoisonError::into_inner).f64();
            match (
                CallPolicy::pause(tries, response.status(), response.headers(), random),
                spare,
            ) {
                // If the pause would exceed the deadline, return this answer: it says more than a timeout.
                (Some(pause), Some(spare)) if Instant::now() + pause < deadline => {
                    tracing::debug!(
                        verb = kind.verb.as_str(),
                        resource = kind.resource,
                        status = response.status().as_u16(),
                        pause_ms = pause.as_millis(),
                        "request will be tried again"
                    );
                    // The API server answers 429 before it does anything. The other codes may come from a proxy that
                    // lost the answer.
                    unanswered |= response.status() != StatusCode::TOO_MANY_REQUESTS;
                    tokio::time::sleep(pause).await;
                    request = spare;
                }
                _ if unanswered && response.status().is_client_error() => return mark_unanswered(response).await,
                _ => return Ok(response),
            }
        }
    }

    fn count(&self, kind: RequestKind, code: &'static str) {
        self.metrics.api_request(kind.verb.as_str(), kind.resource, code);
    }
}

/// One attempt. It reads the body too, so that the deadline covers it; except the body of a successful watch, which is
/// a stream.
async fn attempt<S, B>(inner: &Mutex<S>, request: Request<Body>, verb: Verb) -> Result<Response<ResponseBody>, BoxError>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let mut request = Some(request);
    let call = std::future::poll_fn(|context| {
        let mut inner = inner.lock().unwrap_or_else(PoisonError::into_inner);
        ready!(inner.poll_ready(context)).map_err(Into::into)?;
        Poll::Ready(Ok::<_, BoxError>(request.take().map(|request| inner.call(request))))
    });
    let Some(response) = call.await? else {
        return Err("request was already sent".into());
    };
    let (head, body) = response.await.map_err(Into::into)?.into_parts();
    let body = ResponseBody::new(body);
    if verb == Verb::Watch && head.status.is_success() {
        return Ok(Response::from_parts(head, body));
    }
    let bytes = axum::body::to_bytes(body, usize::MAX).await?;
    Ok(Response::from_parts(head, ResponseBody::from(bytes)))
}

/// Adds [`EARLIER_TRY_UNANSWERED`] to a refusal.
async fn mark_unanswered(response: Response<ResponseBody>) -> Result<Response<ResponseBody>, BoxError> {
    let (mut head, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, usize::MAX).await?;
    let status = serde_json::from_slice(&bytes).ok().filter(Value::is_object);
    // The API server reports overload in plain text.
    let mut status = status.unwrap_or_else(|| {
        let message = String::from_utf8_lossy(&bytes);
        json!({ "kind": "Status", "status": "Failure", "message": message.trim(), "code": head.status.as_u16() })
    });
    let cause =
        json!({ "reason": EARLIER_TRY_UNANSWERED, "message": "an earlier try got no answer and may have been done" });
    match &mut status["details"]["causes"] {
        Value::Array(causes) => causes.push(cause),
        causes => *causes = json!([cause]),
    }
    head.headers.remove(CONTENT_LENGTH);
    Ok(Response::from_parts(head, ResponseBody::from(status.to_string())))
}

/// A copy for the next try, or None if the body is a stream; kube's own requests never have one.
fn try_clone(request: &Request<Body>) -> Option<Request<Body>> {
    let mut copy = Request::new(request.body().try_clone()?);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    Some(copy)
}

#[cfg(test)]
mod tests;
