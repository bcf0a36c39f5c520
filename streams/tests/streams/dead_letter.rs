//! Dead letters: never a copy without an acknowledgement, never an acknowledgement without a copy.

use crate::support::{add, as_user, command, execute, pending, redis, redis_with_users};
use shopwright_streams::dead_letter::{self, Buried, Owners, bury, bury_left};
use shopwright_streams::{Class, EntryId, Shared};
use std::collections::BTreeSet;
use std::time::Duration;

const DEAD: &str = "s:dead:g";
const MINUTE: Duration = Duration::from_secs(60);

async fn letters(shared: &Shared) -> Vec<dead_letter::DeadLetter> {
    dead_letter::list(shared, DEAD, EntryId::ZERO, 10_000).await.unwrap()
}

#[tokio::test]
async fn a_service_buries_replays_are_whole_and_drops_are_final() {
    // As a service has them of another's stream: no reading but through the group, no appending but to the dead letters.
    let service =
        "~own (%RW~s %RW~s:dead:g +xreadgroup +xack +xclaim +xautoclaim +xpending +eval) (%RW~s:dead:g +xadd)";
    let (stack, client) = redis_with_users(&[("service", service)]).await;
    let shared = client.shared();
    let service = as_user(&stack, "service").shared();
    assert_eq!(dead_letter::key("s", "g"), DEAD);
    execute(&shared, "XGROUP CREATE s g 0 MKSTREAM").await;
    let mut ids: Vec<EntryId> = Vec::new();
    for number in 0..3 {
        let id: String = command(&shared, &format!("XADD s * b {number} a x b again"))
            .await
            .unwrap();
        ids.push(id.parse().unwrap());
    }
    execute(&shared, "XREADGROUP GROUP g c STREAMS s >").await;
    execute(&shared, &format!("XDEL s {}", ids[2])).await;

    let peers = bury(&service, "s", "g", "peer", ids[0], "malformed").await.unwrap();
    assert_eq!(peers, Buried::NotOurs);
    assert_eq!(pending(&shared, "s", "g").await, 3);
    for (id, expected) in [(ids[0], Buried::Yes), (ids[1], Buried::Yes), (ids[2], Buried::Gone)] {
        let buried = bury(&service, "s", "g", "c", id, "malformed").await.unwrap();
        assert_eq!(buried, expected);
        let again = bury(&service, "s", "g", "c", id, "malformed").await.unwrap();
        assert_eq!(again, Buried::NotOurs, "buried once");
    }
    assert_eq!(pending(&shared, "s", "g").await, 0);
    execute(&shared, "XADD s:dead:g * a stranger").await;
    let found = letters(&shared).await;
    assert_eq!(found.len(), 2, "what is no dead letter is passed over");
    let first = &found[0];
    assert_eq!(
        (
            first.reason.as_str(),
            first.entry,
            first.deliveries,
            first.consumer.as_str()
        ),
        ("malformed", ids[0], 1, "c")
    );
    let pair = |name: &str, value: &str| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
    assert_eq!(first.fields, [pair("b", "0"), pair("a", "x"), pair("b", "again")]);

    assert!(dead_letter::replay(&shared, "s", DEAD, first.id).await.unwrap());
    assert!(!dead_letter::replay(&shared, "s", DEAD, first.id).await.unwrap());
    let newest: Vec<(String, Vec<String>)> = command(&shared, "XREVRANGE s + - COUNT 1").await.unwrap();
    assert_eq!(newest[0].1, ["b", "0", "a", "x", "b", "again"]);
    assert_ne!(newest[0].0, ids[0].to_string());
    assert!(dead_letter::drop(&shared, DEAD, found[1].id).await.unwrap());
    assert!(!dead_letter::drop(&shared, DEAD, found[1].id).await.unwrap());
    assert_eq!(dead_letter::count(&shared, DEAD).await.unwrap(), 1, "the stranger's");
    let strangers: Vec<(String, redis::Value)> = command(&shared, "XRANGE s:dead:g - +").await.unwrap();
    let stranger = strangers[0].0.parse().unwrap();
    assert!(dead_letter::replay(&shared, "s", DEAD, stranger).await.is_err());
    assert_eq!(dead_letter::count(&shared, DEAD).await.unwrap(), 1);
}

#[tokio::test]
async fn an_entry_of_any_size_is_buried_listed_and_replayed_as_it_was() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    execute(&shared, "XGROUP CREATE s g 0 MKSTREAM").await;
    let long = vec![0xff; 100_000];
    for (round, number) in [3500, 3501, 40_000].into_iter().enumerate() {
        let mut fields: Vec<(Vec<u8>, Vec<u8>)> = (0..number)
            .map(|field| (format!("name {field}").into_bytes(), vec![b'x'; field % 40]))
            .collect();
        fields[0].1.clone_from(&long);
        let mut append = redis::cmd("XADD");
        append.arg("s").arg("*");
        for (name, value) in &fields {
            append.arg(name).arg(value);
        }
        let id: String = append.query_async(&mut shared.clone()).await.unwrap();
        execute(&shared, "XREADGROUP GROUP g c STREAMS s >").await;
        let buried = bury(&shared, "s", "g", "c", id.parse().unwrap(), "malformed").await;
        assert_eq!(buried.unwrap(), Buried::Yes, "{number} fields");
        assert_eq!(pending(&shared, "s", "g").await, 0);
        let letter = letters(&shared).await.remove(0);
        assert_eq!((letter.reason.as_str(), letter.entry.to_string()), ("malformed", id));
        assert!(letter.fields == fields, "{number} fields");
        assert!(dead_letter::replay(&shared, "s", DEAD, letter.id).await.unwrap());
        assert!(!dead_letter::replay(&shared, "s", DEAD, letter.id).await.unwrap());
        let newest: Vec<(String, Vec<Vec<u8>>)> = command(&shared, "XREVRANGE s + - COUNT 1").await.unwrap();
        let flat: Vec<Vec<u8>> = fields.into_iter().flat_map(|(name, value)| [name, value]).collect();
        assert!(newest[0].1 == flat, "{number} fields");
        assert_eq!(command::<usize>(&shared, "XLEN s").await.unwrap(), 2 * (round + 1));
        execute(&shared, "XREADGROUP GROUP g c STREAMS s >").await;
        execute(&shared, &format!("XACK s g {}", newest[0].0)).await;
    }
}

#[tokio::test]
async fn without_a_right_nothing_is_half_done() {
    let (stack, client) = redis_with_users(&[
        ("no_append", "~own (%RW~s %RW~s:dead:g +xack +xclaim +xpending +eval)"),
        (
            "no_ack",
            "~own (%RW~s %RW~s:dead:g +xclaim +xpending +eval) (%RW~s:dead:g +xadd)",
        ),
    ])
    .await;
    let shared = client.shared();
    execute(&shared, "XGROUP CREATE s g 0 MKSTREAM").await;
    let id = add(&shared, "s", 1).await;
    execute(&shared, "XREADGROUP GROUP g c STREAMS s >").await;
    for user in ["no_append", "no_ack"] {
        let refused = bury(&as_user(&stack, user).shared(), "s", "g", "c", id, "malformed").await;
        assert_eq!(refused.unwrap_err().class(), Class::Denied, "{user}");
        let copies = dead_letter::count(&shared, DEAD).await.unwrap();
        assert_eq!(copies, 0, "{user}: a copy and no acknowledgement");
    }
    execute(&shared, "SET s:dead:g text").await;
    let refused = bury(&shared, "s", "g", "c", id, "malformed").await;
    assert_eq!(refused.unwrap_err().class(), Class::WrongType);
    execute(&shared, "DEL s:dead:g").await;
    assert_eq!(dead_letter::count(&shared, DEAD).await.unwrap(), 0);
    let item: Vec<(String, String, u64, u64)> = command(&shared, "XPENDING s g - + 10").await.unwrap();
    assert_eq!((item.len(), item[0].1.as_str(), item[0].3), (1, "c", 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn racing_burials_claims_and_acknowledgements_end_each_entry_once() {
    const ENTRIES: usize = 400;
    let (_stack, client) = redis().await;
    let shared = client.shared();
    execute(&shared, "XGROUP CREATE s g 0 MKSTREAM").await;
    let mut ids = Vec::new();
    for number in 0..ENTRIES {
        ids.push(add(&shared, "s", number).await);
    }
    execute(&shared, &format!("XREADGROUP GROUP g c COUNT {ENTRIES} STREAMS s >")).await;
    let burying: Vec<_> = (0..2)
        .map(|_| {
            let (shared, ids) = (client.shared(), ids.clone());
            tokio::spawn(async move {
                let mut buried = 0;
                for id in ids {
                    let outcome = bury(&shared, "s", "g", "c", id, "malformed").await.unwrap();
                    buried += usize::from(outcome == Buried::Yes);
                }
                buried
            })
        })
        .collect();
    let claiming = {
        let (shared, ids) = (client.shared(), ids.clone());
        tokio::spawn(async move {
            let mut claimed = BTreeSet::new();
            // From the other end, so that they meet.
            for id in ids.into_iter().rev() {
                let line = format!("XCLAIM s g peer 0 {id} JUSTID");
                let got: Vec<String> = command(&shared, &line).await.unwrap();
                claimed.extend(got.iter().map(|id| id.parse::<EntryId>().unwrap()));
            }
            claimed
        })
    };
    let mut buried = 0;
    for task in burying {
        buried += task.await.unwrap();
    }
    let claimed = claiming.await.unwrap();
    let dead: Vec<EntryId> = letters(&shared).await.iter().map(|letter| letter.entry).collect();
    let distinct: BTreeSet<EntryId> = dead.iter().copied().collect();
    assert_eq!((dead.len(), distinct.len()), (buried, buried), "each buried once");
    assert!(distinct.is_disjoint(&claimed), "buried, and a peer has it");
    assert_eq!(buried + claimed.len(), ENTRIES, "one or the other");
    assert_eq!(pending(&shared, "s", "g").await, claimed.len());
    assert!(buried > 0 && !claimed.is_empty(), "no race: {buried} buried");
}

#[tokio::test]
async fn the_operator_moves_only_poison_that_nobody_handles() {
    let operator = "~s ~s:dead:* +eval +xpending +xclaim +xack (~s:dead:* +xadd)";
    let (stack, client) = redis_with_users(&[("operator", operator)]).await;
    let shared = client.shared();
    let operator = as_user(&stack, "operator").shared();
    execute(&shared, "XGROUP CREATE s g 0 MKSTREAM").await;
    let idle = |seconds: u64| seconds * 1000;
    // Owner, idle time, deliveries, and whether it is poison that nobody handles, with 5 deliveries in 60 s.
    let cases = [
        ("ours", idle(61), 5, true),
        ("ours", idle(40), 5, false),
        ("ours", idle(40), 6, true),
        ("ours", idle(20), 6, false),
        ("ours", idle(9999), 4, false),
        ("theirs", idle(9999), 9, false),
    ];
    for (number, (owner, idle, deliveries, _)) in cases.iter().enumerate() {
        let id = add(&shared, "s", number).await;
        execute(&shared, &format!("XREADGROUP GROUP g {owner} STREAMS s >")).await;
        let line = format!("XCLAIM s g {owner} 0 {id} IDLE {idle} RETRYCOUNT {deliveries} JUSTID");
        execute(&shared, &line).await;
    }
    // More than one page of entries that are old and sound.
    for number in 0..300 {
        add(&shared, "s", number).await;
    }
    execute(&shared, "XREADGROUP GROUP g ours STREAMS s >").await;
    let last = add(&shared, "s", 999).await;
    execute(&shared, "XREADGROUP GROUP g ours STREAMS s >").await;
    execute(
        &shared,
        &format!("XCLAIM s g ours 0 {last} IDLE 61000 RETRYCOUNT 7 JUSTID"),
    )
    .await;

    let named = Owners::Named(&["ours", "gone"]);
    for nothing in [
        bury_left(&operator, "s", "g", Owners::Named(&[]), MINUTE, 5, 9).await,
        bury_left(&operator, "s", "g", named, MINUTE, 0, 9).await,
        bury_left(&operator, "s", "g", named, MINUTE, 5, 0).await,
    ] {
        assert_eq!(nothing.unwrap(), 0);
    }
    assert_eq!(
        bury_left(&operator, "s", "g", named, MINUTE, 5, 1).await.unwrap(),
        1,
        "the limit"
    );
    assert_eq!(bury_left(&operator, "s", "g", named, MINUTE, 5, 9).await.unwrap(), 2);
    let dead = letters(&shared).await;
    let deliveries: Vec<u64> = dead.iter().map(|letter| letter.deliveries).collect();
    assert_eq!(deliveries, [5, 6, 7]);
    assert!(
        dead.iter()
            .all(|letter| letter.reason == "too-many-deliveries" && letter.consumer == "ours")
    );
    assert_eq!(
        bury_left(&operator, "s", "g", Owners::Any, MINUTE, 5, 9).await.unwrap(),
        1
    );
    assert_eq!(letters(&shared).await[3].consumer, "theirs");
    assert_eq!(pending(&shared, "s", "g").await, 3 + 300);
}
