//! The consumer loop when consumers die, handlers panic, entries vanish and Redis is killed.

use crate::running::{HOUR, Recorder, all_acknowledged, group, settings, start};
use crate::support::{add, command, durable_redis, evaluations, eventually, execute, pending, redis};
use shopwright_streams::consume::{Outcome, Settings};
use shopwright_streams::{EntryId, hand_over};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

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
    // A renewal each 3 s: nothing on a busy machine takes two of them.
    let idle = Duration::from_secs(9);
    let slow = Recorder::new(move |_| async move {
        tokio::time::sleep(idle * 3 / 2).await;
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
async fn a_renewal_takes_nothing_back_from_a_peer() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    group(&shared).await;
    let id = add(&shared, "s", 1).await;
    let stuck = Recorder::new(|_| std::future::pending::<Outcome>());
    // Apart from the first look, what it evaluates are its renewals.
    let renewing = Settings {
        claim_min_idle: Duration::from_millis(150),
        claim_interval: HOUR,
        drain: Duration::ZERO,
        ..settings("stalled")
    };
    let running = start(&client, renewing, &stuck);
    eventually("the entry in hand", async || stuck.totals().0 == 1).await;
    // As after a stall that outlasted the idle time.
    execute(&shared, &format!("XCLAIM s g peer 0 {id}")).await;
    let before = evaluations(&shared).await;
    eventually("three renewals", async || evaluations(&shared).await > before + 3).await;
    running.stop().await;
    let item: Vec<(String, String, u64, u64)> = command(&shared, "XPENDING s g - + 1").await.unwrap();
    assert_eq!((item[0].1.as_str(), item[0].3), ("peer", 2));
    assert!(item[0].2 < 3_600_000, "handed over by one who has it no longer");
}

#[tokio::test]
async fn a_renewal_takes_nothing_back_that_was_handed_over() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    group(&shared).await;
    for number in 0..2 {
        add(&shared, "s", number).await;
    }
    let stuck = Recorder::new(|_| std::future::pending::<Outcome>());
    let idle = Duration::from_millis(150);
    let renewing = Settings {
        claim_min_idle: idle,
        claim_interval: HOUR,
        drain: Duration::ZERO,
        ..settings("a")
    };
    let running = start(&client, renewing, &stuck);
    eventually("both in hand", async || stuck.totals().0 == 2).await;
    let marked = hand_over::of(&shared, "s", "g", "a", idle, 1).await.unwrap();
    assert_eq!(marked.entries, 1);
    let before = evaluations(&shared).await;
    eventually("three renewals", async || evaluations(&shared).await > before + 3).await;
    let items: Vec<(String, String, u64, u64)> = command(&shared, "XPENDING s g - + 2").await.unwrap();
    assert!(items[0].2 >= 3_600_000 && items[0].3 == 0, "{items:?}");
    assert!(items[1].2 < 3_600_000 && items[1].3 == 1, "{items:?}");
    running.stop().await;
}

#[tokio::test]
async fn what_killed_a_process_stays_counted_when_the_next_is_stopped_before_its_first_look() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    group(&shared).await;
    add(&shared, "s", 1).await;
    execute(&shared, "XREADGROUP GROUP g a STREAMS s >").await;
    let handler = Recorder::new(|_| async { Outcome::Done });
    assert_eq!(start(&client, settings("a"), &handler).stop().await.unfinished, 0);
    assert_eq!(handler.totals(), (0, 0));
    let items: Vec<(String, String, u64, u64)> = command(&shared, "XPENDING s g - + 2").await.unwrap();
    assert!(items[0].2 >= 3_600_000 && items[0].3 == 1, "{items:?}");
}

#[tokio::test]
async fn a_cut_connection_burns_no_delivery() {
    let (_stack, client) = redis().await;
    let shared = client.shared().repeating();
    group(&shared).await;
    let left = add(&shared, "s", 1).await;
    let handler = Recorder::new(|_| async { Outcome::Retry });
    let patient = Settings {
        claim_min_idle: HOUR,
        ..settings("a")
    };
    let running = start(&client, patient, &handler);
    eventually("left pending", async || handler.counts(left) == [1]).await;
    for number in 0..10 {
        // As a read whose reply is lost hands it out: pending under the name, and no handler has seen it.
        let script = "redis.call('XADD', KEYS[1], ARGV[1] .. '-1', 'number', 1) \
            redis.call('XREADGROUP', 'GROUP', 'g', 'a', 'STREAMS', KEYS[1], '>')";
        let lost = EntryId {
            milliseconds: left.milliseconds + 3_600_000 + number,
            sequence: 1,
        };
        let mut call = redis::cmd("EVAL");
        call.arg(script).arg(1).arg("s").arg(lost.milliseconds);
        call.exec_async(&mut shared.clone()).await.unwrap();
        let mut killed: Option<Instant> = None;
        eventually("found again", async || {
            // Again after a while, since the loop may have been between two connections.
            if killed.is_none_or(|killed| killed.elapsed() > Duration::from_secs(1)) {
                execute(&shared, "CLIENT KILL TYPE normal SKIPME yes").await;
                killed = Some(Instant::now());
            }
            !handler.counts(lost).is_empty()
        })
        .await;
        assert_eq!(handler.counts(lost), [1], "counted though no handler had seen it");
    }
    assert_eq!(handler.counts(left), [1], "its idle time was not waited for");
    assert!(running.counters.failures.load(Ordering::Relaxed) >= 10);
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
            // On a disk that stalls, each takes from the other what is in hand, any number of times.
            Settings {
                claim_min_idle: idle,
                max_deliveries: 0,
                ..settings(name)
            },
            &handler,
        )
    });
    for _ in 0..3 {
        let before = handler.totals().0;
        eventually("some work between kills", async || handler.totals().0 > before + 20).await;
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
