//! The binary, ended as by `kill -9` at each named point and started again: each effect is there once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use reqwest::Client;
use serde_json::{Value, json};
use shopwright_domain::{
    events::{Content, OrderEvent, StockEvent},
    ids::OrderId,
};
use shopwright_kit::crash::POINTS;
use support::{
    Shop,
    consumer::is_drained,
    eventually, line, placed,
    process::{self, ADMIN_KEY, Process},
};

/// Three orders: sold, called off, called off before they were placed.
async fn tell(shop: &mut Shop) -> [OrderId; 3] {
    let product = shop.product(100, 10).await;
    let orders = [(); 3].map(|()| OrderId::generate());
    let [sold, off, early] = orders;
    let placed = |order| OrderEvent::Placed(placed(order, &[line(product, 2)]));
    for event in [
        placed(sold),
        placed(off),
        OrderEvent::Cancelled(early),
        OrderEvent::Paid(sold),
        OrderEvent::Cancelled(off),
        placed(early),
    ] {
        shop.tell(&event).await;
    }
    orders
}

async fn states(shop: &Shop, orders: [OrderId; 3]) -> [String; 3] {
    let mut states = Vec::new();
    for order in orders {
        let document = shop.reservation(order).await;
        states.push(document.map_or_else(String::new, |document| document["state"].as_str().unwrap().to_owned()));
    }
    states.try_into().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_around_the_effects_of_a_batch_leaves_each_once() {
    for point in ["inventory.react.before_store", "inventory.react.after_store"] {
        // The second pass is the second look at what conflicted in the first.
        for pass in 1..=2 {
            let mut shop = Shop::start().await;
            shop.create_group().await;
            let orders = tell(&mut shop).await;
            let mut dying = process::consume(&shop, "pod");
            dying.env("CRASH_AT", format!("{point}:{pass}"));
            Process::start(dying).crashed_at(point).await;
            let stored = shop.books().await;
            assert!(!is_drained(&shop).await, "{point}: nothing was acknowledged");
            assert_eq!(
                stored.reservations.is_empty(),
                (point, pass) == ("inventory.react.before_store", 1)
            );

            let process = Process::start(process::consume(&shop, "pod"));
            eventually("all is done", || is_drained(&shop)).await;
            assert!(process.end().await.0.success());
            assert_eq!(
                states(&shop, orders).await,
                ["committed", "released", "tombstone"],
                "{point} {pass}"
            );
            shop.books().await;
            assert!(shop.letters().await.is_empty());
            // A reservation that was stored was told: in the same script.
            let [sold, off, _] = orders;
            let answers = shop.answers().await;
            for order in [sold, off] {
                let mut of_order = answers.iter().filter(|answer| answer.order_id() == order);
                assert!(
                    of_order.any(|answer| matches!(answer, StockEvent::Reserved(_))),
                    "{point} {pass}"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_after_an_adjustment_is_found_by_its_key() {
    let point = "inventory.adjust.after_store";
    let shop = Shop::start().await;
    let product = shop.product(100, 10).await;
    let client = Client::new();
    let adjust = async |process: &mut Process| {
        let (listen, _) = process.addresses();
        // Not before it answers at all: a refused connection would prove nothing.
        eventually("it serves", || async {
            let read = client
                .get(format!("http://{listen}/v1/products/{product}"))
                .send()
                .await;
            read.is_ok_and(|reply| reply.status() == 200)
        })
        .await;
        client
            .post(format!("http://{listen}/v1/products/{product}/stock-adjustments"))
            .bearer_auth(ADMIN_KEY)
            .header("idempotency-key", "the-adjustment")
            .json(&json!({"delta": -3, "reason": "broken"}))
            .send()
            .await
    };
    let mut dying = process::serve(&shop);
    dying.env("CRASH_AT", point);
    let mut dying = Process::start(dying);
    assert!(adjust(&mut dying).await.is_err(), "the caller is told nothing");
    dying.crashed_at(point).await;
    assert_eq!(shop.stock(product).await, (7, 0));

    let mut process = Process::start(process::serve(&shop));
    let reply = adjust(&mut process).await.unwrap();
    assert_eq!(reply.status(), 201);
    assert_eq!(reply.headers()["idempotent-replayed"], "true");
    let body: Value = reply.json().await.unwrap();
    assert_eq!(body["stock"]["on_hand"], 7);
    assert!(process.end().await.0.success());
    assert_eq!(shop.stock(product).await, (7, 0));
    let told = shop.entries(&shop.keys.inventory_catalogue()).await;
    let adjusted: Vec<_> = told.iter().filter(|entry| entry["type"] == "stock.adjusted").collect();
    assert_eq!(adjusted.len(), 1);
    assert_eq!(body["id"], *adjusted[0]["id"]);
    shop.books().await;
}

#[test]
fn every_point_of_inventory_is_tried() {
    let source = include_str!("crash.rs");
    for point in POINTS.iter().filter(|point| point.starts_with("inventory.")) {
        assert!(source.contains(&format!("\"{point}\"")), "{point}");
    }
}
