//! The API over HTTP, in front of a real Redis.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "this whole crate is a test"
)]

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use shopwright_domain::access::User;
use shopwright_domain::ids::{OrderId, ProductId};
use shopwright_domain::order::Input;
use shopwright_kit::metrics::{HttpMetrics, registry};
use shopwright_kit::search_index::IndexReady;
use shopwright_kit::{AdminKey, Secret, serve};
use shopwright_payments::act::{Actor, Happening};
use shopwright_payments::http::{ApiState, router};
use shopwright_payments::index;
use support::{Running, Shop, eventually, patient};
use tokio::net::TcpListener;

struct Api {
    shop: Shop,
    actor: Actor,
    address: SocketAddr,
    client: Client,
    running: Running,
}

impl Api {
    async fn start() -> Self {
        let shop = Shop::start().await;
        let actor = shop.actor(patient());
        let mut running = Running::new();
        let ready = IndexReady::default();
        running.spawn(index::orders(&shop.keys).keep(
            shop.redis(User::Payments),
            shop.settings(User::Migration),
            ready.clone(),
            running.token(),
        ));
        eventually("the index", || std::future::ready(ready.is_ready().then_some(()))).await;
        let state = ApiState {
            actor: actor.clone(),
            currency: "EUR".parse().unwrap(),
            admin_key: AdminKey::new(Secret::new("key")),
        };
        let metrics = HttpMetrics::register(&mut registry());
        let application = serve::public(router(state), metrics, serve::Limits::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = running.token();
        running.spawn(async move { serve::run(listener, application, shutdown).await.unwrap() });
        let client = Client::builder()
            .timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(0)
            .build()
            .unwrap();
        Self {
            shop,
            actor,
            address,
            client,
            running,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    async fn post(&self, body: &Value) -> Response {
        self.client
            .post(self.url("/v1/orders"))
            .json(body)
            .send()
            .await
            .unwrap()
    }

    async fn get(&self, path: &str) -> Response {
        self.client.get(self.url(path)).send().await.unwrap()
    }

    async fn list(&self, query: &str) -> Response {
        self.client
            .get(self.url(&format!("/v1/orders{query}")))
            .bearer_auth("key")
            .send()
            .await
            .unwrap()
    }
}

async fn problem(response: Response) -> (StatusCode, String, Value) {
    let status = response.status();
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let body: Value = response.json().await.unwrap();
    (status, body["code"].as_str().unwrap().to_owned(), body)
}

fn order_of(lines: usize) -> Value {
    let line = || json!({"product_id": ProductId::generate(), "quantity": 1});
    json!({"lines": (0..lines).map(|_| line()).collect::<Vec<_>>()})
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_accepted_read_and_listed() {
    let api = Api::start().await;
    let product = ProductId::generate();
    let response = api
        .post(&json!({"lines": [
            {"product_id": product, "quantity": 1, "expected_unit_price": {"amount": 5, "currency": "EUR"}},
            {"product_id": product, "quantity": 2, "expected_unit_price": {"amount": 5, "currency": "EUR"}},
        ]}))
        .await;
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    let placed: Value = response.json().await.unwrap();
    assert_eq!(location, format!("/v1/orders/{}", placed["id"].as_str().unwrap()));
    assert_eq!(placed["state"], "pending");
    assert_eq!(placed["lines"], json!([{"product_id": product, "quantity": 3}]));
    assert_eq!(placed["version"], 1);
    assert!(placed.get("total").is_none() && placed["created_at"].as_str().unwrap().ends_with('Z'));

    let read: Value = api.get(&location).await.json().await.unwrap();
    assert_eq!(read, placed);

    let events = api.shop.entries(&api.shop.keys.payments_events()).await;
    assert_eq!(events[0].fields.text("type"), Some("order.placed"));
    let data: Value = serde_json::from_str(events[0].fields.text("data").unwrap()).unwrap();
    assert_eq!(data["currency"], "EUR");
    assert_eq!(
        data["lines"],
        json!([{"product_id": product, "quantity": 3, "expected_unit_price": 5}])
    );
    assert!(!events[0].fields.text("traceparent").unwrap().is_empty());

    let id: OrderId = placed["id"].as_str().unwrap().parse().unwrap();
    api.actor.act(id, &Happening::Input(Input::Cancel)).await.unwrap();
    for _ in 0..3 {
        assert_eq!(api.post(&order_of(1)).await.status(), StatusCode::ACCEPTED);
    }
    for (query, count) in [
        ("", 4),
        ("?state=pending", 3),
        ("?state=cancelled", 1),
        ("?state=paid", 0),
        ("?limit=2", 2),
    ] {
        let items = eventually(query, || async {
            let list: Value = api.list(query).await.json().await.unwrap();
            let items = list["items"].as_array().unwrap().clone();
            (items.len() == count).then_some(items)
        })
        .await;
        let times: Vec<_> = items
            .iter()
            .map(|item| item["created_at"].as_str().unwrap().to_owned())
            .collect();
        assert!(times.is_sorted_by(|newer, older| newer >= older), "newest first");
    }
    api.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_said_with_a_stable_code() {
    let api = Api::start().await;
    let product = ProductId::generate();
    let line = |name: &str, value: Value| {
        let mut line = json!({"product_id": product, "quantity": 1});
        line[name] = value;
        json!({"lines": [line]})
    };
    for (body, pointer) in [
        (json!({"lines": []}), "/lines"),
        (order_of(51), "/lines"),
        (line("quantity", json!(0)), "/lines/0/quantity"),
        (line("quantity", json!(10_001)), "/lines/0/quantity"),
        (line("quantity", json!(1.5)), "/lines/0/quantity"),
        (line("product_id", json!("no-id")), "/lines/0/product_id"),
        (line("price", json!(1)), "/lines/0/price"),
        (
            line("expected_unit_price", json!({"amount": 1, "currency": "USD"})),
            "/lines/0/expected_unit_price/currency",
        ),
        (
            line("expected_unit_price", json!({"amount": -1, "currency": "EUR"})),
            "/lines/0/expected_unit_price/amount",
        ),
        (json!({"lines": [], "coupon": "x"}), "/coupon"),
    ] {
        let (status, code, problem) = problem(api.post(&body).await).await;
        assert_eq!((status.as_u16(), &*code), (422, "validation_failed"), "{body}");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{body}");
    }
    let request = || api.client.post(api.url("/v1/orders"));
    let malformed = request()
        .header("content-type", "application/json")
        .body("{")
        .send()
        .await
        .unwrap();
    assert_eq!(problem(malformed).await.1, "malformed_json");
    assert_eq!(
        problem(request().body("{}").send().await.unwrap()).await.1,
        "unsupported_media_type"
    );
    let large = request()
        .header("content-type", "application/json")
        .body(" ".repeat(70_000))
        .send()
        .await
        .unwrap();
    assert_eq!(problem(large).await.1, "payload_too_large");

    for path in [
        "/v1/orders/nonsense".to_owned(),
        format!("/v1/orders/{}", OrderId::generate()),
        "/v2".to_owned(),
    ] {
        assert_eq!(problem(api.get(&path).await).await.1, "not_found");
    }
    assert_eq!(problem(api.get("/v1/orders").await).await.1, "unauthenticated");
    for query in ["?limit=0", "?limit=101", "?limit=x", "?state=lost", "?colour=red"] {
        assert_eq!(problem(api.list(query).await).await.1, "query_invalid", "{query}");
    }
    assert!(api.shop.entries(&api.shop.keys.payments_events()).await.is_empty());
    api.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_it_says_so_and_comes_back() {
    let mut api = Api::start().await;
    api.shop.stack.kill().unwrap();
    let (status, code, problem) = problem(api.post(&order_of(1)).await).await;
    assert_eq!((status.as_u16(), &*code), (503, "dependency_unavailable"), "{problem}");
    api.shop.stack.restart().unwrap();
    eventually("an order after the restart", || async {
        (api.post(&order_of(1)).await.status() == StatusCode::ACCEPTED).then_some(())
    })
    .await;
    // This Redis kept nothing: the index is made again too.
    eventually("the list after the restart", || async {
        let response = api.list("").await;
        if response.status() != StatusCode::OK {
            return None;
        }
        let list: Value = response.json().await.unwrap();
        (list["items"].as_array().unwrap().len() == 1).then_some(())
    })
    .await;
    api.running.stop().await;
}

/// Every write waits for the disk, and a busy disk takes its seconds: an order that is stored then is answered as stored.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_stalls_makes_an_order_wait_and_not_uncertain() {
    const STALL: Duration = Duration::from_secs(3);
    let api = Api::start().await;
    assert_eq!(api.post(&order_of(1)).await.status(), StatusCode::ACCEPTED);

    // Writes alone, so that it is the order's own that waits.
    redis::cmd("CLIENT")
        .arg("PAUSE")
        .arg(u64::try_from(STALL.as_millis()).unwrap())
        .arg("WRITE")
        .exec_async(&mut api.shop.harness().await)
        .await
        .unwrap();
    let (first, second) = (order_of(1), order_of(1));
    let replies = tokio::join!(api.post(&first), api.post(&second));
    assert_eq!(replies.0.status(), StatusCode::ACCEPTED);
    assert_eq!(replies.1.status(), StatusCode::ACCEPTED);

    // The whole server.
    api.shop.stack.pause().unwrap();
    let resume = async {
        tokio::time::sleep(STALL).await;
        api.shop.stack.resume().unwrap();
    };
    let third = order_of(1);
    let (reply, ()) = tokio::join!(api.post(&third), resume);
    assert_eq!(reply.status(), StatusCode::ACCEPTED);

    let events = api.shop.entries(&api.shop.keys.payments_events()).await;
    assert_eq!(events.len(), 4, "four were asked for, four are stored");
    api.running.stop().await;
}
