//! Every event and every job, delivered in any order, several times, and several at once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "this whole crate is a test"
)]

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use shopwright_domain::access::User;
use shopwright_domain::ids::OrderId;
use shopwright_domain::order::{Order, Policy, State};
use shopwright_domain::reservation::Reservation;
use shopwright_payments::act::Actor;
use shopwright_payments::consume::{JobHandler, StockHandler};
use shopwright_payments::provider::Simulated;
use shopwright_payments::sweep::sweep;
use shopwright_streams::consume::{BatchHandler, Entry, Handler, Outcome};
use support::{Inventory, InventoryHandler, Shop, order, patient, placed};

struct World {
    shop: Shop,
    actor: Actor,
    inventory: Arc<Inventory>,
    stock: StockHandler,
    jobs: JobHandler<Simulated>,
    answers: InventoryHandler,
}

impl World {
    async fn new(policy: Policy) -> Self {
        let shop = Shop::start().await;
        let actor = shop.actor(policy);
        let inventory = Arc::new(Inventory::default());
        let answers = InventoryHandler {
            inventory: inventory.clone(),
            redis: shop.redis(User::Inventory),
            stream: shop.keys.inventory_events(),
        };
        let stock = StockHandler::new(actor.clone());
        let jobs = JobHandler::new(actor.clone(), shop.provider(Duration::ZERO));
        Self {
            shop,
            actor,
            inventory,
            stock,
            jobs,
            answers,
        }
    }

    async fn deliver(&self, entry: &Entry) -> Outcome {
        let keys = &self.shop.keys;
        match &*entry.stream {
            stream if stream == keys.payments_events() => self.answers.handle(entry).await,
            stream if stream == keys.inventory_events() => self.stock.handle(std::slice::from_ref(entry)).await[0],
            _ => self.jobs.handle(entry).await,
        }
    }

    async fn everything(&self) -> Vec<Entry> {
        let keys = &self.shop.keys;
        let mut entries = self.shop.entries(&keys.payments_events()).await;
        entries.extend(self.shop.entries(&keys.inventory_events()).await);
        entries.extend(self.shop.entries(&keys.payments_jobs()).await);
        entries
    }

    async fn shuffled(&self, random: &mut StdRng, share: f64) {
        let mut entries = self.everything().await;
        let again: Vec<_> = entries.iter().filter(|_| random.random_bool(share)).cloned().collect();
        entries.extend(again);
        entries.shuffle(random);
        let (stock, others): (Vec<_>, Vec<_>) = entries
            .into_iter()
            .partition(|entry| *entry.stream == *self.shop.keys.inventory_events());
        let mut batches = Vec::new();
        let mut rest = stock.as_slice();
        while !rest.is_empty() {
            let (batch, later) = rest.split_at(random.random_range(1..=rest.len().min(12)));
            batches.push(batch);
            rest = later;
        }
        // What is left for later is delivered again in the next round, as everything is.
        let singly = stream::iter(&others).for_each_concurrent(8, |entry| async move {
            self.deliver(entry).await;
        });
        let together = stream::iter(batches).for_each_concurrent(3, |batch| async move {
            assert_eq!(self.stock.handle(batch).await.len(), batch.len());
        });
        tokio::join!(singly, together);
    }

    async fn orders(&self, ids: &[OrderId]) -> Vec<Order> {
        stream::iter(ids).then(|id| order(&self.actor, *id)).collect().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_and_reordered_nothing_happens_twice() {
    for seed in 0..6 {
        let mut random = StdRng::seed_from_u64(seed);
        let world = World::new(patient()).await;
        world.inventory.forgets.store(seed % 3 == 2, Ordering::Relaxed);
        let mut ids = Vec::new();
        for quantity in [1, 2, 3, 900, 5_000, 7, 1, 1] {
            ids.push(placed(&world.actor, quantity).await.id);
        }
        for fault in ["effect_then_timeout", "busy", "", "effect_then_timeout"] {
            world.shop.inject(fault).await;
        }
        let mut rounds = 0;
        while world.orders(&ids).await.iter().any(|order| order.due_at.is_some()) {
            world.shuffled(&mut random, 0.5).await;
            sweep(&world.actor).await.unwrap();
            // Of what is due, a lease of a few seconds may be under way where an attempt was given up.
            tokio::time::sleep(Duration::from_millis(20)).await;
            rounds += 1;
            assert!(rounds < 1_000, "seed {seed}: {:#?}", world.orders(&ids).await);
        }
        let ended = world.orders(&ids).await;
        for order in &ended {
            check(&world, order, seed).await;
        }

        // All that was ever said is said again, twice: nothing changes, nobody is asked anything new.
        let jobs = world.shop.entries(&world.shop.keys.payments_jobs()).await.len();
        let events = world.shop.entries(&world.shop.keys.payments_events()).await.len();
        for _ in 0..2 {
            world.shuffled(&mut random, 1.0).await;
        }
        assert_eq!(world.orders(&ids).await, ended, "seed {seed}");
        assert_eq!(world.shop.entries(&world.shop.keys.payments_jobs()).await.len(), jobs);
        assert_eq!(
            world.shop.entries(&world.shop.keys.payments_events()).await.len(),
            events
        );
        for order in &ended {
            check(&world, order, seed).await;
        }
    }
}

async fn check(world: &World, order: &Order, seed: u64) {
    let (_, captured, refunded) = world.shop.book(order.id).await;
    assert_eq!(
        (captured, refunded),
        (order.captured.minor_units(), order.refunded.minor_units()),
        "seed {seed}"
    );
    let quantity = order.lines[0].quantity;
    let reservation = world.inventory.reservation(order.id);
    let expected = match quantity {
        5_000 => (State::Rejected, Reservation::Rejected),
        900 => (State::Declined, Reservation::Released),
        _ if seed % 3 == 2 => (State::Refunded, Reservation::Released),
        _ => (State::Completed, Reservation::Committed),
    };
    assert_eq!((order.state, reservation), expected, "seed {seed}, quantity {quantity}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_or_applied_is_a_dead_letter_with_its_reason() {
    let world = World::new(patient()).await;
    let stranger = OrderId::generate().to_string();
    let data = format!(r#"{{"order_id":"{stranger}"}}"#);
    for (stream, reasons) in [
        (
            world.shop.keys.inventory_events(),
            [
                "unknown-type",
                "malformed",
                "unknown-type",
                "malformed",
                "no-such-document",
                "unknown-type",
                "unknown-type",
            ],
        ),
        (
            world.shop.keys.payments_jobs(),
            [
                "unknown-type",
                "unknown-type",
                "malformed",
                "malformed",
                "unknown-type",
                "no-such-document",
                "no-such-document",
            ],
        ),
    ] {
        for fields in [
            vec![("type", "stock.admired"), ("id", "1"), ("data", "{}")],
            vec![("type", "stock.committed"), ("id", "1"), ("data", "{")],
            vec![("type", "charge"), ("id", "1"), ("data", "[]")],
            vec![("nothing", "known")],
            vec![
                ("type", "stock.committed"),
                ("id", "1"),
                ("subject", &*stranger),
                ("data", &*data),
            ],
            vec![("type", "void"), ("id", "1"), ("subject", &*stranger), ("data", &*data)],
            vec![
                ("type", "charge"),
                ("id", "1"),
                ("subject", &*stranger),
                ("data", &*data),
            ],
        ] {
            let mut command = redis::cmd("XADD");
            command.arg(&stream).arg("*");
            for (name, value) in fields {
                command.arg(name).arg(value);
            }
            command.exec_async(&mut world.shop.harness().await).await.unwrap();
        }
        for (entry, reason) in world.shop.entries(&stream).await.iter().zip(reasons) {
            assert_eq!(
                world.deliver(entry).await,
                Outcome::Reject(reason),
                "{:?}",
                entry.fields
            );
        }
    }
    assert_eq!(world.shop.book(stranger.parse().unwrap()).await, (None, 0, 0));
}

async fn corrupt(shop: &Shop, id: OrderId) {
    redis::cmd("JSON.SET")
        .arg(shop.keys.order(id))
        .arg("$.state")
        .arg("\"lost\"")
        .exec_async(&mut shop.harness().await)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_order_holds_up_nobody_else() {
    let shop = Shop::start().await;
    let actor = shop.actor(Policy {
        order_deadline: 0,
        ..patient()
    });
    let broken = placed(&actor, 1).await.id;
    // The oldest is taken first.
    tokio::time::sleep(Duration::from_millis(5)).await;
    let newer = placed(&actor, 1).await.id;
    corrupt(&shop, broken).await;
    assert_eq!(sweep(&actor).await.unwrap(), 2);
    assert_eq!(order(&actor, newer).await.state, State::Cancelled);
    assert_eq!(actor.metrics.due_failed.get(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_of_an_unreadable_order_gives_its_slot_back() {
    let mut world = World::new(patient()).await;
    let id = placed(&world.actor, 1).await.id;
    let placing = world.everything().await;
    assert_eq!(world.deliver(&placing[0]).await, Outcome::Done);
    let keys = &world.shop.keys;
    let reserved = world.shop.entries(&keys.inventory_events()).await.remove(0);
    corrupt(&world.shop, id).await;
    assert_eq!(world.deliver(&reserved).await, Outcome::Retry);
    world.shop.stack.kill().unwrap();
    assert!(matches!(world.deliver(&reserved).await, Outcome::RetryAfter(_)));
}
