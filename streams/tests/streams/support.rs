//! A Redis for one test, and waiting for conditions.

use shopwright_redis_stack::{Append, Options, RedisStack};
use shopwright_streams::{Client, Endpoint, EntryId, Secret, Shared};
use std::time::{Duration, Instant};

/// Far longer than anything here takes on a busy machine, so that only a real failure reaches it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);
/// So that a busy machine makes no failures that a test did not ask for.
pub(crate) const RESPONSE_TIMEOUT: Duration = Duration::from_secs(20);

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
    let client = client(endpoint(&stack).with_user(user, Secret::new(password)));
    (stack, client)
}

async fn with_options(options: Options) -> (RedisStack, Client) {
    let stack = RedisStack::start_async(options).await.unwrap();
    let client = client(endpoint(&stack));
    (stack, client)
}

fn client(endpoint: Endpoint) -> Client {
    Client::new(endpoint).with_response_timeout(RESPONSE_TIMEOUT)
}

pub(crate) fn endpoint(stack: &RedisStack) -> Endpoint {
    Endpoint::new(stack.host(), stack.port())
}

pub(crate) fn as_user(stack: &RedisStack, name: &str) -> Client {
    client(endpoint(stack).with_user(name, Secret::new(name)))
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

/// Runs a script on the stream `s`.
pub(crate) async fn evaluate(shared: &Shared, script: &str) {
    let mut command = redis::cmd("EVAL");
    command.arg(script).arg(1).arg("s");
    command.exec_async(&mut shared.clone()).await.unwrap();
}

/// Calls of EVAL since the server started.
pub(crate) async fn evaluations(shared: &Shared) -> u64 {
    calls(shared, "eval").await
}

/// Calls of a command since the server started, those that scripts made included.
pub(crate) async fn calls(shared: &Shared, name: &str) -> u64 {
    let text: String = command(shared, "INFO commandstats").await.unwrap();
    let prefix = format!("cmdstat_{name}:calls=");
    let line = text.lines().find_map(|line| line.strip_prefix(&prefix));
    line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
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
