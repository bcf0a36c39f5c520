//! The operator's own HTTP port: `/livez`, `/readyz`, `/metrics`. Reads flags and metrics, nothing else.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    Router, extract::State, http::StatusCode, http::header::CONTENT_TYPE, response::IntoResponse, routing::get,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// Whether this operator can do its work: its caches have been filled and it is not shutting down. A standby is as
/// ready as the leader, because it can take over.
#[derive(Debug, Default)]
pub struct Health {
    caches: Mutex<BTreeMap<String, bool>>,
    draining: AtomicBool,
}

impl Health {
    /// Not ready until each of these caches has been reported by [`Health::synced`].
    pub fn expecting<'a>(caches: impl IntoIterator<Item = &'a str>) -> Arc<Self> {
        let caches = caches.into_iter().map(|name| (name.to_owned(), false)).collect();
        Arc::new(Self {
            caches: Mutex::new(caches),
            draining: AtomicBool::new(false),
        })
    }

    /// The cache `name` holds all there is.
    pub fn synced(&self, name: &str) {
        self.caches
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.to_owned(), true);
    }

    /// From now on the answer is "not ready": the process is about to end.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Names of the caches that are still empty.
    pub fn missing(&self) -> Vec<String> {
        let caches = self.caches.lock().unwrap_or_else(PoisonError::into_inner);
        caches
            .iter()
            .filter(|(_, synced)| !**synced)
            .map(|(name, _)| name.clone())
            .collect()
    }

    fn readiness(&self) -> (StatusCode, String) {
        if self.draining.load(Ordering::Relaxed) {
            return (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n".to_owned());
        }
        let missing = self.missing();
        if missing.is_empty() {
            (StatusCode::OK, "ok\n".to_owned())
        } else {
            (
                StatusCode::SERVICE_UNAVAILABLE,
                format!("waiting for caches: {}\n", missing.join(", ")),
            )
        }
    }
}

/// Serves until `shutdown`.
pub async fn serve(
    listener: TcpListener,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    axum::serve(listener, router(health, metrics))
        .with_graceful_shutdown(shutdown.cancelled_owned())
        .await
}

fn router(health: Arc<Health>, metrics: Arc<Metrics>) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route(
            "/readyz",
            get(async |State(health): State<Arc<Health>>| health.readiness()).with_state(health),
        )
        .route("/metrics", get(exposition).with_state(metrics))
}

async fn exposition(State(metrics): State<Arc<Metrics>>) -> impl IntoResponse {
    (
        [(
            CONTENT_TYPE,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        )],
        metrics.encode(),
    )
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    async fn get(address: std::net::SocketAddr, path: &str) -> String {
        let mut stream = tokio::net::TcpStream::connect(address).await.expect("connects");
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("writes");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("reads");
        answer
    }

    #[tokio::test]
    async fn ready_once_every_cache_is_filled_and_alive_all_along() {
        let health = Health::expecting(["shops", "children"]);
        let metrics = Metrics::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("has an address");
        let shutdown = CancellationToken::new();
        let server = tokio::spawn(serve(
            listener,
            Arc::clone(&health),
            Arc::clone(&metrics),
            shutdown.clone(),
        ));

        assert!(get(address, "/livez").await.starts_with("HTTP/1.1 200"));
        health.synced("shops");
        let waiting = get(address, "/readyz").await;
        assert!(waiting.starts_with("HTTP/1.1 503") && waiting.contains("children") && !waiting.contains("shops"));
        health.synced("children");
        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200"));
        metrics.leader(true);
        let exposition = get(address, "/metrics").await;
        assert!(exposition.contains("shopwright_operator_leader 1"), "{exposition}");
        health.drain();
        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 503"));
        shutdown.cancel();
        server.await.expect("joins").expect("serves");
    }
}
