//! The scripts on a real Redis with many callers at once, and at their limits.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use shopwright_domain::{
    events::StockEvent,
    ids::OrderId,
    reservation::{Answer, Reservation},
};
use shopwright_inventory::reservations::Ask;
use support::{Shop, ask_once, line, meta, placed, request, state_of};

#[tokio::test(flavor = "multi_thread")]
async fn of_many_buyers_of_the_last_unit_exactly_one_wins() {
    let shop = Shop::start().await;
    for round in 0..20 {
        let wanted = shop.product(100, 1).await;
        let plenty = shop.product(100, 1_000).await;
        let entry = shop.asking().await;
        let buyers: Vec<_> = (0..24)
            .map(|buyer| {
                let reservations = shop.reservations();
                // Half of them name the scarce product last: a refused order must not hold its first line.
                let mut lines = [line(wanted, 1), line(plenty, 1)];
                if buyer % 2 == 0 {
                    lines.reverse();
                }
                tokio::spawn(async move {
                    let order = placed(OrderId::generate(), &lines);
                    let outcome = ask_once(&reservations, entry, Ask::Reserve(&order)).await;
                    outcome.unwrap().answer
                })
            })
            .collect();
        let mut winners = 0;
        for buyer in buyers {
            winners += usize::from(buyer.await.unwrap() == Answer::Reserved);
        }
        assert_eq!(winners, 1, "round {round}");
        assert_eq!(
            (shop.stock(wanted).await, shop.stock(plenty).await),
            ((1, 1), (1_000, 1))
        );
        assert!(!shop.in_stock(wanted).await && shop.in_stock(plenty).await);
    }
    let reserved = shop
        .answers()
        .await
        .iter()
        .filter(|answer| matches!(answer, StockEvent::Reserved(_)))
        .count();
    assert_eq!(reserved, 20);
    shop.books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn racing_repetitions_of_one_order_hold_its_stock_once() {
    let shop = Shop::start().await;
    let product = shop.product(100, 50).await;
    for _ in 0..10 {
        let order = OrderId::generate();
        let lines = [line(product, 3)];
        let (_, before) = shop.stock(product).await;
        let entry = shop.asking().await;
        let racing: Vec<_> = (0..12)
            .map(|turn| {
                let reservations = shop.reservations();
                tokio::spawn(async move {
                    let placed = placed(order, &lines);
                    let ask = match turn % 3 {
                        0 => Ask::Reserve(&placed),
                        1 => Ask::Release(order),
                        _ => Ask::Commit(order),
                    };
                    ask_once(&reservations, entry, ask).await.unwrap()
                })
            })
            .collect();
        let mut changes = 0;
        for turn in racing {
            changes += usize::from(turn.await.unwrap().changed);
        }
        // None -> tombstone, or none -> reserved -> one of its ends.
        assert!((1..=2).contains(&changes), "{changes}");
        let (_, after) = shop.stock(product).await;
        let state = state_of(shop.reservation(order).await.as_ref());
        assert_eq!(after - before, if state == Reservation::Reserved { 3 } else { 0 });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_price_survives_the_script() {
    let shop = Shop::start().await;
    let product = shop.product((1 << 53) - 1, 1).await;
    shop.reserve(OrderId::generate(), &[line(product, 1)]).await;
    let answers = shop.answers().await;
    let [StockEvent::Reserved(reserved)] = answers.as_slice() else {
        panic!("{answers:?}")
    };
    assert_eq!(reserved.lines[0].unit_price.minor_units(), (1 << 53) - 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_of_fifty_lines_is_one_effect() {
    let shop = Shop::start().await;
    let mut lines = Vec::new();
    for _ in 0..50 {
        lines.push(line(shop.product(1, 1).await, 1));
    }
    let order = OrderId::generate();
    assert_eq!(shop.reserve(order, &lines).await.answer, Answer::Reserved);
    assert_eq!(shop.commit(order).await.answer, Answer::Committed);
    for line in &lines {
        assert_eq!(shop.stock(line.product_id).await, (0, 0));
    }
    assert_eq!(shop.answers().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn adjusting_stock_never_takes_what_is_reserved() {
    use shopwright_inventory::{
        catalogue::Adjusted,
        product::{MAX_STOCK, NewAdjustment},
    };
    let shop = Shop::start().await;
    let product = shop.product(100, 5).await;
    shop.reserve(OrderId::generate(), &[line(product, 3)]).await;
    let adjust = async |delta| {
        let adjustment = NewAdjustment {
            delta,
            reason: "counted \"again\"".to_owned(),
        };
        shop.catalogue()
            .adjust(product, &adjustment, &meta(), &request())
            .await
            .unwrap()
    };
    assert!(matches!(adjust(-3).await, Adjusted::Insufficient(stock) if (stock.on_hand, stock.reserved) == (5, 3)));
    assert_eq!(adjust(MAX_STOCK).await, Adjusted::OutOfRange);
    assert!(matches!(adjust(-2).await, Adjusted::Done(stock) if (stock.on_hand, stock.available) == (3, 0)));
    assert!(!shop.in_stock(product).await);
    assert!(matches!(adjust(1).await, Adjusted::Done(stock) if stock.available == 1));
    assert!(shop.in_stock(product).await);
    let told = shop.entries(&shop.keys.inventory_catalogue()).await;
    assert_eq!(
        told.iter().filter(|entry| entry["type"] == "stock.adjusted").count(),
        2,
        "refusals tell nothing"
    );
    let data: serde_json::Value = serde_json::from_str(&told.last().unwrap()["data"]).unwrap();
    assert_eq!(
        (data["on_hand"].as_i64(), data["reason"].as_str()),
        (Some(4), Some("counted \"again\""))
    );
    shop.books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_back_makes_no_product_that_is_gone() {
    let shop = Shop::start().await;
    let product = shop.product(100, 1).await;
    let order = OrderId::generate();
    shop.reserve(order, &[line(product, 1)]).await;
    redis::cmd("DEL")
        .arg(shop.keys.product(product))
        .query_async::<()>(&mut shop.harness.clone())
        .await
        .unwrap();
    assert_eq!(shop.release(order).await.answer, Answer::Released);
    assert!(shop.catalogue().get(product).await.unwrap().is_none());
}
