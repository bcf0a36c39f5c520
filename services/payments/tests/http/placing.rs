//! Placing, reading and listing orders.

use serde_json::{Value, json};
use shopwright_domain::ids::{OrderId, ProductId};
use shopwright_domain::order::Input;

use crate::api::{Api, Placed, new_key, order_of, problem};
use crate::support::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_accepted_read_and_listed() {
    let api = Api::start().await;
    let product = ProductId::generate();
    let response = api
        .caller
        .try_place(&json!({"lines": [
            {"product_id": product, "quantity": 1, "expected_unit_price": {"amount": 5, "currency": "EUR"}},
            {"product_id": product, "quantity": 2, "expected_unit_price": {"amount": 5, "currency": "EUR"}},
        ]}))
        .await;
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert!(!response.headers().contains_key("idempotent-replayed"));
    let placed = Placed::of(response).await;
    let body = &placed.body;
    assert_eq!(placed.path, format!("/v1/orders/{}", placed.id));
    assert_eq!(body["state"], "pending");
    assert_eq!(body["lines"], json!([{"product_id": product, "quantity": 3}]));
    assert_eq!(body["version"], 1);
    assert!(body.get("total").is_none() && body["created_at"].as_str().unwrap().ends_with('Z'));

    let mut read = api.caller.read(&placed).await;
    read["order_token"] = json!(placed.token);
    assert_eq!(&read, body);

    let events = api.shop.entries(&api.shop.keys.payments_events()).await;
    assert_eq!(events[0].fields.text("type"), Some("order.placed"));
    let data: Value = serde_json::from_str(events[0].fields.text("data").unwrap()).unwrap();
    assert_eq!(data["currency"], "EUR");
    assert_eq!(
        data["lines"],
        json!([{"product_id": product, "quantity": 3, "expected_unit_price": 5}])
    );
    assert!(!events[0].fields.text("traceparent").unwrap().is_empty());

    api.act(placed.id, Input::Cancel).await;
    for _ in 0..3 {
        api.caller.place().await;
    }
    for (query, count) in [
        ("", 4),
        ("?state=pending", 3),
        ("?state=cancelled", 1),
        ("?state=paid", 0),
        ("?limit=2", 2),
    ] {
        let items = eventually(query, || async {
            let response = list(&api, query).await;
            if response.status() == 503 {
                // The index is being made.
                return None;
            }
            let list: Value = response.json().await.unwrap();
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
        let (status, code, problem) = problem(api.caller.try_place(&body).await).await;
        assert_eq!((status, &*code), (422, "validation_failed"), "{body}");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{body}");
    }
    let request = || api.caller.post("/v1/orders");
    let json_body = |text: String| request().header("content-type", "application/json").body(text);
    let malformed = json_body("{".to_owned()).send().await.unwrap();
    assert_eq!(problem(malformed).await.1, "malformed_json");
    let untyped = request().body("{}").send().await.unwrap();
    assert_eq!(problem(untyped).await.1, "unsupported_media_type");
    let large = json_body(" ".repeat(70_000)).send().await.unwrap();
    assert_eq!(problem(large).await.1, "payload_too_large");

    for path in [
        "/v1/orders/nonsense".to_owned(),
        format!("/v1/orders/{}", OrderId::generate()),
        "/v2".to_owned(),
    ] {
        assert_eq!(problem(api.caller.get(&path).await).await.1, "not_found");
    }
    let anybody = api.caller.get("/v1/orders").await;
    assert_eq!(problem(anybody).await.1, "unauthenticated");
    for query in ["?limit=0", "?limit=101", "?limit=x", "?state=lost", "?colour=red"] {
        assert_eq!(problem(list(&api, query).await).await.1, "query_invalid", "{query}");
    }
    assert_eq!(api.events().await, 0);
    api.running.stop().await;
}

/// Whoever knows the key of an order gets its token with the reply.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_needs_a_key_that_nobody_guesses() {
    let api = Api::start().await;
    let body = order_of(1);
    let without = api.caller.request("/v1/orders").json(&body).send().await.unwrap();
    assert_eq!(problem(without).await.1, "idempotency_key_missing");
    for (key, code) in [
        ("1", "idempotency_key_weak"),
        ("order-of-monday-morning!", "idempotency_key_weak"),
        ("01890a5d-ac96-774b-bcce-b302099a8057", "idempotency_key_weak"),
        ("a b", "idempotency_key_invalid"),
    ] {
        let (status, said, _) = problem(api.caller.place_as(key, &body).await).await;
        assert_eq!((status, &*said), (400, code), "{key}");
    }
    assert_eq!(api.events().await, 0);
    for key in [new_key(), format!("\"{}\"", new_key()), "V1StGXR8_Z5jdHi6B-myTq".into()] {
        assert_eq!(api.caller.place_as(&key, &body).await.status(), 202, "{key}");
    }
    api.running.stop().await;
}

async fn list(api: &Api, query: &str) -> reqwest::Response {
    api.caller.get_as_staff(&format!("/v1/orders{query}")).await
}
