//! The consumer loop in fair weather: everything once, no more in hand than slots, retries, drain.

use crate::running::{Recorder, all_acknowledged, group, settings, start};
use crate::support::{add, as_user, command, eventually, execute, pending, redis, redis_with_users, within};
use shopwright_streams::consume::{Drained, Outcome, Settings};
use shopwright_streams::group::StartFrom;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

#[tokio::test]
async fn racing_consumers_share_the_work_and_each_entry_is_handled_once() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    group(&shared).await;
    let handler = Recorder::new(|_| async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        Outcome::Done
    });
    let running: Vec<_> = ["a", "b", "c", "d"]
        .map(|name| start(&client, settings(name), &handler))
        .into_iter()
        .collect();
    // Blocked readers are served in turn, so that each gets its share. Redis 7.0 knows no consumer before its first entry.
    eventually("all wait", async || {
        let clients: String = command(&shared, "INFO clients").await.unwrap();
        clients.lines().any(|line| line == "blocked_clients:4")
    })
    .await;
    for number in 0..600 {
        add(&shared, "s", number).await;
    }
    all_acknowledged(&shared).await;
    assert_eq!(handler.totals(), (600, 1));
    for running in running {
        assert!(
            running.counters.delivered.load(Ordering::Relaxed) > 0,
            "one consumer got nothing"
        );
        assert_eq!(running.stop().await, Drained { unfinished: 0 });
    }
}

#[tokio::test]
async fn no_more_is_in_hand_than_there_are_slots() {
    static NOW: AtomicUsize = AtomicUsize::new(0);
    static MOST: AtomicUsize = AtomicUsize::new(0);
    let (_stack, client) = redis().await;
    let shared = client.shared();
    group(&shared).await;
    for number in 0..100 {
        add(&shared, "s", number).await;
    }
    let handler = Recorder::new(|_| async {
        MOST.fetch_max(NOW.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(5)).await;
        NOW.fetch_sub(1, Ordering::SeqCst);
        Outcome::Done
    });
    let running = start(
        &client,
        Settings {
            concurrency: 3,
            ..settings("a")
        },
        &handler,
    );
    let mut most_pending = 0;
    eventually("all handled", async || {
        most_pending = most_pending.max(pending(&shared, "s", "g").await);
        handler.totals().0 == 100
    })
    .await;
    assert_eq!(MOST.load(Ordering::SeqCst), 3);
    assert!(most_pending <= 3, "{most_pending} pending");
    running.stop().await;
}

#[tokio::test]
async fn an_entry_left_pending_comes_again_after_its_idle_time_with_a_higher_count() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    group(&shared).await;
    let id = add(&shared, "s", 1).await;
    let handler = Recorder::new(|times| async move { if times < 3 { Outcome::Retry } else { Outcome::Done } });
    let idle = Duration::from_millis(200);
    let running = start(
        &client,
        Settings {
            claim_min_idle: idle,
            ..settings("a")
        },
        &handler,
    );
    let began = std::time::Instant::now();
    all_acknowledged(&shared).await;
    // Redis counts whole milliseconds.
    let rounding = Duration::from_millis(2);
    assert!(began.elapsed() + rounding * 2 >= idle * 2, "came again too soon");
    assert_eq!(handler.counts(id), [1, 2, 3]);
    assert_eq!(running.counters.retried.load(Ordering::Relaxed), 2);
    running.stop().await;
}

#[tokio::test]
async fn a_retry_in_hand_counts_as_no_delivery() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    group(&shared).await;
    let id = add(&shared, "s", 1).await;
    let handler = Recorder::new(|times| async move {
        if times < 4 {
            Outcome::RetryAfter(Duration::from_millis(10))
        } else {
            Outcome::Done
        }
    });
    let running = start(&client, settings("a"), &handler);
    all_acknowledged(&shared).await;
    assert_eq!(handler.counts(id), [1, 1, 1, 1]);
    running.stop().await;
}

#[tokio::test]
async fn shutdown_finishes_what_is_in_hand_and_reads_no_more() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    group(&shared).await;
    for number in 0..10 {
        add(&shared, "s", number).await;
    }
    let release = Arc::new(tokio::sync::Semaphore::new(0));
    let gate = Arc::clone(&release);
    let handler = Recorder::new(move |_| {
        let gate = Arc::clone(&gate);
        async move {
            gate.acquire().await.unwrap().forget();
            Outcome::Done
        }
    });
    let running = start(
        &client,
        Settings {
            concurrency: 4,
            ..settings("a")
        },
        &handler,
    );
    eventually("four in hand", async || handler.totals().0 == 4).await;
    running.shutdown.cancel();
    release.add_permits(100);
    assert_eq!(
        within("the drain", running.task).await.unwrap(),
        Drained { unfinished: 0 }
    );
    assert_eq!(handler.totals(), (4, 1));
    assert_eq!(pending(&shared, "s", "g").await, 0);
}

#[tokio::test]
async fn what_outlasts_the_drain_stays_pending_and_a_waiting_retry_is_not_waited_for() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    group(&shared).await;
    add(&shared, "s", 1).await;
    let stuck = Recorder::new(|_| std::future::pending::<Outcome>());
    let running = start(
        &client,
        Settings {
            drain: Duration::from_millis(100),
            ..settings("a")
        },
        &stuck,
    );
    eventually("one in hand", async || stuck.totals().0 == 1).await;
    assert_eq!(running.stop().await, Drained { unfinished: 1 });
    assert_eq!(pending(&shared, "s", "g").await, 1);

    let patient = Recorder::new(|_| async { Outcome::RetryAfter(Duration::from_secs(3600)) });
    let running = start(&client, settings("a"), &patient);
    eventually("one in hand", async || patient.totals().0 == 1).await;
    assert_eq!(running.stop().await, Drained { unfinished: 0 });
    assert_eq!(pending(&shared, "s", "g").await, 1);
}

#[tokio::test]
async fn a_missing_group_is_waited_for_or_made() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    add(&shared, "s", 1).await;
    let handler = Recorder::new(|_| async { Outcome::Done });
    let running = start(&client, settings("a"), &handler);
    eventually("a failed read", async || {
        running.counters.failures.load(Ordering::Relaxed) > 0
    })
    .await;
    execute(&shared, "XGROUP CREATE s g 0").await;
    all_acknowledged(&shared).await;
    // Lost under way, and made again by somebody.
    execute(&shared, "DEL s").await;
    execute(&shared, "XGROUP CREATE s g 0 MKSTREAM").await;
    add(&shared, "s", 2).await;
    all_acknowledged(&shared).await;
    assert_eq!(handler.totals(), (2, 1));
    running.stop().await;

    execute(&shared, "DEL s").await;
    let running = start(
        &client,
        Settings {
            ensure: Some(StartFrom::Beginning),
            ..settings("a")
        },
        &handler,
    );
    add(&shared, "s", 3).await;
    eventually("the third", async || handler.totals().0 == 3).await;
    running.stop().await;
}

#[tokio::test]
async fn a_consumer_needs_no_more_than_its_selector_of_a_foreign_stream() {
    let foreign = "~own:* +@all (%RW~s +xreadgroup +xack +xclaim +xautoclaim +xpending +eval +evalsha +script|load)";
    let (stack, client) = redis_with_users(&[("inventory", foreign)]).await;
    let shared = client.shared();
    group(&shared).await;
    let id = add(&shared, "s", 1).await;
    let inventory = as_user(&stack, "inventory");
    let handler = Recorder::new(|times| async move { if times < 2 { Outcome::Retry } else { Outcome::Done } });
    let idle = Duration::from_millis(100);
    let running = start(
        &inventory,
        Settings {
            claim_min_idle: idle,
            ..settings("a")
        },
        &handler,
    );
    all_acknowledged(&shared).await;
    assert_eq!(handler.counts(id), [1, 2]);
    assert_eq!(running.counters.failures.load(Ordering::Relaxed), 0);
    running.stop().await;
}
