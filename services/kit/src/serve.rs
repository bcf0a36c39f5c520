//! A router made fit for the network, and the one place that knows how axum serves.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;

use crate::{
    context,
    metrics::{self, HttpMetrics},
    problem::ApiError,
};

/// Connections still open this long after shutdown began are cut: above the request timeout, below the kubelet's grace.
const DRAIN: Duration = Duration::from_secs(15);

/// Bounds of one request.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// From the request's head to the reply's head; then 504.
    pub timeout: Duration,
    /// Bytes of a request's body; then 413.
    pub body: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            body: 64 * 1024,
        }
    }
}

/// Adds to a router what every public API needs: problems for unknown routes and methods, request id and trace context,
/// metrics, time and size limits, and a 500 for a panic instead of a cut connection.
pub fn public(router: Router, metrics: HttpMetrics, limits: Limits) -> Router {
    let timeout = limits.timeout;
    router
        .fallback(|| async { ApiError::not_found("resource") })
        .method_not_allowed_fallback(|| async { ApiError::method_not_allowed() })
        .layer(DefaultBodyLimit::max(limits.body))
        .layer(middleware::from_fn(move |request: Request, next: Next| async move {
            tokio::time::timeout(timeout, next.run(request))
                .await
                .unwrap_or_else(|_| ApiError::timeout().into_response())
        }))
        .layer(CatchPanicLayer::custom(answer_panic))
        .layer(middleware::from_fn_with_state(Arc::new(metrics), metrics::middleware))
        .layer(middleware::from_fn(context::middleware))
}

#[derive(Debug, thiserror::Error)]
#[error("a handler panicked")]
struct HandlerPanicked;

#[allow(clippy::needless_pass_by_value, reason = "the signature is tower-http's")]
fn answer_panic(_: Box<dyn std::any::Any + Send>) -> Response {
    ApiError::internal(&HandlerPanicked).into_response()
}

/// Serves until `shutdown` is cancelled, then finishes what is in flight, for at most 15 s.
pub async fn run(listener: TcpListener, router: Router, shutdown: CancellationToken) -> std::io::Result<()> {
    let drained = shutdown.clone();
    let server = axum::serve(listener, router).with_graceful_shutdown(async move { drained.cancelled().await });
    tokio::select! {
        outcome = server => outcome,
        () = async { shutdown.cancelled().await; tokio::time::sleep(DRAIN).await } => {
            tracing::warn!(seconds = DRAIN.as_secs(), "connections were cut after the drain time");
            Ok(())
        }
    }
}
