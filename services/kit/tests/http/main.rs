//! The HTTP layers over a real socket: every failure is a problem, and says nothing of our insides.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod idempotency;
mod sse;

use std::{net::SocketAddr, time::Duration};

use axum::{
    Router,
    extract::FromRef,
    routing::{get, post},
};
use reqwest::Client;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shopwright_kit::{
    AdminAuthorization, AdminKey, ApiError, Json, Path, Query, RequestContext, Secret, admin,
    metrics::{self, HttpMetrics},
    serve::{self, Limits},
};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

#[derive(Clone)]
struct State(AdminKey);

impl FromRef<State> for AdminKey {
    fn from_ref(state: &State) -> Self {
        state.0.clone()
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    number: u8,
}

struct Running {
    address: SocketAddr,
    admin: SocketAddr,
    stop: CancellationToken,
    _guard: DropGuard,
}

async fn start(limits: Limits) -> Running {
    let routes = Router::new()
        .route("/things/{id}", get(|Path(id): Path<u32>| async move { id.to_string() }))
        .route(
            "/query",
            get(|Query(body): Query<Body>| async move { body.number.to_string() }),
        )
        .route("/body", post(|Json(body): Json<Body>| async move { Json(body) }))
        .route(
            "/admin",
            post(|_: AdminAuthorization, Json(body): Json<Body>| async move { Json(body) }),
        )
        .route("/panic", get(|| async { panics() }))
        .route(
            "/internal",
            get(|| async { Err::<(), _>(ApiError::internal(&std::io::Error::other("a secret cause"))) }),
        )
        .route("/redis", get(|| async { Err::<(), ApiError>(redis_error()) }))
        .route(
            "/slow",
            get(|| async { tokio::time::sleep(Duration::from_secs(3_600)).await }),
        )
        .route(
            "/brief",
            get(|| async { tokio::time::sleep(Duration::from_millis(300)).await }),
        )
        .route(
            "/context",
            get(|context: RequestContext| async move {
                assert_eq!(context, RequestContext::current());
                Json(json!({"id": context.request_id, "traceparent": context.traceparent}))
            }),
        )
        .with_state(State(AdminKey::new(Secret::new("key"))));
    let mut registry = metrics::registry();
    let http = HttpMetrics::register(&mut registry);
    let stop = CancellationToken::new();
    let readiness = admin::Readiness::new(stop.clone())
        .check("always", || async { Ok(()) })
        .check("hangs", || async {
            tokio::time::sleep(Duration::from_secs(3_600)).await;
            Ok(())
        })
        .check("panics", || async { panic!("a check") });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let admin_listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, admin) = (listener.local_addr().unwrap(), admin_listener.local_addr().unwrap());
    tokio::spawn(serve::run(listener, serve::public(routes, http, limits), stop.clone()));
    // The admin port outlives the API here, so that draining can be seen.
    tokio::spawn(serve::run(
        admin_listener,
        admin::router(registry, readiness),
        CancellationToken::new(),
    ));
    Running {
        address,
        admin,
        stop: stop.clone(),
        _guard: stop.drop_guard(),
    }
}

fn panics() -> &'static str {
    panic!("a secret in a panic")
}

fn redis_error() -> ApiError {
    redis::make_extension_error("WRONGTYPE".to_owned(), Some("a secret of a peer".to_owned())).into()
}

async fn problem(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    let body: Value = response.json().await.unwrap();
    assert_eq!((&body["request_id"], &body["status"]), (&json!(id), &json!(status)));
    assert!(!body.to_string().contains("secret"), "{body}");
    (status, body)
}

#[tokio::test]
async fn every_failure_is_a_problem_with_its_code() {
    let running = start(Limits {
        timeout: Duration::from_secs(60),
        body: 1_000,
    })
    .await;
    let client = Client::new();
    let url = |path: &str| format!("http://{}{path}", running.address);
    let json_body = |path: &str, text: &str| {
        client
            .post(url(path))
            .header("content-type", "application/json; charset=utf-8")
            .body(text.to_owned())
    };
    let cases = [
        (client.get(url("/nowhere")), 404, "not_found"),
        (client.get(url("/things/x")), 404, "not_found"),
        (client.get(url("/query?number=300")), 400, "query_invalid"),
        (client.delete(url("/body")), 405, "method_not_allowed"),
        (client.post(url("/body")).body("{}"), 415, "unsupported_media_type"),
        (json_body("/body", "{"), 400, "malformed_json"),
        (json_body("/body", "{} {}"), 422, "validation_failed"),
        (json_body("/body", r#"{"number":256}"#), 422, "validation_failed"),
        (json_body("/body", &"x".repeat(1_001)), 413, "payload_too_large"),
        (json_body("/admin", "{"), 401, "unauthenticated"),
        (client.get(url("/panic")), 500, "internal"),
        (client.get(url("/internal")), 500, "internal"),
        (client.get(url("/redis")), 500, "internal"),
    ];
    for (index, (request, status, code)) in cases.into_iter().enumerate() {
        let (seen, body) = problem(request).await;
        assert_eq!((seen, &body["code"]), (status, &json!(code)), "case {index}: {body}");
    }
    let accepted = json_body("/admin", r#"{"number":1}"#)
        .bearer_auth("key")
        .send()
        .await
        .unwrap();
    assert_eq!(accepted.status(), 200);

    let metrics = client
        .get(format!("http://{}/metrics", running.admin))
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    for line in [
        "shopwright_http_requests_total{method=\"GET\",route=\"/things/{id}\",status=\"404\"} 1",
        "shopwright_http_requests_total{method=\"GET\",route=\"unmatched\",status=\"404\"} 1",
        "shopwright_http_requests_in_flight 0",
    ] {
        assert!(metrics.contains(line), "{line} in\n{metrics}");
    }
}

#[tokio::test]
async fn what_takes_too_long_is_504() {
    let running = start(Limits {
        timeout: Duration::from_millis(50),
        ..Limits::default()
    })
    .await;
    let (status, body) = problem(Client::new().get(format!("http://{}/slow", running.address))).await;
    assert_eq!((status, &body["code"]), (504, &json!("timeout")));
}

#[tokio::test]
async fn handlers_know_whose_request_they_serve() {
    let running = start(Limits::default()).await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let response = Client::new()
        .get(format!("http://{}/context", running.address))
        .header("x-request-id", "mine")
        .header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"))
        .send()
        .await
        .unwrap();
    assert_eq!(response.headers()["x-request-id"], "mine");
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["id"], "mine");
    assert!(body["traceparent"].as_str().unwrap().contains(trace));
}

#[tokio::test]
async fn readiness_tells_each_reason_and_liveness_does_not_care() {
    let running = start(Limits::default()).await;
    let get = async |path: &str| {
        let response = reqwest::get(format!("http://{}{path}", running.admin)).await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    let (status, text) = get("/readyz").await;
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(status, 503);
    assert_eq!(
        report,
        json!({"ready": false, "checks": [["draining", "ok"], ["always", "ok"], ["hangs", "timeout"], ["panics", "failed"]]})
    );
    running.stop.cancel();
    assert!(get("/readyz").await.1.contains(r#"["draining","draining"]"#));
    assert_eq!(get("/livez").await.0, 200);
}

#[tokio::test]
async fn shutdown_finishes_what_is_in_flight() {
    let running = start(Limits::default()).await;
    let url = format!("http://{}/brief", running.address);
    let in_flight = tokio::spawn(async move { reqwest::get(url).await.unwrap().status() });
    let metrics = || async {
        reqwest::get(format!("http://{}/metrics", running.admin))
            .await
            .unwrap()
            .text()
            .await
            .unwrap()
    };
    while !metrics().await.contains("in_flight 1") && !in_flight.is_finished() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    running.stop.cancel();
    assert_eq!(in_flight.await.unwrap(), 200);
}
