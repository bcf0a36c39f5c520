//! A real Redis that dies and comes back, loses its power, and has a slow disk.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "this whole crate is a test")]

use std::time::{Duration, Instant};

use redis::AsyncCommands as _;
use redis::aio::MultiplexedConnection;
use shopwright_storm::accounts::Passwords;
use shopwright_storm::database::{Database, Growth, SlowDisk};
use shopwright_storm::plan::{Durability, RedisDeath};

async fn start(durability: Durability, folder: &tempfile::TempDir) -> Database {
    Database::start(durability, Passwords::random().acl("demo"), folder.path())
        .await
        .unwrap()
}

async fn connection(database: &Database) -> MultiplexedConnection {
    database.client().get_multiplexed_async_connection().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_it_comes_back_on_the_same_port_with_all_it_had_answered() {
    let folder = tempfile::tempdir().unwrap();
    let database = start(Durability::Always, &folder).await;
    let (address, first) = (database.address(), database.process_id());
    for round in 1..=2_i64 {
        let mut open = connection(&database).await;
        let count: i64 = open.incr("count", 1).await.unwrap();
        assert_eq!(count, round);
        database.die(RedisDeath::Killed, &Growth::default()).await.unwrap();
        assert!(
            open.incr::<_, _, i64>("count", 1).await.is_err(),
            "the old connection is dead"
        );
    }
    let count: i64 = connection(&database).await.get("count").await.unwrap();
    assert_eq!(count, 2);
    assert_eq!(database.address(), address);
    assert_ne!(database.process_id(), first);
    let deaths = database.deaths();
    assert_eq!(deaths.len(), 2);
    assert!(deaths.iter().all(|died| died.from <= died.until && died.cut == 0));
    assert!(deaths[0].until <= deaths[1].from);
    let safe_in = database.safe_in();
    assert!(safe_in <= deaths[1].loading * 3 && !safe_in.is_zero(), "{safe_in:?}");
}

/// With power lost the end is missing, as much of it as no fsync had covered: never a piece in the middle.
#[tokio::test(flavor = "multi_thread")]
async fn with_the_power_goes_the_last_second_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let database = start(Durability::EverySecond, &folder).await;
    let growth = Growth::default();
    let measuring = {
        let (growth, database) = (growth.clone(), database.clone());
        tokio::spawn(async move { growth.watch(&database).await })
    };
    let mut writing = connection(&database).await;
    let age = Duration::from_millis(900);
    let (began, mut written) = (Instant::now(), Vec::new());
    while began.elapsed() < Duration::from_millis(3_500) {
        let number: u64 = writing.rpush("numbers", written.len()).await.unwrap();
        written.push(Instant::now());
        assert_eq!(number, written.len() as u64);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let died = Instant::now();
    database.die(RedisDeath::PowerLost { age }, &growth).await.unwrap();
    measuring.abort();
    let kept: Vec<usize> = connection(&database).await.lrange("numbers", 0, -1).await.unwrap();
    assert_eq!(kept, (0..kept.len()).collect::<Vec<_>>());
    assert!(
        database.deaths()[0].cut > 0 && kept.len() < written.len(),
        "nothing was lost"
    );
    let (oldest, slack) = (died - written[kept.len()], Duration::from_millis(300));
    assert!(oldest < age + slack, "{oldest:?} before the death");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_disk_slows_every_answer_that_waits_for_it_and_then_no_more() {
    const DELAY: Duration = Duration::from_millis(300);
    let folder = tempfile::tempdir().unwrap();
    let database = start(Durability::Always, &folder).await;
    let mut open = connection(&database).await;
    let slow = match SlowDisk::attach(database.process_id(), DELAY, &folder.path().join("strace.log")) {
        Ok(slow) => slow,
        Err(reason) => {
            eprintln!("not tried: {reason}");
            return;
        }
    };
    let began = Instant::now();
    let () = open.set("key", 1).await.unwrap();
    assert!(began.elapsed() >= DELAY, "{:?}", began.elapsed());
    drop(slow);
    let status = std::fs::read_to_string(format!("/proc/{}/status", database.process_id())).unwrap();
    assert!(status.contains("TracerPid:\t0"), "still traced");
    let () = open.set("key", 2).await.unwrap();
    // It dies under the tracer, too.
    let _slow = SlowDisk::attach(database.process_id(), DELAY, &folder.path().join("strace.log")).unwrap();
    database.die(RedisDeath::Killed, &Growth::default()).await.unwrap();
    let value: i64 = connection(&database).await.get("key").await.unwrap();
    assert_eq!(value, 2);
}

#[test]
fn nobody_to_trace_is_no_slow_disk() {
    let folder = tempfile::tempdir().unwrap();
    // The kernel gives out no such process id.
    let refused = SlowDisk::attach(
        u32::MAX >> 2,
        Duration::from_millis(1),
        &folder.path().join("strace.log"),
    );
    assert!(refused.is_err());
}
