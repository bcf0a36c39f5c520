//! Bugs of the tutorials that shops like this one grow from, one by one, by their number in the list. Not here: S1, S2, S4
//! and S5, of the consumer loop (`streams`); S9, S10, S13 and S14, of payments; S12, of money (`domain`).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::sync::Arc;

use reqwest::Method;
use serde_json::json;
use shopwright_domain::{
    events::{OrderEvent, RejectionReason, StockEvent},
    ids::{OrderId, ProductId},
    reservation::Answer,
};
use shopwright_inventory::product::NewAdjustment;
use shopwright_redis_stack::{Append, Options};
use support::{
    Shop,
    api::{Api, KEY, reply},
    consumer::{Consumer, is_drained, reactions, settings},
    eventually, harness, line, meta, options, placed,
    process::{self, Process},
    request,
};

async fn consume_all(shop: &Shop) {
    let consumer = Consumer::start(shop, settings(shop, "pod"), Arc::new(reactions(shop.reservations())));
    eventually("all are acknowledged", || is_drained(shop)).await;
    consumer.end().await;
}

/// Only the first entry of each batch was handled.
#[tokio::test(flavor = "multi_thread")]
async fn seed_s03_every_entry_of_a_batch_is_handled() {
    let mut shop = Shop::start().await;
    shop.create_group().await;
    let product = shop.product(100, 100).await;
    for _ in 0..50 {
        shop.tell(&OrderEvent::Placed(placed(OrderId::generate(), &[line(product, 1)])))
            .await;
    }
    consume_all(&shop).await;
    assert_eq!(shop.stock(product).await, (100, 50));
    assert_eq!(shop.answers().await.len(), 50);
}

/// Read, subtracted in memory, saved: of 1,600 decrements by four clients, 989 were lost.
#[tokio::test(flavor = "multi_thread")]
async fn seed_s06_lost_update_of_stock() {
    const EACH: i64 = 100;
    let shop = Shop::start().await;
    let product = shop.product(100, 8 * EACH).await;
    let entry = shop.asking().await;
    let clients: Vec<_> = (0..4)
        .flat_map(|_| {
            let (reservations, catalogue) = (shop.reservations(), shop.catalogue());
            let selling = tokio::spawn(async move {
                for _ in 0..EACH {
                    let placed = placed(OrderId::generate(), &[line(product, 1)]);
                    let reserve = shopwright_inventory::reservations::Ask::Reserve(&placed);
                    let outcome = support::ask_once(&reservations, entry, reserve).await.unwrap();
                    assert_eq!(outcome.answer, Answer::Reserved);
                }
            });
            let adjusting = tokio::spawn(async move {
                for _ in 0..EACH {
                    let adjustment = NewAdjustment {
                        delta: -1,
                        reason: "broken".to_owned(),
                    };
                    let adjusted = catalogue.adjust(product, &adjustment, &meta(), &request()).await;
                    adjusted.unwrap();
                }
            });
            [selling, adjusting]
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(shop.stock(product).await, (4 * EACH, 4 * EACH));
    assert!(!shop.in_stock(product).await);
    shop.books().await;
}

/// Stock was not looked at, and a negative quantity added to it.
#[tokio::test(flavor = "multi_thread")]
async fn seed_s07_negative_stock_and_quantity() {
    let mut api = Api::start().await;
    api.shop.create_group().await;
    let product = api.shop.product(100, 2).await;
    let order = OrderId::generate();
    for quantity in ["-5", "0", "10001", "1.5", "\"2\"", "null"] {
        let data = format!(
            r#"{{"order_id":"{order}","currency":"EUR","lines":[{{"product_id":"{product}","quantity":{quantity}}}]}}"#
        );
        let (key, subject) = (api.shop.keys.payments_events(), order.to_string());
        let head = ["XADD", &key, "*", "id", "1", "type", "order.placed"];
        let rest = ["subject", &subject, "data", &data];
        api.shop.execute(&[&head[..], &rest].concat()).await;
    }
    consume_all(&api.shop).await;
    assert_eq!(api.shop.letters().await.len(), 6, "none of them is an order");
    assert_eq!(api.shop.stock(product).await, (2, 0));
    let outcome = api.shop.reserve(OrderId::generate(), &[line(product, 3)]).await;
    assert_eq!(outcome.answer, Answer::Rejected);

    let path = format!("/v1/products/{product}/stock-adjustments");
    api.post(&path, &json!({"delta": -3, "reason": "broken"}))
        .await
        .is_problem(409, "insufficient_stock");
    let shirt = json!({"name": "Shirt", "price": {"amount": 1, "currency": "EUR"}, "stock": -1});
    api.post("/v1/products", &shirt)
        .await
        .is_problem(422, "validation_failed");
    api.shop.books().await;
}

/// The status was saved, then the event was appended: a crash between the two left an order that nobody heard of.
#[tokio::test(flavor = "multi_thread")]
async fn seed_s08_the_effect_and_its_answer_are_one() {
    let mut shop = Shop::start().await;
    shop.create_group().await;
    let product = shop.product(100, 5).await;
    for order in [(); 3].map(|()| OrderId::generate()) {
        shop.tell(&OrderEvent::Placed(placed(order, &[line(product, 1)]))).await;
    }
    for (point, stored) in [("inventory.react.before_store", 0), ("inventory.react.after_store", 3)] {
        let mut dying = process::consume(&shop, "pod");
        dying.env("CRASH_AT", point);
        Process::start(dying).crashed_at(point).await;
        assert_eq!(shop.books().await.reservations.len(), stored);
        assert_eq!(shop.answers().await.len(), stored, "{point}");
    }
}

/// A body without its keys, or a product that nobody knows, was answered with 500, or with 200 and an error in it.
#[tokio::test(flavor = "multi_thread")]
async fn seed_s11_unknown_product() {
    let api = Api::start().await;
    let unknown = ProductId::generate();
    let path = format!("/v1/products/{unknown}");
    api.get(&path).await.is_problem(404, "not_found");
    api.get(&format!("{path}/stock")).await.is_problem(404, "not_found");
    api.post(
        &format!("{path}/stock-adjustments"),
        &json!({"delta": 1, "reason": "found"}),
    )
    .await
    .is_problem(404, "not_found");
    for body in [json!({}), json!({"name": "Shirt"}), json!([]), json!(null)] {
        api.post("/v1/products", &body)
            .await
            .is_problem(422, "validation_failed");
    }
    let known = api.shop.product(100, 5).await;
    let outcome = api
        .shop
        .reserve(OrderId::generate(), &[line(known, 1), line(unknown, 1)])
        .await;
    assert_eq!(outcome.answer, Answer::Rejected);
    let answers = api.shop.answers().await;
    let [StockEvent::Rejected(rejected)] = answers.as_slice() else {
        panic!("{answers:?}")
    };
    assert_eq!(
        (rejected.reason, rejected.product_id),
        (RejectionReason::UnknownProduct, Some(unknown))
    );
    assert_eq!(api.shop.stock(known).await, (5, 0));
}

/// The id was a hash that differed with each process, found by looking at every product.
#[tokio::test(flavor = "multi_thread")]
async fn seed_s15_product_ids_are_stable() {
    let mut shop = Shop::start_with(Options {
        append: Append::Always,
        ..options()
    })
    .await;
    let product = shop.product(1299, 5).await;
    let order = OrderId::generate();
    shop.reserve(order, &[line(product, 1)]).await;
    let read = async |shop: &Shop| {
        let mut process = Process::start(process::serve(shop));
        let (listen, _) = process.addresses();
        let url = format!("http://{listen}/v1/products/{product}");
        eventually("it answers", || async {
            let read = reqwest::get(&url).await;
            read.is_ok_and(|reply| reply.status() == 200)
        })
        .await;
        let body: serde_json::Value = reqwest::get(&url).await.unwrap().json().await.unwrap();
        assert!(process.end().await.0.success());
        body
    };
    let first = read(&shop).await;
    shop.stack.restart().unwrap();
    shop.harness = harness(&shop.stack).await;
    assert_eq!(read(&shop).await, first);
    assert_eq!(first["id"], product.to_string());
    // What was reserved by this id before is given back by it.
    assert_eq!(shop.release(order).await.answer, Answer::Released);
    assert_eq!(shop.stock(product).await, (5, 0));
}

/// More than the wanted pieces had to be there, so that the last one never went.
#[tokio::test(flavor = "multi_thread")]
async fn seed_s16_the_last_unit_can_be_bought() {
    let shop = Shop::start().await;
    let product = shop.product(100, 1).await;
    let order = OrderId::generate();
    assert_eq!(shop.reserve(order, &[line(product, 1)]).await.answer, Answer::Reserved);
    assert_eq!(shop.commit(order).await.answer, Answer::Committed);
    assert_eq!(shop.stock(product).await, (0, 0));
    assert!(!shop.in_stock(product).await);
    shop.books().await;
}

/// Streams began with a dummy entry, which broke the consumer and took along the order behind it.
#[tokio::test(flavor = "multi_thread")]
async fn seed_s17_a_dummy_entry_takes_nothing_along() {
    let mut shop = Shop::start().await;
    shop.create_group().await;
    assert!(shop.entries(&shop.keys.payments_events()).await.is_empty());
    let product = shop.product(100, 1).await;
    let events = shop.keys.payments_events();
    shop.execute(&["XADD", &events, "*", "dummy", "dummy"]).await;
    shop.tell(&OrderEvent::Placed(placed(OrderId::generate(), &[line(product, 1)])))
        .await;
    consume_all(&shop).await;
    assert_eq!(shop.letters().await.len(), 1);
    assert_eq!(shop.stock(product).await, (1, 1));
}

/// As long as there is no DELETE, nothing vanishes.
#[tokio::test(flavor = "multi_thread")]
async fn seed_s18_there_is_no_delete_that_deletes_nothing() {
    let api = Api::start().await;
    let product = api.shop.product(100, 1).await;
    let path = format!("/v1/products/{product}");
    reply(api.request(Method::DELETE, &path).bearer_auth(KEY))
        .await
        .is_problem(405, "method_not_allowed");
    assert_eq!(api.get(&path).await.status, 200);
}
