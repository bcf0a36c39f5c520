//! Sends the script for many groups in one round trip, and remembers what makes the next answer cheap.

use super::anchor::Anchor;
use super::reply::parse;
use super::{COUNT_LIMIT, Sample, Target};
use crate::connection::Shared;
use crate::error::Error;
use redis::{Cmd, RedisResult, Script, Value};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

pub(super) const SOURCE: &str = concat!(include_str!("../prelude.lua"), include_str!("script.lua"));
static RULE: LazyLock<Arc<Rule>> = LazyLock::new(|| Arc::new(Rule::new(SOURCE)));

/// A script and the name under which Redis keeps it.
#[derive(Debug)]
pub(super) struct Rule {
    source: String,
    hash: String,
}

impl Rule {
    pub(super) fn new(source: &str) -> Self {
        Self {
            source: source.to_owned(),
            hash: Script::new(source).get_hash().to_owned(),
        }
    }
}

/// Samples one group once, without a memory.
pub async fn sample(shared: &Shared, target: Target<'_>) -> Result<Sample, Error> {
    Sampler::new(shared.clone())
        .sample_all(&[target])
        .await?
        .pop()
        .unwrap_or_else(|| Err(Error::unexpected_reply()))
}

/// Samples groups of one Redis and remembers the last exact count of each: the anchor of the next sample.
///
/// Everything is forgotten when the connection was made anew: a Redis that restarted may have come back with counters of
/// earlier, and they may have caught up since.
#[derive(Debug)]
pub struct Sampler {
    shared: Shared,
    rule: Arc<Rule>,
    /// The connection on which the anchors were learned.
    dial: u64,
    anchors: HashMap<(String, String), Anchor>,
}

impl Sampler {
    /// A sampler that knows nothing yet.
    pub fn new(shared: Shared) -> Self {
        Self::with_rule(shared, Arc::clone(&RULE))
    }

    /// The fuzz hands in rules with a hole, to see that it finds them.
    pub(super) fn with_rule(shared: Shared, rule: Arc<Rule>) -> Self {
        Self {
            shared: shared.into_repeating(),
            rule,
            dial: 0,
            anchors: HashMap::new(),
        }
    }

    /// Forgets a group that is no longer sampled.
    pub fn forget(&mut self, key: &str, group: &str) {
        self.anchors.remove(&name(key, group));
    }

    /// Samples groups in one round trip; the first time on a Redis, in two. Each sample is a snapshot of its own; one
    /// that fails leaves the others whole. The outer error means that nothing was learned. Answers are in the order of
    /// `targets`.
    ///
    /// Commands used: `EVALSHA_RO`, `EVAL_RO`, XINFO STREAM, XINFO GROUPS, XRANGE, XREVRANGE, XPENDING.
    pub async fn sample_all(&mut self, targets: &[Target<'_>]) -> Result<Vec<Result<Sample, Error>>, Error> {
        if targets.is_empty() {
            return Ok(Vec::new());
        }
        let (mut replies, mut steady) = self.ask(targets).await?;
        if self.shared.answered_by() != self.dial || !steady {
            steady &= self.anchors.is_empty();
            self.dial = self.shared.answered_by();
            self.anchors.clear();
            if !steady {
                (replies, steady) = self.ask(targets).await?;
            }
        }
        if !steady || self.shared.answered_by() != self.dial {
            // Twice cut off within one call. Which of two servers a reply is from cannot be said.
            return Err(Error::unreachable());
        }
        let answers = targets.iter().zip(replies);
        Ok(answers.map(|(target, reply)| self.learn(target, reply)).collect())
    }

    /// One reply for each target, and whether all came over the same connection. A script that the server has not seen is
    /// sent whole.
    async fn ask(&mut self, targets: &[Target<'_>]) -> Result<(Vec<RedisResult<Value>>, bool), Error> {
        let mut replies = self.send(false, targets).await?;
        let dial = self.shared.answered_by();
        let is_unknown =
            |reply: &RedisResult<Value>| reply.as_ref().is_err_and(|error| error.code() == Some("NOSCRIPT"));
        let unknown: Vec<usize> = (0..targets.len().min(replies.len()))
            .filter(|index| is_unknown(&replies[*index]))
            .collect();
        if !unknown.is_empty() {
            let again: Vec<Target<'_>> = unknown.iter().map(|index| targets[*index]).collect();
            let whole = self.send(true, &again).await?;
            for (index, reply) in unknown.into_iter().zip(whole) {
                replies[index] = reply;
            }
        }
        if replies.len() == targets.len() {
            Ok((replies, self.shared.answered_by() == dial))
        } else {
            Err(Error::unexpected_reply())
        }
    }

    async fn send(&mut self, whole: bool, targets: &[Target<'_>]) -> Result<Vec<RedisResult<Value>>, Error> {
        let mut pipeline = redis::pipe();
        pipeline.ignore_errors();
        for target in targets {
            pipeline.add_command(self.call(whole, target));
        }
        Ok(pipeline.query_async(&mut self.shared).await?)
    }

    fn call(&self, whole: bool, target: &Target<'_>) -> Cmd {
        let (command, script) = if whole {
            ("EVAL_RO", &self.rule.source)
        } else {
            ("EVALSHA_RO", &self.rule.hash)
        };
        let mut call = redis::cmd(command);
        call.arg(script)
            .arg(1)
            .arg(target.key)
            .arg(target.group)
            .arg(target.cap.min(COUNT_LIMIT))
            .arg(u64::try_from(target.claim_min_idle.as_millis()).unwrap_or(u64::MAX))
            .arg(target.max_deliveries)
            .arg(u8::from(target.detail));
        if let Some(anchor) = self.anchors.get(&name(target.key, target.group)) {
            anchor.append(&mut call);
        }
        call
    }

    fn learn(&mut self, target: &Target<'_>, reply: RedisResult<Value>) -> Result<Sample, Error> {
        let learned = reply.map_err(Error::from).and_then(|reply| parse(&reply));
        let name = name(target.key, target.group);
        match learned {
            Ok((sample, Some(anchor))) => {
                self.anchors.insert(name, anchor);
                Ok(sample)
            }
            Ok((sample, None)) => {
                self.anchors.remove(&name);
                Ok(sample)
            }
            Err(error) => Err(error),
        }
    }
}

fn name(key: &str, group: &str) -> (String, String) {
    (key.to_owned(), group.to_owned())
}
