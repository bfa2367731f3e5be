//! `/livez`, `/readyz` and `/metrics`.

use std::fmt::Write;
use std::future::Future;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use crate::health::{Gates, Heartbeats};
use crate::metrics::ProcessMetrics;

/// What the endpoints show.
#[derive(Clone)]
pub struct Admin {
    /// `/readyz`.
    pub gates: Gates,
    /// `/livez`.
    pub heartbeats: Heartbeats,
    /// `/metrics`.
    pub metrics: ProcessMetrics,
}

/// The router of the endpoints, without a socket.
pub fn router(admin: Admin) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(admin)
}

/// Serves the endpoints until `shutdown` resolves and open requests are answered.
pub async fn serve(
    listener: TcpListener,
    admin: Admin,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    axum::serve(listener, router(admin))
        .with_graceful_shutdown(shutdown)
        .await
}

async fn livez(State(admin): State<Admin>) -> Response {
    let late = admin.heartbeats.late();
    if late.is_empty() {
        return (StatusCode::OK, "ok\n").into_response();
    }
    let mut text = String::new();
    for (name, silent, limit) in late {
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "[-]{name}: no heartbeat for {}s, limit {}s",
            silent.as_secs(),
            limit.as_secs()
        );
    }
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}

/// Like the API server's: it lists closed gates with their reason; with `?verbose` also the open ones.
async fn readyz(State(admin): State<Admin>, RawQuery(query): RawQuery) -> Response {
    let verbose = query
        .unwrap_or_default()
        .split('&')
        .any(|pair| pair.split('=').next() == Some("verbose"));
    let gates = admin.gates.states();
    let ready = gates.iter().all(|(_, reason)| reason.is_none());
    let mut text = String::new();
    for (name, reason) in gates {
        // Writing to a String cannot fail.
        let _ = match reason {
            Some(reason) => writeln!(text, "[-]{name}: {reason}"),
            None if verbose => writeln!(text, "[+]{name}"),
            None => Ok(()),
        };
    }
    text.push_str(if ready { "ok\n" } else { "not ready\n" });
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, text).into_response()
}

async fn metrics(State(admin): State<Admin>) -> Response {
    match admin.metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "failed to encode metrics");
            (
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("failed to encode metrics: {error}\n"),
            )
                .into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::TestClock;
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use std::time::Duration;
    use tower::ServiceExt;

    fn admin() -> (Admin, TestClock) {
        let clock = TestClock::new(jiff::Timestamp::UNIX_EPOCH);
        let admin = Admin {
            gates: Gates::new(),
            heartbeats: Heartbeats::new(std::sync::Arc::new(clock.clone())),
            metrics: ProcessMetrics::new("0").expect("the table is sound"),
        };
        (admin, clock)
    }

    async fn ask(admin: &Admin, path: &str) -> (u16, String) {
        let request = Request::get(path).body(Body::empty()).expect("a request");
        let response = router(admin.clone()).oneshot(request).await.expect("infallible");
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), usize::MAX).await.expect("a body");
        (status, String::from_utf8(body.to_vec()).expect("text"))
    }

    #[tokio::test]
    async fn readyz_lists_the_closed_gates_with_their_reason() {
        let (admin, _) = admin();
        admin.gates.register("watch:Tenant").ready();
        admin
            .gates
            .register("crds")
            .unready("tenants.tenantry.dev is not served");
        let (status, text) = ask(&admin, "/readyz").await;
        assert_eq!(
            (status, text.as_str()),
            (503, "[-]crds: tenants.tenantry.dev is not served\nnot ready\n")
        );
    }

    #[tokio::test]
    async fn readyz_lists_all_gates_when_asked_to() {
        let (admin, _) = admin();
        admin.gates.register("watch:Tenant").ready();
        admin.gates.register("crds").ready();
        assert_eq!(ask(&admin, "/readyz").await, (200, "ok\n".to_owned()));
        for path in ["/readyz?verbose", "/readyz?a=b&verbose=true"] {
            assert_eq!(
                ask(&admin, path).await,
                (200, "[+]crds\n[+]watch:Tenant\nok\n".to_owned()),
                "{path}"
            );
        }
    }

    #[tokio::test]
    async fn livez_fails_when_a_heartbeat_stops() {
        let (admin, clock) = admin();
        let _heart = admin.heartbeats.register("lease", Duration::from_secs(30));
        assert_eq!(ask(&admin, "/livez").await, (200, "ok\n".to_owned()));
        clock.advance(Duration::from_secs(31));
        assert_eq!(
            ask(&admin, "/livez").await,
            (503, "[-]lease: no heartbeat for 31s, limit 30s\n".to_owned())
        );
    }

    #[tokio::test]
    async fn metrics_are_served_as_prometheus_text() {
        let (admin, _) = admin();
        let (status, text) = ask(&admin, "/metrics").await;
        assert_eq!(status, 200);
        assert!(text.contains("tenantry_build_info{version="), "{text}");
    }

    #[tokio::test]
    async fn other_paths_and_methods_are_refused() {
        let (admin, _) = admin();
        assert_eq!(ask(&admin, "/debug").await.0, 404);
        let post = Request::post("/metrics").body(Body::empty()).expect("a request");
        let response = router(admin).oneshot(post).await.expect("infallible");
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    }

    #[tokio::test]
    async fn the_server_answers_on_a_socket_and_ends_on_shutdown() {
        use std::io::{Read, Write};
        let (admin, _) = admin();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (trigger, shutdown) = crate::shutdown::channel();
        let server = tokio::spawn(serve(listener, admin, shutdown.requested()));
        let asking = tokio::task::spawn_blocking(move || {
            let mut stream = std::net::TcpStream::connect(address)?;
            stream.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).map(|_| answer)
        });
        let answer = asking.await.expect("no panic").expect("answers");
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        trigger.request();
        server.await.expect("no panic").expect("ends well");
    }
}
