//! Keys and bodies as callers send them.

use axum::{Router, routing::post};
use reqwest::{Client, RequestBuilder};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shopwright_kit::{
    ApiError, Json, Keyed,
    idempotency::replayed,
    metrics::{self, HttpMetrics},
    serve::{self, Limits},
};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    #[serde(default)]
    number: u8,
}

async fn place(Keyed { key, body }: Keyed<Order>) -> Json<Value> {
    let known = key.scoped("anybody");
    Json(json!({"id": known.id, "fingerprint": known.fingerprint, "number": body.number}))
}

async fn place_anonymously(Keyed { key, .. }: Keyed<Order>) -> Result<Json<()>, ApiError> {
    key.require_unguessable().map(Json)
}

async fn start() -> (String, DropGuard) {
    let routes = Router::new()
        .route("/v1/orders", post(place))
        .route("/v1/orders/{id}/cancel", post(place))
        .route("/v1/anonymous", post(place_anonymously))
        .route("/v1/again", post(|| async { replayed(Json("what is now")) }))
        .nest("/nested", Router::new().route("/v1/orders", post(place)));
    let http = HttpMetrics::register(&mut metrics::registry());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    tokio::spawn(serve::run(
        listener,
        serve::public(routes, http, Limits::default()),
        stop.clone(),
    ));
    (base, stop.drop_guard())
}

async fn reply(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test]
async fn a_request_is_known_by_key_path_and_body() {
    let (base, _stop) = start().await;
    let send = async |path: &str, key: &str, body: &str| {
        let request = Client::new()
            .post(format!("{base}{path}"))
            .header("idempotency-key", key);
        let (status, reply) = reply(request.header("content-type", "application/json").body(body.to_owned())).await;
        assert_eq!(status, 200, "{reply}");
        (reply["id"].clone(), reply["fingerprint"].clone())
    };
    let first = send("/v1/orders", "key", "{\"number\":1}").await;
    assert_eq!(send("/v1/orders", "\"key\"", "{\"number\":1}").await, first);
    let other_body = send("/v1/orders", "key", "{\"number\": 1}").await;
    assert!(
        other_body.0 == first.0 && other_body.1 != first.1,
        "the body is taken as it is"
    );
    for (path, key) in [
        ("/v1/orders", "Key"),
        ("/v1/orders/1/cancel", "key"),
        ("/v1/orders/2/cancel", "key"),
        ("/nested/v1/orders", "key"),
    ] {
        assert_ne!(send(path, key, "{\"number\":1}").await.0, first.0, "{path} {key}");
    }
    let cancelled = send("/v1/orders/1/cancel", "key", "{}").await;
    assert_ne!(send("/v1/orders/2/cancel", "key", "{}").await.0, cancelled.0);
}

#[tokio::test]
async fn an_empty_body_counts_as_an_empty_object() {
    let (base, _stop) = start().await;
    let post = || {
        Client::new()
            .post(format!("{base}/v1/orders"))
            .header("idempotency-key", "key")
    };
    let (status, empty) = reply(post()).await;
    assert_eq!((status, &empty["number"]), (200, &json!(0)));
    let (_, object) = reply(post().header("content-type", "application/json").body("{}")).await;
    assert_eq!(empty, object);
}

#[tokio::test]
async fn what_is_wrong_is_told_and_the_key_first() {
    let (base, _stop) = start().await;
    let post = |path: &str| Client::new().post(format!("{base}{path}"));
    let keyed = || post("/v1/orders").header("idempotency-key", "key");
    let json =
        |request: RequestBuilder, body: &'static str| request.header("content-type", "application/json").body(body);
    for (what, request, status, code) in [
        ("no key", json(post("/v1/orders"), "{"), 400, "idempotency_key_missing"),
        (
            "a malformed key",
            json(post("/v1/orders").header("idempotency-key", "a b"), "{"),
            400,
            "idempotency_key_invalid",
        ),
        (
            "an empty key",
            post("/v1/orders").header("idempotency-key", ""),
            400,
            "idempotency_key_invalid",
        ),
        (
            "two keys",
            keyed().header("idempotency-key", "key"),
            400,
            "idempotency_key_invalid",
        ),
        ("no content type", keyed().body("{}"), 415, "unsupported_media_type"),
        ("bad syntax", json(keyed(), "{"), 400, "malformed_json"),
        (
            "a wrong shape",
            json(keyed(), "{\"number\":256}"),
            422,
            "validation_failed",
        ),
        (
            "an unknown member",
            json(keyed(), "{\"other\":1}"),
            422,
            "validation_failed",
        ),
        (
            "too much",
            keyed()
                .header("content-type", "application/json")
                .body("x".repeat(70_000)),
            413,
            "payload_too_large",
        ),
        (
            "a weak key",
            post("/v1/anonymous").header("idempotency-key", "order-1"),
            400,
            "idempotency_key_weak",
        ),
    ] {
        let (answered, problem) = reply(request).await;
        assert_eq!((answered, &problem["code"]), (status, &json!(code)), "{what}");
    }
    let strong = post("/v1/anonymous").header("idempotency-key", uuid::Uuid::new_v4().to_string());
    assert_eq!(reply(strong).await.0, 200);
}

#[tokio::test]
async fn a_repeated_reply_says_so() {
    let (base, _stop) = start().await;
    let response = Client::new().post(format!("{base}/v1/again")).send().await.unwrap();
    assert_eq!(response.headers()["idempotent-replayed"], "true");
    assert_eq!(response.status(), 200);
}
