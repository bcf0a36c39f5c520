//! The consumer loop when consumers die, handlers panic, entries vanish and Redis is killed.

use crate::consume::{Recorder, all_acknowledged, group, settings, start};
use crate::support::{add, durable_redis, eventually, execute, pending, redis};
use shopwright_streams::EntryId;
use shopwright_streams::consume::{Outcome, Settings};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_peer_gets_what_a_consumer_had_in_hand_when_it_was_killed() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    group(&shared).await;
    let id = add(&shared, "s", 1).await;
    // The effect is stored and the acknowledgement never sent.
    let killed = Recorder::new(|_| std::future::pending::<Outcome>());
    let running = start(&client, settings("killed"), &killed);
    eventually("the effect", async || killed.counts(id) == [1]).await;
    running.task.abort();
    assert!(running.task.await.unwrap_err().is_cancelled());

    let peer = Recorder::new(|_| async { Outcome::Done });
    let quick = Settings {
        claim_min_idle: Duration::from_millis(100),
        ..settings("peer")
    };
    let running = start(&client, quick, &peer);
    all_acknowledged(&shared).await;
    assert_eq!(peer.counts(id), [2]);
    assert_eq!(running.counters.claimed.load(Ordering::Relaxed), 1);
    running.stop().await;
}

#[tokio::test]
async fn a_consumer_restarted_under_its_name_finds_its_own_at_once() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    group(&shared).await;
    let mut ids = BTreeSet::new();
    for number in 0..5 {
        ids.insert(add(&shared, "s", number).await);
    }
    let killed = Recorder::new(|_| std::future::pending::<Outcome>());
    let running = start(
        &client,
        Settings {
            claim_min_idle: HOUR,
            ..settings("a")
        },
        &killed,
    );
    eventually("all in hand", async || killed.totals().0 == 5).await;
    running.task.abort();
    let _ = running.task.await;
    let again = Recorder::new(|_| async { Outcome::Done });
    // Fewer slots than entries: the looking goes on page by page.
    let narrow = Settings {
        claim_min_idle: HOUR,
        concurrency: 2,
        ..settings("a")
    };
    let running = start(&client, narrow, &again);
    all_acknowledged(&shared).await;
    for id in ids {
        assert_eq!(again.counts(id), [2]);
    }
    running.stop().await;
}

#[tokio::test]
async fn a_slow_handler_keeps_its_entry_by_renewal() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    group(&shared).await;
    let id = add(&shared, "s", 1).await;
    let idle = Duration::from_secs(3);
    let slow = Recorder::new(move |_| async move {
        tokio::time::sleep(idle * 2).await;
        Outcome::Done
    });
    let holder = start(
        &client,
        Settings {
            claim_min_idle: idle,
            ..settings("holder")
        },
        &slow,
    );
    eventually("the entry in hand", async || slow.totals().0 == 1).await;
    let peer = start(
        &client,
        Settings {
            claim_min_idle: idle,
            ..settings("peer")
        },
        &slow,
    );
    all_acknowledged(&shared).await;
    assert_eq!(slow.counts(id), [1]);
    assert_eq!(peer.counters.claimed.load(Ordering::Relaxed), 0);
    holder.stop().await;
    peer.stop().await;
}

#[tokio::test]
async fn a_panicking_handler_costs_no_slot_and_the_entry_comes_again() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    group(&shared).await;
    let id = add(&shared, "s", 1).await;
    let handler = Recorder::new(|times| async move {
        assert!(times > 2, "told to panic");
        Outcome::Done
    });
    let one_slot = Settings {
        claim_min_idle: Duration::from_millis(100),
        concurrency: 1,
        ..settings("a")
    };
    let running = start(&client, one_slot, &handler);
    all_acknowledged(&shared).await;
    assert_eq!(handler.counts(id), [1, 2, 3]);
    assert_eq!(running.counters.in_hand.load(Ordering::Relaxed), 0);
    running.stop().await;
}

#[tokio::test]
async fn entries_deleted_while_pending_are_let_go() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    group(&shared).await;
    let mut ids: Vec<EntryId> = Vec::new();
    for number in 0..4 {
        ids.push(add(&shared, "s", number).await);
    }
    // Two of a dead peer, two of an earlier process of the same name; one of each deleted.
    execute(&shared, "XREADGROUP GROUP g dead COUNT 2 STREAMS s >").await;
    execute(&shared, "XREADGROUP GROUP g a COUNT 2 STREAMS s >").await;
    execute(&shared, &format!("XDEL s {} {}", ids[0], ids[2])).await;
    let handler = Recorder::new(|_| async { Outcome::Done });
    let quick = Settings {
        claim_min_idle: Duration::from_millis(50),
        ..settings("a")
    };
    let running = start(&client, quick, &handler);
    eventually("nothing pending", async || pending(&shared, "s", "g").await == 0).await;
    assert_eq!(handler.totals(), (2, 1));
    assert_eq!(running.counters.deleted.load(Ordering::Relaxed), 2);
    running.stop().await;
}

#[tokio::test]
async fn a_long_pending_list_of_others_is_searched_page_by_page() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    group(&shared).await;
    for number in 0..300 {
        add(&shared, "s", number).await;
    }
    execute(&shared, "XREADGROUP GROUP g busy COUNT 299 STREAMS s >").await;
    execute(&shared, "XREADGROUP GROUP g dead COUNT 1 STREAMS s >").await;
    // The last alone has been idle for long: a claim that always starts at the beginning would never reach it.
    let last: Vec<(String, redis::Value)> = crate::support::command(&shared, "XREVRANGE s + - COUNT 1")
        .await
        .unwrap();
    execute(&shared, &format!("XCLAIM s g dead 0 {} IDLE 7200000 JUSTID", last[0].0)).await;
    let handler = Recorder::new(|_| async { Outcome::Done });
    let narrow = Settings {
        claim_min_idle: HOUR,
        concurrency: 1,
        ..settings("a")
    };
    let running = start(&client, narrow, &handler);
    eventually("the idle one", async || handler.totals() == (1, 1)).await;
    running.stop().await;
}

#[tokio::test]
async fn nothing_is_lost_when_redis_is_killed_again_and_again() {
    static PRODUCING: AtomicBool = AtomicBool::new(true);
    let (mut stack, client) = durable_redis().await;
    let shared = client.shared();
    group(&shared).await;
    let producer = {
        let shared = shared.clone();
        tokio::spawn(async move {
            let mut accepted = BTreeSet::new();
            while PRODUCING.load(Ordering::Relaxed) {
                let added = crate::support::command::<String>(&shared, "XADD s * number 1").await;
                match added {
                    Ok(id) => {
                        accepted.insert(id.parse::<EntryId>().unwrap());
                    }
                    Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
            accepted
        })
    };
    let handler = Recorder::new(|_| async {
        tokio::time::sleep(Duration::from_millis(2)).await;
        Outcome::Done
    });
    let idle = Duration::from_millis(500);
    let running = ["a", "b"].map(|name| {
        start(
            &client,
            Settings {
                claim_min_idle: idle,
                ..settings(name)
            },
            &handler,
        )
    });
    for _ in 0..3 {
        let before = handler.totals().0;
        eventually("some work between kills", async || handler.totals().0 > before + 50).await;
        stack.kill().unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        stack.restart().unwrap();
    }
    PRODUCING.store(false, Ordering::Relaxed);
    let accepted = producer.await.unwrap();
    let began = Instant::now();
    all_acknowledged(&shared.repeating()).await;
    let seen: BTreeSet<EntryId> = handler.seen.lock().unwrap().keys().copied().collect();
    assert!(
        accepted.is_subset(&seen),
        "{} accepted, {} seen",
        accepted.len(),
        seen.len()
    );
    println!(
        "{} accepted over 3 kills, all handled; the rest took {:?}",
        accepted.len(),
        began.elapsed()
    );
    for running in running {
        assert_eq!(running.stop().await.unfinished, 0);
    }
}
