//! A small shop, written by hand.

use std::fmt::Write as _;

use redis::Cmd;
use redis::aio::MultiplexedConnection;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use shopwright_domain::access::{DEFAULT_OFF, User, acl_line};
use shopwright_domain::ids::{OrderId, ProductId};
use shopwright_domain::keys::{GROUP_INVENTORY, GROUP_PAYMENTS, ShopKeys};
use shopwright_redis_stack::{Options as RedisOptions, RedisStack};
use shopwright_verify::{Books, Invariant, Options, Report, verify};

use crate::meddler::{Deed, Meddler};

/// A due time that does not come.
const FAR: i64 = 4_000_000_000_000;

pub(crate) struct Shop {
    stack: RedisStack,
    pub(crate) keys: ShopKeys,
    pub(crate) product: ProductId,
}

impl Shop {
    pub(crate) async fn start() -> Self {
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

    pub(crate) async fn harness(&self) -> MultiplexedConnection {
        self.stack
            .client()
            .unwrap()
            .get_multiplexed_async_connection()
            .await
            .unwrap()
    }

    pub(crate) async fn run(&self, words: &[&str]) {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.exec_async(&mut self.harness().await).await.unwrap();
    }

    pub(crate) async fn stock(&self, on_hand: i64, reserved: i64, received: i64) {
        let [on_hand, reserved, received] = [on_hand, reserved, received].map(|number| number.to_string());
        let key = self.keys.stock(self.product);
        self.run(&[
            "HSET", &key, "on_hand", &on_hand, "reserved", &reserved, "received", &received,
        ])
        .await;
    }

    pub(crate) async fn reserve(&self, order: OrderId, state: &str, quantity: u32) {
        let line = json!({"product_id": self.product, "quantity": quantity, "unit_price": 100});
        let document = json!({"order_id": order, "state": state, "lines": [line]}).to_string();
        self.run(&["JSON.SET", &self.keys.reservation(order), "$", &document])
            .await;
    }

    /// The document of an order of two pieces at 100 and 20 % fee that came through these states.
    fn document(&self, order: OrderId, states: &[&str]) -> Value {
        let at = 1_700_000_000_000_i64;
        let passages: Vec<_> = states.iter().map(|state| json!({"state": state, "at": at})).collect();
        json!({
            "id": order, "version": states.len(), "state": states.last(), "currency": "EUR",
            "lines": [{"product_id": self.product, "quantity": 2, "unit_price": 100}],
            "subtotal": 200, "fee": 40, "total": 240, "captured": 0, "refunded": 0, "refund_open": 0, "ledger": [],
            "stop": false, "stock_settled": false, "attempts": 0, "deadline_at": at, "created_at": at,
            "updated_at": at, "timeline": passages,
        })
    }

    /// The document of such an order, paid and completed.
    pub(crate) fn sold(&self, order: OrderId) -> Value {
        let mut document = self.document(order, &["pending", "reserved", "charging", "paid", "completed"]);
        document["captured"] = json!(240);
        document["ledger"] = json!([{"kind": "capture", "amount": 240, "at": 1}]);
        document
    }

    /// An order that was paid and completed.
    pub(crate) async fn sell(&self, order: OrderId) {
        self.run(&["JSON.SET", &self.keys.order(order), "$", &self.sold(order).to_string()])
            .await;
        self.reserve(order, "committed", 2).await;
        let charge = self.keys.provider_charge(order);
        self.run(&[
            "HSET", &charge, "state", "charged", "amount", "240", "currency", "EUR", "captured", "240",
        ])
        .await;
    }

    /// An order whose stock is held, and that nobody has charged yet.
    pub(crate) async fn hold(&self, order: OrderId) {
        let mut document = self.document(order, &["pending", "reserved"]);
        document["due_at"] = json!(FAR);
        self.run(&["JSON.SET", &self.keys.order(order), "$", &document.to_string()])
            .await;
        self.reserve(order, "reserved", 2).await;
        self.run(&["HINCRBY", &self.keys.stock(self.product), "reserved", "2"])
            .await;
        self.due(order).exec_async(&mut self.harness().await).await.unwrap();
    }

    /// Keeps the due time of an order that is held.
    pub(crate) fn due(&self, order: OrderId) -> Cmd {
        let mut command = redis::cmd("ZADD");
        command.arg(self.keys.due()).arg(FAR).arg(order.to_string());
        command
    }

    /// Takes an order that is held to where it is sold, in every book at once, and tells of it, then of so much else.
    pub(crate) fn sale(&self, order: OrderId, else_told: usize) -> Cmd {
        const SALE: &str = r#"
            redis.call('JSON.SET', KEYS[1], '$', ARGV[2])
            redis.call('JSON.MERGE', KEYS[2], '$', '{"state":"committed"}')
            redis.call('HSET', KEYS[3], 'state', 'charged', 'amount', 240, 'currency', 'EUR', 'captured', 240)
            redis.call('HINCRBY', KEYS[4], 'on_hand', -2)
            redis.call('HINCRBY', KEYS[4], 'reserved', -2)
            redis.call('ZREM', KEYS[5], ARGV[1])
            redis.call('XADD', KEYS[6], '*', 'type', 'stock.committed', 'subject', ARGV[1])
            for _ = 1, ARGV[3] do redis.call('XADD', KEYS[6], '*', 'type', 'else', 'subject', 'else') end"#;
        let keys = &self.keys;
        let mut command = redis::cmd("EVAL");
        command
            .arg(SALE)
            .arg(6)
            .arg(keys.order(order))
            .arg(keys.reservation(order));
        command.arg(keys.provider_charge(order)).arg(keys.stock(self.product));
        command.arg(keys.due()).arg(keys.inventory_events());
        command
            .arg(order.to_string())
            .arg(self.sold(order).to_string())
            .arg(else_told);
        command
    }

    /// As the user `verify`.
    pub(crate) async fn reader(&self) -> MultiplexedConnection {
        let client = redis::Client::open(format!(
            "redis://verify:secret@{}:{}",
            self.stack.host(),
            self.stack.port()
        ));
        client.unwrap().get_multiplexed_async_connection().await.unwrap()
    }

    pub(crate) async fn books(&self) -> Books {
        Books::new(self.keys.clone(), self.reader().await)
    }

    /// Reads as the user `verify`, while the deed is done.
    pub(crate) async fn meddled(&self, deed: &Deed) -> Meddler {
        Meddler::new(self.reader().await, self.harness().await, deed)
    }

    pub(crate) async fn verify(&self, options: &Options) -> Report {
        verify(&mut self.books().await, options).await.unwrap()
    }
}

pub(crate) fn violated(report: &Report) -> Vec<Invariant> {
    let mut invariants: Vec<_> = report.findings.iter().map(|finding| finding.invariant).collect();
    invariants.sort();
    invariants.dedup();
    invariants
}
