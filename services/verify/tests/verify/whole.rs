//! A shop at rest: sound books, and each one changed by hand.

use serde_json::json;
use shopwright_domain::ids::{OrderId, RefundId};
use shopwright_verify::{Expected, ExpectedOrder, ExpectedRefund, Invariant, Options, VerifyError, verify};

use crate::shop::{Shop, violated};

#[tokio::test]
async fn sound_books_are_clean_and_each_changed_one_is_told() {
    let shop = Shop::start().await;
    let order = OrderId::generate();
    shop.sell(order).await;
    shop.stock(8, 0, 10).await;
    let expected = Expected {
        orders: vec![ExpectedOrder {
            id: order,
            lines: vec![(shop.product, 2)],
            cancelled: false,
            refunds: Vec::new(),
        }],
        unknown: 0,
        complete: true,
    };
    let options = Options {
        settled: true,
        expected: Some(expected.clone()),
        ..Options::default()
    };
    let report = shop.verify(&options).await;
    assert!(report.is_clean(), "{report}");
    assert_eq!((report.orders, report.products), (1, 1));

    shop.stock(7, 0, 10).await;
    assert_eq!(violated(&shop.verify(&options).await), [Invariant::StockConservation]);
    shop.stock(8, 1, 10).await;
    assert_eq!(violated(&shop.verify(&options).await), [Invariant::StockReserved]);
    shop.stock(-2, 0, 0).await;
    assert_eq!(violated(&shop.verify(&options).await), [Invariant::StockBounds]);
    shop.stock(8, 0, 10).await;

    shop.run(&["HSET", &shop.keys.provider_charge(order), "captured", "480"])
        .await;
    assert_eq!(violated(&shop.verify(&options).await), [Invariant::Provider]);
    shop.run(&["HSET", &shop.keys.provider_charge(order), "captured", "240"])
        .await;

    let events = shop.keys.payments_events();
    let subject = order.to_string();
    for _ in 0..2 {
        shop.run(&[
            "XADD",
            &events,
            "*",
            "type",
            "order.completed",
            "subject",
            &subject,
            "data",
            "{}",
        ])
        .await;
    }
    let report = shop.verify(&options).await;
    assert_eq!(
        violated(&report),
        [Invariant::Loss, Invariant::DoubleEffect],
        "{report}"
    );

    let missing = Options {
        expected: Some(Expected {
            orders: vec![ExpectedOrder {
                id: OrderId::generate(),
                ..expected.orders[0].clone()
            }],
            ..expected
        }),
        ..Options::default()
    };
    let report = shop.verify(&missing).await;
    let about_expected: Vec<_> = report.findings.iter().map(|finding| finding.detail.as_str()).collect();
    assert!(about_expected.contains(&"accepted, and not there"), "{report}");
    assert!(
        about_expected
            .iter()
            .any(|detail| detail.contains("nobody was told of")),
        "{report}"
    );
}

#[tokio::test]
async fn a_shop_that_is_larger_than_allowed_is_not_compared() {
    let shop = Shop::start().await;
    for _ in 0..3 {
        shop.sell(OrderId::generate()).await;
    }
    shop.stock(4, 0, 10).await;
    let options = |most_held| Options {
        most_held,
        ..Options::default()
    };
    assert!(verify(&mut shop.books().await, &options(4)).await.unwrap().is_clean());
    let refused = verify(&mut shop.books().await, &options(3)).await;
    assert!(matches!(refused, Err(VerifyError::TooLarge)), "{refused:?}");
}

/// Of an order of which 40 went back.
#[tokio::test]
async fn a_refund_is_there_with_the_amount_that_was_accepted() {
    let shop = Shop::start().await;
    let (order, refund) = (OrderId::generate(), RefundId::generate());
    shop.sell(order).await;
    shop.stock(8, 0, 10).await;
    let mut document = shop.sold(order);
    document["refunded"] = json!(40);
    document["refunds"] = json!([refund]);
    document["ledger"]
        .as_array_mut()
        .unwrap()
        .push(json!({"kind": "refund", "amount": 40, "refund_id": refund, "at": 1}));
    let back = json!({
        "id": refund, "order_id": order, "amount": 40, "currency": "EUR", "state": "succeeded", "created_at": 1,
        "updated_at": 1,
    });
    for (key, document) in [(shop.keys.order(order), document), (shop.keys.refund(refund), back)] {
        shop.run(&["JSON.SET", &key, "$", &document.to_string()]).await;
    }
    shop.run(&["HSET", &shop.keys.provider_charge(order), "refunded", "40"])
        .await;
    let at_provider = shop.keys.provider_refund(refund);
    shop.run(&["HSET", &at_provider, "state", "succeeded", "amount", "40"])
        .await;

    for (id, amount, currency, wanted) in [
        (refund, 40, "EUR", &[][..]),
        (refund, 41, "EUR", &[Invariant::Money]),
        (refund, 40, "USD", &[Invariant::Money]),
        (RefundId::generate(), 40, "EUR", &[Invariant::Loss]),
    ] {
        let amount = serde_json::from_value(json!({"amount": amount, "currency": currency})).unwrap();
        let expected = Expected {
            orders: vec![ExpectedOrder {
                id: order,
                lines: vec![(shop.product, 2)],
                cancelled: false,
                refunds: vec![ExpectedRefund { id, amount }],
            }],
            unknown: 0,
            complete: true,
        };
        let options = Options {
            expected: Some(expected),
            ..Options::default()
        };
        let report = shop.verify(&options).await;
        assert_eq!(violated(&report), wanted, "{report}");
    }
}

#[tokio::test]
async fn the_user_can_write_nothing() {
    let shop = Shop::start().await;
    let mut connection = shop.reader().await;
    let stock = shop.keys.stock(shop.product);
    for words in [
        vec!["HSET", &stock, "on_hand", "1"],
        vec!["DEL", &stock],
        vec!["XADD", "{demo-payments}:events", "*", "a", "b"],
        vec!["EVAL", "return redis.call('DEL', KEYS[1])", "1", &stock],
        vec!["EVAL_RO", "return redis.call('DEL', KEYS[1])", "1", &stock],
        vec!["FLUSHALL"],
        vec!["GET", "somebody-elses"],
        vec!["HGETALL", "{other-inventory}:stock:1"],
    ] {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        assert!(command.exec_async(&mut connection).await.is_err(), "{words:?}");
    }
    let reserved: String = redis::cmd("HGET")
        .arg(&stock)
        .arg("on_hand")
        .query_async(&mut connection)
        .await
        .unwrap();
    assert_eq!(reserved, "10");
}
