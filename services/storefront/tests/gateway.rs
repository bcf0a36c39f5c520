//! The gateway over real sockets, with a real server behind it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{any, get},
};
use reqwest::Client;
use serde_json::{Value, json};
use shopwright_kit::{
    metrics::{self, HttpMetrics},
    serve::{self, Limits},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
};
use tokio_util::sync::{CancellationToken, DropGuard};

struct Running {
    address: SocketAddr,
    _stop: DropGuard,
}

async fn start(router: Router) -> Running {
    start_with(router, CancellationToken::new()).await
}

async fn start_with(router: Router, stop: CancellationToken) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve::run(listener, router, stop.clone()));
    Running {
        address,
        _stop: stop.drop_guard(),
    }
}

async fn storefront(inventory: SocketAddr, payments: SocketAddr) -> Running {
    let upstream = |address: SocketAddr| format!("http://{address}").parse().unwrap();
    let stop = CancellationToken::new();
    let router = shopwright_storefront::serve::router(upstream(inventory), upstream(payments), stop.clone()).unwrap();
    let http = HttpMetrics::register(&mut metrics::registry());
    start_with(serve::public(router, http, Limits::default()), stop).await
}

/// Tells what it was asked.
async fn echo(request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let headers: serde_json::Map<String, Value> = parts
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), json!(value.to_str().unwrap())))
        .collect();
    let seen = json!({
        "method": parts.method.as_str(),
        "target": parts.uri.to_string(),
        "headers": headers,
        "body": String::from_utf8(body.to_vec()).unwrap(),
    });
    let headers = [
        ("x-from", "upstream"),
        ("keep-alive", "timeout=5"),
        ("location", "/v1/orders/7"),
    ];
    (StatusCode::ACCEPTED, headers, seen.to_string()).into_response()
}

/// An address where nobody listens, nor comes to: the port stays bound until the test's process ends.
fn nobody() -> SocketAddr {
    let socket = Box::leak(Box::new(TcpSocket::new_v4().unwrap()));
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    socket.local_addr().unwrap()
}

async fn problem(response: reqwest::Response) -> (u16, String) {
    assert_eq!(
        response.headers()[header::CONTENT_TYPE],
        "application/problem+json",
        "{}",
        response.status()
    );
    let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    let status = response.status().as_u16();
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["status"], status);
    assert_eq!(body["request_id"], id);
    (status, body["code"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn requests_and_replies_are_passed_on() {
    let services = [
        start(Router::new().fallback(any(echo))).await,
        start(Router::new().fallback(any(echo))).await,
    ];
    let front = storefront(services[0].address, services[1].address).await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let response = Client::new()
        .post(format!("http://{}/api/v1/orders?a=1%202", front.address))
        .header("x-request-id", "mine")
        .header("traceparent", trace)
        .header("authorization", "Bearer k")
        .header("connection", "x-hop")
        .header("x-hop", "1")
        .body("{\"lines\":[]}")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 202);
    assert_eq!(response.headers()["x-from"], "upstream");
    assert_eq!(response.headers()["x-request-id"], "mine");
    assert_eq!(response.headers()[header::LOCATION], "/api/v1/orders/7");
    assert!(!response.headers().contains_key("keep-alive"));
    assert!(
        response.headers().contains_key(header::CONTENT_LENGTH),
        "a length that is known is kept"
    );
    let seen: Value = response.json().await.unwrap();
    assert_eq!(
        (&seen["method"], &seen["target"]),
        (&json!("POST"), &json!("/v1/orders?a=1%202"))
    );
    assert_eq!(seen["body"], "{\"lines\":[]}");
    let headers = &seen["headers"];
    assert_eq!(
        (&headers["x-request-id"], &headers["authorization"]),
        (&json!("mine"), &json!("Bearer k"))
    );
    assert_eq!(
        headers["host"],
        services[1].address.to_string(),
        "orders go to payments"
    );
    assert_eq!(
        headers["traceparent"].as_str().unwrap()[..35],
        trace[..35],
        "the same trace"
    );
    assert!(headers.get("x-hop").is_none());

    let response = reqwest::get(format!("http://{}/api/v1/products/1/stock", front.address))
        .await
        .unwrap();
    let seen: Value = response.json().await.unwrap();
    assert_eq!(
        seen["headers"]["host"],
        services[0].address.to_string(),
        "products go to inventory"
    );
    assert_eq!(seen["target"], "/v1/products/1/stock");
}

#[tokio::test]
async fn a_service_that_is_away_is_503_and_one_that_talks_nonsense_502() {
    let nonsense = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nonsense_address = nonsense.local_addr().unwrap();
    let talking = tokio::spawn(async move {
        loop {
            let (mut stream, _) = nonsense.accept().await.unwrap();
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(b"nonsense\r\n\r\n").await;
        }
    });
    let front = storefront(nobody(), nonsense_address).await;
    let response = reqwest::get(format!("http://{}/api/v1/products", front.address))
        .await
        .unwrap();
    assert!(response.headers().contains_key(header::RETRY_AFTER));
    assert_eq!(problem(response).await, (503, "dependency_unavailable".to_owned()));
    let response = reqwest::get(format!("http://{}/api/v1/orders/1", front.address))
        .await
        .unwrap();
    assert_eq!(problem(response).await, (502, "bad_gateway".to_owned()));
    talking.abort();
}

#[tokio::test]
async fn what_is_not_the_apis_is_not_passed_on() {
    let service = start(Router::new().fallback(any(echo))).await;
    let front = storefront(service.address, service.address).await;
    // By hand, because the client library resolves dot segments itself.
    for path in [
        "/api/v1/products/../../metrics",
        "/api/v1/products/%2e%2E/%2e%2e/metrics",
    ] {
        let mut stream = TcpStream::connect(front.address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 404") && answer.contains("not_found"),
            "{answer}"
        );
    }
    for path in ["/api/v2/products", "/metrics", "/api/v1/productsx", "/readyz"] {
        let response = reqwest::get(format!("http://{}{path}", front.address)).await.unwrap();
        assert_eq!(problem(response).await, (404, "not_found".to_owned()), "{path}");
    }
    let response = Client::new()
        .post(format!("http://{}/api/v1/orders", front.address))
        .body("x".repeat(64 * 1024 + 1))
        .send()
        .await
        .unwrap();
    assert_eq!(problem(response).await, (413, "payload_too_large".to_owned()));
    let response = Client::new()
        .delete(format!("http://{}/", front.address))
        .send()
        .await
        .unwrap();
    assert_eq!(problem(response).await, (405, "method_not_allowed".to_owned()));
}

#[tokio::test]
async fn a_reply_arrives_piece_by_piece() {
    let (send, receive) = tokio::sync::mpsc::channel::<Result<String, std::io::Error>>(1);
    let receive = Arc::new(Mutex::new(Some(receive)));
    let handler = move || {
        let mut receive = receive.lock().unwrap().take().unwrap();
        async move { Body::from_stream(futures::stream::poll_fn(move |context| receive.poll_recv(context))) }
    };
    let service = start(Router::new().route("/v1/products", get(handler))).await;
    let front = storefront(service.address, service.address).await;
    let mut response = reqwest::get(format!("http://{}/api/v1/products", front.address))
        .await
        .unwrap();
    for piece in ["one", "two"] {
        // The second is sent only after the first has come through: a gateway that collects would wait for ever.
        send.send(Ok(piece.to_owned())).await.unwrap();
        let received = tokio::time::timeout(Duration::from_secs(30), response.chunk())
            .await
            .unwrap();
        assert_eq!(received.unwrap().unwrap(), piece);
    }
    drop(send);
    assert!(response.chunk().await.unwrap().is_none());
}

#[tokio::test]
async fn the_page_is_served_with_its_policy() {
    let front = storefront(nobody(), nobody()).await;
    for (path, content_type) in [
        ("/", "text/html"),
        ("/app.js", "text/javascript"),
        ("/style.css", "text/css"),
        ("/icon.svg", "image/svg"),
    ] {
        let response = reqwest::get(format!("http://{}{path}", front.address)).await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        assert!(
            response.headers()[header::CONTENT_TYPE]
                .to_str()
                .unwrap()
                .starts_with(content_type)
        );
        let policy = response.headers()[header::CONTENT_SECURITY_POLICY]
            .to_str()
            .unwrap()
            .to_owned();
        assert!(
            policy.starts_with("default-src 'none'") && !policy.contains("unsafe"),
            "{policy}"
        );
    }
}

/// Live events go on for ever by themselves: shutting down must not wait for them.
#[tokio::test]
async fn passed_on_events_end_with_the_gateway() {
    let events = || async {
        let first = futures::stream::once(async { Ok::<_, std::io::Error>("id: 1\ndata: {}\n\n") });
        let body = Body::from_stream(futures::StreamExt::chain(first, futures::stream::pending()));
        ([(header::CONTENT_TYPE, "text/event-stream")], body).into_response()
    };
    let upstream = start(Router::new().route("/v1/orders/{id}/events", get(events))).await;
    let gateway = storefront(upstream.address, upstream.address).await;
    let url = format!("http://{}/api/v1/orders/1/events", gateway.address);
    let mut reply = Client::new().get(url).send().await.unwrap();
    assert_eq!(reply.chunk().await.unwrap().unwrap(), "id: 1\ndata: {}\n\n");
    drop(gateway);
    let rest = tokio::time::timeout(Duration::from_secs(10), reply.chunk()).await;
    assert_eq!(rest.expect("the stream ends").unwrap(), None);
}

#[tokio::test]
async fn each_service_has_its_own_part_for_staff() {
    let inventory = start(Router::new().route("/v1/inventory/dead-letters", get(|| async { "inventory" }))).await;
    let payments = start(Router::new().route("/v1/payments/dead-letters", get(|| async { "payments" }))).await;
    let gateway = storefront(inventory.address, payments.address).await;
    for service in ["inventory", "payments"] {
        let url = format!("http://{}/api/v1/{service}/dead-letters", gateway.address);
        assert_eq!(
            Client::new().get(url).send().await.unwrap().text().await.unwrap(),
            service
        );
    }
}
