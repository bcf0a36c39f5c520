//! A Redis for one test, and waiting for conditions.

use shopwright_redis_stack::{Append, Options, RedisStack};
use shopwright_streams::{Client, Endpoint, EntryId, Secret, Shared};
use std::time::{Duration, Instant};

/// Far longer than anything here takes on a busy machine, so that only a real failure reaches it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) async fn redis() -> (RedisStack, Client) {
    with_options(Options::plain()).await
}

pub(crate) async fn durable_redis() -> (RedisStack, Client) {
    with_options(Options {
        append: Append::Always,
        ..Options::plain()
    })
    .await
}

/// A Redis with ACL users `NAME on >NAME ...`, and a client with all rights.
pub(crate) async fn redis_with_users(rules: &[(&str, &str)]) -> (RedisStack, Client) {
    let users = rules
        .iter()
        .map(|(name, rules)| format!("user {name} on >{name} {rules}"));
    let acl = std::iter::once("user default off".to_owned()).chain(users).collect();
    let (stack, _) = with_options(Options {
        acl,
        ..Options::plain()
    })
    .await;
    let (user, password) = stack.harness().unwrap();
    let client = Client::new(endpoint(&stack).with_user(user, Secret::new(password)));
    (stack, client)
}

async fn with_options(options: Options) -> (RedisStack, Client) {
    let stack = RedisStack::start_async(options).await.unwrap();
    let client = Client::new(endpoint(&stack));
    (stack, client)
}

pub(crate) fn endpoint(stack: &RedisStack) -> Endpoint {
    Endpoint::new(stack.host(), stack.port())
}

pub(crate) fn as_user(stack: &RedisStack, name: &str) -> Client {
    Client::new(endpoint(stack).with_user(name, Secret::new(name)))
}

/// Runs a command given as words.
pub(crate) async fn command<T: redis::FromRedisValue>(shared: &Shared, words: &str) -> redis::RedisResult<T> {
    let mut words = words.split_whitespace();
    let mut command = redis::cmd(words.next().unwrap());
    for word in words {
        command.arg(word);
    }
    command.query_async(&mut shared.clone()).await
}

pub(crate) async fn execute(shared: &Shared, words: &str) {
    command::<redis::Value>(shared, words)
        .await
        .unwrap_or_else(|error| panic!("{words}: {error}"));
}

pub(crate) async fn add(shared: &Shared, key: &str, number: usize) -> EntryId {
    let id: String = command(shared, &format!("XADD {key} * number {number}")).await.unwrap();
    id.parse().unwrap()
}

pub(crate) async fn pending(shared: &Shared, key: &str, group: &str) -> usize {
    let summary: (usize, Option<String>, Option<String>, redis::Value) =
        command(shared, &format!("XPENDING {key} {group}")).await.unwrap();
    summary.0
}

/// Waits until `condition` holds.
pub(crate) async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition().await {
        assert!(Instant::now() < deadline, "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future)
        .await
        .unwrap_or_else(|_| panic!("never came: {what}"))
}
