//! A trim never takes what any group still has to deliver or to finish.

use crate::support::{as_user, command, execute, redis, redis_with_users};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use shopwright_redis_stack::{Options, RedisStack};
use shopwright_streams::trim::{Trimmed, behind};
use shopwright_streams::{Client, EntryId, Shared};
use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const HOUR: Duration = Duration::from_secs(3600);
/// Entries of one block, which Redis frees as a whole.
const BLOCK: usize = 4;

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

async fn small_blocks() -> (RedisStack, Shared) {
    let options = Options {
        arguments: vec!["--stream-node-max-entries".to_owned(), BLOCK.to_string()],
        ..Options::plain()
    };
    let stack = RedisStack::start_async(options).await.unwrap();
    let client = Client::new(crate::support::endpoint(&stack));
    (stack, client.shared())
}

async fn entries(shared: &Shared) -> BTreeSet<EntryId> {
    let all: Vec<(String, redis::Value)> = command(shared, "XRANGE s - +").await.unwrap();
    all.iter().map(|(id, _)| id.parse().unwrap()).collect()
}

/// What some group still needs, computed here from what Redis says about each.
async fn needed(shared: &Shared, entries: &BTreeSet<EntryId>) -> BTreeSet<EntryId> {
    let groups: redis::streams::StreamInfoGroupsReply = command(shared, "XINFO GROUPS s").await.unwrap();
    let mut needed = BTreeSet::new();
    for group in groups.groups {
        let last: EntryId = group.last_delivered_id.parse().unwrap();
        needed.extend(entries.iter().filter(|id| **id > last));
        let pending: Vec<(String, String, u64, u64)> =
            command(shared, &format!("XPENDING s {} - + 100000", group.name))
                .await
                .unwrap();
        needed.extend(pending.iter().map(|item| item.0.parse::<EntryId>().unwrap()));
    }
    needed.intersection(entries).copied().collect()
}

async fn step(shared: &Shared, random: &mut StdRng, clock: &mut u64) {
    let group = ["a", "b"][random.random_range(0..2)];
    let any = |random: &mut StdRng, all: &BTreeSet<EntryId>| {
        let index = random.random_range(0..all.len().max(1));
        all.iter().nth(index).copied()
    };
    let line = match random.random_range(0..20) {
        0..10 => {
            // From three hours ago to now, so that the retention lies in the middle.
            *clock = (*clock + random.random_range(0..60_000)).min(now());
            format!("XADD s {clock}-* a 1")
        }
        10..14 => format!(
            "XREADGROUP GROUP {group} c COUNT {} STREAMS s >",
            random.random_range(1..9)
        ),
        14..18 => {
            let pending: Vec<(String, String, u64, u64)> =
                command(shared, &format!("XPENDING s {group} - + 6")).await.unwrap();
            if pending.is_empty() {
                return;
            }
            let skipped = random.random_range(0..pending.len());
            let ids: Vec<_> = pending
                .iter()
                .skip(skipped.min(1))
                .map(|item| item.0.as_str())
                .collect();
            if ids.is_empty() {
                return;
            }
            format!("XACK s {group} {}", ids.join(" "))
        }
        18 => {
            let Some(id) = any(random, &entries(shared).await) else {
                return;
            };
            let position = if random.random_bool(0.2) {
                "0".to_owned()
            } else {
                id.to_string()
            };
            format!("XGROUP SETID s {group} {position}")
        }
        _ => {
            let Some(id) = any(random, &entries(shared).await) else {
                return;
            };
            format!("XDEL s {id}")
        }
    };
    execute(shared, &line).await;
}

#[tokio::test]
async fn after_any_history_all_that_is_needed_or_young_is_there() {
    let (_stack, shared) = small_blocks().await;
    let mut gone = 0;
    for seed in 0..12 {
        let mut random = StdRng::seed_from_u64(seed);
        execute(&shared, "DEL s").await;
        let mut clock = now() - 3 * 3_600_000;
        execute(&shared, "XGROUP CREATE s a 0 MKSTREAM").await;
        execute(&shared, "XGROUP CREATE s b 0").await;
        for _ in 0..300 {
            step(&shared, &mut random, &mut clock).await;
            if !random.random_bool(0.1) {
                continue;
            }
            let before = entries(&shared).await;
            let needed = needed(&shared, &before).await;
            let old = now() - 3_600_000;
            let trimmed = behind(&shared, "s", &["a", "b"], HOUR).await.unwrap();
            let after = entries(&shared).await;
            let young = now() - 3_600_000;
            let lost: Vec<_> = before.difference(&after).collect();
            assert!(lost.iter().all(|id| !needed.contains(id)), "seed {seed}: {lost:?}");
            assert!(lost.iter().all(|id| id.milliseconds < young), "seed {seed}: {lost:?}");
            let expected = match trimmed {
                Trimmed::Trimmed(number) => usize::try_from(number).unwrap(),
                Trimmed::Nothing => 0,
                Trimmed::Blocked { .. } => panic!("both groups are declared"),
            };
            assert_eq!(lost.len(), expected);
            // And it is no excuse: what lies before all that is needed and is old goes, but for a last block.
            let first_needed = needed.first().copied();
            let left = after
                .iter()
                .filter(|id| id.milliseconds < old && first_needed.is_none_or(|needed| **id < needed));
            let ghosts: usize =
                crate::support::pending(&shared, "s", "a").await + crate::support::pending(&shared, "s", "b").await;
            assert!(left.count() < 2 * BLOCK || ghosts > 0, "seed {seed}: too much is left");
            gone += lost.len();
        }
    }
    assert!(gone > 500, "only {gone} were trimmed: the histories prove little");
}

#[tokio::test]
async fn an_undeclared_or_a_missing_group_blocks() {
    let (stack, client) =
        redis_with_users(&[("operator", "~s* +eval +xinfo|groups +time +xpending +xrange +xtrim")]).await;
    let shared = client.shared();
    let operator = as_user(&stack, "operator").shared();
    assert_eq!(
        behind(&operator, "s", &["a"], HOUR).await.unwrap(),
        Trimmed::Nothing,
        "no stream"
    );
    for number in 1..1000 {
        execute(&shared, &format!("XADD s {number}-1 a 1")).await;
    }
    for declared in [&[][..], &["a"]] {
        assert_eq!(
            behind(&operator, "s", declared, HOUR).await.unwrap(),
            Trimmed::Nothing,
            "no group"
        );
    }
    execute(&shared, "XGROUP CREATE s a $").await;
    execute(&shared, "XGROUP CREATE s stranger $").await;
    execute(&shared, "XGROUP CREATE s stranger-2 $").await;
    assert_eq!(
        behind(&operator, "s", &["a"], HOUR).await.unwrap(),
        Trimmed::Blocked {
            group: "stranger".to_owned(),
            others: 1
        }
    );
    let declared = ["a", "stranger", "stranger-2"];
    let one_more = ["a", "stranger", "stranger-2", "lost"];
    assert_eq!(behind(&operator, "s", &one_more, HOUR).await.unwrap(), Trimmed::Nothing);
    assert_eq!(command::<usize>(&shared, "XLEN s").await.unwrap(), 999);
    // One at the very beginning needs all; one at the greatest id of all needs nothing.
    execute(&shared, "XGROUP SETID s stranger 0").await;
    execute(
        &shared,
        "XGROUP SETID s stranger-2 18446744073709551615-18446744073709551615",
    )
    .await;
    assert_eq!(behind(&operator, "s", &declared, HOUR).await.unwrap(), Trimmed::Nothing);
    execute(&shared, "XGROUP SETID s stranger 950-1").await;
    assert_eq!(
        behind(&operator, "s", &declared, HOUR).await.unwrap(),
        Trimmed::Trimmed(900)
    );
    execute(&shared, "SET t x").await;
    let error = behind(&shared, "t", &["a"], HOUR).await.unwrap_err();
    assert_eq!(error.class(), shopwright_streams::Class::WrongType);
}

#[tokio::test]
async fn the_retention_is_kept_by_the_clock_of_redis() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    execute(&shared, "XGROUP CREATE s a 0 MKSTREAM").await;
    for number in 0..500 {
        crate::support::add(&shared, "s", number).await;
    }
    execute(&shared, "XGROUP SETID s a $").await;
    assert_eq!(behind(&shared, "s", &["a"], HOUR).await.unwrap(), Trimmed::Nothing);
    let longer_than_time = Duration::from_secs(u64::MAX / 1000);
    assert_eq!(
        behind(&shared, "s", &["a"], longer_than_time).await.unwrap(),
        Trimmed::Nothing
    );
    crate::support::eventually("no longer young", async || {
        matches!(
            behind(&shared, "s", &["a"], Duration::from_millis(20)).await.unwrap(),
            Trimmed::Trimmed(_)
        )
    })
    .await;
}
