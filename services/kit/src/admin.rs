//! The admin port: `/livez` (this process, never a dependency), `/readyz` (pluggable checks), `/metrics`.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus_client::registry::Registry;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::extract::Json;

/// A check that takes longer counts as failed; the kubelet's own probe timeout is above it.
const CHECK_TIMEOUT: Duration = Duration::from_millis(800);

type CheckFuture = Pin<Box<dyn Future<Output = Result<(), &'static str>> + Send>>;
type CheckFunction = Arc<dyn Fn() -> CheckFuture + Send + Sync>;

/// What must hold before traffic is sent here. Reasons are fixed words, never a peer's text.
#[derive(Clone)]
pub struct Readiness {
    checks: Vec<(&'static str, CheckFunction)>,
    draining: CancellationToken,
}

impl fmt::Debug for Readiness {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_list()
            .entries(self.checks.iter().map(|(name, _)| name))
            .finish()
    }
}

/// Outcome of all checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether every check passed and the process is not draining.
    pub ready: bool,
    /// Each check by name: `ok` or the reason it fails for.
    pub checks: Vec<(&'static str, &'static str)>,
}

impl Readiness {
    /// Ready unless `shutdown` is cancelled.
    pub fn new(shutdown: CancellationToken) -> Self {
        Self {
            checks: Vec::new(),
            draining: shutdown,
        }
    }

    /// Adds a check. All of them run at once, each bounded by 800 ms.
    #[must_use]
    pub fn check<F, Fut>(mut self, name: &'static str, check: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), &'static str>> + Send + 'static,
    {
        self.checks.push((name, Arc::new(move || Box::pin(check()))));
        self
    }

    /// Runs every check.
    pub async fn report(&self) -> Report {
        let running: Vec<_> = self
            .checks
            .iter()
            .map(|(name, check)| (*name, tokio::spawn(tokio::time::timeout(CHECK_TIMEOUT, check()))))
            .collect();
        let mut checks = vec![("draining", if self.draining.is_cancelled() { "draining" } else { "ok" })];
        for (name, check) in running {
            let outcome = match check.await {
                Ok(Ok(Ok(()))) => "ok",
                Ok(Ok(Err(reason))) => reason,
                Ok(Err(_)) => "timeout",
                Err(_) => "failed",
            };
            checks.push((name, outcome));
        }
        Report {
            ready: checks.iter().all(|(_, outcome)| *outcome == "ok"),
            checks,
        }
    }
}

struct AdminState {
    registry: Registry,
    readiness: Readiness,
}

/// The three routes. Serve them with [`crate::serve::run`] on the admin listener.
pub fn router(registry: Registry, readiness: Readiness) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(Arc::new(AdminState { registry, readiness }))
}

async fn ready(State(state): State<Arc<AdminState>>) -> Response {
    let report = state.readiness.report().await;
    let status = if report.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(report)).into_response()
}

async fn metrics(State(state): State<Arc<AdminState>>) -> Response {
    let mut text = String::new();
    if prometheus_client::encoding::text::encode(&mut text, &state.registry).is_err() {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    (
        [(
            header::CONTENT_TYPE,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        )],
        text,
    )
        .into_response()
}
