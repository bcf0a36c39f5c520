//! How much memory one completed order takes, share of the index and of the streams included.
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
use shopwright_domain::order::{Order, State, place};
use shopwright_kit::Record;
use shopwright_kit::search_index::IndexReady;
use shopwright_payments::index;
use shopwright_payments::store::{Committed, Mark};
use support::{Inventory, Running, Shop, at_rest, eventually, mark, patient, placing};

const ORDERS: u64 = 300;
/// Generous: a surprise, not a change of a field, is to be noticed. What was measured is in the documentation.
const LIMIT: u64 = 12 * 1024;

async fn memory(shop: &Shop, key: &str) -> u64 {
    let bytes: Option<u64> = redis::cmd("MEMORY")
        .arg(&["USAGE", key, "SAMPLES", "0"])
        .query_async(&mut shop.harness().await)
        .await
        .unwrap();
    bytes.unwrap_or(0)
}

/// As the API keeps it of a new order.
fn record(order: &Order) -> Record {
    Record {
        fingerprint: support::sha256_hex("body"),
        status: 202,
        id: order.id.to_string(),
        result: Some(serde_json::json!({"token_key": "2026a"})),
    }
}

async fn used(shop: &Shop) -> u64 {
    let text: String = redis::cmd("INFO")
        .arg("memory")
        .query_async(&mut shop.harness().await)
        .await
        .unwrap();
    let used = text.lines().find_map(|line| line.strip_prefix("used_memory:"));
    used.unwrap().trim().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completed_order_takes_a_few_kilobytes() {
    let shop = Shop::start().await;
    let actor = shop.actor(patient());
    let mut running = Running::new();
    let ready = IndexReady::default();
    running.spawn(index::orders(&shop.keys).keep(
        shop.redis(User::Payments),
        shop.settings(User::Migration),
        ready.clone(),
        running.token(),
    ));
    eventually("the index", || std::future::ready(ready.is_ready().then_some(()))).await;
    running.inventory(&shop, &Arc::new(Inventory::default()));
    running.payments(&shop, &actor, &shop.provider(Duration::ZERO));
    let run = async |from: u64, to: u64| {
        let (mut ids, mut marks) = (Vec::new(), Vec::new());
        for number in from..to {
            let decision = place(placing(1), actor.store.now().await.unwrap(), &actor.policy);
            let mark = Mark {
                record: record(&decision.order).to_json(),
                ..mark(&number.to_string())
            };
            let committed = actor.store.commit(&decision, Some(&mark)).await.unwrap();
            assert_eq!(committed, Committed::Stored);
            ids.push(decision.order.id);
            marks.push(mark.id);
        }
        for id in &ids {
            at_rest(&actor, *id, State::Completed).await;
        }
        eventually("all acknowledged", || async {
            (shop.pending().await == 0).then_some(())
        })
        .await;
        (ids, marks)
    };
    // The first few make connections, scripts and the first node of everything.
    run(0, 50).await;
    let before = used(&shop).await;
    let (ids, marks) = run(50, 50 + ORDERS).await;
    let whole = (used(&shop).await - before) / ORDERS;

    let keys = &shop.keys;
    let (mut documents, mut requests, mut book) = (0, 0, 0);
    for (id, mark) in ids.iter().zip(&marks) {
        documents += memory(&shop, &keys.order(*id)).await;
        requests += memory(&shop, &keys.payments_idempotency(mark)).await;
        book += memory(&shop, &keys.provider_charge(*id)).await;
    }
    println!("bytes per completed order of one line, Redis 7.4, averages of {ORDERS}:");
    println!("  document          {}", documents / ORDERS);
    println!("  mark of request   {} (for 48 h)", requests / ORDERS);
    println!("  provider's book   {} (simulated)", book / ORDERS);
    for stream in [keys.payments_events(), keys.inventory_events(), keys.payments_jobs()] {
        println!("  {stream:24} {}", memory(&shop, &stream).await / (ORDERS + 50));
    }
    println!("  everything, index included (growth of used_memory) {whole}");
    assert!(whole < LIMIT, "{whole}");
    running.stop().await;
}
