//! The shared connection and the search index against a real Redis that comes, goes and changes its mind.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{future::Future, time::Duration};

use shopwright_kit::{
    Redis, RedisSettings, Secret,
    connection::Timeouts,
    search_index::{IndexReady, SearchIndex},
};
use shopwright_redis_stack::{Options, RedisStack};
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(60);

/// A loaded machine must not fail a test.
fn patient(settings: &RedisSettings) -> Redis {
    Redis::with_timeouts(
        settings,
        Timeouts {
            connect: PATIENCE,
            response: PATIENCE,
            ping: PATIENCE,
        },
    )
    .unwrap()
}

fn settings(stack: &RedisStack) -> RedisSettings {
    RedisSettings {
        host: stack.host().to_owned(),
        port: stack.port(),
        username: None,
        password: None,
    }
}

async fn eventually<F, Fut>(what: &str, condition: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = bool>,
{
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !condition().await {
        assert!(tokio::time::Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_starts_without_redis_and_finds_it_again_each_time() {
    let mut stack = RedisStack::start_async(Options::plain()).await.unwrap();
    stack.kill().unwrap();
    let redis = patient(&settings(&stack));
    let stop = CancellationToken::new();
    let watching = tokio::spawn(redis.clone().watch(stop.clone()));
    assert!(!redis.reachable());
    assert_eq!((redis.readiness())().await, Err("unreachable"));
    for _ in 0..3 {
        stack.restart().unwrap();
        eventually("it is reachable", || async { redis.reachable() }).await;
        stack.kill().unwrap();
        eventually("it is not", || async { !redis.reachable() }).await;
    }
    stop.cancel();
    watching.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_idempotent_call_after_a_restart_succeeds() {
    let mut stack = RedisStack::start_async(Options::plain()).await.unwrap();
    let redis = patient(&settings(&stack));
    redis.ping().await.unwrap();
    for _ in 0..10 {
        stack.restart().unwrap();
        // The old connection is dead and nobody has noticed yet.
        redis::cmd("GET")
            .arg("a")
            .query_async::<Option<String>>(&mut redis.idempotent())
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_password_is_not_refused_for_ever() {
    let stack = RedisStack::start_async(Options {
        acl: vec!["user default off".to_owned()],
        ..Options::plain()
    })
    .await
    .unwrap();
    let user = RedisSettings {
        username: Some("late".to_owned()),
        password: Some(Secret::new("password")),
        ..settings(&stack)
    };
    let redis = patient(&user);
    for _ in 0..3 {
        assert!(redis.ping().await.is_err());
    }
    let mut harness = stack
        .client()
        .unwrap()
        .get_multiplexed_async_connection()
        .await
        .unwrap();
    redis::cmd("ACL")
        .arg(&["SETUSER", "late", "on", ">password", "+@all", "~*"])
        .query_async::<()>(&mut harness)
        .await
        .unwrap();
    eventually("it is let in", || async { redis.ping().await.is_ok() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_is_made_and_made_again() {
    let stack = RedisStack::start_async(Options::default()).await.unwrap();
    let redis = patient(&settings(&stack));
    let mut connection = redis.idempotent();
    for document in 0..2_000 {
        redis::cmd("JSON.SET")
            .arg(format!("thing:{document}"))
            .arg(&["$", r#"{"name":"the thing"}"#])
            .query_async::<()>(&mut connection)
            .await
            .unwrap();
    }
    let ready = IndexReady::default();
    let stop = CancellationToken::new();
    let index = SearchIndex {
        name: "idx:things".to_owned(),
        prefix: "thing:".to_owned(),
        schema: &["$.name", "AS", "name", "TEXT"],
    };
    // Two replicas at once.
    for _ in 0..2 {
        tokio::spawn(
            index
                .clone()
                .keep(redis.clone(), settings(&stack), ready.clone(), stop.clone()),
        );
    }
    eventually("it is ready", || async { ready.is_ready() }).await;
    let found = || async {
        redis::cmd("FT.SEARCH")
            .arg(&["idx:things", "the", "LIMIT", "0", "0"])
            .query_async::<Vec<usize>>(&mut redis.idempotent())
            .await
            .ok()
    };
    assert_eq!(
        found().await,
        Some(vec![2_000]),
        "ready is only after the scan, and there are no stop words"
    );
    redis::cmd("FT.DROPINDEX")
        .arg("idx:things")
        .query_async::<()>(&mut connection)
        .await
        .unwrap();
    eventually("it is there again", || async { found().await == Some(vec![2_000]) }).await;
    stop.cancel();
}

/// A disk that does not sync, as everybody on the shared connection meets it: nothing is answered for a while, then all is.
#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_redis_is_noticed_at_once_and_waited_for() {
    const WRITES: i64 = 200;
    let stack = RedisStack::start_async(Options::plain()).await.unwrap();
    let redis = Redis::with_timeouts(
        &settings(&stack),
        Timeouts {
            response: PATIENCE,
            ..Timeouts::default()
        },
    )
    .unwrap();
    let stop = CancellationToken::new();
    let watching = tokio::spawn(redis.clone().watch(stop.clone()));
    eventually("it is reachable", || async { redis.reachable() }).await;

    stack.pause().unwrap();
    let writes: Vec<_> = (0..WRITES)
        .map(|_| {
            let mut connection = redis.once();
            tokio::spawn(async move {
                redis::cmd("INCR")
                    .arg("writes")
                    .query_async::<i64>(&mut connection)
                    .await
            })
        })
        .collect();
    eventually("it is not", || async { !redis.reachable() }).await;
    assert!(writes.iter().all(|write| !write.is_finished()), "nobody has given up");
    stack.resume().unwrap();

    let mut answers = Vec::new();
    for write in writes {
        answers.push(write.await.unwrap().unwrap());
    }
    answers.sort_unstable();
    assert_eq!(
        answers,
        (1..=WRITES).collect::<Vec<_>>(),
        "each has its own answer, and none was sent twice"
    );
    eventually("it is reachable again", || async { redis.reachable() }).await;
    stop.cancel();
    watching.await.unwrap();
}

/// What is above must wait longer than what is below, or it tells of an outcome that was about to be known.
#[test]
fn each_limit_is_above_the_one_below() {
    let timeouts = Timeouts::default();
    let request = shopwright_kit::serve::Limits::default().timeout;
    assert!(timeouts.connect + timeouts.response < request);
    assert!(timeouts.ping <= Duration::from_secs(2));
}
