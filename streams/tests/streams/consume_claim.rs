//! Taking over what others left: found wherever it is in a long pending list, and once.

use crate::running::{HOUR, Recorder, all_acknowledged, group, hour, settings, start};
use crate::support::{add, command, evaluate, evaluations, eventually, execute, pending, redis};
use shopwright_streams::consume::{Outcome, Settings};
use shopwright_streams::{Client, EntryId};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// A peer with one slot and `total` entries of others that are renewed meanwhile; one in the middle is handed over.
async fn found_among(client: &Client, total: usize) -> u64 {
    let shared = client.shared();
    group(&shared).await;
    // Inside a script, so that no long reply has to come back in time.
    let fill = format!(
        "for i = 1, {total} do redis.call('XADD', KEYS[1], '1-' .. i, 'number', i) end \
         redis.call('XREADGROUP', 'GROUP', 'g', 'busy', 'COUNT', {total}, 'STREAMS', KEYS[1], '>')"
    );
    evaluate(&shared, &fill).await;
    let middle = format!("1-{}", total / 2);
    let others: Vec<String> = (1..=total)
        .map(|number| format!("1-{number}"))
        .filter(|id| *id != middle)
        .collect();
    execute(&shared, &format!("XCLAIM s g going 0 {middle} JUSTID")).await;
    let renewing = {
        let shared = shared.clone();
        tokio::spawn(async move {
            loop {
                for ids in others.chunks(500) {
                    execute(&shared, &format!("XCLAIM s g busy 0 {} JUSTID", ids.join(" "))).await;
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        })
    };
    let handler = Recorder::new(|_| async { Outcome::Done });
    let one_slot = Settings {
        claim_interval: Duration::from_millis(250),
        concurrency: 1,
        ..hour("peer")
    };
    let peer = start(client, one_slot, &handler);
    // Its cursor, if it had one, is anywhere by now.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = evaluations(&shared).await;
    let marked = shopwright_streams::hand_over::of(&shared, "s", "g", "going", HOUR, 10)
        .await
        .unwrap();
    assert_eq!(marked.entries, 1);
    let began = Instant::now();
    let id: EntryId = middle.parse().unwrap();
    eventually("the one handed over", async || handler.counts(id) == [1]).await;
    let looks = evaluations(&shared).await - before;
    println!("among {total}: found after {:?}, {looks} scripts", began.elapsed());
    renewing.abort();
    let _ = renewing.await;
    assert_eq!(handler.totals(), (1, 1), "what is renewed stays");
    peer.stop().await;
    looks
}

#[tokio::test]
async fn one_entry_handed_over_among_five_thousand_is_found_at_the_next_look() {
    let (_stack, client) = redis().await;
    // The hand-over takes two scripts, a look that had begun before may have missed it, and some may come while this test
    // itself is held up. A search by pages of what one slot asks for would take 62. Time proves nothing on a busy machine.
    assert!(found_among(&client, 5000).await <= 20);
}

#[tokio::test]
async fn a_huge_pending_list_is_searched_in_bounded_steps() {
    let (_stack, client) = redis().await;
    assert!(found_among(&client, 18_000).await <= 20);
}

#[tokio::test]
async fn a_long_pending_list_of_others_is_searched_to_its_end() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    group(&shared).await;
    for number in 0..300 {
        add(&shared, "s", number).await;
    }
    execute(&shared, "XREADGROUP GROUP g busy COUNT 299 STREAMS s >").await;
    execute(&shared, "XREADGROUP GROUP g dead COUNT 1 STREAMS s >").await;
    // The last alone has been idle for long: a claim that looks only at the first few would never reach it.
    let last: Vec<(String, redis::Value)> = command(&shared, "XREVRANGE s + - COUNT 1").await.unwrap();
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
async fn racing_claimers_take_each_entry_of_the_dead_once() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    group(&shared).await;
    for number in 0..500 {
        add(&shared, "s", number).await;
    }
    execute(&shared, "XREADGROUP GROUP g dead COUNT 500 STREAMS s >").await;
    while shopwright_streams::hand_over::of(&shared, "s", "g", "dead", HOUR, 1000)
        .await
        .unwrap()
        .remaining
    {}
    let handler = Recorder::new(|_| async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        Outcome::Done
    });
    let running = ["a", "b", "c", "d"].map(|name| start(&client, hour(name), &handler));
    all_acknowledged(&shared).await;
    assert_eq!(handler.totals(), (500, 1));
    assert!(handler.seen.lock().unwrap().values().flatten().all(|count| *count == 1));
    for running in running {
        assert!(
            running.counters.claimed.load(Ordering::Relaxed) > 0,
            "one claimed nothing"
        );
        running.stop().await;
    }
    assert_eq!(pending(&shared, "s", "g").await, 0);
}
