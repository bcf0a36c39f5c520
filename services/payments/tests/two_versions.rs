//! Two releases of payments during a roll: each runs its own script, on the orders of both.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "this whole crate is a test"
)]

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use shopwright_domain::access::User;
use shopwright_domain::ids::OrderId;
use shopwright_domain::order::{Input, Order, PostingKind, State, place};
use shopwright_domain::reservation::Reservation;
use shopwright_payments::act::{Actor, Happening};
use shopwright_payments::metrics::Metrics;
use shopwright_payments::store::{ADVANCE, Committed, Store};
use support::{Inventory, Running, Shop, eventually, mark, patient, placing};

const ORDERS: usize = 60;
const VERSIONS: [&str; 2] = ["old", "new"];

/// The script as another release may have it: it does the same in other words, and so has another hash. For this test it
/// also counts what it stored.
fn script(shop: &Shop, version: &str) -> String {
    let counted = format!(
        "-- As release {version} has it.\nredis.call('HINCRBY', '{}', '{version}', 1)\nreturn 1",
        counts(shop)
    );
    let (rest, last) = ADVANCE.trim_end().rsplit_once('\n').unwrap();
    assert_eq!(last, "return 1");
    format!("{rest}\n{counted}\n")
}

fn counts(shop: &Shop) -> String {
    format!("{}stored", shop.keys.payments_prefix())
}

/// A request that reaches one version, whose answer is lost, and then the other: one order.
async fn place_by_both(first: &Actor, second: &Actor, key: &str, quantity: u32) -> OrderId {
    let mark = mark(key);
    let now = first.store.now().await.unwrap();
    let by_first = place(placing(quantity), now, &first.policy);
    let stored = first.store.commit(&by_first, Some(&mark)).await.unwrap();
    assert_eq!(stored, Committed::Stored);
    let by_second = place(placing(quantity), now, &second.policy);
    let known = second.store.commit(&by_second, Some(&mark)).await.unwrap();
    assert_eq!(known, Committed::Known(mark.record));
    by_first.order.id
}

#[tokio::test(flavor = "multi_thread")]
async fn two_versions_finish_each_others_orders() {
    let shop = Shop::start().await;
    let actors = VERSIONS.map(|version| Actor {
        store: Store::with_advance(shop.redis(User::Payments), shop.keys.clone(), &script(&shop, version)),
        policy: patient(),
        metrics: Metrics::default(),
    });
    let inventory = Arc::new(Inventory::default());
    let mut running = Running::new();
    running.inventory(&shop, &inventory);
    for (version, actor) in VERSIONS.iter().zip(&actors) {
        running.payments_as(version, &shop, actor, &shop.provider(Duration::from_millis(5)));
        running.sweeper(actor);
    }
    for fault in ["effect_then_timeout", "busy", "effect_then_timeout", "busy"] {
        shop.inject(fault).await;
    }
    let mut ids = Vec::new();
    for number in 0..ORDERS {
        let (first, second) = (&actors[number % 2], &actors[(number + 1) % 2]);
        // Some too many for the stock, some too dear for the provider.
        let quantity = [1, 2, 3, 900, 5_000][number % 5];
        let id = place_by_both(first, second, &number.to_string(), quantity).await;
        if number % 4 == 0 {
            // Called off by both at once, wherever it stands by then; it may be too late.
            let cancel = Happening::Input(Input::Cancel);
            join_all(actors.iter().map(|actor| actor.act(id, &cancel))).await;
        }
        ids.push(id);
    }
    let ended = eventually("the end of every order", || async {
        let orders = actors[0].store.load_many(&ids).await.unwrap().orders;
        let orders: Vec<_> = orders.into_iter().map(|order| order.unwrap().unwrap()).collect();
        let has_ended = |order: &Order| order.state.is_terminal() && order.due_at.is_none();
        orders.iter().all(has_ended).then_some(orders)
    })
    .await;
    for order in &ended {
        check(&shop, &inventory, order).await;
    }
    eventually("all acknowledged", || async {
        (shop.pending().await == 0).then_some(())
    })
    .await;
    running.stop().await;
    assert_eq!(shop.buried().await, 0);

    let stored: Vec<u64> = redis::cmd("HMGET")
        .arg(counts(&shop))
        .arg(&VERSIONS)
        .query_async(&mut shop.harness().await)
        .await
        .unwrap();
    println!("stored by each version: {stored:?}");
    // Each placed its half and took its part in the rest; no change was stored over another one.
    let changes: u64 = ended.iter().map(|order| order.version).sum();
    assert!(stored.iter().all(|stored| *stored >= ORDERS as u64 / 2), "{stored:?}");
    assert!(stored.iter().sum::<u64>() <= changes, "{stored:?} of {changes}");
}

/// It ended once, and all books say the same of it.
async fn check(shop: &Shop, inventory: &Inventory, order: &Order) {
    let states: Vec<_> = order.timeline.iter().map(|passage| passage.state).collect();
    let once: BTreeSet<_> = states.iter().copied().collect();
    assert_eq!(once.len(), states.len(), "{states:?}");

    let captures = order.ledger.iter().filter(|entry| entry.kind == PostingKind::Capture);
    assert_eq!(captures.count(), usize::from(!order.captured.is_zero()));
    let (_, taken, returned) = shop.book(order.id).await;
    assert_eq!(
        (taken, returned),
        (order.captured.minor_units(), order.refunded.minor_units())
    );

    let told = shop.told(order.id).await;
    let count = |kind: &str| told.iter().filter(|told| *told == kind).count();
    let is_in = |state: State| usize::from(states.contains(&state));
    assert_eq!(
        (count("order.placed"), count("order.completed"), count("order.rejected")),
        (1, is_in(State::Completed), is_in(State::Rejected))
    );
    let reservation = inventory.reservation(order.id);
    assert_eq!(reservation == Reservation::Committed, order.state == State::Completed);
    assert_ne!(reservation, Reservation::Reserved, "{:?}", order.state);
}
