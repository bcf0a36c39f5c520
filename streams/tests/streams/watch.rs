//! The watcher wakes at once, follows changes of its set, and lets no key spoil it for the others.

use crate::support::{DEADLINE, add, as_user, execute, redis, redis_with_users, within};
use shopwright_streams::watch::{Event, Settings, Watch, Watcher};
use shopwright_streams::{Class, EntryId};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedReceiver;

/// Whatever waits for the end of a block fails by the deadline.
const NEVER: Settings = Settings {
    block: Duration::from_secs(3600),
    probe: Duration::from_millis(50),
};

fn watch(key: &str, after: EntryId) -> Watch {
    Watch {
        key: key.to_owned(),
        after,
    }
}

async fn next<T>(events: &mut UnboundedReceiver<Event<T>>) -> Event<T> {
    within("an event", events.recv()).await.unwrap()
}

async fn blocked(shared: &shopwright_streams::Shared) {
    crate::support::eventually("a blocked client", async || {
        let info: String = crate::support::command(shared, "INFO clients").await.unwrap();
        info.contains("blocked_clients:1")
    })
    .await;
}

#[tokio::test]
async fn wakes_in_milliseconds() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    let (watcher, mut events) = Watcher::start(client.clone(), NEVER);
    for key in 0..200 {
        watcher.watch(format!("other-{key}"), watch(&format!("other-{key}"), EntryId::ZERO));
    }
    let mut last = EntryId::ZERO;
    let mut waits = Vec::new();
    for number in 0..20 {
        watcher.watch("s".to_owned(), watch("s", last));
        tokio::time::sleep(Duration::from_millis(10)).await;
        blocked(&shared).await;
        let began = Instant::now();
        last = add(&shared, "s", number).await;
        assert_eq!(next(&mut events).await, Event::Woken("s".to_owned()));
        waits.push(began.elapsed());
    }
    waits.sort();
    println!(
        "woken after {:?} (median), {:?} (longest), XADD included",
        waits[10], waits[19]
    );
    // The half of twenty is slow only if every wake is.
    assert!(waits[10] < Duration::from_millis(250), "{waits:?}");
}

#[tokio::test]
async fn an_entry_that_is_already_there_wakes_too_and_once() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    let first = add(&shared, "s", 1).await;
    let (watcher, mut events) = Watcher::start(client.clone(), NEVER);
    watcher.watch(1, watch("s", EntryId::ZERO));
    assert_eq!(next(&mut events).await, Event::Woken(1));
    watcher.watch(2, watch("s", first));
    blocked(&shared).await;
    add(&shared, "s", 2).await;
    assert_eq!(next(&mut events).await, Event::Woken(2));
    assert!(events.try_recv().is_err(), "the woken watch had left the set");
}

#[tokio::test]
async fn a_new_watch_waits_for_nobodys_block() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    add(&shared, "ready", 1).await;
    let (watcher, mut events) = Watcher::start(client.clone(), NEVER);
    watcher.watch("idle", watch("idle", EntryId::ZERO));
    blocked(&shared).await;
    watcher.watch("ready", watch("ready", EntryId::ZERO));
    assert_eq!(next(&mut events).await, Event::Woken("ready"));
    watcher.watch("later", watch("later", EntryId::ZERO));
    blocked(&shared).await;
    // Taking out does not disturb the call under way, however often.
    for _ in 0..50 {
        watcher.unwatch("idle");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    add(&shared, "idle", 1).await;
    add(&shared, "later", 1).await;
    assert_eq!(next(&mut events).await, Event::Woken("later"));
}

#[tokio::test]
async fn a_key_of_another_type_is_set_apart_until_it_is_a_stream() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    execute(&shared, "SET bad text").await;
    let (watcher, mut events) = Watcher::start(client.clone(), NEVER);
    watcher.watch("bad", watch("bad", EntryId::ZERO));
    watcher.watch("good", watch("good", EntryId::ZERO));
    let Event::Refused("bad", error) = next(&mut events).await else {
        panic!("not refused")
    };
    assert_eq!(error.class(), Class::WrongType);
    add(&shared, "good", 1).await;
    assert_eq!(next(&mut events).await, Event::Woken("good"));
    execute(&shared, "DEL bad").await;
    add(&shared, "bad", 1).await;
    assert_eq!(next(&mut events).await, Event::Woken("bad"));
    // A key that turns bad while it is watched.
    watcher.watch(
        "good",
        watch(
            "good",
            EntryId {
                milliseconds: u64::MAX,
                sequence: 0,
            },
        ),
    );
    watcher.watch("turns", watch("turns", EntryId::ZERO));
    blocked(&shared).await;
    execute(&shared, "SET turns text").await;
    watcher.watch("fresh", watch("fresh", EntryId::ZERO));
    assert!(matches!(next(&mut events).await, Event::Refused("turns", _)));
    add(&shared, "fresh", 1).await;
    assert_eq!(next(&mut events).await, Event::Woken("fresh"));
}

#[tokio::test]
async fn a_forbidden_key_is_set_apart_until_it_is_allowed() {
    let (stack, client) = redis_with_users(&[("operator", "~s* +xread")]).await;
    let shared = client.shared();
    let (watcher, mut events) = Watcher::start(as_user(&stack, "operator"), NEVER);
    watcher.watch("theirs", watch("theirs", EntryId::ZERO));
    watcher.watch("s", watch("s", EntryId::ZERO));
    let Event::Refused("theirs", error) = next(&mut events).await else {
        panic!("not refused")
    };
    assert_eq!(error.code(), Some("NOPERM"));
    add(&shared, "s", 1).await;
    add(&shared, "theirs", 1).await;
    assert_eq!(next(&mut events).await, Event::Woken("s"));
    execute(&shared, "ACL SETUSER operator ~theirs").await;
    assert_eq!(next(&mut events).await, Event::Woken("theirs"));
}

#[tokio::test]
async fn a_restarted_redis_is_watched_again() {
    let (mut stack, client) = redis().await;
    let shared = client.shared();
    let (watcher, mut events) = Watcher::start(client.clone(), NEVER);
    watcher.watch("s", watch("s", EntryId::ZERO));
    blocked(&shared).await;
    stack.kill().unwrap();
    let Event::Lost(error) = next(&mut events).await else {
        panic!("not lost")
    };
    assert_eq!(error.class(), Class::Unreachable);
    stack.restart().unwrap();
    add(&shared.repeating(), "s", 1).await;
    let mut seen = vec![next(&mut events).await, next(&mut events).await];
    seen.sort_by_key(|event| matches!(event, Event::Woken(_)));
    assert_eq!(seen, [Event::Restored, Event::Woken("s")]);
}

#[tokio::test]
async fn dropping_the_watcher_closes_its_connection() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    let (watcher, _events) = Watcher::start(client.clone(), NEVER);
    watcher.watch("s", watch("s", EntryId::ZERO));
    blocked(&shared).await;
    drop(watcher);
    let began = Instant::now();
    crate::support::eventually("no blocked client", async || {
        let info: String = crate::support::command(&shared, "INFO clients").await.unwrap();
        info.contains("blocked_clients:0")
    })
    .await;
    assert!(began.elapsed() < DEADLINE);
}
