//! Both commands of the real binary together, over HTTP: an order from POST to completed, and an orderly end.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "this whole crate is a test"
)]

mod support;

use std::sync::Arc;

use serde_json::{Value, json};
use shopwright_domain::ids::ProductId;
use support::{Inventory, Process, Running, Shop, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn an_order_from_post_to_completed() {
    let shop = Shop::start().await;
    let mut running = Running::new();
    running.inventory(&shop, &Arc::new(Inventory::default()));
    let mut serve = Process::serve(&shop, &[]);
    let mut consume = Process::consume(&shop, "pod-1", &[]);
    serve.ready().await;
    consume.ready().await;

    let client = reqwest::Client::new();
    let body = json!({"lines": [{"product_id": ProductId::generate(), "quantity": 3}]});
    let response = client
        .post(serve.url("public", "/v1/orders"))
        .header("Idempotency-Key", support::request_key())
        .json(&body)
        .send()
        .await
        .unwrap();
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    let placed: Value = response.json().await.unwrap();
    let token = placed["order_token"].as_str().unwrap().to_owned();
    let order = eventually("completed", || async {
        let order: Value = client
            .get(serve.url("public", &location))
            .header("Order-Token", &token)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        (order["state"] == "completed").then_some(order)
    })
    .await;
    assert_eq!(order["captured"], json!({"amount": 1_199, "currency": "EUR"}));
    let states: Vec<_> = order["timeline"]
        .as_array()
        .unwrap()
        .iter()
        .map(|passage| passage["state"].clone())
        .collect();
    assert_eq!(states, ["pending", "reserved", "charging", "paid", "completed"]);

    // Counted after the order is stored, so not at once.
    for line in [
        r#"shopwright_orders_entered_state_total{state="completed"} 1"#,
        r#"shopwright_consumer_entries_total{stream="{demo-payments}:jobs",outcome="done"} 1"#,
        r#"shopwright_provider_calls_total{call="charge",answer="charged"} 1"#,
    ] {
        eventually(line, || async {
            let response = reqwest::get(consume.url("admin", "/metrics")).await.unwrap();
            response.text().await.unwrap().contains(line).then_some(())
        })
        .await;
    }
    assert!(
        reqwest::get(serve.url("admin", "/livez"))
            .await
            .unwrap()
            .status()
            .is_success()
    );
    consume.end().await;
    serve.end().await;
    running.stop().await;
}

/// A program must not touch data that a later one has changed in a way that it does not know.
#[tokio::test(flavor = "multi_thread")]
async fn data_of_a_later_version_is_left_alone() {
    let shop = Shop::start().await;
    redis::cmd("HSET")
        .arg(shop.keys.payments_schema())
        .arg(&["version", "9", "oldest_compatible", "9"])
        .exec_async(&mut shop.harness().await)
        .await
        .unwrap();
    for mut process in [Process::serve(&shop, &[]), Process::consume(&shop, "pod-1", &[])] {
        let status = process.status().await;
        assert!(!status.success() && status.code().is_some(), "{status}");
    }
}
