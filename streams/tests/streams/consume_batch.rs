//! Batches in fair weather: what came together is handled together, each entry ends as its outcome says.

use crate::batching::{Batches, add_all, all, number, numbered};
use crate::running::{HOUR, all_acknowledged, group, hour, settings, start_batches};
use crate::support::{add, calls, eventually, execute, pending, redis};
use shopwright_streams::consume::{Drained, LARGEST_BATCH, Outcome, Settings};
use shopwright_streams::{EntryId, dead_letter, hand_over};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};

fn wide(consumer: &str) -> Settings {
    Settings {
        concurrency: LARGEST_BATCH,
        ..hour(consumer)
    }
}

#[tokio::test]
async fn what_one_call_brought_is_handled_together_and_acknowledged_with_one_command() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    group(&shared).await;
    // Some each of an earlier process of the same name, of a peer that is gone, and new.
    add_all(&shared, 0..60).await;
    execute(&shared, "XREADGROUP GROUP g a COUNT 10 STREAMS s >").await;
    execute(&shared, "XREADGROUP GROUP g gone COUNT 20 STREAMS s >").await;
    hand_over::of(&shared, "s", "g", "gone", HOUR, 100).await.unwrap();
    let before = calls(&shared, "xack").await;
    // With slots for all at once: whatever finishes first, no call is smaller for it.
    let handler = Batches::new(|entries| async move { all(&entries, Outcome::Done) });
    let running = start_batches(&client, wide("a"), &handler);
    all_acknowledged(&shared).await;
    let mut seen = handler.seen();
    seen.sort();
    assert_eq!(seen, [numbered(0..10, 2), numbered(10..30, 1), numbered(30..60, 1)]);
    assert_eq!(calls(&shared, "xack").await - before, 3);
    assert_eq!(running.counters.delivered.load(Ordering::Relaxed), 30);
    assert_eq!(running.counters.claimed.load(Ordering::Relaxed), 30);
    let counters = Arc::clone(&running.counters);
    eventually("all are counted", async || {
        counters.in_hand.load(Ordering::Relaxed) == 0
    })
    .await;
    assert_eq!(running.stop().await, Drained { unfinished: 0 });
    assert_eq!(counters.done.load(Ordering::Relaxed), 60);
    assert_eq!(counters.in_hand.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn each_entry_of_a_batch_ends_as_its_outcome_says() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    group(&shared).await;
    let ids = add_all(&shared, 0..7).await;
    // The last has no outcome at its first delivery.
    let handler = Batches::new(|entries| async move {
        let first = entries.len() == 7;
        let outcomes = entries.iter().map(|entry| match (number(entry), entry.delivery_count) {
            (1 | 2, 1) if first => Outcome::RetryAfter(Duration::from_millis(10)),
            (3, _) => Outcome::Reject("malformed"),
            (4, 1) => Outcome::Retry,
            _ => Outcome::Done,
        });
        outcomes.take(if first { 6 } else { entries.len() }).collect()
    });
    let running = start_batches(&client, wide("a"), &handler);
    eventually("all but two are settled", async || {
        pending(&shared, "s", "g").await == 2
    })
    .await;
    assert_eq!(
        handler.seen(),
        [numbered(0..7, 1), numbered(1..3, 1)],
        "what waited comes again together, as the same delivery"
    );
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    eventually("all are counted", async || count(&running.counters.in_hand) == 0).await;
    assert_eq!(count(&running.counters.done), 4);
    assert_eq!(count(&running.counters.retried), 2);
    assert_eq!(count(&running.counters.buried), 1);
    let dead = dead_letter::list(&shared, "s:dead:g", EntryId::ZERO, 9).await.unwrap();
    assert_eq!(
        (dead.len(), dead[0].entry, dead[0].reason.as_str()),
        (1, ids[3], "malformed")
    );
    // An attempt that failed, and one that nobody spoke of: both counted.
    running.stop().await;
    let peer = start_batches(&client, wide("peer"), &handler);
    all_acknowledged(&shared).await;
    assert_eq!(handler.seen().split_off(2), [[(4, 2), (6, 2)]]);
    peer.stop().await;
}

#[tokio::test]
async fn a_slow_batch_leaves_the_other_slots_to_others_and_no_more_is_taken_than_there_are() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    group(&shared).await;
    let release = Arc::new(Semaphore::new(0));
    let gate = Arc::clone(&release);
    let handler = Batches::new(move |entries| {
        let gate = Arc::clone(&gate);
        async move {
            gate.acquire().await.unwrap().forget();
            all(&entries, Outcome::Done)
        }
    });
    let eight = Settings {
        concurrency: 8,
        ..hour("a")
    };
    add_all(&shared, 0..3).await;
    let running = start_batches(&client, eight, &handler);
    eventually("three in hand", async || handler.entries() == 3).await;
    for number in 3..8 {
        add(&shared, "s", number).await;
        eventually("one more in hand", async || handler.entries() == number + 1).await;
    }
    add_all(&shared, 8..10).await;
    assert_eq!(running.counters.in_hand.load(Ordering::Relaxed), 8);
    assert_eq!(pending(&shared, "s", "g").await, 8);
    release.add_permits(100);
    all_acknowledged(&shared).await;
    assert_eq!(handler.entries(), 10, "each once");
    assert!(handler.seen().iter().all(|batch| batch.len() <= 8));
    running.stop().await;
}

#[tokio::test]
async fn shutdown_in_the_middle_finishes_what_can_be_and_hands_over_the_rest() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    group(&shared).await;
    let release = Arc::new(Notify::new());
    let gate = Arc::clone(&release);
    // Three batches: one waits for a dependency, one is slow, one never ends.
    let handler = Batches::new(move |entries| {
        let gate = Arc::clone(&gate);
        async move {
            match number(&entries[0]) {
                0 => return all(&entries, Outcome::RetryAfter(HOUR)),
                5 => gate.notified().await,
                _ => std::future::pending().await,
            }
            all(&entries, Outcome::Done)
        }
    });
    // Time enough to acknowledge what is let go; it is waited for because of the one that never ends.
    let draining = Settings {
        drain: Duration::from_secs(5),
        ..wide("stopping")
    };
    let stopping = start_batches(&client, draining, &handler);
    for (first, end) in [(0, 5), (5, 8), (8, 12)] {
        // Added at once, so that they come together.
        let script = format!("for i = {first}, {end} - 1 do redis.call('XADD', KEYS[1], '*', 'number', i) end");
        crate::support::evaluate(&shared, &script).await;
        eventually("in hand", async || handler.entries() == end).await;
    }
    let peers = Batches::new(|entries| async move { all(&entries, Outcome::Done) });
    let peer = start_batches(&client, wide("peer"), &peers);
    stopping.shutdown.cancel();
    release.notify_one();
    let counters = Arc::clone(&stopping.counters);
    assert_eq!(stopping.stop().await, Drained { unfinished: 4 }, "entries, not batches");
    all_acknowledged(&shared).await;
    let mut seen: Vec<_> = peers.seen().into_iter().flatten().collect();
    seen.sort_unstable();
    let rest = [numbered(0..5, 1), numbered(8..12, 1)].concat();
    assert_eq!(seen, rest, "with the counts they had");
    assert_eq!(counters.done.load(Ordering::Relaxed), 3);
    assert_eq!(counters.handed_over.load(Ordering::Relaxed), 9);
    assert_eq!(counters.in_hand.load(Ordering::Relaxed), 0);
    peer.stop().await;
}

#[tokio::test]
async fn a_batch_in_hand_is_renewed_entry_by_entry() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    group(&shared).await;
    add_all(&shared, 0..5).await;
    let handler = Batches::new(|_| std::future::pending::<Vec<Outcome>>());
    let renewing = Settings {
        claim_min_idle: Duration::from_secs(3),
        concurrency: LARGEST_BATCH,
        drain: Duration::from_millis(50),
        ..settings("a")
    };
    let running = start_batches(&client, renewing, &handler);
    eventually("in hand", async || handler.entries() == 5).await;
    let idle = async || -> Vec<u64> {
        let items: Vec<(String, String, u64, u64)> =
            crate::support::command(&shared, "XPENDING s g - + 9").await.unwrap();
        assert!(items.iter().all(|item| item.3 == 1), "a renewal counts no delivery");
        items.into_iter().map(|item| item.2).collect()
    };
    let mut renewed = [false; 5];
    let mut before = idle().await;
    eventually("all are renewed", async || {
        let now = idle().await;
        for ((renewed, before), now) in renewed.iter_mut().zip(&before).zip(&now) {
            *renewed |= now < before;
        }
        before = now;
        renewed.iter().all(|renewed| *renewed)
    })
    .await;
    running.stop().await;
}
