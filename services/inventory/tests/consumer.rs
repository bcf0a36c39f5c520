//! The consumer on a real Redis: deliveries that repeat, come out of order, or are cut off by a kill.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use shopwright_domain::{
    events::{OrderEvent, StockEvent},
    ids::{OrderId, ProductId},
};
use shopwright_inventory::reactions::{ReactionMetrics, Reactions};
use shopwright_streams::consume::{BatchHandler, Entry, Outcome};
use support::{
    Shop,
    consumer::{Consumer, entry, is_drained, reactions, settings},
    eventually, line, placed,
    process::{self, Process},
};

/// Handles, then hangs before the acknowledgement: what a kill between effect and acknowledgement leaves behind.
struct HangsBeforeAcknowledging {
    inner: Reactions,
    handled: AtomicBool,
}

impl BatchHandler for HangsBeforeAcknowledging {
    async fn handle(&self, entries: &[Entry]) -> Vec<Outcome> {
        self.inner.handle(entries).await;
        self.handled.store(true, Ordering::SeqCst);
        std::future::pending().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_effect_and_acknowledgement_the_effect_stays_one() {
    let mut shop = Shop::start().await;
    shop.create_group().await;
    let product = shop.product(100, 10).await;
    let order = OrderId::generate();
    shop.tell(&OrderEvent::Placed(placed(order, &[line(product, 4)]))).await;

    let dying = Arc::new(HangsBeforeAcknowledging {
        inner: reactions(shop.reservations()),
        handled: AtomicBool::new(false),
    });
    let consumer = Consumer::start(&shop, settings(&shop, "dying"), Arc::clone(&dying));
    eventually("the effect is stored", || async {
        dying.handled.load(Ordering::SeqCst)
    })
    .await;
    consumer.abort();
    assert_eq!(shop.stock(product).await, (10, 4));
    assert!(!is_drained(&shop).await, "the entry is still pending");

    let peer = Consumer::start(&shop, settings(&shop, "peer"), Arc::new(reactions(shop.reservations())));
    eventually("the peer has claimed and acknowledged it", || is_drained(&shop)).await;
    peer.end().await;
    assert_eq!(shop.stock(product).await, (10, 4));
    let answers = shop.answers().await;
    assert_eq!(answers.len(), 2, "the recorded answer is repeated");
    assert_eq!(answers[0], answers[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_redelivered_and_reordered_has_no_second_effect() {
    let mut shop = Shop::start().await;
    shop.create_group().await;
    // What the events of one order can be, in every order, each twice; the stock taken is the last number.
    let histories: [(&[usize], i64, i64); 8] = [
        (&[0, 0, 1, 1], 2, 0),
        (&[0, 1, 0, 1], 2, 0),
        (&[1, 0, 0, 1], 0, 0),
        (&[0, 2, 0, 2], 0, 0),
        (&[2, 0, 2, 0], 0, 0),
        (&[0, 3, 3, 0], 0, 0),
        (&[0, 1, 2, 1, 2], 2, 0),
        (&[0, 0, 4, 5, 6, 0], 0, 2),
    ];
    let mut cases = Vec::new();
    for (history, sold, held) in histories {
        let product = shop.product(100, 10).await;
        let order = OrderId::generate();
        for step in history {
            let event = match step {
                0 => OrderEvent::Placed(placed(order, &[line(product, 2)])),
                1 => OrderEvent::Paid(order),
                2 => OrderEvent::Cancelled(order),
                3 => OrderEvent::Declined(order),
                4 => OrderEvent::Rejected(order),
                5 => OrderEvent::Completed(order),
                _ => OrderEvent::Refunded(order),
            };
            // One at a time: the order within one history is what is tried.
            let handled = reactions(shop.reservations())
                .handle(&[entry(&shop, &event).await])
                .await;
            assert_eq!(handled, [Outcome::Done]);
        }
        cases.push((product, sold, held));
    }
    for (index, (product, sold, held)) in cases.into_iter().enumerate() {
        assert_eq!(shop.stock(product).await, (10 - sold, held), "history {index}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_understood_becomes_a_dead_letter_and_is_counted() {
    let mut shop = Shop::start().await;
    shop.create_group().await;
    let key = shop.keys.payments_events();
    for fields in [
        &["type", "order.gift_wrapped", "id", "1", "data", "{}"][..],
        &["type", "order.placed", "id", "1", "data", "{"],
        &["dummy", "dummy"],
        &["type", "order.placed", "id", "1", "data", "\u{7f}\u{0}"],
    ] {
        shop.execute(&[&["XADD", &key, "*"], fields].concat()).await;
    }
    let product = shop.product(100, 1).await;
    shop.tell(&OrderEvent::Placed(placed(OrderId::generate(), &[line(product, 1)])))
        .await;
    let mut registry = shopwright_kit::metrics::registry();
    let metrics = ReactionMetrics::register(&mut registry);
    let handler = Arc::new(Reactions::new(shop.reservations(), metrics));
    let consumer = Consumer::start(&shop, settings(&shop, "pod"), handler);
    let counters = Arc::clone(&consumer.counters);
    shopwright_kit::consumer_metrics::register(&mut registry, vec![("events".to_owned(), counters)]);
    eventually("all are acknowledged", || is_drained(&shop)).await;
    consumer.end().await;
    assert_eq!(
        shop.stock(product).await,
        (1, 1),
        "the good one behind them was handled"
    );
    let mut dead = shop.letters().await;
    // They were handled side by side: in the order of the entries that they were.
    dead.sort_by_key(|fields| fields["dead-letter.id"].parse::<shopwright_streams::EntryId>().unwrap());
    let reasons: Vec<_> = dead.iter().map(|fields| &*fields["dead-letter.reason"]).collect();
    assert_eq!(reasons, ["unknown-type", "malformed", "malformed", "malformed"]);
    let first = &dead[0];
    assert_eq!(
        (
            &*first["type"],
            &*first["dead-letter.deliveries"],
            &*first["dead-letter.consumer"]
        ),
        ("order.gift_wrapped", "1", "pod"),
        "as it was, and what became of it"
    );

    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    for expected in [
        "shopwright_events_ignored_total{reason=\"malformed\"} 3",
        "shopwright_events_ignored_total{reason=\"unknown_type\"} 1",
        "shopwright_consumer_entries_total{stream=\"events\",outcome=\"done\"} 1",
        "shopwright_consumer_entries_total{stream=\"events\",outcome=\"buried\"} 4",
        "shopwright_consumer_in_hand{stream=\"events\"} 0",
    ] {
        assert!(text.contains(expected), "{expected} in\n{text}");
    }
}

/// The process itself, killed again and again while orders arrive twice and out of order.
#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_killed_again_and_again_loses_and_doubles_nothing() {
    const ORDERS: usize = 300;
    let mut shop = Shop::start().await;
    shop.create_group().await;
    let product = shop.product(100, 1_000).await;
    let scarce = shop.product(100, 50).await;
    let mut orders = Vec::new();
    for index in 0..ORDERS {
        let order = OrderId::generate();
        let wanted: ProductId = if index % 3 == 0 { scarce } else { product };
        let event = OrderEvent::Placed(placed(order, &[line(wanted, 1)]));
        shop.tell(&event).await;
        shop.tell(&event).await;
        orders.push(order);
    }
    for kill in 0..6 {
        let process = Process::start(process::consume(&shop, &format!("pod-{kill}")));
        let before = shop.answers().await.len();
        let key = shop.keys.inventory_events();
        eventually("it has answered some", || async {
            shop.entries(&key).await.len() > before || is_drained(&shop).await
        })
        .await;
        drop(process);
    }
    let mut last = Process::start(process::consume(&shop, "pod-last"));
    // Not before it listens to signals.
    last.says("consuming");
    eventually("nothing is left", || is_drained(&shop)).await;
    assert!(last.end().await.0.success(), "it ends on SIGTERM");
    shop.books().await;
    assert_eq!(shop.stock(scarce).await, (50, 50));
    assert_eq!(shop.stock(product).await, (1_000, 200));
    let mut first: std::collections::HashMap<OrderId, StockEvent> = std::collections::HashMap::new();
    for answer in shop.answers().await {
        use shopwright_domain::events::Content;
        let known = first.entry(answer.order_id()).or_insert_with(|| answer.clone());
        assert_eq!(*known, answer, "a repetition repeats the first answer");
    }
    assert_eq!(first.len(), ORDERS);
    let reserved = first
        .values()
        .filter(|answer| matches!(answer, StockEvent::Reserved(_)))
        .count();
    assert_eq!(reserved, 250);
}
