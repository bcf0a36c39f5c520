//! A lag that Redis has lost is given back without moving the group.

use crate::group::OPERATOR;
use crate::support::{add, as_user, command, evaluate, eventually, execute, redis, redis_with_users};
use shopwright_streams::Shared;
use shopwright_streams::group::repair;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The lag as Redis says it, and where the group stands.
async fn lag(shared: &Shared) -> (Option<u64>, String) {
    let groups: Vec<BTreeMap<String, redis::Value>> = command(shared, "XINFO GROUPS s").await.unwrap();
    let group = groups.into_iter().next().unwrap();
    let field = |name: &str| group[name].clone();
    (
        redis::from_redis_value(field("lag")).unwrap(),
        redis::from_redis_value(field("last-delivered-id")).unwrap(),
    )
}

#[tokio::test]
async fn a_group_made_at_the_end_of_an_old_stream_gets_its_lag_back() {
    let (stack, client) = redis_with_users(&[("operator", &format!("{OPERATOR} +xgroup|setid"))]).await;
    let shared = client.shared();
    let operator = as_user(&stack, "operator").shared();
    for number in 0..5 {
        add(&shared, "s", number).await;
    }
    execute(&shared, "XGROUP CREATE s g $").await;
    for number in 0..3 {
        add(&shared, "s", number).await;
    }
    let (unknown, position) = lag(&shared).await;
    assert_eq!(unknown, None, "the state to repair");
    assert!(repair(&operator, "s", "g").await.unwrap());
    assert_eq!(lag(&shared).await, (Some(3), position));
    assert!(!repair(&operator, "s", "g").await.unwrap(), "nothing is left to repair");
    execute(&shared, "XREADGROUP GROUP g c COUNT 1 STREAMS s >").await;
    assert_eq!(lag(&shared).await.0, Some(2));
    for missing in ["nowhere", "s"] {
        assert!(!repair(&shared, missing, "nobody").await.unwrap());
    }
}

#[tokio::test]
async fn a_deleted_entry_ahead_is_waited_for_and_then_repaired() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    let mut ids = Vec::new();
    for number in 0..8 {
        ids.push(add(&shared, "s", number).await);
    }
    execute(&shared, "XGROUP CREATE s g 0").await;
    execute(&shared, "XREADGROUP GROUP g c COUNT 1 STREAMS s >").await;
    execute(&shared, &format!("XDEL s {}", ids[3])).await;
    let before = lag(&shared).await;
    assert_eq!(before.0, None, "the state to repair");
    // Redis trusts no counter while it lies ahead, so nothing is written.
    assert!(!repair(&shared, "s", "g").await.unwrap());
    assert_eq!(lag(&shared).await, before);
    execute(&shared, "XREADGROUP GROUP g c COUNT 3 STREAMS s >").await;
    let (unknown, position) = lag(&shared).await;
    assert_eq!(unknown, None, "not at the tail yet");
    assert!(repair(&shared, "s", "g").await.unwrap());
    assert_eq!(lag(&shared).await, (Some(3), position));
}

#[tokio::test]
async fn what_cannot_be_counted_cheaply_is_left_alone() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    let fill = "for i = 1, 2100 do redis.call('XADD', KEYS[1], '1-' .. i, 'a', 1) end";
    evaluate(&shared, fill).await;
    for (position, repaired) in [("1-1050", None), ("1-1000", Some(1100)), ("1-1150", Some(950))] {
        execute(&shared, &format!("XGROUP CREATE s g {position}")).await;
        assert_eq!(lag(&shared).await.0, None);
        assert_eq!(
            repair(&shared, "s", "g").await.unwrap(),
            repaired.is_some(),
            "{position}"
        );
        assert_eq!(lag(&shared).await, (repaired, position.to_owned()));
        execute(&shared, "XGROUP DESTROY s g").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn racing_readers_get_each_entry_once() {
    /// Kept entries of one burst. The deleted one among the first makes the lag unknown, and repairable behind it.
    const BURST: &str = "for i = 1, 10 do redis.call('XADD', KEYS[1], '*', 'a', i) end \
        redis.call('XDEL', KEYS[1], redis.call('XADD', KEYS[1], '*', 'a', 0)) \
        for i = 1, 60 do redis.call('XADD', KEYS[1], '*', 'a', i) end";
    let (_stack, client) = redis().await;
    let shared = client.shared();
    execute(&shared, "XGROUP CREATE s g 0 MKSTREAM").await;
    let read = Arc::new(AtomicUsize::new(0));
    let done = Arc::new(AtomicBool::new(false));
    let repairs = Arc::new(AtomicUsize::new(0));
    let mut tasks = Vec::new();
    for reader in 0..3 {
        let (shared, read, done) = (client.shared(), Arc::clone(&read), Arc::clone(&done));
        tasks.push(tokio::spawn(async move {
            while !done.load(Ordering::Relaxed) {
                let line = format!("XREADGROUP GROUP g c{reader} COUNT 2 STREAMS s >");
                let reply: Option<redis::streams::StreamReadReply> = command(&shared, &line).await.unwrap();
                let number: usize = reply.unwrap_or_default().keys.iter().map(|key| key.ids.len()).sum();
                read.fetch_add(number, Ordering::Relaxed);
            }
        }));
    }
    {
        let (shared, done, repairs) = (client.shared(), Arc::clone(&done), Arc::clone(&repairs));
        tasks.push(tokio::spawn(async move {
            while !done.load(Ordering::Relaxed) {
                let repaired = repair(&shared, "s", "g").await.unwrap();
                repairs.fetch_add(usize::from(repaired), Ordering::Relaxed);
            }
        }));
    }
    let mut kept = 0;
    // Many rounds, and more until there was something to repair.
    while kept < 70 * 30 || repairs.load(Ordering::Relaxed) < 3 {
        evaluate(&shared, BURST).await;
        kept += 70;
        eventually("all read", async || read.load(Ordering::Relaxed) >= kept).await;
        assert!(kept < 70 * 3000, "the race had nothing to repair");
    }
    done.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(read.load(Ordering::Relaxed), kept, "none twice, none lost");
    println!("{kept} entries read once, {} repairs", repairs.load(Ordering::Relaxed));
    add(&shared, "s", 1).await;
    repair(&shared, "s", "g").await.unwrap();
    assert_eq!(lag(&shared).await.0, Some(1));
}
