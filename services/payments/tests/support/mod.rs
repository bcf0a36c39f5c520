//! A shop's Redis under its real ACL, and a small inventory that answers by the domain's own reservation rules.
#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "every test binary uses its own part of this"
)]

use std::fmt::Write;
use std::future::Future;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use shopwright_domain::access::{DEFAULT_OFF, User, acl_line};
use shopwright_domain::events::{Meta, OrderEvent, OrderPlaced, StockEvent, StockReserved, decode, encode};
use shopwright_domain::ids::{OrderId, ProductId};
use shopwright_domain::keys::{GROUP_INVENTORY, GROUP_PAYMENTS, ShopKeys};
use shopwright_domain::lines::{Line, Lines, PricedLine};
use shopwright_domain::money::{Amount, FeePercent};
use shopwright_domain::order::{Input, Order, Placing, Policy, State, place};
use shopwright_kit::{Redis, RedisSettings, Secret};
use shopwright_payments::act::{Actor, Happening};
use shopwright_payments::metrics::Metrics;
use shopwright_payments::provider::Simulated;
use shopwright_payments::store::{Committed, Mark, Store};
use shopwright_redis_stack::{Append, Options, RedisStack};
use shopwright_streams::consume::{Entry, Fields};
use shopwright_streams::{Client, Endpoint, group};

mod inventory;
mod process;
mod running;

pub use inventory::{Inventory, InventoryHandler, UNIT_PRICE};
pub use process::Process;
pub use running::Running;

pub const SHOP: &str = "demo";
/// For a condition that holds at once on an idle machine; tests share two cores with everything else.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Shop {
    pub stack: RedisStack,
    pub keys: ShopKeys,
}

pub fn password(user: User) -> String {
    format!("secret-of-{}", user.name())
}

pub fn sha256_hex(text: &str) -> String {
    Sha256::digest(text.as_bytes())
        .iter()
        .fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").unwrap();
            hex
        })
}

impl Shop {
    /// A Redis Stack with the shop's users and groups.
    pub async fn start() -> Self {
        Self::start_with(Append::Off).await
    }

    /// The same, with data that outlives the server as far as `append` says.
    pub async fn start_with(append: Append) -> Self {
        let mut acl = vec![DEFAULT_OFF.to_owned()];
        acl.extend(User::ALL.map(|user| acl_line(user, SHOP, &sha256_hex(&password(user)))));
        let stack = RedisStack::start_async(Options {
            acl,
            append,
            ..Options::default()
        })
        .await
        .unwrap();
        let shop = Self {
            stack,
            keys: ShopKeys::new(SHOP),
        };
        shop.ensure_groups().await;
        shop
    }

    pub async fn ensure_groups(&self) {
        let operator = self.streams(User::Operator).shared();
        for (stream, group) in [
            (self.keys.payments_events(), GROUP_INVENTORY),
            (self.keys.inventory_events(), GROUP_PAYMENTS),
            (self.keys.payments_jobs(), GROUP_PAYMENTS),
        ] {
            group::ensure(&operator, &stream, group, group::StartFrom::Beginning)
                .await
                .unwrap();
        }
    }

    pub fn settings(&self, user: User) -> RedisSettings {
        RedisSettings {
            host: self.stack.host().to_owned(),
            port: self.stack.port(),
            username: Some(user.name().to_owned()),
            password: Some(Secret::new(password(user))),
        }
    }

    pub fn redis(&self, user: User) -> Redis {
        Redis::new(&self.settings(user)).unwrap()
    }

    pub async fn connection(&self, user: User) -> redis::aio::MultiplexedConnection {
        self.settings(user)
            .client()
            .unwrap()
            .get_multiplexed_async_connection()
            .await
            .unwrap()
    }

    /// May do everything; for looking on.
    pub async fn harness(&self) -> redis::aio::MultiplexedConnection {
        self.stack
            .client()
            .unwrap()
            .get_multiplexed_async_connection()
            .await
            .unwrap()
    }

    pub fn streams(&self, user: User) -> Client {
        let secret = shopwright_streams::Secret::new(password(user));
        Client::new(Endpoint::new(self.stack.host(), self.stack.port()).with_user(user.name(), secret))
    }

    pub fn actor(&self, policy: Policy) -> Actor {
        let store = Store::new(self.redis(User::Payments), self.keys.clone());
        Actor {
            store,
            policy,
            metrics: Metrics::default(),
        }
    }

    /// The same with another script than the real one.
    pub fn actor_with(&self, script: &str) -> Actor {
        Actor {
            store: Store::with_advance(self.redis(User::Payments), self.keys.clone(), script),
            policy: patient(),
            metrics: Metrics::default(),
        }
    }

    pub fn provider(&self, latency: Duration) -> Simulated {
        let limit = Some(Amount::new(DECLINE_ABOVE).unwrap());
        Simulated::new(
            self.redis(User::Provider),
            self.keys.clone(),
            latency,
            limit,
            Metrics::default(),
        )
    }

    /// Every entry of a stream, as a consumer would be given it.
    pub async fn entries(&self, stream: &str) -> Vec<Entry> {
        type Row = (String, Vec<(Vec<u8>, Vec<u8>)>);
        let rows: Vec<Row> = redis::cmd("XRANGE")
            .arg(stream)
            .arg("-")
            .arg("+")
            .query_async(&mut self.harness().await)
            .await
            .unwrap();
        rows.into_iter()
            .map(|(id, fields)| Entry {
                stream: stream.into(),
                id: id.parse().unwrap(),
                delivery_count: 1,
                fields: fields.into_iter().collect::<Fields>(),
            })
            .collect()
    }

    /// Appends an entry as inventory would, and gives it back as a consumer would be given it.
    pub async fn stock(&self, event: &StockEvent) -> Entry {
        let meta = Meta {
            id: uuid::Uuid::now_v7().to_string(),
            ..Meta::default()
        };
        let mut command = redis::cmd("XADD");
        command.arg(self.keys.inventory_events()).arg("*");
        for (name, value) in encode(event, &meta) {
            command.arg(name).arg(value);
        }
        command.exec_async(&mut self.harness().await).await.unwrap();
        self.entries(&self.keys.inventory_events()).await.pop().unwrap()
    }

    /// As a Redis that crashed before it was written to disk.
    pub async fn lose(&self, entry: &Entry) {
        let mut command = redis::cmd("XDEL");
        command.arg(&*entry.stream).arg(entry.id.to_string());
        assert_eq!(command.query_async::<u32>(&mut self.harness().await).await.unwrap(), 1);
    }

    /// What an order asked inventory for.
    pub async fn asked_for(&self, id: OrderId) -> OrderPlaced {
        let entries = self.entries(&self.keys.payments_events()).await;
        let placed = entries
            .iter()
            .find_map(|entry| match decode(|name| entry.fields.text(name)).unwrap().content {
                Some(OrderEvent::Placed(placed)) if placed.order_id == id => Some(placed),
                _ => None,
            });
        placed.unwrap()
    }

    /// The kinds of all events of an order, oldest first.
    pub async fn told(&self, id: OrderId) -> Vec<String> {
        self.kinds(&self.keys.payments_events(), id).await
    }

    /// The kinds of all jobs of an order, oldest first.
    pub async fn asked(&self, id: OrderId) -> Vec<String> {
        self.kinds(&self.keys.payments_jobs(), id).await
    }

    async fn kinds(&self, stream: &str, id: OrderId) -> Vec<String> {
        let id = id.to_string();
        let entries = self.entries(stream).await.into_iter();
        entries
            .filter(|entry| entry.fields.text("subject") == Some(&id))
            .map(|entry| entry.fields.text("type").unwrap().to_owned())
            .collect()
    }

    /// Entries of both streams that payments reads which were taken and not acknowledged.
    pub async fn pending(&self) -> u64 {
        let mut sum = 0;
        for stream in [self.keys.inventory_events(), self.keys.payments_jobs()] {
            let summary: (u64, redis::Value, redis::Value, redis::Value) = redis::cmd("XPENDING")
                .arg(stream)
                .arg(GROUP_PAYMENTS)
                .query_async(&mut self.harness().await)
                .await
                .unwrap();
            sum += summary.0;
        }
        sum
    }

    /// Dead letters of both streams that payments reads.
    pub async fn buried(&self) -> usize {
        let mut sum = 0;
        for stream in [self.keys.inventory_events(), self.keys.payments_jobs()] {
            let dead = ShopKeys::dead_letters(&stream, GROUP_PAYMENTS);
            sum += self.entries(&dead).await.len();
        }
        sum
    }

    /// What the provider's book says of an order: state, captured, refunded.
    pub async fn book(&self, id: OrderId) -> (Option<String>, i64, i64) {
        type Row = (Option<String>, Option<i64>, Option<i64>);
        let (state, captured, refunded): Row = redis::cmd("HMGET")
            .arg(self.keys.provider_charge(id))
            .arg(&["state", "captured", "refunded"])
            .query_async(&mut self.harness().await)
            .await
            .unwrap();
        (state, captured.unwrap_or(0), refunded.unwrap_or(0))
    }

    pub async fn inject(&self, fault: &str) {
        let mut connection = self.harness().await;
        redis::cmd("RPUSH")
            .arg(self.keys.provider_faults())
            .arg(fault)
            .exec_async(&mut connection)
            .await
            .unwrap();
    }
}

/// As `PROVIDER_LATENCY_MILLISECONDS`: nearly as long as a call is waited for.
pub const SLOW_CALL: &str = "19000";

/// The simulated provider of tests declines above this many minor units.
pub const DECLINE_ABOVE: i64 = 100_000;

/// Waits short enough for tests; deadlines that nobody meets by accident.
pub fn patient() -> Policy {
    Policy {
        order_deadline: 600_000,
        charge_retry: 50,
        release_retry: 50,
        longest_retry: 200,
        fee: FeePercent::new(20).unwrap(),
    }
}

/// A new `Idempotency-Key` that nobody guesses.
pub fn request_key() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// What a request of this key is known by.
pub fn mark(key: &str) -> Mark {
    Mark {
        id: sha256_hex(key),
        record: format!(r#"{{"fingerprint":"f","status":202,"id":"{key}"}}"#),
        retention: Duration::from_hours(1),
    }
}

pub fn placing(quantity: u32) -> Placing {
    let line = Line {
        product_id: ProductId::generate(),
        quantity,
        expected_unit_price: None,
    };
    Placing {
        id: OrderId::generate(),
        currency: "EUR".parse().unwrap(),
        lines: Lines::new(&[line]).unwrap(),
        request_id: "request-1".into(),
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into(),
    }
}

pub async fn placed(actor: &Actor, quantity: u32) -> Order {
    let now = actor.store.now().await.unwrap();
    let decision = place(placing(quantity), now, &actor.policy);
    assert_eq!(actor.store.commit(&decision, None).await.unwrap(), Committed::Stored);
    decision.order
}

/// Inventory's answer that it holds all of an order's lines, at its one price.
pub fn reserved(order: &Order) -> StockEvent {
    let price = |line: &shopwright_domain::order::OrderLine| PricedLine {
        product_id: line.product_id,
        quantity: line.quantity,
        unit_price: Amount::new(UNIT_PRICE).unwrap(),
    };
    StockEvent::Reserved(StockReserved {
        order_id: order.id,
        lines: order.lines.iter().map(price).collect(),
    })
}

/// The same as it happens to the order.
pub fn reserving(order: &Order) -> Happening {
    let StockEvent::Reserved(StockReserved { lines, .. }) = reserved(order) else {
        unreachable!()
    };
    Happening::Input(Input::StockReserved(lines))
}

pub async fn order(actor: &Actor, id: OrderId) -> Order {
    actor.store.load(id).await.unwrap().unwrap().order
}

/// Waits until the condition holds.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut condition: impl FnMut() -> F) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(Instant::now() < end, "never came: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until the order is in the state and nothing is due any more.
pub async fn at_rest(actor: &Actor, id: OrderId, state: State) -> Order {
    let mut last = None;
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        let order = order(actor, id).await;
        if order.state == state && order.due_at.is_none() {
            return order;
        }
        last = Some(order);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never {state:?} and at rest: {last:#?}");
}
