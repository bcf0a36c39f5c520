//! Requests that are made again: the same key, the same effect, the same reply.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::{sync::Arc, time::Duration};

use reqwest::Method;
use serde_json::{Value, json};
use shopwright_domain::ids::OrderId;
use shopwright_inventory::catalogue::{Catalogue, CatalogueError};
use support::{
    api::{Api, KEY, Reply, reply},
    line, meta, product, request,
};

fn shirt() -> Value {
    json!({"name": " Red shirt ", "price": {"amount": 1299, "currency": "EUR"}, "stock": 5})
}

fn id(reply: &Reply) -> String {
    assert_eq!(reply.status, 201, "{}", reply.body);
    reply.body["id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_is_created_once_and_told_as_it_was() {
    let api = Api::start().await;
    let first = api.post_with("key-1", "/v1/products", &shirt()).await;
    let id = id(&first);
    assert!(!first.is_replayed());
    // It has changed meanwhile: sold out by one order, and no longer sold at all.
    let product = id.parse().unwrap();
    api.shop.reserve(OrderId::generate(), &[line(product, 5)]).await;
    api.shop.set(product, ".archived", "true").await;

    let again = api.post_with("key-1", "/v1/products", &shirt()).await;
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    assert_eq!(again.headers["location"], first.headers["location"]);
    assert_eq!(again.headers["idempotent-replayed"], "true");
    assert_eq!(api.shop.stock(product).await, (5, 5));
    assert_eq!(api.shop.entries(&api.shop.keys.inventory_catalogue()).await.len(), 1);

    let mut other = shirt();
    other["stock"] = json!(6);
    api.post_with("key-1", "/v1/products", &other)
        .await
        .is_problem(422, "idempotency_key_reused");
    let another = api.post_with("key-2", "/v1/products", &shirt()).await;
    assert!(another.body["id"] != id.as_str() && !another.is_replayed());
    api.shop.books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adjustment_is_made_once_and_told_with_the_stock_that_it_left() {
    let api = Api::start().await;
    let product = id(&api.post("/v1/products", &shirt()).await);
    let path = format!("/v1/products/{product}/stock-adjustments");
    api.shop
        .reserve(OrderId::generate(), &[line(product.parse().unwrap(), 2)])
        .await;
    let body = json!({"delta": 4, "reason": " found \"behind\" the shelf\u{2028} "});
    let first = api.post_with("key-1", &path, &body).await;
    assert_eq!(
        (
            &first.body["stock"]["on_hand"],
            &first.body["stock"]["reserved"],
            first.is_replayed()
        ),
        (&json!(9), &json!(2), false),
        "{}",
        first.body
    );
    api.post(&path, &json!({"delta": -3, "reason": "broken"})).await;
    let again = api.post_with("key-1", &path, &body).await;
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    assert!(again.is_replayed());
    assert_eq!(api.shop.stock(product.parse().unwrap()).await, (6, 2));

    api.post_with("key-1", &path, &json!({"delta": 5, "reason": "found"}))
        .await
        .is_problem(422, "idempotency_key_reused");
    // The same key for another product is another request.
    let other = id(&api.post("/v1/products", &shirt()).await);
    let elsewhere = api
        .post_with("key-1", &format!("/v1/products/{other}/stock-adjustments"), &body)
        .await;
    assert!(!elsewhere.is_replayed());
    assert_eq!(elsewhere.body["stock"]["on_hand"], 9);
    api.shop.books().await;
}

/// What had no effect is not remembered: it may succeed when it is made again.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_no_effect() {
    let api = Api::start().await;
    let product = id(&api.post("/v1/products", &shirt()).await);
    let path = format!("/v1/products/{product}/stock-adjustments");
    let body = json!({"delta": -6, "reason": "sold at the door"});
    api.post_with("key-1", &path, &body)
        .await
        .is_problem(409, "insufficient_stock");
    api.post(&path, &json!({"delta": 1, "reason": "found"})).await;
    let made = api.post_with("key-1", &path, &body).await;
    assert_eq!((made.status.as_u16(), made.is_replayed()), (201, false));
    api.shop.books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_a_good_key_is_refused_before_its_body() {
    let api = Api::start().await;
    let product = id(&api.post("/v1/products", &shirt()).await);
    for path in ["/v1/products", &format!("/v1/products/{product}/stock-adjustments")] {
        let bare = || {
            api.request(Method::POST, path)
                .bearer_auth(KEY)
                .json(&json!({"nonsense": 1}))
        };
        reply(bare()).await.is_problem(400, "idempotency_key_missing");
        let long = "k".repeat(256);
        reply(bare().header("idempotency-key", long))
            .await
            .is_problem(400, "idempotency_key_invalid");
        // Who may not write learns nothing.
        reply(api.request(Method::POST, path))
            .await
            .is_problem(401, "unauthenticated");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn racing_requests_with_one_key_have_one_effect() {
    const RACERS: usize = 16;
    let api = Arc::new(Api::start().await);
    for round in 0..5 {
        let race = async |key: String, path: String, body: Value| {
            let racers: Vec<_> = (0..RACERS)
                .map(|_| {
                    let (api, key, path, body) = (Arc::clone(&api), key.clone(), path.clone(), body.clone());
                    tokio::spawn(async move { api.post_with(&key, &path, &body).await })
                })
                .collect();
            let mut replies = Vec::new();
            for racer in racers {
                replies.push(racer.await.unwrap());
            }
            assert!(
                replies
                    .iter()
                    .all(|reply| reply.status == 201 && reply.body == replies[0].body)
            );
            assert_eq!(replies.iter().filter(|reply| !reply.is_replayed()).count(), 1);
            replies[0].body["id"].as_str().unwrap().to_owned()
        };
        let product = race(format!("create-{round}"), "/v1/products".to_owned(), shirt()).await;
        let path = format!("/v1/products/{product}/stock-adjustments");
        race(format!("adjust-{round}"), path, json!({"delta": 2, "reason": "found"})).await;
        assert_eq!(api.shop.stock(product.parse().unwrap()).await, (7, 0));
    }
    assert_eq!(
        api.get("/v1/products?limit=100").await.body["items"]
            .as_array()
            .unwrap()
            .len(),
        5
    );
    assert_eq!(api.shop.entries(&api.shop.keys.inventory_catalogue()).await.len(), 10);
    api.shop.books().await;
}

/// The mark is there with its effect, and as long as was said.
#[tokio::test(flavor = "multi_thread")]
async fn the_mark_is_stored_with_the_effect_and_expires() {
    let mut api = Api::start().await;
    let (wanted, request) = (product(100, 5), request());
    let retention = Duration::from_hours(7);
    let catalogue = Catalogue::new(api.shop.redis(), api.shop.keys.clone(), retention);
    let created = catalogue.create(&wanted, 5, &meta(), &request).await.unwrap();
    assert_eq!(created, None);
    let again = catalogue.create(&product(100, 5), 9, &meta(), &request).await.unwrap();
    let record = request.judge(&again.unwrap()).unwrap();
    assert_eq!((record.status, record.id), (201, wanted.id.to_string()));
    let left: u128 = redis::cmd("PTTL")
        .arg(api.shop.keys.inventory_idempotency(&request.id))
        .query_async::<u64>(&mut api.shop.harness)
        .await
        .unwrap()
        .into();
    let hour = 3_600_000;
    assert!(
        (retention.as_millis() - hour..=retention.as_millis()).contains(&left),
        "{left}"
    );
    assert_eq!(api.shop.stock(wanted.id).await, (5, 0));
}

/// What a script finds only while it writes would leave half an effect without its mark, and the same request would have it
/// again.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_not_as_it_should_be_stops_a_request_before_its_first_write() {
    let api = Api::start().await;
    let product = id(&api.post("/v1/products", &shirt()).await).parse().unwrap();
    let path = format!("/v1/products/{product}/stock-adjustments");
    let body = json!({"delta": -5, "reason": "broken"});
    let (stream, stock) = (api.shop.keys.inventory_catalogue(), api.shop.keys.stock(product));

    for (spoil, mend) in [
        (vec!["SET", &stream, "no stream"], vec!["DEL", &stream]),
        (
            vec!["HSET", &stock, "received", "5.5"],
            vec!["HSET", &stock, "received", "5"],
        ),
    ] {
        api.shop.execute(&spoil).await;
        api.post_with("key-1", &path, &body).await.is_problem(500, "internal");
        assert_eq!(api.shop.stock(product).await, (5, 0));
        assert!(api.shop.in_stock(product).await);
        api.shop.execute(&mend).await;
    }
    api.shop.execute(&["SET", &stream, "no stream"]).await;
    let (unborn, request) = (support::product(100, 5), request());
    let refused = api.shop.catalogue().create(&unborn, 5, &meta(), &request).await;
    assert!(matches!(
        refused,
        Err(CatalogueError::Corrupt("the stream of the catalogue"))
    ));
    assert_eq!(api.shop.catalogue().get(unborn.id).await.unwrap(), None);
    assert_eq!(api.shop.catalogue().stock(unborn.id).await.unwrap(), None);
    api.shop.execute(&["DEL", &stream]).await;

    // Mended, the same request has its effect, once.
    let made = api.post_with("key-1", &path, &body).await;
    assert_eq!(
        (made.status.as_u16(), made.is_replayed()),
        (201, false),
        "{}",
        made.body
    );
    assert!(api.post_with("key-1", &path, &body).await.is_replayed());
    assert_eq!(api.shop.stock(product).await, (0, 0));
    api.shop.books().await;
}
