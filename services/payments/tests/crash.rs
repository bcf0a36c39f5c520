//! The real binary, ended at each of its named crash points and started again: one effect, whatever was done twice.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "this whole crate is a test"
)]

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use shopwright_domain::ids::{OrderId, ProductId};
use shopwright_domain::order::{Policy, PostingKind, State};
use shopwright_kit::crash;
use support::{Inventory, Process, Running, Shop, at_rest, eventually, patient, placed, request_key};

/// Ends a consumer at `point` and starts it again; no sweeper runs, so that only redelivery can finish the order.
async fn crash_consumer(shop: &Shop, point: &str, end: State) {
    let actor = shop.actor(patient());
    let mut doomed = Process::consume(shop, "pod-1", &[("CRASH_AT", point)]);
    let id = placed(&actor, 2).await.id;
    doomed.crashed().await;
    let mut again = Process::consume(shop, "pod-1", &[]);
    let ended = eventually(point, || async {
        let order = support::order(&actor, id).await;
        (order.state == end).then_some(order)
    })
    .await;
    let (captured, refunded) = (ended.captured.minor_units(), ended.refunded.minor_units());
    assert_eq!(
        shop.book(id).await,
        (Some("charged".into()), captured, refunded),
        "{point}"
    );
    let kinds: Vec<_> = ended.ledger.iter().map(|posting| posting.kind).collect();
    let (told, postings) = if end == State::Refunded {
        assert_eq!(refunded, captured);
        (
            ["order.placed", "order.paid", "order.refunded"],
            vec![PostingKind::Capture, PostingKind::Refund],
        )
    } else {
        (
            ["order.placed", "order.paid", "order.completed"],
            vec![PostingKind::Capture],
        )
    };
    assert_eq!(
        (shop.told(id).await, kinds),
        (told.map(String::from).into(), postings),
        "{point}"
    );
    eventually("all acknowledged", || async {
        (shop.pending().await == 0).then_some(())
    })
    .await;
    assert_eq!(shop.buried().await, 0);
    again.end().await;
}

const CONSUMER_POINTS: [&str; 8] = [
    "payments.stock.before_store",
    "payments.stock.after_store",
    "payments.job.before_record",
    "payments.job.after_record",
    "payments.job.before_call",
    "payments.provider.after_effect",
    "payments.job.after_call",
    "payments.job.after_store",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_crashes_anywhere_charges_once() {
    let shop = Shop::start().await;
    let mut running = Running::new();
    running.inventory(&shop, &Arc::new(Inventory::default()));
    for point in CONSUMER_POINTS {
        crash_consumer(&shop, point, State::Completed).await;
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_crashes_anywhere_refunds_once() {
    let shop = Shop::start().await;
    let inventory = Arc::new(Inventory::default());
    inventory.forgets.store(true, Ordering::Relaxed);
    let mut running = Running::new();
    running.inventory(&shop, &inventory);
    // The second pass is about the refund.
    for point in CONSUMER_POINTS.iter().filter(|point| !point.ends_with("_record")) {
        crash_consumer(&shop, &format!("{point}:2"), State::Refunded).await;
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweeper_that_crashes_calls_off_once() {
    let shop = Shop::start().await;
    let actor = shop.actor(Policy {
        order_deadline: 0,
        ..patient()
    });
    let mut running = Running::new();
    for point in ["payments.sweep.after_lease", "payments.sweep.after_store"] {
        let mut doomed = Process::serve(&shop, &[("CRASH_AT", point)]);
        let id = placed(&actor, 1).await.id;
        doomed.crashed().await;
        let mut again = Process::serve(&shop, &[]);
        let cancelled = eventually(point, || async {
            let order = support::order(&actor, id).await;
            (order.state == State::Cancelled).then_some(order)
        })
        .await;
        assert_eq!(cancelled.timeline.len(), 2);
        again.end().await;
    }
    running.inventory(&shop, &Arc::new(Inventory::default()));
    running.payments(&shop, &actor, &shop.provider(std::time::Duration::ZERO));
    running.sweeper(&actor);
    for order in shop.entries(&shop.keys.payments_events()).await {
        let id: OrderId = order.fields.text("subject").unwrap().parse().unwrap();
        at_rest(&actor, id, State::Cancelled).await;
        assert_eq!(shop.book(id).await, (None, 0, 0));
    }
    running.stop().await;
}

/// The caller hears nothing, and repeats the request to the next process.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_crashes_places_one_order_for_one_key() {
    let shop = Shop::start().await;
    let client = reqwest::Client::new();
    let body = json!({"lines": [{"product_id": ProductId::generate(), "quantity": 1}]});
    for (round, point) in ["payments.place.before_store", "payments.place.after_store"]
        .into_iter()
        .enumerate()
    {
        let key = request_key();
        let post = |server: &Process| {
            let url = server.url("public", "/v1/orders");
            client.post(url).header("Idempotency-Key", &key).json(&body).send()
        };
        let mut doomed = Process::serve(&shop, &[("CRASH_AT", point)]);
        doomed.ready().await;
        post(&doomed).await.unwrap_err();
        doomed.crashed().await;
        let mut again = Process::serve(&shop, &[]);
        again.ready().await;
        let response = post(&again).await.unwrap();
        assert_eq!(response.status(), 202, "{point}");
        let is_replay = response.headers().contains_key("idempotent-replayed");
        assert_eq!(is_replay, point.ends_with("after_store"));
        let first: Value = response.json().await.unwrap();
        let second: Value = post(&again).await.unwrap().json().await.unwrap();
        assert_eq!(
            (&first["id"], &first["order_token"]),
            (&second["id"], &second["order_token"])
        );
        assert_eq!(shop.entries(&shop.keys.payments_events()).await.len(), round + 1);
        again.end().await;
    }
}

/// Every point of payments is in one of the tests above.
#[test]
fn no_point_is_left_out() {
    let here = include_str!("crash.rs");
    for point in crash::POINTS.iter().filter(|point| point.starts_with("payments.")) {
        assert!(here.contains(&format!("\"{point}\"")), "{point}");
    }
}
