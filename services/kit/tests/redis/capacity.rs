//! Whether Redis is known to be full.

use shopwright_kit::Capacity;
use shopwright_redis_stack::{Options, RedisStack};
use tokio_util::sync::CancellationToken;

use crate::support::{command, eventually, execute, patient, settings, settings_as, users};

#[tokio::test(flavor = "multi_thread")]
async fn eighty_percent_is_full_until_there_is_room_or_no_knowing() {
    let mut stack = RedisStack::start_async(Options::plain()).await.unwrap();
    let redis = patient(&settings(&stack));
    let capacity = Capacity::default();
    let stop = CancellationToken::new();
    let watching = tokio::spawn(capacity.clone().watch(redis.clone(), stop.clone()));
    execute(&redis, "SETRANGE filler 10000000 x").await;
    let information: String = command(&redis, "INFO memory").await.unwrap();
    let used = information.lines().find_map(|line| line.strip_prefix("used_memory:"));
    let used: u64 = used.unwrap().parse().unwrap();

    let limit = async |maximum: u64| execute(&redis, &format!("CONFIG SET maxmemory {maximum}")).await;
    let is = |full: bool| {
        let capacity = &capacity;
        move || async move { capacity.is_full() == full }
    };
    assert!(capacity.require_room().is_ok());
    for _ in 0..2 {
        // 91 %, then 56 %.
        limit(used * 11 / 10).await;
        eventually("it is full", is(true)).await;
        assert_eq!(capacity.require_room().unwrap_err().code(), "capacity");
        limit(used * 18 / 10).await;
        eventually("it is not", is(false)).await;
    }
    limit(used * 11 / 10).await;
    eventually("it is full", is(true)).await;
    limit(0).await;
    eventually("without a limit it is not", is(false)).await;
    limit(used * 11 / 10).await;
    eventually("it is full", is(true)).await;
    stack.kill().unwrap();
    eventually("nobody knows", is(false)).await;
    stop.cancel();
    watching.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_look_does_not_know() {
    let stack = RedisStack::start_async(Options {
        acl: users(&[("blind", "+ping"), ("seeing", "+info")]),
        arguments: ["--maxmemory", "1"].map(str::to_owned).into(),
        ..Options::plain()
    })
    .await
    .unwrap();
    let stop = CancellationToken::new();
    let watched = |user: &str| {
        let capacity = Capacity::default();
        tokio::spawn(
            capacity
                .clone()
                .watch(patient(&settings_as(&stack, user)), stop.clone()),
        );
        capacity
    };
    let (blind, seeing) = (watched("blind"), watched("seeing"));
    eventually("it is full", || async { seeing.is_full() }).await;
    let asked = || async {
        let log: Vec<redis::Value> = command(&patient(&settings(&stack)), "ACL LOG").await.unwrap();
        !log.is_empty()
    };
    eventually("the other was refused", asked).await;
    assert!(!blind.is_full());
    stop.cancel();
}
