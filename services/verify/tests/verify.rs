//! Books on a real Redis Stack, read as the user `verify`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "this whole crate is a test"
)]

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redis::aio::MultiplexedConnection;
use serde_json::json;
use sha2::{Digest, Sha256};
use shopwright_domain::access::{DEFAULT_OFF, User, acl_line};
use shopwright_domain::ids::{OrderId, ProductId};
use shopwright_domain::keys::{GROUP_INVENTORY, GROUP_PAYMENTS, ShopKeys};
use shopwright_redis_stack::{Options as RedisOptions, RedisStack};
use shopwright_verify::{Books, Expected, ExpectedOrder, Invariant, Options, Report, verify};

struct Shop {
    stack: RedisStack,
    keys: ShopKeys,
    product: ProductId,
}

impl Shop {
    async fn start() -> Self {
        let hash = Sha256::digest(b"secret").iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").unwrap();
            hex
        });
        let options = RedisOptions {
            acl: vec![DEFAULT_OFF.to_owned(), acl_line(User::Verify, "demo", &hash)],
            ..RedisOptions::default()
        };
        let shop = Self {
            stack: RedisStack::start_async(options).await.unwrap(),
            keys: ShopKeys::new("demo"),
            product: ProductId::generate(),
        };
        let keys = &shop.keys;
        for (stream, group) in [
            (keys.payments_events(), GROUP_INVENTORY),
            (keys.inventory_events(), GROUP_PAYMENTS),
            (keys.payments_jobs(), GROUP_PAYMENTS),
        ] {
            shop.run(&["XGROUP", "CREATE", &stream, group, "0", "MKSTREAM"]).await;
        }
        shop.stock(10, 0, 10).await;
        shop
    }

    async fn harness(&self) -> MultiplexedConnection {
        self.stack
            .client()
            .unwrap()
            .get_multiplexed_async_connection()
            .await
            .unwrap()
    }

    async fn run(&self, words: &[&str]) {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.exec_async(&mut self.harness().await).await.unwrap();
    }

    async fn stock(&self, on_hand: i64, reserved: i64, received: i64) {
        let [on_hand, reserved, received] = [on_hand, reserved, received].map(|number| number.to_string());
        let key = self.keys.stock(self.product);
        self.run(&[
            "HSET", &key, "on_hand", &on_hand, "reserved", &reserved, "received", &received,
        ])
        .await;
    }

    async fn reserve(&self, order: OrderId, state: &str, quantity: u32) {
        let line = json!({"product_id": self.product, "quantity": quantity, "unit_price": 100});
        let document = json!({"order_id": order, "state": state, "lines": [line]}).to_string();
        self.run(&["JSON.SET", &self.keys.reservation(order), "$", &document])
            .await;
    }

    /// A sold order of two pieces at 100 and 20 % fee, paid and completed.
    async fn sell(&self, order: OrderId) {
        let at = 1_700_000_000_000_i64;
        let passages =
            ["pending", "reserved", "charging", "paid", "completed"].map(|state| json!({"state": state, "at": at}));
        let document = json!({
            "id": order, "version": 5, "state": "completed", "currency": "EUR",
            "lines": [{"product_id": self.product, "quantity": 2, "unit_price": 100}],
            "subtotal": 200, "fee": 40, "total": 240, "captured": 240, "refunded": 0, "refund_open": 0,
            "ledger": [{"kind": "capture", "amount": 240, "at": at}],
            "done": false, "stock_settled": false, "attempts": 0, "deadline_at": at, "created_at": at,
            "updated_at": at, "timeline": passages,
        });
        self.run(&["JSON.SET", &self.keys.order(order), "$", &document.to_string()])
            .await;
        self.reserve(order, "committed", 2).await;
        let charge = self.keys.provider_charge(order);
        self.run(&[
            "HSET", &charge, "state", "charged", "amount", "240", "currency", "EUR", "captured", "240",
        ])
        .await;
    }

    async fn books(&self) -> Books {
        let client = redis::Client::open(format!(
            "redis://verify:secret@{}:{}",
            self.stack.host(),
            self.stack.port()
        ));
        let connection = client.unwrap().get_multiplexed_async_connection().await.unwrap();
        Books::new(self.keys.clone(), connection)
    }

    async fn verify(&self, options: &Options) -> Report {
        verify(&mut self.books().await, options).await.unwrap()
    }
}

fn violated(report: &Report) -> Vec<Invariant> {
    let mut invariants: Vec<_> = report.findings.iter().map(|finding| finding.invariant).collect();
    invariants.sort();
    invariants.dedup();
    invariants
}

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
async fn the_user_can_write_nothing() {
    let shop = Shop::start().await;
    let client = redis::Client::open(format!(
        "redis://verify:secret@{}:{}",
        shop.stack.host(),
        shop.stack.port()
    ));
    let mut connection = client.unwrap().get_multiplexed_async_connection().await.unwrap();
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
