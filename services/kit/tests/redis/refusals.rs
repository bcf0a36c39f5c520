//! What a caller is told of a Redis that cannot do what it was asked: 503 with `Retry-After`, and nothing was done.

use std::time::Duration;

use axum::response::IntoResponse;
use redis::{RedisResult, Value};
use shopwright_kit::{ApiError, Redis, connection::Timeouts};
use shopwright_redis_stack::{Append, Options, RedisStack};

use crate::support::{command, eventually, execute, patient, settings};

const UNAVAILABLE: (u16, &str) = (503, "dependency_unavailable");
const CAPACITY: (u16, &str) = (503, "capacity");
const INCREASE: &str = "return redis.call('INCR', KEYS[1])";

/// Status and code, of which a 503 must say when to come again.
fn told(error: ApiError) -> (u16, &'static str) {
    let code = [UNAVAILABLE.1, CAPACITY.1, "timeout", "internal"];
    let code = code.into_iter().find(|code| *code == error.code()).unwrap_or("another");
    let response = error.into_response();
    let status = response.status().as_u16();
    let retry_after = response.headers().get("retry-after");
    let seconds: Option<u64> = retry_after.map(|value| value.to_str().unwrap().parse().unwrap());
    assert_eq!(seconds.is_some_and(|seconds| seconds > 0), status == 503, "{code}");
    (status, code)
}

/// The same write plain, in a script, in a transaction, and in a pipeline of its own.
async fn writes(redis: &Redis) -> [RedisResult<Value>; 4] {
    let mut connection = redis.once();
    let plain = redis::cmd("INCR").arg("number").query_async(&mut connection).await;
    let mut script = redis::cmd("EVAL");
    let script = script
        .arg(INCREASE)
        .arg(1)
        .arg("number")
        .query_async(&mut connection)
        .await;
    let mut transaction = redis::pipe();
    transaction.atomic().cmd("INCR").arg("number");
    let transaction = transaction.query_async(&mut connection).await;
    let mut pipeline = redis::pipe();
    pipeline
        .cmd("INCR")
        .arg("number")
        .cmd("EVAL")
        .arg(INCREASE)
        .arg(1)
        .arg("number");
    let pipeline = pipeline.query_async(&mut connection).await;
    [plain, script, transaction, pipeline]
}

/// Every kind of write is told so, as a read's failure and as a write's, and none was done.
async fn refuses_writes(redis: &Redis, expected: (u16, &str)) {
    let before = command::<Option<u64>>(redis, "GET number").await.ok();
    for (kind, outcome) in ["plain", "script", "transaction", "pipeline"]
        .iter()
        .zip(writes(redis).await)
    {
        let error = outcome.expect_err(kind);
        assert_eq!(told(error.clone().into()), expected, "{kind}: {error}");
        assert_eq!(told(ApiError::of_write(error.clone())), expected, "{kind}: {error}");
    }
    assert_eq!(command::<Option<u64>>(redis, "GET number").await.ok(), before);
}

async fn start(options: Options) -> (RedisStack, Redis) {
    let stack = RedisStack::start_async(options).await.unwrap();
    let redis = patient(&settings(&stack));
    assert!(writes(&redis).await.iter().all(Result::is_ok));
    (stack, redis)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_redis_is_capacity() {
    let (_stack, redis) = start(Options::plain()).await;
    execute(&redis, "CONFIG SET maxmemory 1").await;
    refuses_writes(&redis, CAPACITY).await;
    assert_eq!(command::<u64>(&redis, "GET number").await.unwrap(), 5, "reads go on");
    execute(&redis, "CONFIG SET maxmemory 0").await;
    assert!(writes(&redis).await.iter().all(Result::is_ok));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_redis_and_one_without_its_primary_are_unavailable() {
    let (_stack, redis) = start(Options::plain()).await;
    execute(&redis, "REPLICAOF 127.0.0.1 1").await;
    refuses_writes(&redis, UNAVAILABLE).await;
    assert_eq!(command::<u64>(&redis, "GET number").await.unwrap(), 5, "reads go on");
    execute(&redis, "CONFIG SET replica-serve-stale-data no").await;
    refuses_writes(&redis, UNAVAILABLE).await;
    let error = command::<u64>(&redis, "GET number").await.unwrap_err();
    assert_eq!(
        (error.code(), told(error.clone().into())),
        (Some("MASTERDOWN"), UNAVAILABLE)
    );
    execute(&redis, "REPLICAOF NO ONE").await;
    execute(&redis, "CONFIG SET min-replicas-to-write 1").await;
    refuses_writes(&redis, UNAVAILABLE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_a_script_keeps_busy_is_unavailable() {
    let (stack, redis) = start(Options::plain()).await;
    execute(&redis, "CONFIG SET busy-reply-threshold 1").await;
    let other = patient(&settings(&stack));
    let looping = tokio::spawn(async move {
        let mut script = redis::cmd("EVAL");
        script.arg("while true do end").arg(0);
        script.query_async::<Value>(&mut other.once()).await
    });
    eventually("it is busy", || async {
        command::<Value>(&redis, "GET number").await.is_err()
    })
    .await;
    refuses_writes(&redis, UNAVAILABLE).await;
    let error = command::<u64>(&redis, "GET number").await.unwrap_err();
    assert_eq!((error.code(), told(error.clone().into())), (Some("BUSY"), UNAVAILABLE));
    execute(&redis, "SCRIPT KILL").await;
    assert!(looping.await.unwrap().is_err());
    assert!(writes(&redis).await.iter().all(Result::is_ok));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_cannot_write_its_file_is_unavailable() {
    let arguments = ["--save", "3600 1", "--dbfilename", "blocked.rdb"];
    let (stack, redis) = start(Options {
        arguments: arguments.map(str::to_owned).into(),
        ..Options::plain()
    })
    .await;
    // The file cannot be put in its place.
    std::fs::create_dir_all(stack.directory().join("blocked.rdb/x")).unwrap();
    execute(&redis, "BGSAVE").await;
    eventually("saving has failed", || async {
        let text: String = command(&redis, "INFO persistence").await.unwrap();
        text.contains("rdb_last_bgsave_status:err")
    })
    .await;
    let error = command::<Value>(&redis, "INCR number").await.unwrap_err();
    assert_eq!(error.code(), Some("MISCONF"));
    refuses_writes(&redis, UNAVAILABLE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_loads_its_data_is_unavailable() {
    // A tenth of a millisecond for each command of the file, and an ear for clients after every 1,024.
    let arguments = ["--key-load-delay", "100"];
    let (mut stack, redis) = start(Options {
        append: Append::EverySecond,
        arguments: arguments.map(str::to_owned).into(),
        ..Options::plain()
    })
    .await;
    let mut filling = redis::pipe();
    for key in 0..40_000 {
        filling.cmd("SET").arg(key).arg(key).ignore();
    }
    filling.exec_async(&mut redis.once()).await.unwrap();
    let restarting = std::thread::spawn(move || {
        stack.restart().unwrap();
        stack
    });
    eventually("it is loading", || async {
        let outcome = command::<Value>(&redis, "GET number").await;
        // As `watch` does, which makes the connection usable again.
        let _ = redis.ping().await;
        outcome.is_err_and(|error| error.code() == Some("LOADING"))
    })
    .await;
    for outcome in writes(&redis).await {
        let error = outcome.unwrap_err();
        assert_eq!(told(error.clone().into()), UNAVAILABLE, "{error}");
        assert_eq!(told(ApiError::of_write(error.clone())), UNAVAILABLE, "{error}");
    }
    let _stack = restarting.join().unwrap();
    eventually("it has loaded", || async {
        redis.ping().await.is_ok()
            && command::<u64>(&redis, "GET number")
                .await
                .is_ok_and(|number| number == 5)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_gone_is_unavailable_and_a_write_it_may_have_done_unknown() {
    let (mut stack, _) = start(Options::plain()).await;
    let impatient = Timeouts {
        response: Duration::from_secs(2),
        ..Timeouts::default()
    };
    let redis = Redis::with_timeouts(&settings(&stack), impatient).unwrap();
    execute(&redis, "GET number").await;
    stack.pause().unwrap();
    let silent = redis::cmd("INCR")
        .arg("number")
        .query_async::<Value>(&mut redis.once())
        .await
        .unwrap_err();
    assert_eq!(told(silent.clone().into()), UNAVAILABLE, "as a read");
    assert_eq!(told(ApiError::of_write(silent)), (504, "timeout"));
    stack.resume().unwrap();
    stack.kill().unwrap();
    eventually("it is refused", || async {
        let refused = redis::cmd("INCR")
            .arg("number")
            .query_async::<Value>(&mut redis.once())
            .await
            .unwrap_err();
        refused.is_connection_refusal()
    })
    .await;
    for outcome in writes(&redis).await {
        let error = outcome.unwrap_err();
        assert_eq!(told(error.clone().into()), UNAVAILABLE, "{error}");
        assert_eq!(
            told(ApiError::of_write(error.clone())),
            UNAVAILABLE,
            "never sent: {error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_command_is_ours() {
    let (_stack, redis) = start(Options::plain()).await;
    for wrong in [
        "LPUSH number x",
        "INCR",
        "EVAL return(redis.call('LPUSH',KEYS[1],1)) 1 number",
    ] {
        let error = command::<Value>(&redis, wrong).await.unwrap_err();
        assert_eq!(told(error.into()), (500, "internal"), "{wrong}");
    }
}
