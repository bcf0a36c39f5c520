//! A Redis that is full, read-only, loading or gone: everybody waits, nothing is lost, no delivery is used up.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "this whole crate is a test"
)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use shopwright_domain::access::User;
use shopwright_domain::keys::GROUP_PAYMENTS;
use shopwright_domain::order::State;
use shopwright_payments::act::Actor;
use shopwright_payments::consume::{JobHandler, StockHandler};
use shopwright_payments::metrics::Metrics;
use shopwright_payments::store::{ADVANCE, Store};
use shopwright_payments::sweep::sweep;
use shopwright_redis_stack::Append;
use shopwright_streams::consume::{BatchHandler, Entry, Handler, Outcome};
use support::{Inventory, Running, Shop, at_rest, eventually, order, patient, placed, reserved, reserving};

async fn configure(shop: &Shop, words: &[&str]) {
    redis::cmd(words[0])
        .arg(&words[1..])
        .exec_async(&mut shop.harness().await)
        .await
        .unwrap();
}

/// What inventory has answered, once it is so many.
async fn answers(shop: &Shop, number: usize) -> Vec<Entry> {
    eventually("inventory's answers", || async {
        let answers = shop.entries(&shop.keys.inventory_events()).await;
        (answers.len() == number).then_some(answers)
    })
    .await
}

/// How often each entry that is pending on inventory's stream was delivered.
async fn deliveries(shop: &Shop) -> Vec<u64> {
    type Row = (String, String, u64, u64);
    let rows: Vec<Row> = redis::cmd("XPENDING")
        .arg(shop.keys.inventory_events())
        .arg(&[GROUP_PAYMENTS, "-", "+", "100"])
        .query_async(&mut shop.harness().await)
        .await
        .unwrap();
    rows.into_iter().map(|(_, _, _, delivered)| delivered).collect()
}

/// The real loops against a real Redis that is full for longer than an entry may rest with a consumer.
#[tokio::test(flavor = "multi_thread")]
async fn full_it_is_waited_for() {
    let shop = Shop::start().await;
    let actor = shop.actor(patient());
    let mut running = Running::new();
    running.inventory(&shop, &Arc::new(Inventory::default()));
    let mut ids = Vec::new();
    for _ in 0..10 {
        ids.push(placed(&actor, 1).await.id);
    }
    answers(&shop, 10).await;
    configure(&shop, &["CONFIG", "SET", "maxmemory", "1"]).await;
    running.payments(&shop, &actor, &shop.provider(Duration::ZERO));
    running.sweeper(&actor);
    // With half a second between them, longer than an entry may rest with a consumer that does not renew it.
    eventually("several attempts", || async {
        (actor.metrics.postponed.get() >= 40).then_some(())
    })
    .await;
    assert_eq!(deliveries(&shop).await, vec![1; 10]);
    for id in &ids {
        assert_eq!(order(&actor, *id).await.state, State::Pending);
    }
    configure(&shop, &["CONFIG", "SET", "maxmemory", "0"]).await;
    for id in &ids {
        let ended = at_rest(&actor, *id, State::Completed).await;
        assert_eq!(shop.book(*id).await.1, ended.captured.minor_units());
    }
    assert_eq!(shop.buried().await, 0);
    running.stop().await;
}

/// A replica, as after a failover that nobody told us of.
#[tokio::test(flavor = "multi_thread")]
async fn read_only_it_is_waited_for() {
    let shop = Shop::start_with(Append::Always).await;
    let actor = shop.actor(patient());
    let mut running = Running::new();
    running.inventory(&shop, &Arc::new(Inventory::default()));
    let order = placed(&actor, 1).await;
    let entry = answers(&shop, 1).await.remove(0);
    // Nobody listens there, so that it keeps the data that it has.
    configure(&shop, &["REPLICAOF", "127.0.0.1", "1"]).await;
    let handler = StockHandler::new(actor.clone());
    assert!(matches!(handler.handle(&[entry]).await[0], Outcome::RetryAfter(_)));
    assert!(sweep(&actor).await.is_err());
    running.payments(&shop, &actor, &shop.provider(Duration::ZERO));
    running.sweeper(&actor);
    configure(&shop, &["REPLICAOF", "NO", "ONE"]).await;
    at_rest(&actor, order.id, State::Completed).await;
    assert_eq!(shop.buried().await, 0);
    running.stop().await;
}

/// Whatever word Redis has for "not now": to an entry of a batch, to a job, to a due order.
#[tokio::test(flavor = "multi_thread")]
async fn every_word_for_not_now_is_waited_for() {
    let shop = Shop::start().await;
    let actor = shop.actor(patient());
    let charging = placed(&actor, 1).await;
    actor.act(charging.id, &reserving(&charging)).await.unwrap();
    let job = shop.entries(&shop.keys.payments_jobs()).await.remove(0);
    let order = placed(&actor, 1).await;
    let entry = shop.stock(&reserved(&order)).await;
    let refusing = |word: &str| Actor {
        store: Store::with_advance(
            shop.redis(User::Payments),
            shop.keys.clone(),
            &format!("#!lua\nreturn redis.error_reply('{word} not now')"),
        ),
        policy: patient(),
        metrics: Metrics::default(),
    };
    for word in [
        "OOM",
        "READONLY",
        "LOADING",
        "BUSY",
        "MASTERDOWN",
        "MISCONF",
        "NOREPLICAS",
        "TRYAGAIN",
    ] {
        let actor = refusing(word);
        let outcomes = StockHandler::new(actor.clone())
            .handle(std::slice::from_ref(&entry))
            .await;
        assert!(matches!(outcomes[..], [Outcome::RetryAfter(_)]), "{word}: {outcomes:?}");
        let jobs = JobHandler::new(actor.clone(), shop.provider(Duration::ZERO));
        assert!(matches!(jobs.handle(&job).await, Outcome::RetryAfter(_)), "{word}");
        assert_eq!(actor.metrics.postponed.get(), 2);
        redis::cmd("ZADD")
            .arg(shop.keys.due())
            .arg(1)
            .arg(order.id.to_string())
            .exec_async(&mut shop.harness().await)
            .await
            .unwrap();
        // Not due by its own document: nothing to store, so that only the other one is refused.
        assert_eq!(sweep(&actor).await.unwrap(), 1, "{word}");
    }
    assert_eq!(
        shop.book(charging.id).await,
        (None, 0, 0),
        "nobody asks who could not record it"
    );
    let broken = refusing("ADVANCE");
    assert_eq!(StockHandler::new(broken).handle(&[entry]).await, [Outcome::Retry]);
    assert!(ADVANCE.contains("ADVANCE"));
}

/// Killed again and again while a full shop is at work, with an fsync before each answer.
#[tokio::test(flavor = "multi_thread")]
async fn gone_it_is_waited_for() {
    let mut shop = Shop::start_with(Append::Always).await;
    let actor = shop.actor(patient());
    let mut running = Running::new();
    running.inventory(&shop, &Arc::new(Inventory::default()));
    running.payments(&shop, &actor, &shop.provider(Duration::from_millis(20)));
    running.sweeper(&actor);
    let mut ids = Vec::new();
    for _ in 0..3 {
        for _ in 0..5 {
            ids.push(placed(&actor, 1).await.id);
        }
        shop.stack.kill().unwrap();
        assert!(sweep(&actor).await.is_err());
        shop.stack.restart().unwrap();
        eventually("Redis", || async { actor.store.now().await.ok() }).await;
    }
    for id in ids {
        let ended = at_rest(&actor, id, State::Completed).await;
        assert_eq!(
            shop.book(id).await,
            (Some("charged".into()), ended.captured.minor_units(), 0)
        );
    }
    assert_eq!(shop.buried().await, 0);
    running.stop().await;
}
