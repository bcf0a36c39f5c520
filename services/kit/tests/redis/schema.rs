//! Programs of several versions at the version of the data.

use std::time::Duration;

use shopwright_kit::{
    Redis, Schema,
    schema::{Duty, SchemaError, Stored},
};
use shopwright_redis_stack::{Append, Options, RedisStack};
use tokio_util::sync::CancellationToken;

use crate::support::{command, eventually, execute, patient, settings, settings_as, users};

const KEY: &str = "{own}:schema";

fn schema(version: u32, oldest_compatible: u32) -> Schema {
    Schema {
        key: KEY.to_owned(),
        version,
        oldest_compatible,
    }
}

async fn admit(redis: &Redis, schema: Schema, duty: Duty) -> Result<Stored, SchemaError> {
    let admitted = schema.admit(redis, duty, &CancellationToken::new()).await;
    admitted.map(|stored| stored.expect("nobody shut down"))
}

async fn stored(redis: &Redis) -> (Option<u32>, Option<u32>) {
    command(redis, &format!("HMGET {KEY} version oldest_compatible"))
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_raised_and_never_lowered() {
    // No more than a service has.
    let acl = users(&[("service", "~{own}:* +eval +hmget +hset")]);
    let stack = RedisStack::start_async(Options {
        acl,
        ..Options::plain()
    })
    .await
    .unwrap();
    let redis = patient(&settings_as(&stack, "service"));
    let nothing = admit(&redis, schema(2, 1), Duty::Check).await.unwrap();
    assert_eq!((nothing.version, nothing.oldest_compatible), (0, 0));
    assert_eq!(stored(&redis).await, (None, None), "a check writes nothing");

    // Version, oldest compatible one, and what is stored afterwards.
    for (version, oldest, after) in [
        (2, 1, (2, 1)),
        (1, 1, (2, 1)),
        (4, 2, (4, 2)),
        (3, 1, (4, 2)),
        (4, 3, (4, 3)),
    ] {
        let answer = admit(&redis, schema(version, oldest), Duty::Raise).await.unwrap();
        assert_eq!((answer.version, answer.oldest_compatible), after, "version {version}");
        assert_eq!(
            stored(&redis).await,
            (Some(after.0), Some(after.1)),
            "version {version}"
        );
    }
    for duty in [Duty::Raise, Duty::Check] {
        admit(&redis, schema(3, 3), duty).await.unwrap();
        let refused = admit(&redis, schema(2, 2), duty).await.unwrap_err();
        let text = refused.to_string();
        assert!(matches!(refused, SchemaError::TooOld { own: 2, .. }), "{text}");
        for part in [
            "of version 4",
            "version 3 or later",
            "this one is of version 2",
            KEY,
            "run the later version",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
    assert_eq!(
        stored(&redis).await,
        (Some(4), Some(3)),
        "who is refused writes nothing"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_highest_of_many_at_once_is_what_stays() {
    let stack = RedisStack::start_async(Options::plain()).await.unwrap();
    let redis = patient(&settings(&stack));
    let racing: Vec<_> = (1..=40)
        .map(|version| {
            let redis = redis.clone();
            tokio::spawn(async move { admit(&redis, schema(version * 7 % 41, 1), Duty::Raise).await })
        })
        .collect();
    for one in racing {
        one.await.unwrap().unwrap();
    }
    assert_eq!(stored(&redis).await, (Some(40), Some(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_program_that_became_too_old_is_told_and_lost_data_gets_its_version() {
    let stack = RedisStack::start_async(Options::plain()).await.unwrap();
    let redis = patient(&settings(&stack));
    let stop = CancellationToken::new();
    let old = tokio::spawn(schema(1, 1).keep(redis.clone(), Duty::Check, stop.clone()));
    let new = tokio::spawn(schema(2, 1).keep(redis.clone(), Duty::Raise, stop.clone()));
    let is_stored = |expected| {
        let redis = &redis;
        move || async move { stored(redis).await == expected }
    };
    eventually("it is stored", is_stored((Some(2), Some(1)))).await;
    execute(&redis, "FLUSHALL").await;
    eventually("it is stored again", is_stored((Some(2), Some(1)))).await;
    assert!(!old.is_finished() && !new.is_finished(), "both versions run");
    admit(&redis, schema(3, 2), Duty::Raise).await.unwrap();
    let told = tokio::time::timeout(Duration::from_secs(60), old)
        .await
        .unwrap()
        .unwrap();
    assert!(matches!(told, Err(SchemaError::TooOld { own: 1, .. })));
    assert!(!new.is_finished());
    stop.cancel();
    new.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn it_waits_for_redis_and_no_longer_than_the_shutdown() {
    let mut stack = RedisStack::start_async(Options {
        append: Append::Always,
        ..Options::plain()
    })
    .await
    .unwrap();
    let redis = patient(&settings(&stack));
    admit(&redis, schema(3, 2), Duty::Raise).await.unwrap();
    stack.kill().unwrap();
    let stop = CancellationToken::new();
    let wait = |schema: Schema| {
        let (redis, stop) = (redis.clone(), stop.clone());
        tokio::spawn(async move { schema.admit(&redis, Duty::Raise, &stop).await })
    };
    let (fit, old) = (wait(schema(2, 2)), wait(schema(1, 1)));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(
        !fit.is_finished() && !old.is_finished(),
        "away says nothing about versions"
    );
    stack.restart().unwrap();
    assert!(fit.await.unwrap().unwrap().is_some());
    assert!(old.await.unwrap().is_err());
    execute(&redis, "CONFIG SET maxmemory 1").await;
    let full = wait(schema(4, 2));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!full.is_finished(), "full passes");
    execute(&redis, "CONFIG SET maxmemory 0").await;
    assert_eq!(full.await.unwrap().unwrap().map(|stored| stored.version), Some(4));

    stack.kill().unwrap();
    let waiting = wait(schema(4, 2));
    stop.cancel();
    assert!(waiting.await.unwrap().unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_version_is_told() {
    let stack = RedisStack::start_async(Options::plain()).await.unwrap();
    let redis = patient(&settings(&stack));
    for foreign in [
        "SET",
        "HSET version x",
        "HSET version 1 oldest_compatible -2",
        "HSET version 99999999999",
    ] {
        let (word, rest) = foreign.split_once(' ').unwrap_or((foreign, "text"));
        execute(&redis, &format!("{word} {KEY} {rest}")).await;
        let refused = admit(&redis, schema(1, 1), Duty::Check).await.unwrap_err();
        assert!(
            matches!(refused, SchemaError::Unreadable { .. }),
            "{foreign}: {refused}"
        );
        execute(&redis, "FLUSHALL").await;
    }
}
