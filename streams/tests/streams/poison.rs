//! Entries that cannot be handled: those that end their process, those that are refused, and whoever may not bury them.

use crate::running::{Recorder, all_acknowledged, group, settings, start};
use crate::support::{add, as_user, eventually, execute, pending, redis, redis_with_users};
use shopwright_redis_stack::RedisStack;
use shopwright_streams::consume::{Counters, Entry, Handler, Outcome, Settings, run};
use shopwright_streams::dead_letter::{self, DeadLetter};
use shopwright_streams::{Client, Endpoint, EntryId, Shared};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const DEAD: &str = "s:dead:g";
const IDLE: Duration = Duration::from_millis(200);
const PORT: &str = "STREAMS_TEST_POISON_PORT";
const NAME: &str = "STREAMS_TEST_POISON_NAME";

async fn letters(shared: &Shared) -> Vec<DeadLetter> {
    dead_letter::list(shared, DEAD, EntryId::ZERO, 100).await.unwrap()
}

/// Ends the process in the middle of the entry, as a crash or the kernel would.
struct Dies;

impl Handler for Dies {
    async fn handle(&self, _: &Entry) -> Outcome {
        std::process::abort()
    }
}

/// Not a test of its own: what the next one starts as a process of its own, told by the environment.
#[tokio::test]
async fn a_process_that_the_entry_ends() {
    let (Ok(port), Ok(name)) = (std::env::var(PORT), std::env::var(NAME)) else {
        return;
    };
    let client = Client::new(Endpoint::new("127.0.0.1", port.parse().unwrap()));
    let settings = Settings {
        claim_min_idle: IDLE,
        ..settings(&name)
    };
    run(
        client,
        settings,
        Arc::new(Dies),
        Arc::default(),
        CancellationToken::new(),
    )
    .await;
}

/// Ends with the test, also with one that fails.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended is as dead as asked for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn process(stack: &RedisStack, name: &str) -> Process {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "poison::a_process_that_the_entry_ends"])
        .env(PORT, stack.port().to_string())
        .env(NAME, name)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    Process(child.unwrap())
}

#[tokio::test]
async fn an_entry_that_kills_five_processes_is_caught_and_can_be_replayed() {
    let (stack, client) = redis().await;
    let shared = client.shared();
    group(&shared).await;
    let id = add(&shared, "s", 7).await;
    // Restarted under its name, as a container in its pod is, or taken by a peer: each death counts.
    for name in ["a", "a", "b", "b", "c"] {
        let mut dying = process(&stack, name);
        let mut ended = None;
        eventually("the process dies of it", async || {
            ended = dying.0.try_wait().unwrap();
            ended.is_some()
        })
        .await;
        assert!(!ended.unwrap().success());
        assert_eq!(letters(&shared).await.len(), 0);
    }
    let mut saved = process(&stack, "d");
    eventually("it is caught", async || letters(&shared).await.len() == 1).await;
    assert_eq!(saved.0.try_wait().unwrap(), None, "a sixth process died of it");
    drop(saved);
    let letter = letters(&shared).await.remove(0);
    assert_eq!(
        (
            letter.reason.as_str(),
            letter.entry,
            letter.deliveries,
            letter.consumer.as_str()
        ),
        ("too-many-deliveries", id, 6, "d")
    );
    assert_eq!(pending(&shared, "s", "g").await, 0);

    // The bug is fixed.
    let handler = Recorder::new(|_| async { Outcome::Done });
    let running = start(&client, settings("e"), &handler);
    assert!(dead_letter::replay(&shared, "s", DEAD, letter.id).await.unwrap());
    eventually("handled", async || handler.totals() == (1, 1)).await;
    all_acknowledged(&shared).await;
    assert_eq!(dead_letter::count(&shared, DEAD).await.unwrap(), 0);
    running.stop().await;
}

/// Panics at the first entry, leaves the second pending, refuses the others.
struct Mixed;

impl Handler for Mixed {
    async fn handle(&self, entry: &Entry) -> Outcome {
        match entry.fields.text("number") {
            Some("0") => panic!("told to"),
            Some("1") => Outcome::Retry,
            _ => Outcome::Reject("malformed"),
        }
    }
}

#[tokio::test]
async fn a_handler_that_panics_or_retries_too_often_and_one_that_rejects_end_in_dead_letters() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    group(&shared).await;
    for number in 0..3 {
        add(&shared, "s", number).await;
    }
    let counters = Arc::<Counters>::default();
    let shutdown = CancellationToken::new();
    let settings = Settings {
        claim_min_idle: IDLE,
        max_deliveries: 3,
        ..settings("a")
    };
    let loops = tokio::spawn(run(
        client.clone(),
        settings,
        Arc::new(Mixed),
        Arc::clone(&counters),
        shutdown.clone(),
    ));
    eventually("all are buried", async || letters(&shared).await.len() == 3).await;
    all_acknowledged(&shared).await;
    let mut found: Vec<_> = letters(&shared)
        .await
        .into_iter()
        .map(|letter| (letter.fields[0].1[0], letter.reason, letter.deliveries))
        .collect();
    found.sort();
    let too_many = "too-many-deliveries".to_owned();
    assert_eq!(
        found,
        [
            (b'0', too_many.clone(), 4),
            (b'1', too_many, 4),
            (b'2', "malformed".to_owned(), 1)
        ]
    );
    assert_eq!(counters.buried.load(Ordering::Relaxed), 3);
    shutdown.cancel();
    loops.await.unwrap();
}

#[tokio::test]
async fn who_may_not_or_shall_not_bury_leaves_poison_unhandled_and_works_on() {
    let reader = "~own (%RW~s %RW~s:dead:g +xreadgroup +xack +xclaim +xautoclaim +xpending +eval)";
    let (stack, client) = redis_with_users(&[("reader", reader)]).await;
    let shared = client.shared();
    for dead_letters in [true, false] {
        execute(&shared, "DEL s").await;
        group(&shared).await;
        let poison = add(&shared, "s", 1).await;
        execute(&shared, "XREADGROUP GROUP g dead STREAMS s >").await;
        execute(
            &shared,
            &format!("XCLAIM s g dead 0 {poison} IDLE 9999 RETRYCOUNT 5 JUSTID"),
        )
        .await;
        let handler = Recorder::new(|_| async { Outcome::Done });
        let one_slot = Settings {
            claim_min_idle: IDLE,
            concurrency: 1,
            dead_letters,
            ..settings("a")
        };
        let running = start(&as_user(&stack, "reader"), one_slot, &handler);
        let given_up = || running.counters.retried.load(Ordering::Relaxed);
        eventually("found, left, and found again", async || given_up() > 1).await;
        let sound = add(&shared, "s", 2).await;
        eventually("the sound one is handled", async || handler.counts(sound) == [1]).await;
        assert_eq!(handler.counts(poison), []);
        running.stop().await;
        assert_eq!(pending(&shared, "s", "g").await, 1);
        assert_eq!(letters(&shared).await.len(), 0);
    }
}
