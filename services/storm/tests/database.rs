//! A real Redis that dies and comes back, loses its power, and has a slow disk.
#![allow(clippy::unwrap_used, reason = "this whole crate is a test")]

use std::io::Write as _;
use std::ops::Range;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands as _, AsyncConnectionConfig};
use shopwright_storm::accounts::Passwords;
use shopwright_storm::database::{Database, Growth, SlowDisk};
use shopwright_storm::plan::{Durability, RedisDeath};

async fn start(durability: Durability, folder: &tempfile::TempDir) -> Database {
    Database::start(durability, Passwords::random().acl("demo"), folder.path())
        .await
        .unwrap()
}

async fn connection(database: &Database) -> MultiplexedConnection {
    // Longer than any disk takes, shorter than a hang.
    let patient = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(Duration::from_secs(60)))
        .set_response_timeout(Some(Duration::from_secs(60)));
    let client = database.client();
    client
        .get_multiplexed_async_connection_with_config(&patient)
        .await
        .unwrap()
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
        let began = Instant::now();
        database.die(RedisDeath::Killed, &Growth::default()).await.unwrap();
        let (safe_in, three_loads) = (database.safe_in(), database.deaths().last().unwrap().loading * 3);
        assert!(safe_in <= three_loads, "{safe_in:?}");
        assert!(safe_in >= three_loads.saturating_sub(began.elapsed()), "{safe_in:?}");
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
}

/// With power lost the end is missing, and nothing that was written longer ago.
#[tokio::test(flavor = "multi_thread")]
async fn with_the_power_goes_the_last_second_and_no_more() {
    const OLD: usize = 200;
    /// Several intervals.
    const MEASURED: Duration = Duration::from_millis(100);
    let folder = tempfile::tempdir().unwrap();
    let database = start(Durability::EverySecond, &folder).await;
    let growth = Growth::default();
    let mut writing = connection(&database).await;
    let age = Duration::from_millis(900);
    // It measures while numbers are written, and last when the file has all of the old ones.
    measured(&growth, &database, write(&mut writing, 0..OLD)).await;
    measured(&growth, &database, tokio::time::sleep(MEASURED)).await;
    tokio::time::sleep(age).await;
    write(&mut writing, OLD..2 * OLD).await;
    database.die(RedisDeath::PowerLost { age }, &growth).await.unwrap();
    let kept: Vec<usize> = connection(&database).await.lrange("numbers", 0, -1).await.unwrap();
    assert_eq!(kept, (0..OLD).collect::<Vec<_>>());
    assert!(database.deaths()[0].cut > 0);
}

/// Measures as long as the work takes. What is due is measured before the work is looked at.
async fn measured(growth: &Growth, database: &Database, work: impl Future<Output = ()>) {
    tokio::select! {
        biased;
        never = growth.watch(database) => match never {},
        () = work => {}
    }
}

async fn write(connection: &mut MultiplexedConnection, numbers: Range<usize>) {
    for number in numbers {
        let length: usize = connection.rpush("numbers", number).await.unwrap();
        assert_eq!(length, number + 1);
    }
    // A busy disk makes Redis answer before it writes.
    let on_disk: (u64, u64) = redis::cmd("WAITAOF")
        .arg(&[1, 0, 0])
        .query_async(connection)
        .await
        .unwrap();
    assert_eq!(on_disk.0, 1);
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
            // Unlike println!, this is shown of a test that passes.
            let _ = writeln!(std::io::stdout(), "left out: {reason}");
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
