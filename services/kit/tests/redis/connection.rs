//! The shared connection against a Redis that comes, goes and changes its mind.

use std::time::Duration;

use shopwright_kit::{ApiError, Redis, RedisSettings, Secret, connection::Timeouts};
use shopwright_redis_stack::{Options, RedisStack};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_util::sync::CancellationToken;

use crate::support::{PATIENCE, eventually, patient, settings};

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

/// Answers every connection's set-up with OK. The first connection dies with the call on it; on the others, every call is
/// answered as by a Redis that is loading its data, as one is that was killed when it had just done the first.
async fn dies_and_loads(listener: TcpListener) {
    let mut is_first = true;
    loop {
        let (mut connection, _) = listener.accept().await.unwrap();
        let dies = std::mem::take(&mut is_first);
        tokio::spawn(async move {
            let mut bytes = [0; 4_096];
            while let Ok(count @ 1..) = connection.read(&mut bytes).await {
                let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
                if text.contains("INCR") && dies {
                    return;
                }
                // Commands come in arrays.
                for command in text.split('*').skip(1) {
                    let answer: &[u8] = if command.contains("INCR") {
                        b"-LOADING Redis is loading the dataset in memory\r\n"
                    } else {
                        b"+OK\r\n"
                    };
                    if connection.write_all(answer).await.is_err() {
                        return;
                    }
                }
            }
        });
    }
}

/// "Nothing happened" would be wrong: the first attempt may have had its effect. A storm found orders that shoppers had been
/// told were not placed.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_attempt_that_is_refused_says_nothing_of_the_first() {
    for is_pipeline in [false, true] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(dies_and_loads(listener));
        let redis = patient(&RedisSettings {
            host: address.ip().to_string(),
            port: address.port(),
            username: None,
            password: None,
        });
        let mut connection = redis.idempotent();
        let increment = redis::cmd("INCR").arg("number").to_owned();
        let error = if is_pipeline {
            let mut pipeline = redis::pipe();
            pipeline.ignore_errors().add_command(increment);
            let replies: redis::RedisResult<Vec<redis::RedisResult<i64>>> = pipeline.query_async(&mut connection).await;
            replies.unwrap_err()
        } else {
            increment.query_async::<i64>(&mut connection).await.unwrap_err()
        };
        assert!(error.is_connection_dropped(), "{error}");
        assert_eq!(ApiError::of_write(error).status(), 504);
        server.abort();
    }
}
