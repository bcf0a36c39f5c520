//! Events that are stored together: many buyers, repetitions in any order, single failures, and how few calls it takes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::sync::Arc;

use shopwright_domain::{
    events::{OrderEvent, StockEvent},
    ids::{OrderId, ProductId},
    reservation::Reservation,
};
use shopwright_streams::consume::{BatchHandler, LARGEST_BATCH, Outcome};
use support::{
    Shop,
    consumer::{Consumer, entries, is_drained, reactions, settings},
    eventually, line, placed, state_of,
};

async fn handle(shop: &Shop, events: &[OrderEvent]) {
    for batch in entries(shop, events).await.chunks(LARGEST_BATCH) {
        let outcomes = reactions(shop.reservations()).handle(batch).await;
        assert_eq!(outcomes, vec![Outcome::Done; batch.len()]);
    }
}

/// How often Redis ran a command.
async fn calls(shop: &Shop, command: &str) -> u64 {
    let statistics: String = redis::cmd("INFO")
        .arg("commandstats")
        .query_async(&mut shop.harness.clone())
        .await
        .unwrap();
    let name = format!("cmdstat_{command}:calls=");
    statistics
        .lines()
        .find_map(|line| line.strip_prefix(&name)?.split(',').next()?.parse().ok())
        .unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_buyers_in_batches_the_last_unit_has_one() {
    let mut shop = Shop::start().await;
    shop.create_group().await;
    let mut scarce = Vec::new();
    let plenty = shop.product(100, 10_000).await;
    for _ in 0..10 {
        scarce.push(shop.product(100, 1).await);
    }
    for buyer in 0..30 {
        for wanted in &scarce {
            let mut lines = [line(*wanted, 1), line(plenty, 1)];
            // Half of them name the scarce product last: a refused order must not hold its first line.
            if buyer % 2 == 0 {
                lines.reverse();
            }
            shop.tell(&OrderEvent::Placed(placed(OrderId::generate(), &lines)))
                .await;
        }
    }
    let consumers: Vec<_> = ["a", "b", "c"]
        .map(|name| Consumer::start(&shop, settings(&shop, name), Arc::new(reactions(shop.reservations()))))
        .into();
    eventually("all are answered", || is_drained(&shop)).await;
    for consumer in consumers {
        consumer.end().await;
    }
    for wanted in scarce {
        assert_eq!(shop.stock(wanted).await, (1, 1));
    }
    assert_eq!(shop.stock(plenty).await, (10_000, 10));
    let answers = shop.answers().await;
    let reserved = answers
        .iter()
        .filter(|answer| matches!(answer, StockEvent::Reserved(_)));
    assert_eq!((answers.len(), reserved.count()), (300, 10));
    shop.books().await;
}

/// Every order of these events.
fn permutations(events: &[usize]) -> Vec<Vec<usize>> {
    let [first, rest @ ..] = events else {
        return vec![vec![]];
    };
    let mut all = Vec::new();
    for shorter in permutations(rest) {
        for place in 0..=shorter.len() {
            let mut longer = shorter.clone();
            longer.insert(place, *first);
            if !all.contains(&longer) {
                all.push(longer);
            }
        }
    }
    all
}

fn event(kind: usize, order: OrderId, product: ProductId) -> OrderEvent {
    match kind {
        0 => OrderEvent::Placed(placed(order, &[line(product, 2)])),
        1 => OrderEvent::Paid(order),
        2 => OrderEvent::Cancelled(order),
        3 => OrderEvent::Declined(order),
        4 => OrderEvent::Rejected(order),
        5 => OrderEvent::Completed(order),
        _ => OrderEvent::Refunded(order),
    }
}

/// What an order's events can be, each twice, in every order; those of all orders shuffled into the same batches. Then all
/// of it again: the books stay as they are.
#[tokio::test(flavor = "multi_thread")]
async fn every_event_redelivered_and_reordered_within_batches_has_no_second_effect() {
    let shop = Shop::start().await;
    let mut histories = Vec::new();
    for events in [
        &[0, 0, 1, 1][..],
        &[0, 0, 2, 2],
        &[0, 3, 3],
        &[0, 1, 2, 2],
        &[0, 0, 4, 5, 6],
    ] {
        histories.extend(permutations(events));
    }
    let mut orders = Vec::new();
    for history in &histories {
        orders.push((OrderId::generate(), shop.product(100, 10).await, history));
    }
    // By turns: the first event of every order, then the second of every order.
    let longest = histories.iter().map(Vec::len).max().unwrap();
    let by_turns: Vec<OrderEvent> = (0..longest)
        .flat_map(|turn| {
            orders
                .iter()
                .filter_map(move |(order, product, history)| Some(event(*history.get(turn)?, *order, *product)))
        })
        .collect();
    // All events of one order beside each other, so that they meet in one batch.
    let by_order: Vec<OrderEvent> = orders
        .iter()
        .flat_map(|(order, product, history)| history.iter().map(|kind| event(*kind, *order, *product)))
        .collect();

    handle(&shop, &by_turns).await;
    let first = shop.books().await;
    for (order, product, history) in &orders {
        let state = state_of(shop.reservation(*order).await.as_ref());
        let place = |kind: usize| history.iter().position(|other| *other == kind);
        let called_off = place(2).or(place(3));
        let earliest = |kind: Option<usize>| kind.is_some_and(|place_of| Some(place_of) < place(0));
        // What comes before order.placed leaves a tombstone; else the first of the others decides.
        let expected = if earliest(called_off) || earliest(place(1)) {
            Reservation::Tombstone
        } else {
            match (place(1), called_off) {
                (Some(paid), Some(off)) if off < paid => Reservation::Released,
                (Some(_), _) => Reservation::Committed,
                (None, Some(_)) => Reservation::Released,
                (None, None) => Reservation::Reserved,
            }
        };
        assert_eq!(state, expected, "{history:?}");
        let (on_hand, reserved) = shop.stock(*product).await;
        let effect = match state {
            Reservation::Reserved => (10, 2),
            Reservation::Committed => (8, 0),
            _ => (10, 0),
        };
        assert_eq!((on_hand, reserved), effect, "{history:?}");
    }

    handle(&shop, &by_order).await;
    let mut backwards = by_turns;
    backwards.reverse();
    handle(&shop, &backwards).await;
    assert_eq!(shop.books().await, first, "nothing moved a second time");

    // The same histories of new orders, each whole history in one batch.
    let mut again = Vec::new();
    for history in &histories {
        let (order, product) = (OrderId::generate(), shop.product(100, 10).await);
        again.extend(history.iter().map(|kind| event(*kind, order, product)));
    }
    handle(&shop, &again).await;
    let second = shop.books().await;
    handle(&shop, &again).await;
    assert_eq!(shop.books().await, second);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_one_reading_and_one_script_an_event() {
    let shop = Shop::start().await;
    let product = shop.product(100, 1_000).await;
    let orders: Vec<OrderId> = (0..LARGEST_BATCH).map(|_| OrderId::generate()).collect();
    let placed = |order: &OrderId| OrderEvent::Placed(placed(*order, &[line(product, 1)]));
    handle(&shop, &orders.iter().map(placed).collect::<Vec<_>>()).await;
    let (reads, scripts) = (calls(&shop, "json.mget").await, calls(&shop, "evalsha").await);
    assert_eq!(reads, 0, "an order's own event names its lines");

    // Known to Redis from here on.
    let warm = OrderId::generate();
    shop.release(warm).await;
    shop.commit(warm).await;
    let (reads_before, scripts_before) = (calls(&shop, "json.mget").await, calls(&shop, "evalsha").await);
    assert!(scripts_before > scripts);
    let settled = (0..).zip(&orders).map(|(number, order)| {
        if number % 2 == 0 {
            OrderEvent::Paid(*order)
        } else {
            OrderEvent::Cancelled(*order)
        }
    });
    let settled: Vec<_> = settled.collect();
    handle(&shop, &settled).await;
    assert_eq!(calls(&shop, "json.mget").await - reads_before, 1);
    assert_eq!(calls(&shop, "evalsha").await - scripts_before, LARGEST_BATCH as u64);
    assert_eq!(shop.stock(product).await, (1_000 - 32, 0));
}

/// The cancel's lines were read before the order's own event wrote them.
#[tokio::test(flavor = "multi_thread")]
async fn placed_and_cancelled_in_one_batch_are_looked_at_again() {
    let shop = Shop::start().await;
    let product = shop.product(100, 5).await;
    let (cancelled, paid) = (OrderId::generate(), OrderId::generate());
    let lines = [line(product, 2)];
    let events = [
        OrderEvent::Placed(placed(cancelled, &lines)),
        OrderEvent::Placed(placed(paid, &lines)),
        OrderEvent::Cancelled(cancelled),
        OrderEvent::Paid(paid),
    ];
    handle(&shop, &events).await;
    assert_eq!(calls(&shop, "json.mget").await, 2);
    assert_eq!(shop.stock(product).await, (3, 0));
    let told: Vec<_> = shop.answers().await;
    assert!(
        matches!(
            told.as_slice(),
            [
                StockEvent::Reserved(_),
                StockEvent::Reserved(_),
                StockEvent::Released(_),
                StockEvent::Committed(_)
            ]
        ),
        "{told:?}"
    );
    shop.books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_entry_that_fails_hurts_no_other_of_its_batch() {
    let shop = Shop::start().await;
    let product = shop.product(100, 9).await;
    let [wrong_type, corrupt, good, late] = [(); 4].map(|()| OrderId::generate());
    shop.execute(&["SET", &shop.keys.reservation(wrong_type), "x"]).await;
    let document = r#"{"state":"reserved","lines":[{"quantity":1}]}"#;
    shop.execute(&["JSON.SET", &shop.keys.reservation(corrupt), "$", document])
        .await;
    let events = [
        OrderEvent::Placed(placed(good, &[line(product, 1)])),
        OrderEvent::Cancelled(wrong_type),
        OrderEvent::Cancelled(corrupt),
        OrderEvent::Placed(placed(wrong_type, &[line(product, 1)])),
        OrderEvent::Completed(good),
        OrderEvent::Placed(placed(late, &[line(product, 1)])),
    ];
    let outcomes = reactions(shop.reservations())
        .handle(&entries(&shop, &events).await)
        .await;
    let (done, retry) = (Outcome::Done, Outcome::Retry);
    assert_eq!(outcomes, [done, retry, retry, retry, done, done]);
    assert_eq!(shop.stock(product).await, (9, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_forgot_the_scripts_is_given_them_again() {
    let shop = Shop::start().await;
    let product = shop.product(100, 100).await;
    let orders: Vec<OrderId> = (0..20).map(|_| OrderId::generate()).collect();
    for step in 0..2 {
        shop.execute(&["SCRIPT", "FLUSH"]).await;
        let events: Vec<_> = orders.iter().map(|order| event(step, *order, product)).collect();
        handle(&shop, &events).await;
    }
    assert_eq!(shop.stock(product).await, (60, 0));
    shop.books().await;
}
