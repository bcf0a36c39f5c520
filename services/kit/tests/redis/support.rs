//! A Redis for one test, and waiting for conditions.

use std::{future::Future, time::Duration};

use redis::FromRedisValue;
use shopwright_kit::{Redis, RedisSettings, Secret, connection::Timeouts};
use shopwright_redis_stack::RedisStack;

/// Far longer than anything here takes on a busy machine, so that only a real failure reaches it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A loaded machine must not fail a test.
pub(crate) fn patient(settings: &RedisSettings) -> Redis {
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

/// As the user with all rights.
pub(crate) fn settings(stack: &RedisStack) -> RedisSettings {
    let harness = stack.harness();
    RedisSettings {
        host: stack.host().to_owned(),
        port: stack.port(),
        username: harness.map(|(user, _)| user.to_owned()),
        password: harness.map(|(_, password)| Secret::new(password)),
    }
}

/// As a user whose password is its name.
pub(crate) fn settings_as(stack: &RedisStack, user: &str) -> RedisSettings {
    RedisSettings {
        username: Some(user.to_owned()),
        password: Some(Secret::new(user)),
        ..settings(stack)
    }
}

/// ACL lines of users whose passwords are their names; nobody else is let in.
pub(crate) fn users(rules: &[(&str, &str)]) -> Vec<String> {
    let lines = rules
        .iter()
        .map(|(name, rules)| format!("user {name} on >{name} {rules}"));
    std::iter::once("user default off".to_owned()).chain(lines).collect()
}

/// Runs a command given as words.
pub(crate) async fn command<T: FromRedisValue>(redis: &Redis, words: &str) -> redis::RedisResult<T> {
    let mut words = words.split_whitespace();
    let mut command = redis::cmd(words.next().unwrap());
    for word in words {
        command.arg(word);
    }
    command.query_async(&mut redis.idempotent()).await
}

pub(crate) async fn execute(redis: &Redis, words: &str) {
    command::<redis::Value>(redis, words)
        .await
        .unwrap_or_else(|error| panic!("{words}: {error}"));
}

pub(crate) async fn eventually<F, Fut>(what: &str, condition: F)
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
