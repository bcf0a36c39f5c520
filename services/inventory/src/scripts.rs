//! Scripts, sent many at once: one pipelined round trip, and a reply of its own for each. Touches what the scripts touch.

use redis::{Cmd, RedisResult, Script, Value};
use shopwright_kit::Redis;

/// One script to run, with all it is told.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    script: &'a Script,
    keys: Vec<String>,
    arguments: Vec<String>,
}

impl<'a> Call<'a> {
    pub(crate) fn new(script: &'a Script, keys: Vec<String>, arguments: Vec<String>) -> Self {
        Self {
            script,
            keys,
            arguments,
        }
    }

    fn command(&self) -> Cmd {
        let mut command = redis::cmd("EVALSHA");
        command
            .arg(self.script.get_hash())
            .arg(self.keys.len())
            .arg(&self.keys)
            .arg(&self.arguments);
        command
    }
}

/// Runs all, in this order, and gives their replies in this order. One that fails leaves the others whole; the outer error
/// means that of none is known whether it ran. A call that met a dropped connection is sent once more, so the scripts must
/// recognise a repetition.
///
/// A Redis that does not know a script, as after a restart, is given it and asked again for what it could not run, which
/// then runs behind the others.
///
/// Commands used: EVALSHA, SCRIPT LOAD.
pub(crate) async fn send(redis: &Redis, calls: &[&Call<'_>]) -> RedisResult<Vec<RedisResult<Value>>> {
    let mut replies = attempt(redis, calls).await?;
    let is_unknown = |reply: &RedisResult<Value>| reply.as_ref().is_err_and(|error| error.code() == Some("NOSCRIPT"));
    let unknown: Vec<usize> = (0..calls.len().min(replies.len()))
        .filter(|index| is_unknown(&replies[*index]))
        .collect();
    if unknown.is_empty() {
        return Ok(replies);
    }
    let again: Vec<_> = unknown.iter().map(|index| calls[*index]).collect();
    load(redis, &again).await?;
    for (index, reply) in unknown.into_iter().zip(attempt(redis, &again).await?) {
        replies[index] = reply;
    }
    Ok(replies)
}

async fn attempt(redis: &Redis, calls: &[&Call<'_>]) -> RedisResult<Vec<RedisResult<Value>>> {
    if calls.is_empty() {
        return Ok(Vec::new());
    }
    let mut pipeline = redis::pipe();
    pipeline.ignore_errors();
    for call in calls {
        pipeline.add_command(call.command());
    }
    pipeline.query_async(&mut redis.idempotent()).await
}

async fn load(redis: &Redis, calls: &[&Call<'_>]) -> RedisResult<()> {
    let mut loaded: Vec<&str> = Vec::new();
    for call in calls {
        if !loaded.contains(&call.script.get_hash()) {
            call.script.load_async(&mut redis.idempotent()).await?;
            loaded.push(call.script.get_hash());
        }
    }
    Ok(())
}
