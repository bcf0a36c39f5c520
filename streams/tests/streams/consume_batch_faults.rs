//! Batches when consumers die, handlers panic and entries are poison: nobody else pays for it.

use crate::batching::{Batches, add_all, all, number, numbered};
use crate::running::{HOUR, all_acknowledged, group, hour, settings, start_batches};
use crate::support::{command, durable_redis, eventually, execute, pending, redis};
use shopwright_streams::consume::{ALONE_FROM, LARGEST_BATCH, Outcome, Settings};
use shopwright_streams::dead_letter::{self, DeadLetter};
use shopwright_streams::{EntryId, Shared, hand_over};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

const IDLE: Duration = Duration::from_millis(200);

fn quick(consumer: &str) -> Settings {
    Settings {
        claim_min_idle: IDLE,
        concurrency: LARGEST_BATCH,
        ..settings(consumer)
    }
}

async fn letters(shared: &Shared) -> Vec<DeadLetter> {
    dead_letter::list(shared, "s:dead:g", EntryId::ZERO, 100).await.unwrap()
}

#[tokio::test]
async fn killed_between_the_effects_and_the_acknowledgement_all_come_again_to_a_peer() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    group(&shared).await;
    add_all(&shared, 0..20).await;
    let storing = shared.clone();
    let killed = Batches::new(move |entries| {
        let shared = storing.clone();
        async move {
            for entry in &entries {
                execute(&shared, &format!("SADD effects {}", number(entry))).await;
            }
            std::future::pending().await
        }
    });
    let running = start_batches(&client, quick("killed"), &killed);
    eventually("all effects are stored", async || {
        command::<usize>(&shared, "SCARD effects").await.unwrap() == 20
    })
    .await;
    running.kill().await;
    assert_eq!(pending(&shared, "s", "g").await, 20);
    let peers = Batches::new(|entries| async move { all(&entries, Outcome::Done) });
    let peer = start_batches(&client, quick("peer"), &peers);
    all_acknowledged(&shared).await;
    let mut seen: Vec<_> = peers.seen().into_iter().flatten().collect();
    seen.sort_unstable();
    assert_eq!(seen, numbered(0..20, 2));
    assert_eq!(peer.counters.claimed.load(Ordering::Relaxed), 20);
    peer.stop().await;
}

#[tokio::test]
async fn poison_among_others_goes_to_the_dead_letters_and_the_others_are_handled() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    group(&shared).await;
    let ids = add_all(&shared, 0..6).await;
    execute(&shared, "XREADGROUP GROUP g dead STREAMS s >").await;
    hand_over::of(&shared, "s", "g", "dead", HOUR, 10).await.unwrap();
    for poison in [ids[1], ids[4]] {
        let mark = format!("XCLAIM s g dead 0 {poison} IDLE 3600000 RETRYCOUNT 5 JUSTID");
        execute(&shared, &mark).await;
    }
    let handler = Batches::new(|entries| async move { all(&entries, Outcome::Done) });
    let wide = Settings {
        concurrency: LARGEST_BATCH,
        ..hour("a")
    };
    let running = start_batches(&client, wide, &handler);
    all_acknowledged(&shared).await;
    assert_eq!(handler.seen(), [[(0, 1), (2, 1), (3, 1), (5, 1)]]);
    let buried: BTreeSet<EntryId> = letters(&shared).await.iter().map(|letter| letter.entry).collect();
    assert_eq!(buried, BTreeSet::from([ids[1], ids[4]]));
    running.stop().await;
}

#[tokio::test]
async fn an_entry_that_panics_its_batch_takes_no_other_to_the_dead_letters() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    group(&shared).await;
    let ids = add_all(&shared, 0..6).await;
    let handler = Batches::new(|entries| async move {
        assert!(entries.iter().all(|entry| number(entry) != 3), "told to panic");
        all(&entries, Outcome::Done)
    });
    let running = start_batches(&client, quick("a"), &handler);
    all_acknowledged(&shared).await;
    let buried: Vec<_> = letters(&shared).await;
    assert_eq!(buried.len(), 1);
    assert_eq!((buried[0].entry, buried[0].deliveries), (ids[3], 6));
    for number in [0, 1, 2, 4, 5] {
        assert_eq!(handler.counts(number), [1, 2, ALONE_FROM]);
    }
    assert_eq!(handler.seen()[0], numbered(0..6, 1));
    eventually("no slot is lost", async || {
        running.counters.in_hand.load(Ordering::Relaxed) == 0
    })
    .await;
    running.stop().await;
}

#[tokio::test]
async fn a_killed_redis_loses_no_acknowledgement_of_a_batch() {
    let (mut stack, client) = durable_redis().await;
    let shared = client.shared();
    group(&shared).await;
    add_all(&shared, 0..30).await;
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let opening = std::sync::Arc::clone(&gate);
    let handler = Batches::new(move |entries| {
        let gate = std::sync::Arc::clone(&opening);
        async move {
            gate.acquire().await.unwrap().forget();
            all(&entries, Outcome::Done)
        }
    });
    let wide = Settings {
        concurrency: LARGEST_BATCH,
        ..hour("a")
    };
    let running = start_batches(&client, wide, &handler);
    eventually("all in hand", async || handler.entries() == 30).await;
    stack.kill().unwrap();
    gate.add_permits(100);
    eventually("calls fail", async || {
        running.counters.failures.load(Ordering::Relaxed) > 3
    })
    .await;
    stack.restart().unwrap();
    all_acknowledged(&shared).await;
    assert_eq!(handler.entries(), 30, "none is handled twice for it");
    running.stop().await;
}
