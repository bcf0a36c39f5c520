//! The ways in which the shops that this one descends from lose orders on their streams, replayed by hand, and what the
//! loop does in the same situation. What concerns money, stock and HTTP stands with the services.

use crate::batching::{Batches, add_all, all};
use crate::running::{HOUR, Recorder, all_acknowledged, group, hour, settings, start, start_batches};
use crate::support::{add, command, eventually, execute, pending, redis};
use shopwright_streams::consume::{BatchHandler, Entry, Handler, Outcome, Settings};
use shopwright_streams::group::StartFrom;
use shopwright_streams::{Class, EntryId, dead_letter, hand_over};
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Duration;

fn from_the_beginning(consumer: &str) -> Settings {
    Settings {
        ensure: Some(StartFrom::Beginning),
        ..settings(consumer)
    }
}

/// The group is created without its stream, the error is taken for "already exists", and a consumer that starts first
/// meets NOGROUP for ever.
#[tokio::test]
async fn seed_s01_group_without_stream() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    let refused = command::<redis::Value>(&shared, "XGROUP CREATE s g 0").await;
    assert!(refused.is_err());
    let read = command::<redis::Value>(&shared, "XREADGROUP GROUP g a STREAMS s >").await;
    let error = shopwright_streams::Error::from(read.unwrap_err());
    assert_eq!(error.class(), Class::NoGroup);

    let handler = Recorder::new(|_| async { Outcome::Done });
    let running = start(&client, from_the_beginning("a"), &handler);
    eventually("the loop has made both", async || {
        command::<redis::Value>(&shared, "XINFO GROUPS s").await.is_ok()
    })
    .await;
    let id = add(&shared, "s", 1).await;
    all_acknowledged(&shared).await;
    assert_eq!(handler.counts(id), [1]);
    running.stop().await;
}

/// The group begins at the newest entry, so what was there before it, also before it was lost and made again, is never
/// delivered.
#[tokio::test]
async fn seed_s02_group_at_newest() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    let before = add_all(&shared, 0..3).await;
    execute(&shared, "XGROUP CREATE s seed $").await;
    let read: redis::Value = command(&shared, "XREADGROUP GROUP seed a STREAMS s >").await.unwrap();
    assert_eq!(read, redis::Value::Nil);

    let handler = Recorder::new(|_| async { Outcome::Done });
    let running = start(&client, from_the_beginning("a"), &handler);
    eventually("those from before the group", async || handler.totals() == (3, 1)).await;
    all_acknowledged(&shared).await;
    // In one step, so that the loop cannot make the group in between.
    let lose = "redis.call('XGROUP', 'DESTROY', KEYS[1], 'g') redis.call('XADD', KEYS[1], '*', 'number', 3)";
    execute(&shared, "XGROUP DESTROY s seed").await;
    crate::support::evaluate(&shared, lose).await;
    eventually("the one added while there was no group", async || {
        handler.totals().0 == 4
    })
    .await;
    all_acknowledged(&shared).await;
    // All of them come again: too often, and never too seldom.
    for id in before {
        assert_eq!(handler.counts(id), [1, 1]);
    }
    running.stop().await;
}

/// Deals with the first entry of what it is given and forgets the others.
#[derive(Default)]
struct OnlyTheFirst(Mutex<BTreeSet<EntryId>>);

impl BatchHandler for OnlyTheFirst {
    async fn handle(&self, entries: &[Entry]) -> Vec<Outcome> {
        self.0.lock().unwrap().insert(entries[0].id);
        vec![Outcome::Done]
    }
}

/// Two orders in one reply: the second is delivered, not handled, and never delivered again.
#[tokio::test]
async fn seed_s03_only_first_of_a_batch() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    group(&shared).await;
    add_all(&shared, 0..3).await;
    execute(&shared, "XREADGROUP GROUP g seed STREAMS s >").await;
    let again: redis::Value = command(&shared, "XREADGROUP GROUP g seed STREAMS s >").await.unwrap();
    assert_eq!((again, pending(&shared, "s", "g").await), (redis::Value::Nil, 3));

    for batches in [false, true] {
        execute(&shared, "DEL s").await;
        group(&shared).await;
        add_all(&shared, 0..3).await;
        let singly = Recorder::new(|_| async { Outcome::Done });
        let together = Batches::new(|entries| async move { all(&entries, Outcome::Done) });
        let running = if batches {
            start_batches(&client, hour("a"), &together)
        } else {
            start(&client, hour("a"), &singly)
        };
        all_acknowledged(&shared).await;
        assert_eq!(singly.totals().0 + together.entries(), 3);
        running.stop().await;
    }

    // And a handler with this very bug: what it says nothing of stays pending and comes again.
    let ids = add_all(&shared, 0..3).await;
    let forgetful = std::sync::Arc::<OnlyTheFirst>::default();
    let quick = Settings {
        claim_min_idle: Duration::from_millis(100),
        ..settings("a")
    };
    let running = start_batches(&client, quick, &forgetful);
    all_acknowledged(&shared).await;
    assert_eq!(*forgetful.0.lock().unwrap(), BTreeSet::from_iter(ids));
    running.stop().await;
}

/// Nothing is acknowledged and nothing claimed: what a crash interrupts is lost, and the pending list grows for ever.
#[tokio::test]
async fn seed_s04_never_acks_never_claims() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    group(&shared).await;
    add_all(&shared, 0..30).await;
    execute(&shared, "XREADGROUP GROUP g crashed COUNT 10 STREAMS s >").await;
    let handler = Batches::new(|entries| async move { all(&entries, Outcome::Done) });
    let quick = Settings {
        claim_min_idle: Duration::from_millis(100),
        ..settings("a")
    };
    let running = start_batches(&client, quick, &handler);
    all_acknowledged(&shared).await;
    for number in 0..10 {
        assert_eq!(handler.counts(number), [2]);
    }
    for number in 10..30 {
        assert_eq!(handler.counts(number), [1]);
    }
    running.stop().await;
}

/// Replicas share the name of the stream as their consumer's name. Against the rule, and still nothing is lost: what two
/// processes of one name take from each other is handled twice.
#[tokio::test]
async fn seed_s05_one_consumer_name_for_all() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    group(&shared).await;
    let handler = Recorder::new(|_| async {
        tokio::time::sleep(Duration::from_millis(2)).await;
        Outcome::Done
    });
    let unlimited = |name: &str| Settings {
        max_deliveries: 0,
        ..hour(name)
    };
    let first = start(&client, unlimited("s"), &handler);
    add_all(&shared, 0..100).await;
    let second = start(&client, unlimited("s"), &handler);
    add_all(&shared, 100..200).await;
    // One of them is stopped, and one killed, with work of both under the name.
    first.stop().await;
    add_all(&shared, 200..300).await;
    second.kill().await;
    let third = start(&client, unlimited("s"), &handler);
    all_acknowledged(&shared).await;
    assert_eq!(handler.totals().0, 300);
    third.stop().await;

    // By the rule a name is a pod's: it says whose entries are orphaned when the pod is gone, and they go to a peer at
    // once, while those of the living stay where they are.
    add_all(&shared, 0..4).await;
    execute(&shared, "XREADGROUP GROUP g pod-gone COUNT 2 STREAMS s >").await;
    execute(&shared, "XREADGROUP GROUP g pod-alive COUNT 2 STREAMS s >").await;
    hand_over::of(&shared, "s", "g", "pod-gone", HOUR, 10).await.unwrap();
    let peers = Batches::new(|entries| async move { all(&entries, Outcome::Done) });
    let peer = start_batches(&client, hour("pod-peer"), &peers);
    eventually("the orphans", async || peer.counters.done.load(Ordering::Relaxed) == 2).await;
    assert_eq!(
        (peers.counts(0), peers.counts(1), peers.entries()),
        (vec![1], vec![1], 2)
    );
    let held: Vec<redis::Value> = command(&shared, "XPENDING s g - + 9 pod-alive").await.unwrap();
    assert_eq!(held.len(), 2);
    peer.stop().await;
}

/// Handles entries with a number, and refuses others as no order at all.
#[derive(Default)]
struct Orders(Mutex<BTreeSet<EntryId>>);

impl Orders {
    fn outcome(&self, entry: &Entry) -> Outcome {
        if entry.fields.text("number").is_none() {
            return Outcome::Reject("malformed");
        }
        self.0.lock().unwrap().insert(entry.id);
        Outcome::Done
    }
}

impl Handler for Orders {
    async fn handle(&self, entry: &Entry) -> Outcome {
        self.outcome(entry)
    }
}

impl BatchHandler for Orders {
    async fn handle(&self, entries: &[Entry]) -> Vec<Outcome> {
        entries.iter().map(|entry| self.outcome(entry)).collect()
    }
}

/// A stream is begun with a dummy entry; the handler raises at it, and the real order that came in the same reply is lost.
#[tokio::test]
async fn seed_s17_dummy_entry_before_a_real_order() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    for batches in [false, true] {
        execute(&shared, "DEL s s:dead:g").await;
        group(&shared).await;
        let dummy: String = command(&shared, "XADD s * init 1").await.unwrap();
        let order = add(&shared, "s", 1).await;
        let handler = std::sync::Arc::<Orders>::default();
        let running = if batches {
            start_batches(&client, hour("a"), &handler)
        } else {
            start(&client, hour("a"), &handler)
        };
        all_acknowledged(&shared).await;
        assert_eq!(*handler.0.lock().unwrap(), BTreeSet::from([order]));
        let dead = dead_letter::list(&shared, "s:dead:g", EntryId::ZERO, 9).await.unwrap();
        assert_eq!(dead.len(), 1);
        assert_eq!(
            (dead[0].entry.to_string(), dead[0].reason.as_str(), &dead[0].fields),
            (dummy, "malformed", &vec![(b"init".to_vec(), b"1".to_vec())])
        );
        running.stop().await;
    }
}
