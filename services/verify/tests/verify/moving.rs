//! A shop that changes while it is compared.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use shopwright_domain::ids::OrderId;
use shopwright_verify::{Books, Invariant, Options, Report, verify};

use crate::meddler::{Deed, and, at, deed};
use crate::shop::{Shop, violated};

/// What the second look, and the comparison of stock, are done with.
const SCRIPT: &str = "EVAL_RO";
/// What the first look asks the provider with.
const PROVIDER_FIRST: &str = "HGETALL";

async fn compared(shop: &Shop, deed: &Deed) -> Report {
    let mut books = Books::new(shop.keys.clone(), shop.meddled(deed).await);
    verify(&mut books, &Options::default()).await.unwrap()
}

/// The provider in a Redis of its own is, to whoever compares, a connection of its own.
async fn compared_apart(shop: &Shop, at_shop: &Deed, at_provider: &Deed) -> Report {
    let books = Books::new(shop.keys.clone(), shop.meddled(at_shop).await);
    let mut books = books.with_provider(shop.meddled(at_provider).await);
    verify(&mut books, &Options::default()).await.unwrap()
}

/// One script moves stock, reservation and event together, thousands of times, while everything is compared over and over.
#[tokio::test(flavor = "multi_thread")]
async fn a_busy_shop_raises_no_false_alarm() {
    const MOVE: &str = r"
        local held = redis.call('JSON.GET', KEYS[1], '.state') == '\quotereserved\quote'
        redis.call('JSON.MERGE', KEYS[1], '$', held and '{\quotestate\quote:\quotereleased\quote}' or '{\quotestate\quote:\quotereserved\quote}')
        redis.call('HINCRBY', KEYS[2], 'reserved', held and -1 or 1)
        redis.call('XADD', KEYS[3], '*', 'type', 'moved', 'subject', ARGV[1])";
    let shop = Shop::start().await;
    let done = Arc::new(AtomicBool::new(false));
    let orders: Vec<OrderId> = (0..5).map(|_| OrderId::generate()).collect();
    for order in &orders {
        shop.reserve(*order, "released", 1).await;
    }
    let mover = {
        let (done, keys, product, orders) = (done.clone(), shop.keys.clone(), shop.product, orders.clone());
        let mut connection = shop.harness().await;
        let script = MOVE.replace("\\quote", "\"");
        tokio::spawn(async move {
            let mut moves = 0_usize;
            while !done.load(Ordering::Relaxed) {
                let order = orders[moves % orders.len()];
                let mut command = redis::cmd("EVAL");
                command
                    .arg(&script)
                    .arg(3)
                    .arg(keys.reservation(order))
                    .arg(keys.stock(product));
                command.arg(keys.inventory_events()).arg(order.to_string());
                command.exec_async(&mut connection).await.unwrap();
                moves += 1;
            }
            moves
        })
    };
    for _ in 0..20 {
        let report = shop.verify(&Options::default()).await;
        // The reservations stand alone here; what is compared is their stock.
        assert_eq!(report.count(Invariant::StockReserved), 0, "{report}");
        assert_eq!(report.count(Invariant::StockBounds), 0, "{report}");
    }
    done.store(true, Ordering::Relaxed);
    assert!(mover.await.unwrap() > 100);
    shop.run(&["HINCRBY", &shop.keys.stock(shop.product), "reserved", "1"])
        .await;
    assert_eq!(
        shop.verify(&Options::default()).await.count(Invariant::StockReserved),
        1
    );
}

#[tokio::test]
async fn a_difference_that_is_only_passing_is_dropped() {
    let shop = Shop::start().await;
    let order = OrderId::generate();
    shop.hold(order).await;
    // The first look has read order and reservation, and not yet the charge.
    let report = compared(&shop, &at(PROVIDER_FIRST, 1, shop.sale(order, 0))).await;
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.passing, 1, "{report}");
    let report = shop.verify(&Options::default()).await;
    assert!(report.is_clean() && report.passing == 0, "{report}");
}

/// More happens during the walk than one script may read.
#[tokio::test]
async fn a_large_busy_shop_is_judged_too() {
    let shop = Shop::start().await;
    let order = OrderId::generate();
    shop.hold(order).await;
    let report = compared(&shop, &at(PROVIDER_FIRST, 1, shop.sale(order, 12_000))).await;
    assert!(report.is_clean(), "{report}");

    let order = OrderId::generate();
    shop.hold(order).await;
    shop.run(&["HINCRBY", &shop.keys.stock(shop.product), "reserved", "1"])
        .await;
    let report = compared(&shop, &at(PROVIDER_FIRST, 1, shop.sale(order, 12_000))).await;
    assert_eq!(violated(&report), [Invariant::StockReserved], "{report}");
}

#[tokio::test]
async fn stock_that_never_stands_still_is_not_judged() {
    let shop = Shop::start().await;
    let order = OrderId::generate();
    shop.hold(order).await;
    let sale = shop.sale(order, 12_000);
    let busy = deed(move |next| (next == SCRIPT).then(|| sale.clone()));
    let report = compared(&shop, &busy).await;
    assert!(report.findings.is_empty() && !report.is_clean(), "{report}");
    let open: Vec<_> = report.undecided.clone().into_iter().collect();
    let wanted = [
        Invariant::StockBounds,
        Invariant::StockConservation,
        Invariant::StockReserved,
    ]
    .map(|invariant| (invariant, 1));
    assert_eq!(open, wanted, "{report}");
}

/// The order is sold at each place between the reads of the second look, and no place makes a violation of it.
#[tokio::test]
async fn the_second_look_sees_two_redis_at_one_moment() {
    let shop = Shop::start().await;
    for place in 1..=3 {
        let order = OrderId::generate();
        shop.hold(order).await;
        // What has the order looked at twice, and has passed by then.
        shop.run(&["ZREM", &shop.keys.due(), &order.to_string()]).await;
        let passes = at(PROVIDER_FIRST, 1, shop.due(order));
        let sale = at(SCRIPT, place, shop.sale(order, 0));
        let report = compared_apart(&shop, &sale, &and(&passes, &sale)).await;
        assert!(report.is_clean(), "sold before read {place}: {report}");
        assert_eq!(report.passing, 1, "sold before read {place}: {report}");
    }
}

#[tokio::test]
async fn a_provider_that_never_stands_still_is_not_judged() {
    let shop = Shop::start().await;
    let order = OrderId::generate();
    shop.sell(order).await;
    shop.stock(8, 0, 10).await;
    let charge = shop.keys.provider_charge(order);
    let restless = deed(move |next| {
        let mut command = redis::cmd("HINCRBY");
        command.arg(&charge).arg("refunded").arg(1);
        (next == SCRIPT || next == PROVIDER_FIRST).then_some(command)
    });
    let report = compared_apart(&shop, &deed(|_| None), &restless).await;
    assert!(report.findings.is_empty() && !report.is_clean(), "{report}");
    let open: Vec<_> = report.undecided.into_iter().collect();
    assert_eq!(open, [(Invariant::Provider, 1)]);
    // Once it stands still, it is judged.
    assert_eq!(
        violated(&compared_apart(&shop, &deed(|_| None), &deed(|_| None)).await),
        [Invariant::Provider]
    );
}
