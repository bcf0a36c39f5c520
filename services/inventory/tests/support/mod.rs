//! A real Redis Stack under the real ACL, and the shop "demo" in it.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses its own part of this module"
)]

pub mod api;
pub mod books;
pub mod consumer;
pub mod process;

use std::{collections::HashMap, future::Future, time::Duration};

use redis::aio::MultiplexedConnection;
use sha2::{Digest, Sha256};
use shopwright_domain::{
    access::{DEFAULT_OFF, User, acl_line},
    events::{Meta, OrderEvent, OrderPlaced, Received, StockEvent, decode, encode},
    ids::{OrderId, ProductId},
    keys::{GROUP_INVENTORY, ShopKeys},
    lines::{Line, Lines},
    money::{Amount, Currency, Money},
    reservation::Reservation,
};
use shopwright_inventory::{
    catalogue::Catalogue,
    events,
    product::Product,
    repetition::CALLER,
    reservations::{Ask, Outcome, Request, ReservationError, Reservations},
};
use shopwright_kit::{
    Idempotency, Redis, RedisSettings, RequestKey, Secret, connection::Timeouts, idempotency::RETENTION,
};
use shopwright_redis_stack::{Options, RedisStack};
use shopwright_streams::EntryId;
use tokio::sync::OnceCell;
use uuid::Uuid;

use books::Books;

pub const SHOP: &str = "demo";
pub const PASSWORD: &str = "a password of the tests";

/// How often a condition is looked at.
pub const LOOK: Duration = Duration::from_millis(20);

/// A loaded machine must not fail a test.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Shop {
    pub stack: RedisStack,
    pub keys: ShopKeys,
    /// Everything may be looked at and prepared with it.
    pub harness: MultiplexedConnection,
    asking: OnceCell<EntryId>,
}

/// A connection that may do everything and waits for long.
pub async fn harness(stack: &RedisStack) -> MultiplexedConnection {
    let patient = redis::AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE));
    stack
        .client()
        .unwrap()
        .get_multiplexed_async_connection_with_config(&patient)
        .await
        .unwrap()
}

pub fn options() -> Options {
    let digest = Sha256::digest(PASSWORD)
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    let mut acl = vec![DEFAULT_OFF.to_owned()];
    acl.extend(User::ALL.map(|user| acl_line(user, SHOP, &digest)));
    Options {
        acl,
        ..Options::default()
    }
}

impl Shop {
    pub async fn start() -> Self {
        Self::start_with(options()).await
    }

    pub async fn start_with(options: Options) -> Self {
        let stack = RedisStack::start_async(options).await.unwrap();
        let harness = harness(&stack).await;
        Self {
            stack,
            keys: ShopKeys::new(SHOP),
            harness,
            asking: OnceCell::new(),
        }
    }

    pub fn settings(&self, user: User) -> RedisSettings {
        RedisSettings {
            host: self.stack.host().to_owned(),
            port: self.stack.port(),
            username: Some(user.name().to_owned()),
            password: Some(Secret::new(PASSWORD)),
        }
    }

    pub fn redis(&self) -> Redis {
        let timeouts = Timeouts {
            connect: PATIENCE,
            response: PATIENCE,
            ping: PATIENCE,
        };
        Redis::with_timeouts(&self.settings(User::Inventory), timeouts).unwrap()
    }

    pub fn reservations(&self) -> Reservations {
        Reservations::new(self.redis(), self.keys.clone())
    }

    pub fn catalogue(&self) -> Catalogue {
        Catalogue::new(self.redis(), self.keys.clone(), RETENTION)
    }

    /// The group that the operator makes.
    pub async fn create_group(&mut self) {
        redis::cmd("XGROUP")
            .arg(&["CREATE", &self.keys.payments_events(), GROUP_INVENTORY, "0", "MKSTREAM"])
            .query_async::<()>(&mut self.harness)
            .await
            .unwrap();
    }

    pub async fn product(&self, price: i64, stock: i64) -> ProductId {
        let product = product(price, stock);
        let created = self.catalogue().create(&product, stock, &meta(), &request()).await;
        assert_eq!(created.unwrap(), None);
        product.id
    }

    /// Makes one request.
    pub async fn ask(&self, ask: Ask<'_>) -> Outcome {
        ask_once(&self.reservations(), self.asking().await, ask).await.unwrap()
    }

    pub async fn reserve(&self, order: OrderId, lines: &[Line]) -> Outcome {
        self.ask(Ask::Reserve(&placed(order, lines))).await
    }

    pub async fn release(&self, order: OrderId) -> Outcome {
        self.ask(Ask::Release(order)).await
    }

    pub async fn commit(&self, order: OrderId) -> Outcome {
        self.ask(Ask::Commit(order)).await
    }

    /// The books, which must be in order.
    pub async fn books(&self) -> Books {
        let books = Books::read(self).await;
        assert_eq!(books.check(), Ok(()));
        books
    }

    /// A command with all rights.
    pub async fn execute(&self, words: &[&str]) {
        redis::cmd(words[0])
            .arg(&words[1..])
            .query_async::<redis::Value>(&mut self.harness.clone())
            .await
            .unwrap();
    }

    pub async fn letters(&self) -> Vec<HashMap<String, String>> {
        self.entries(&ShopKeys::dead_letters(&self.keys.payments_events(), GROUP_INVENTORY))
            .await
    }

    /// An entry that payments wrote, for requests that no test tells in the stream. Whoever reads it has nothing to do.
    pub async fn asking(&self) -> EntryId {
        let told = OrderEvent::Completed(OrderId::generate());
        *self.asking.get_or_init(|| self.tell(&told)).await
    }

    /// Writes an event as payments does.
    pub async fn tell(&self, event: &OrderEvent) -> EntryId {
        let mut command = redis::cmd("XADD");
        command.arg(self.keys.payments_events()).arg("*");
        for (name, value) in encode(event, &meta()) {
            command.arg(name).arg(value);
        }
        let id: String = command.query_async(&mut self.harness.clone()).await.unwrap();
        id.parse().unwrap()
    }

    /// Every answer so far, oldest first.
    pub async fn answers(&self) -> Vec<StockEvent> {
        self.entries(&self.keys.inventory_events())
            .await
            .iter()
            .map(|fields| {
                let received: Received<StockEvent> = decode(|name| fields.get(name).map(String::as_str)).unwrap();
                assert!(!received.meta.time.is_empty());
                received.content.unwrap()
            })
            .collect()
    }

    pub async fn entries(&self, stream: &str) -> Vec<HashMap<String, String>> {
        let entries: Vec<(String, HashMap<String, String>)> = redis::cmd("XRANGE")
            .arg(&[stream, "-", "+"])
            .query_async(&mut self.harness.clone())
            .await
            .unwrap();
        entries.into_iter().map(|(_, fields)| fields).collect()
    }

    pub async fn stock(&self, product: ProductId) -> (i64, i64) {
        let stock = self.catalogue().stock(product).await.unwrap().unwrap();
        assert_eq!(stock.available, stock.on_hand - stock.reserved);
        assert!(stock.reserved >= 0 && stock.available >= 0, "{stock:?}");
        (stock.on_hand, stock.reserved)
    }

    pub async fn in_stock(&self, product: ProductId) -> bool {
        self.catalogue().get(product).await.unwrap().unwrap().in_stock
    }

    pub async fn reservation(&self, order: OrderId) -> Option<serde_json::Value> {
        let text: Option<String> = redis::cmd("JSON.GET")
            .arg(self.keys.reservation(order))
            .query_async(&mut self.harness.clone())
            .await
            .unwrap();
        text.map(|text| serde_json::from_str(&text).unwrap())
    }

    pub async fn set(&self, product: ProductId, path: &str, json: &str) {
        redis::cmd("JSON.SET")
            .arg(&[&self.keys.product(product), path, json])
            .query_async::<()>(&mut self.harness.clone())
            .await
            .unwrap();
    }

    /// Counts the stock anew, as an adjustment would.
    pub async fn set_on_hand(&self, product: ProductId, on_hand: i64) {
        let (before, _) = self.stock(product).await;
        let key = self.keys.stock(product);
        for field in ["on_hand", "received"] {
            self.execute(&["HINCRBY", &key, field, &(on_hand - before).to_string()])
                .await;
        }
    }
}

/// Makes one request.
pub async fn ask_once(reservations: &Reservations, entry: EntryId, ask: Ask<'_>) -> Result<Outcome, ReservationError> {
    let event = meta();
    let request = Request { ask, entry, event };
    reservations.ask(&[request]).await.pop().unwrap()
}

/// A request of an admin that nobody made before.
pub fn request() -> Idempotency {
    RequestKey::new(Uuid::now_v7().to_string(), "POST", "/", b"{}").scoped(CALLER)
}

pub fn eur() -> Currency {
    "EUR".parse().unwrap()
}

pub fn product(price: i64, stock: i64) -> Product {
    Product {
        id: ProductId::generate(),
        name: "A shirt".to_owned(),
        description: "Of wool".to_owned(),
        price: Money {
            amount: Amount::new(price).unwrap(),
            currency: eur(),
        },
        in_stock: stock > 0,
        version: 1,
        created_at: events::now(),
    }
}

pub fn meta() -> Meta {
    events::of_request(&shopwright_kit::RequestContext::new(), events::now())
}

pub fn line(product_id: ProductId, quantity: u32) -> Line {
    Line {
        product_id,
        quantity,
        expected_unit_price: None,
    }
}

pub fn placed(order_id: OrderId, lines: &[Line]) -> OrderPlaced {
    OrderPlaced {
        order_id,
        currency: eur(),
        lines: Lines::new(lines).unwrap(),
    }
}

/// Waits for a condition; the deadline is far beyond what a loaded machine needs.
pub async fn eventually<F, Fut>(what: &str, condition: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = bool>,
{
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !condition().await {
        assert!(tokio::time::Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(LOOK).await;
    }
}

/// Where a reservation stands, by its document.
pub fn state_of(document: Option<&serde_json::Value>) -> Reservation {
    document.map_or(Reservation::None, |document| {
        serde_json::from_value(document["state"].clone()).unwrap()
    })
}
