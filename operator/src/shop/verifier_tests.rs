//! A book changed by hand on a real Redis Stack is told, and so is its repair.

use std::sync::LazyLock;

use redis::aio::MultiplexedConnection;
use serde_json::json;
use shopwright_domain::access::{self, User};
use shopwright_domain::ids::{OrderId, ProductId};
use shopwright_domain::keys::{GROUP_INVENTORY, GROUP_PAYMENTS};
use shopwright_redis_stack::{Options as RedisOptions, RedisStack};
use shopwright_streams::Secret;

use super::*;
use crate::shop::hash::sha256_hex;

const INTERVAL: Duration = Duration::from_millis(50);
const PACE: Pace = Pace {
    confirm: Duration::from_millis(1),
    retry: Duration::from_millis(50),
};

static KEY: LazyLock<Key> = LazyLock::new(|| ("shops".into(), "demo".into()));

struct Rig {
    redis: RedisStack,
    keys: ShopKeys,
    product: ProductId,
    order: OrderId,
    metrics: Arc<Metrics>,
    verifier: Verifier,
    news: mpsc::UnboundedReceiver<Key>,
}

impl Rig {
    /// Ten pieces were received, and one order over two of them was sold.
    async fn start() -> Self {
        let verify = access::acl_line(User::Verify, "demo", &sha256_hex("right"));
        let options = RedisOptions {
            acl: vec![access::DEFAULT_OFF.into(), verify],
            ..RedisOptions::default()
        };
        let (sender, news) = mpsc::unbounded_channel();
        let metrics = Metrics::new();
        let turn = Arc::new(Semaphore::new(1));
        let rig = Self {
            redis: RedisStack::start_async(options).await.unwrap(),
            keys: ShopKeys::new("demo"),
            product: ProductId::generate(),
            order: OrderId::generate(),
            verifier: Verifier::new(Vet::new(|_| true), sender, turn, Arc::clone(&metrics), PACE),
            metrics,
            news,
        };
        let keys = &rig.keys;
        for (stream, group) in [
            (keys.payments_events(), GROUP_INVENTORY),
            (keys.inventory_events(), GROUP_PAYMENTS),
            (keys.payments_jobs(), GROUP_PAYMENTS),
        ] {
            rig.run(&["XGROUP", "CREATE", &stream, group, "0", "MKSTREAM"]).await;
        }
        rig.sell().await;
        rig.on_hand(8).await;
        rig
    }

    async fn run(&self, words: &[&str]) {
        let mut connection: MultiplexedConnection = self
            .redis
            .client()
            .unwrap()
            .get_multiplexed_async_connection()
            .await
            .unwrap();
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.exec_async(&mut connection).await.unwrap();
    }

    async fn on_hand(&self, count: u32) {
        let (key, count) = (self.keys.stock(self.product), count.to_string());
        self.run(&["HSET", &key, "on_hand", &count, "reserved", "0", "received", "10"])
            .await;
    }

    async fn sell(&self) {
        let (at, order) = (1_700_000_000_000_i64, self.order);
        let line = json!({"product_id": self.product, "quantity": 2, "unit_price": 100});
        let timeline =
            ["pending", "reserved", "charging", "paid", "completed"].map(|state| json!({"state": state, "at": at}));
        let document = json!({
            "id": order, "version": 5, "state": "completed", "currency": "EUR", "lines": [line],
            "subtotal": 200, "fee": 40, "total": 240, "captured": 240, "refunded": 0, "refund_open": 0,
            "ledger": [{"kind": "capture", "amount": 240, "at": at}],
            "stop": false, "stock_settled": false, "attempts": 0, "deadline_at": at, "created_at": at,
            "updated_at": at, "timeline": timeline,
        });
        let reservation = json!({"order_id": order, "state": "committed", "lines": [line]});
        for (key, document) in [
            (self.keys.order(order), document),
            (self.keys.reservation(order), reservation),
        ] {
            self.run(&["JSON.SET", &key, "$", &document.to_string()]).await;
        }
        let charge = self.keys.provider_charge(order);
        self.run(&["HSET", &charge, "state", "charged", "amount", "240", "captured", "240"])
            .await;
    }

    fn endpoint(&self, password: &str) -> Endpoint {
        Endpoint::new(self.redis.host(), self.redis.port()).with_user("verify", Secret::new(password))
    }

    /// Waits for news until `is_it`.
    async fn until(&mut self, password: &str, what: &str, is_it: impl Fn(&Verdict) -> bool) -> Verdict {
        let waiting = async {
            loop {
                let verdict = self.verifier.verdict(&KEY, &self.endpoint(password), INTERVAL);
                if is_it(&verdict) {
                    return verdict;
                }
                assert_eq!(self.news.recv().await.as_ref(), Some(&*KEY));
            }
        };
        tokio::time::timeout(Duration::from_mins(1), waiting)
            .await
            .unwrap_or_else(|_| panic!("never {what}"))
    }

    async fn until_sound(&mut self) {
        self.until("right", "sound", |it| *it == Verdict::Sound).await;
    }
}

#[tokio::test]
async fn a_book_changed_by_hand_is_told_and_so_is_its_repair() {
    let mut rig = Rig::start().await;
    let endpoint = rig.endpoint("right");
    assert_eq!(rig.verifier.verdict(&KEY, &endpoint, INTERVAL), Verdict::NotYet);
    rig.until_sound().await;
    let shown = |rig: &Rig, line: &str| {
        let line = format!("shopwright_shop_violations{{namespace=\"shops\",name=\"demo\",invariant=\"{line}");
        rig.metrics.encode().contains(&line)
    };
    assert!(shown(&rig, "stock-conservation\"} 0"), "{}", rig.metrics.encode());

    rig.on_hand(7).await;
    let verdict = rig
        .until("right", "violated", |it| matches!(it, Verdict::Violated(_)))
        .await;
    let Verdict::Violated(violations) = verdict else {
        unreachable!()
    };
    let wanted = format!("violations of stock-conservation: 1; first product {}", rig.product);
    assert_eq!(violations.message(), wanted);
    assert!(shown(&rig, "stock-conservation\"} 1"));

    rig.on_hand(8).await;
    rig.until_sound().await;
    let charge = rig.keys.provider_charge(rig.order);
    rig.run(&["HSET", &charge, "captured", "480"]).await;
    let verdict = rig
        .until("right", "violated", |it| matches!(it, Verdict::Violated(_)))
        .await;
    let Verdict::Violated(violations) = verdict else {
        unreachable!()
    };
    assert!(violations.message().ends_with(&format!("first order {}", rig.order)));
    rig.run(&["HSET", &charge, "captured", "240"]).await;
    rig.until_sound().await;

    rig.verifier.forget(&KEY);
    let gone = async {
        while rig.metrics.encode().contains("shops") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), gone).await.unwrap();
}

#[tokio::test]
async fn a_redis_that_is_away_makes_it_unknown_and_a_wrong_password_does_too() {
    let mut rig = Rig::start().await;
    let told = |verdict: Verdict| match verdict {
        Verdict::NotVerified(obstacle) => obstacle.message(),
        other => panic!("{other:?}"),
    };
    let not_verified = |it: &Verdict| matches!(it, Verdict::NotVerified(_));
    let verdict = rig.until("wrong", "refused", not_verified).await;
    assert_eq!(told(verdict), "could not be compared: Redis answered WRONGPASS");
    assert!(
        !rig.metrics.encode().contains("shops"),
        "no figures of what was not compared"
    );
    rig.until_sound().await;
    rig.redis.kill().unwrap();
    let verdict = rig.until("right", "away", not_verified).await;
    assert_eq!(told(verdict), "could not be compared: Redis is unreachable");
}

/// Another interval or password goes on from what is known: it is no reason to know nothing.
#[tokio::test]
async fn new_settings_go_on_from_what_is_known() {
    let mut rig = Rig::start().await;
    rig.until_sound().await;
    let endpoint = rig.endpoint("right");
    let verdict = rig.verifier.verdict(&KEY, &endpoint, Duration::from_mins(5));
    assert_eq!(verdict, Verdict::Sound);
}

/// Whoever waits for its turn asks Redis nothing.
#[tokio::test]
async fn one_shop_at_a_time_is_compared() {
    let mut rig = Rig::start().await;
    let turn = Arc::clone(&rig.verifier.comparer.turn);
    let taken = turn.acquire().await.unwrap();
    let endpoint = rig.endpoint("right");
    rig.verifier.verdict(&KEY, &endpoint, INTERVAL);
    let waited = tokio::time::timeout(Duration::from_millis(500), rig.news.recv()).await;
    assert!(waited.is_err(), "compared out of turn");
    drop(taken);
    rig.until_sound().await;
}
