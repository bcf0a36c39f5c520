//! What is handed over is claimable at once, keeps its owner and its count, and is marked once.

use crate::support::{add, as_user, command, evaluate, execute, redis, redis_with_users};
use shopwright_streams::hand_over::{HandedOver, of, of_failed};
use shopwright_streams::{EntryId, Shared};
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

/// Owner, idle milliseconds and delivery count of each pending entry.
async fn pending(shared: &Shared) -> Vec<(String, String, u64, u64)> {
    command(shared, "XPENDING s g - + 10000").await.unwrap()
}

async fn claim(shared: &Shared, consumer: &str, idle: u64) -> usize {
    let page: (String, Vec<redis::Value>, redis::Value) =
        command(shared, &format!("XAUTOCLAIM s g {consumer} {idle} 0 COUNT 1000"))
            .await
            .unwrap();
    page.1.len()
}

#[tokio::test]
async fn a_peer_may_claim_at_once_and_no_delivery_is_burnt() {
    let (stack, client) = redis_with_users(&[("operator", "~s +eval +xpending +xclaim")]).await;
    let shared = client.shared();
    let operator = as_user(&stack, "operator").shared();
    execute(&shared, "XGROUP CREATE s g 0 MKSTREAM").await;
    for number in 0..3 {
        add(&shared, "s", number).await;
    }
    execute(&shared, "XREADGROUP GROUP g gone COUNT 2 STREAMS s >").await;
    execute(&shared, "XREADGROUP GROUP g live COUNT 1 STREAMS s >").await;
    for round in 0..3 {
        let before = pending(&shared).await;
        assert_eq!(
            of(&operator, "s", "g", "gone", MINUTE, 100).await.unwrap(),
            HandedOver {
                entries: 2,
                remaining: false
            }
        );
        let after = pending(&shared).await;
        for (before, after) in before.iter().zip(&after) {
            assert_eq!(before.1, after.1, "the owner stays");
            let is_marked = after.2 >= 3_600_000;
            assert_eq!(is_marked, after.1 == "gone", "{after:?}");
        }
        // A second run, as after a lost reply, finds nothing to do and takes nothing off the count.
        assert_eq!(
            of(&operator, "s", "g", "gone", MINUTE, 100).await.unwrap(),
            HandedOver::default()
        );
        assert_eq!(claim(&shared, "gone", 3_600_000).await, 2);
        let counts: Vec<u64> = pending(&shared).await.iter().map(|item| item.3).collect();
        assert_eq!(counts, [1, 1, 1], "round {round}");
    }
    assert_eq!(
        of(&operator, "s", "g", "nobody", MINUTE, 100).await.unwrap(),
        HandedOver::default()
    );
}

#[tokio::test]
async fn peers_need_not_wait_out_a_claim_time_of_hours_and_a_failed_delivery_stays_counted() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    execute(&shared, "XGROUP CREATE s g 0 MKSTREAM").await;
    add(&shared, "s", 1).await;
    execute(&shared, "XREADGROUP GROUP g gone STREAMS s >").await;
    let day = Duration::from_secs(86_400);
    for marked in [1, 0] {
        assert_eq!(
            of_failed(&shared, "s", "g", "gone", day, 9).await.unwrap().entries,
            marked
        );
        assert_eq!(pending(&shared).await[0].3, 1);
    }
    assert_eq!(claim(&shared, "peer", 86_400_000).await, 1);
}

#[tokio::test]
async fn deleted_entries_are_let_go_and_a_limit_is_kept() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    execute(&shared, "XGROUP CREATE s g 0 MKSTREAM").await;
    let mut ids: Vec<EntryId> = Vec::new();
    for number in 0..4 {
        ids.push(add(&shared, "s", number).await);
    }
    evaluate(
        &shared,
        "for i = 1, 996 do redis.call('XADD', KEYS[1], '*', 'a', i) end",
    )
    .await;
    execute(&shared, "XREADGROUP GROUP g gone COUNT 1000 STREAMS s >").await;
    execute(&shared, &format!("XDEL s {} {}", ids[0], ids[2])).await;
    let mut calls = Vec::new();
    loop {
        let handed_over = of(&shared, "s", "g", "gone", MINUTE, 400).await.unwrap();
        calls.push(handed_over.entries);
        if !handed_over.remaining {
            break;
        }
    }
    assert_eq!(calls, [400, 400, 198]);
    let left = pending(&shared).await;
    assert_eq!(left.len(), 998, "ghosts are gone");
    assert!(left.iter().all(|item| item.2 >= 3_600_000 && item.3 == 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn racing_hand_overs_and_claims_lose_nothing_and_never_mark_a_peers() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    execute(&shared, "XGROUP CREATE s g 0 MKSTREAM").await;
    evaluate(
        &shared,
        "for i = 1, 2000 do redis.call('XADD', KEYS[1], '*', 'a', i) end",
    )
    .await;
    execute(&shared, "XREADGROUP GROUP g gone COUNT 2000 STREAMS s >").await;
    let handing = (0..2).map(|_| {
        let shared = client.shared();
        tokio::spawn(async move { while of(&shared, "s", "g", "gone", MINUTE, 50).await.unwrap().entries > 0 {} })
    });
    let claiming = ["a", "b"].map(|name| {
        let shared = client.shared();
        tokio::spawn(async move {
            let mut claimed = 0;
            for _ in 0..200 {
                claimed += claim(&shared, name, 3_600_000).await;
            }
            claimed
        })
    });
    for task in handing.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let mut claimed = 0;
    for task in claiming {
        claimed += task.await.unwrap();
    }
    claimed += claim(&shared, "a", 3_600_000).await + claim(&shared, "a", 3_600_000).await;
    assert_eq!(claimed, 2000, "each was claimed once");
    let left = pending(&shared).await;
    assert_eq!(left.len(), 2000);
    assert!(
        left.iter()
            .all(|item| item.1 != "gone" && item.2 < 3_600_000 && item.3 == 1)
    );
}
