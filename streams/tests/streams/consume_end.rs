//! The end of a consumer: whatever it did not finish is with a peer at once, with its count, and nothing is lost.

use crate::running::{HOUR, Recorder, Running, all_acknowledged, group, hour, settings, start};
use crate::support::{add, as_user, command, evaluations, eventually, execute, redis, redis_with_users};
use shopwright_streams::consume::{Drained, Outcome, Settings};
use shopwright_streams::{EntryId, Shared};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

async fn consumers(shared: &Shared) -> BTreeSet<String> {
    let reply: redis::streams::StreamInfoConsumersReply = command(shared, "XINFO CONSUMERS s g").await.unwrap();
    reply.consumers.into_iter().map(|consumer| consumer.name).collect()
}

#[tokio::test]
async fn after_a_graceful_stop_a_peer_has_the_rest_at_its_next_look() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    group(&shared).await;
    let mut ids = Vec::new();
    for number in 0..12 {
        ids.push(add(&shared, "s", number).await);
    }
    // A third each hangs, waits for something, and was left after a failed attempt.
    let turn = AtomicUsize::new(0);
    let stopping = Recorder::new(move |_| {
        let turn = turn.fetch_add(1, Ordering::SeqCst) % 3;
        async move {
            match turn {
                0 => std::future::pending().await,
                1 => Outcome::RetryAfter(HOUR),
                _ => Outcome::Retry,
            }
        }
    });
    let stopped = start(&client, hour("stopped"), &stopping);
    eventually("all in hand", async || stopping.totals().0 == 12).await;
    // Looks each second, as it does unless told otherwise.
    let peers = Recorder::new(|_| async { Outcome::Done });
    let looking = Settings {
        claim_interval: Duration::from_secs(1),
        ..hour("peer")
    };
    let peer = start(&client, looking, &peers);
    let counters = Arc::clone(&stopped.counters);
    assert_eq!(stopped.stop().await, Drained { unfinished: 4 });
    let began = Instant::now();
    all_acknowledged(&shared).await;
    println!("the peer had finished the rest {:?} after the stop", began.elapsed());
    assert_eq!(counters.handed_over.load(Ordering::Relaxed), 12);
    let counts: Vec<u64> = ids.iter().flat_map(|id| peers.counts(*id)).collect();
    assert_eq!(counts.iter().filter(|count| **count == 1).count(), 8, "{counts:?}");
    assert_eq!(
        counts.iter().filter(|count| **count == 2).count(),
        4,
        "an attempt that failed counts"
    );
    peer.stop().await;
}

#[tokio::test]
async fn what_waits_is_handed_over_before_the_slowest_is_done() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    group(&shared).await;
    let first = add(&shared, "s", 1).await;
    let release = Arc::new(tokio::sync::Notify::new());
    let gate = Arc::clone(&release);
    let calls = AtomicUsize::new(0);
    let mixed = Recorder::new(move |_| {
        let (gate, call) = (Arc::clone(&gate), calls.fetch_add(1, Ordering::SeqCst));
        async move {
            if call > 0 {
                return Outcome::RetryAfter(HOUR);
            }
            gate.notified().await;
            Outcome::Done
        }
    });
    let patient = Settings {
        drain: HOUR,
        ..hour("slow")
    };
    let slow = start(&client, patient, &mixed);
    eventually("the slow one in hand", async || mixed.totals().0 == 1).await;
    let second = add(&shared, "s", 2).await;
    eventually("both in hand", async || mixed.totals().0 == 2).await;
    let peers = Recorder::new(|_| async { Outcome::Done });
    let peer = start(&client, hour("peer"), &peers);
    slow.shutdown.cancel();
    eventually("the waiting one is with the peer", async || peers.counts(second) == [1]).await;
    assert!(!slow.task.is_finished());
    release.notify_one();
    assert_eq!(slow.stop().await, Drained { unfinished: 0 });
    assert_eq!(peers.counts(first), [] as [u64; 0]);
    all_acknowledged(&shared).await;
    assert!(!consumers(&shared).await.contains("slow"), "it left");
    peer.stop().await;
}

#[tokio::test]
async fn five_rolling_updates_during_an_outage_burn_no_delivery() {
    static OUTAGE: AtomicBool = AtomicBool::new(true);
    let (_stack, client) = redis().await;
    let shared = client.shared();
    group(&shared).await;
    let mut ids = Vec::new();
    for number in 0..20 {
        ids.push(add(&shared, "s", number).await);
    }
    let new_handler = || {
        Recorder::new(|_| async {
            if OUTAGE.load(Ordering::SeqCst) {
                Outcome::RetryAfter(Duration::from_millis(20))
            } else {
                Outcome::Done
            }
        })
    };
    let wide = |name: &str| Settings {
        concurrency: 32,
        ..hour(name)
    };
    let mut handler = new_handler();
    let mut running: Running = start(&client, wide("pod-0"), &handler);
    for update in 1..=5 {
        eventually("all in hand", async || handler.totals().0 == ids.len()).await;
        handler = new_handler();
        let next = start(&client, wide(&format!("pod-{update}")), &handler);
        running.stop().await;
        running = next;
    }
    eventually("all in hand of the last", async || handler.totals().0 == ids.len()).await;
    OUTAGE.store(false, Ordering::SeqCst);
    all_acknowledged(&shared).await;
    for id in ids {
        let counts = handler.counts(id);
        assert!(counts.iter().all(|count| *count == 1), "{counts:?}");
    }
    let dead = shopwright_streams::dead_letter::count(&shared, "s:dead:g").await;
    assert_eq!(dead.unwrap(), 0);
    running.stop().await;
}

#[tokio::test]
async fn stops_at_any_moment_lose_nothing_and_burn_nothing() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    group(&shared).await;
    let producer = {
        let shared = shared.clone();
        tokio::spawn(async move {
            let mut ids = BTreeSet::new();
            for number in 0..1500 {
                ids.insert(add(&shared, "s", number).await);
                tokio::time::sleep(Duration::from_micros(500)).await;
            }
            ids
        })
    };
    // Some wait, so that they are handed over; a count above 1 would be a delivery that nobody finished.
    let calls = AtomicUsize::new(0);
    let handler = Recorder::new(move |times| {
        let call = calls.fetch_add(1, Ordering::SeqCst);
        async move {
            tokio::time::sleep(Duration::from_millis(u64::try_from(call % 7).unwrap())).await;
            if call.is_multiple_of(5) && times < 5 {
                Outcome::RetryAfter(HOUR)
            } else {
                Outcome::Done
            }
        }
    });
    let mut handed_over = 0;
    let mut generation = 0;
    while !producer.is_finished() || generation < 8 {
        let pair = ["a", "b"].map(|name| start(&client, hour(&format!("{name}{generation}")), &handler));
        tokio::time::sleep(Duration::from_millis(rand::random_range(0..150))).await;
        for running in pair {
            let counters = Arc::clone(&running.counters);
            running.stop().await;
            handed_over += counters.handed_over.load(Ordering::Relaxed);
        }
        generation += 1;
    }
    let ids = producer.await.unwrap();
    let patient = Recorder::new(|_| async { Outcome::Done });
    let last = start(&client, hour("last"), &patient);
    all_acknowledged(&shared).await;
    let mut seen: BTreeSet<EntryId> = handler.seen.lock().unwrap().keys().copied().collect();
    seen.extend(patient.seen.lock().unwrap().keys().copied());
    assert_eq!(seen, ids);
    for recorder in [&handler.seen, &patient.seen] {
        let seen = recorder.lock().unwrap();
        assert!(seen.values().flatten().all(|count| *count == 1), "a delivery was burnt");
    }
    assert!(handed_over > 0);
    println!("{generation} generations, {handed_over} hand-overs");
    last.stop().await;
    let left = consumers(&shared).await;
    assert!(!left.contains("last"), "{left:?}");
}

#[tokio::test]
async fn a_worker_with_a_name_of_its_own_is_left_alone() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    group(&shared).await;
    let theirs = add(&shared, "s", 1).await;
    execute(&shared, "XREADGROUP GROUP g their-own-name STREAMS s >").await;
    execute(&shared, "XGROUP CREATECONSUMER s g their-other-name").await;
    add(&shared, "s", 2).await;
    let handler = Recorder::new(|_| async { Outcome::RetryAfter(HOUR) });
    let ours = start(&client, hour("ours"), &handler);
    eventually("ours in hand", async || handler.totals() == (1, 1)).await;
    let looks = evaluations(&shared).await + 10;
    eventually("ten looks for something idle", async || {
        evaluations(&shared).await > looks
    })
    .await;
    ours.stop().await;
    let item: Vec<(String, String, u64, u64)> = command(&shared, "XPENDING s g - + 1").await.unwrap();
    assert_eq!(
        (item[0].0.parse().unwrap(), item[0].1.as_str(), item[0].3),
        (theirs, "their-own-name", 1)
    );
    assert!(item[0].2 < 3_600_000, "not handed over");
    let names = consumers(&shared).await;
    assert!(
        names.contains("their-own-name") && names.contains("their-other-name"),
        "{names:?}"
    );

    // Idle for long enough, it is claimed as anybody's, and not before.
    let idle = Duration::from_millis(500);
    let renewed = Instant::now();
    execute(&shared, &format!("XCLAIM s g their-own-name 0 {theirs} JUSTID")).await;
    let handler = Recorder::new(|_| async { Outcome::Done });
    let quick = Settings {
        claim_min_idle: idle,
        ..settings("ours-again")
    };
    let ours = start(&client, quick, &handler);
    eventually("claimed", async || handler.counts(theirs) == [2]).await;
    assert!(
        renewed.elapsed() + Duration::from_millis(5) >= idle,
        "{:?}",
        renewed.elapsed()
    );
    all_acknowledged(&shared).await;
    ours.stop().await;
}

#[tokio::test]
async fn leaving_needs_a_right_that_may_be_missing_and_can_be_declined() {
    let reader = "%RW~s +xreadgroup +xack +xclaim +xautoclaim +xpending +eval";
    let leaver = format!("{reader} +xgroup|delconsumer");
    let (stack, client) = redis_with_users(&[
        ("reader", &format!("~own ({reader})")),
        ("leaver", &format!("~own ({leaver})")),
    ])
    .await;
    let shared = client.shared();
    group(&shared).await;
    for (user, leave, stays) in [("reader", true, true), ("leaver", false, true), ("leaver", true, false)] {
        add(&shared, "s", 1).await;
        let handler = Recorder::new(|_| async { Outcome::Done });
        let settings = Settings { leave, ..hour("pod") };
        let running = start(&as_user(&stack, user), settings, &handler);
        all_acknowledged(&shared).await;
        let counters = Arc::clone(&running.counters);
        assert_eq!(running.stop().await, Drained { unfinished: 0 });
        assert_eq!(counters.failures.load(Ordering::Relaxed), 0);
        assert_eq!(consumers(&shared).await.contains("pod"), stays, "{user} {leave}");
    }
}
