//! The real binary, killed with the provider's effect done and the entry not acknowledged, killed at random, and asked to
//! end in good order.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "this whole crate is a test"
)]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use shopwright_domain::ids::OrderId;
use shopwright_domain::keys::GROUP_PAYMENTS;
use shopwright_domain::order::{State, place};
use shopwright_payments::act::Actor;
use shopwright_payments::store::Committed;
use shopwright_redis_stack::Append;
use support::{Inventory, Process, Running, SLOW_CALL, Shop, at_rest, eventually, order, patient, placed, placing};

fn consumer(shop: &Shop, name: &str, latency: u32) -> Process {
    Process::consume(shop, name, &[("PROVIDER_LATENCY_MILLISECONDS", &latency.to_string())])
}

/// A shop whose one order waits for the provider's answer: the effect is there, the answer is not stored.
struct Answering {
    shop: Shop,
    actor: Actor,
    running: Running,
    id: OrderId,
    /// Stands still, and goes on when it is told to.
    consumer: Process,
}

impl Answering {
    /// The provider's effect comes after half of its latency. Where the other half was too short to stop the process in,
    /// again with a slower provider.
    async fn start() -> Self {
        for latency in [4_000, 10_000, 19_000] {
            let shop = Shop::start().await;
            let actor = shop.actor(patient());
            let mut running = Running::new();
            running.inventory(&shop, &Arc::default());
            let consumer = consumer(&shop, "first", latency);
            let id = placed(&actor, 1).await.id;
            eventually("the effect, and nothing but the job in hand", || async {
                (shop.book(id).await.1 > 0 && shop.pending().await <= 1).then_some(())
            })
            .await;
            consumer.signal("STOP");
            if order(&actor, id).await.state == State::Charging {
                return Self {
                    shop,
                    actor,
                    running,
                    id,
                    consumer,
                };
            }
            running.stop().await;
        }
        panic!("this machine is too slow for any answer")
    }
}

async fn jobs_of(shop: &Shop, consumer: &str) -> usize {
    let held: Vec<redis::Value> = redis::cmd("XPENDING")
        .arg(shop.keys.payments_jobs())
        .arg(&[GROUP_PAYMENTS, "-", "+", "100", consumer])
        .query_async(&mut shop.harness().await)
        .await
        .unwrap();
    held.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_effect_and_acknowledgement_a_peer_finishes_with_one_charge() {
    let Answering {
        shop,
        actor,
        running,
        id,
        consumer: mut first,
    } = Answering::start().await;
    first.kill();
    assert_eq!(
        order(&actor, id).await.state,
        State::Charging,
        "killed before the answer was stored"
    );
    assert_eq!(shop.pending().await, 1, "the job was not acknowledged");

    // No sweeper runs: only the entry's redelivery can finish the order.
    let _second = consumer(&shop, "second", 0);
    let ended = at_rest(&actor, id, State::Completed).await;
    assert_eq!(
        shop.book(id).await,
        (Some("charged".into()), ended.captured.minor_units(), 0)
    );
    let calls: i64 = redis::cmd("HGET")
        .arg(shop.keys.provider_charge(id))
        .arg("calls")
        .query_async(&mut shop.harness().await)
        .await
        .unwrap();
    assert_eq!(calls, 2, "asked twice, charged once");
    eventually("all acknowledged", || async {
        (shop.pending().await == 0).then_some(())
    })
    .await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_random_every_order_ends_and_money_is_exact() {
    let shop = Shop::start().await;
    let actor = shop.actor(patient());
    let inventory = Arc::new(Inventory::default());
    let mut running = Running::new();
    running.inventory(&shop, &inventory);
    running.sweeper(&actor);
    let mut random = StdRng::seed_from_u64(7);
    let mut ids = Vec::new();
    for round in 0..8 {
        for _ in 0..6 {
            ids.push(placed(&actor, 1).await.id);
        }
        let mut process = consumer(&shop, &format!("consumer-{round}"), 40);
        tokio::time::sleep(Duration::from_millis(random.random_range(30..300))).await;
        process.kill();
    }
    let _last = consumer(&shop, "last", 0);
    for id in ids {
        let ended = at_rest(&actor, id, State::Completed).await;
        assert_eq!(
            shop.book(id).await,
            (Some("charged".into()), ended.captured.minor_units(), 0)
        );
    }
    running.stop().await;
}

/// With an fsync before each answer, every order that was accepted is known after Redis was killed, and ends.
#[tokio::test(flavor = "multi_thread")]
async fn redis_killed_every_accepted_order_ends_and_money_is_exact() {
    let mut shop = Shop::start_with(Append::Always).await;
    let actor = shop.actor(patient());
    let inventory = Arc::new(Inventory::default());
    let mut running = Running::new();
    running.inventory(&shop, &inventory);
    running.sweeper(&actor);
    let _consumer = consumer(&shop, "only", 20);
    let mut random = StdRng::seed_from_u64(11);
    let accepted = Arc::new(Mutex::new(Vec::new()));
    for _ in 0..4 {
        let (buyer, taken) = (shop.actor(patient()), accepted.clone());
        let buying = tokio::spawn(async move {
            loop {
                if let Ok(now) = buyer.store.now().await {
                    let decision = place(placing(1), now, &buyer.policy);
                    if let Ok(Committed::Stored) = buyer.store.commit(&decision, None).await {
                        taken.lock().unwrap().push(decision.order.id);
                    }
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        let before = accepted.lock().unwrap().len();
        eventually("the shop is open", || async {
            (accepted.lock().unwrap().len() > before + 1).then_some(())
        })
        .await;
        tokio::time::sleep(Duration::from_millis(random.random_range(0..300))).await;
        shop.stack.kill().unwrap();
        buying.abort();
        shop.stack.restart().unwrap();
    }
    let accepted = std::mem::take(&mut *accepted.lock().unwrap());
    for id in &accepted {
        let ended = at_rest(&actor, *id, State::Completed).await;
        assert_eq!(
            shop.book(*id).await,
            (Some("charged".into()), ended.captured.minor_units(), 0)
        );
    }
    println!("{} orders over 4 kills of Redis", accepted.len());
    assert_eq!(shop.buried().await, 0, "an outage is no entry's fault");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn asked_to_end_it_finishes_what_is_in_hand() {
    let Answering {
        shop,
        actor,
        running,
        id,
        consumer: mut process,
    } = Answering::start().await;
    // Both are there when it goes on: the wish that it ends, and what it has in hand.
    process.signal("TERM");
    process.signal("CONT");
    process.end().await;
    assert_eq!(
        order(&actor, id).await.state,
        State::Paid,
        "the answer in hand was stored"
    );
    let jobs: redis::Value = redis::cmd("XPENDING")
        .arg(shop.keys.payments_jobs())
        .arg(GROUP_PAYMENTS)
        .query_async(&mut shop.harness().await)
        .await
        .unwrap();
    let redis::Value::Array(parts) = jobs else {
        panic!("{jobs:?}")
    };
    assert_eq!(
        redis::from_redis_value_ref::<u64>(&parts[0]).unwrap(),
        0,
        "and acknowledged"
    );
    running.stop().await;
}

/// Five rolling updates while the provider hangs longer than any drain: every job is cut off each time, by no fault of its
/// own. None is lost, none becomes a dead letter, and once the provider answers again each order is charged once.
#[tokio::test(flavor = "multi_thread")]
async fn five_restarts_while_the_provider_hangs_bury_nothing() {
    const ORDERS: usize = 8;
    let shop = Shop::start().await;
    let actor = shop.actor(patient());
    let inventory = Arc::new(Inventory::default());
    let mut running = Running::new();
    running.inventory(&shop, &inventory);
    let mut ids = Vec::new();
    for _ in 0..ORDERS {
        ids.push(placed(&actor, 1).await.id);
    }
    // Fewer deliveries than restarts: a restart that used one up would show.
    let hurried = |latency| {
        [
            ("DRAIN_SECONDS", "0"),
            ("MAX_DELIVERIES", "3"),
            ("PROVIDER_LATENCY_MILLISECONDS", latency),
        ]
    };
    for update in 0..5 {
        let name = format!("update-{update}");
        let mut consumer = Process::consume(&shop, &name, &hurried(SLOW_CALL));
        eventually("every job in hand", || async {
            (jobs_of(&shop, &name).await == ORDERS).then_some(())
        })
        .await;
        consumer.end().await;
    }
    let _last = Process::consume(&shop, "last", &hurried("0"));
    for id in ids {
        let ended = at_rest(&actor, id, State::Completed).await;
        assert_eq!(
            shop.book(id).await,
            (Some("charged".into()), ended.captured.minor_units(), 0)
        );
    }
    eventually("all acknowledged", || async {
        (shop.pending().await == 0).then_some(())
    })
    .await;
    assert_eq!(shop.buried().await, 0);
    running.stop().await;
}
