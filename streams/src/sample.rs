//! How much work a group has left, counted once, as a single snapshot. Reads only.
//!
//! backlog = undelivered + pending - overlap - ghosts. Redis's own `lag` is nil or wrong in a good part of the histories
//! that deletions, trims and SETID make, so it is never taken as it is; see `sample.lua` for the rule.

use crate::connection::Shared;
use crate::entry_id::EntryId;
use crate::error::Error;
use redis::{FromRedisValue, RedisError, RedisResult, Value};

const SCRIPT: &str = include_str!("sample.lua");

/// The most entries counted on each side of a group's position: about 2 ms of Redis's time at 300 bytes an entry.
pub const COUNT_LIMIT: u32 = 1000;

/// A group to sample.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The stream.
    pub key: &'a str,
    /// The group.
    pub group: &'a str,
    /// How many entries are worth counting: beyond what the largest number of replicas is wanted for, an exact figure
    /// changes nothing. At most [`COUNT_LIMIT`] is used.
    pub cap: u32,
}

/// How a number of undelivered entries was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// Nothing lies behind the group's position. Exact.
    Tail,
    /// Nothing lies before it, so all that the stream holds is undelivered. Exact.
    Head,
    /// The entries behind it were counted. Exact.
    CountedRight,
    /// The entries before it were counted and taken from the length. Exact.
    CountedLeft,
    /// More than the cap on both sides: an estimate between proven bounds.
    Estimated,
}

/// Entries the group has not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undelivered {
    /// How many.
    pub count: u64,
    /// How that was found.
    pub source: Source,
}

impl Undelivered {
    /// Whether the count is the truth and not an estimate.
    pub fn is_exact(&self) -> bool {
        self.source != Source::Estimated
    }
}

/// The figures of a group that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Entries the group has not read.
    pub undelivered: Undelivered,
    /// Entries that were delivered and not acknowledged, as Redis counts them, ghosts included. Exact.
    pub pending: u64,
    /// Pending entries that no longer exist. Nobody can work on them.
    pub ghosts: u64,
    /// Pending entries that are also undelivered, because the group's position was set back.
    pub overlap: u64,
    /// Whether ghosts and overlap are exact. If not, they are lower bounds, and the backlog an upper one.
    pub corrections_exact: bool,
    /// Entries in the stream.
    pub length: u64,
    /// The group's position: the last entry it was handed.
    pub last_delivered: EntryId,
    /// The stream's newest id, of entries deleted since as well.
    pub last_generated: EntryId,
    /// Entries ever added to the stream, as Redis counts them. Going back means lost or replaced data.
    pub entries_added: u64,
    /// Consumers the group knows, dead ones included.
    pub consumers: u64,
    /// What Redis reports as lag, for display only.
    pub reported_lag: Option<u64>,
}

impl Known {
    /// The work that is left: undelivered and pending, each entry counted once, without what no longer exists.
    pub fn backlog(&self) -> u64 {
        self.undelivered
            .count
            .saturating_add(self.pending)
            .saturating_sub(self.overlap)
            .saturating_sub(self.ghosts)
    }

    /// Whether [`backlog`](Self::backlog) is the truth.
    pub fn is_exact(&self) -> bool {
        self.undelivered.is_exact() && self.corrections_exact
    }
}

/// What a sample found. A Redis that cannot be asked is an error, never a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sample {
    /// No such key.
    NoStream,
    /// The key holds something else.
    WrongType,
    /// The stream has no such group.
    NoGroup {
        /// Entries in the stream.
        length: u64,
        /// The stream's newest id.
        last_generated: EntryId,
        /// Entries ever added.
        entries_added: u64,
    },
    /// The group exists.
    Known(Known),
}

/// Samples one group.
///
/// Commands used: `EVAL_RO`, XINFO STREAM, XINFO GROUPS, XRANGE, XREVRANGE, XPENDING.
pub async fn sample(shared: &Shared, target: Target<'_>) -> Result<Sample, Error> {
    sample_all(shared, &[target])
        .await?
        .pop()
        .unwrap_or_else(|| Err(Error::unexpected_reply()))
}

/// Samples several groups of one Redis in one round trip. Each sample is a snapshot of its own; one that fails leaves
/// the others whole. The outer error means that nothing was learned. Answers are in the order of `targets`.
pub async fn sample_all(shared: &Shared, targets: &[Target<'_>]) -> Result<Vec<Result<Sample, Error>>, Error> {
    if targets.is_empty() {
        return Ok(Vec::new());
    }
    let mut pipeline = redis::pipe();
    pipeline.ignore_errors();
    for target in targets {
        pipeline
            .cmd("EVAL_RO")
            .arg(SCRIPT)
            .arg(1)
            .arg(target.key)
            .arg(target.group)
            .arg(target.cap.min(COUNT_LIMIT));
    }
    let replies: Vec<RedisResult<Value>> = pipeline.query_async(&mut shared.repeating()).await?;
    Ok(replies
        .into_iter()
        .map(|reply| reply.map_err(Error::from).and_then(parse))
        .collect())
}

fn parse(reply: Value) -> Result<Sample, Error> {
    let Value::Array(fields) = reply else {
        return Err(Error::unexpected_reply());
    };
    let fields = Fields(fields);
    match fields.get::<String>(0)?.as_str() {
        "no-stream" => Ok(Sample::NoStream),
        "wrong-type" => Ok(Sample::WrongType),
        "no-group" => Ok(Sample::NoGroup {
            length: fields.get(1)?,
            last_generated: fields.id(2)?,
            entries_added: fields.get(3)?,
        }),
        "known" => Ok(Sample::Known(Known {
            undelivered: Undelivered {
                count: fields.get(1)?,
                source: fields.source(2)?,
            },
            pending: fields.get(3)?,
            ghosts: fields.get(4)?,
            overlap: fields.get(5)?,
            corrections_exact: fields.get(6)?,
            length: fields.get(7)?,
            last_delivered: fields.id(8)?,
            last_generated: fields.id(9)?,
            entries_added: fields.get(10)?,
            consumers: fields.get(11)?,
            reported_lag: u64::try_from(fields.get::<i64>(12)?).ok(),
        })),
        _ => Err(Error::unexpected_reply()),
    }
}

/// The reply of the script, read by position.
struct Fields(Vec<Value>);

impl Fields {
    fn get<T: FromRedisValue>(&self, index: usize) -> Result<T, Error> {
        let value = self.0.get(index).ok_or_else(Error::unexpected_reply)?;
        redis::from_redis_value_ref(value).map_err(|error| Error::from(RedisError::from(error)))
    }

    fn id(&self, index: usize) -> Result<EntryId, Error> {
        self.get::<String>(index)?
            .parse()
            .map_err(|_| Error::unexpected_reply())
    }

    fn source(&self, index: usize) -> Result<Source, Error> {
        match self.get::<String>(index)?.as_str() {
            "tail" => Ok(Source::Tail),
            "head" => Ok(Source::Head),
            "right" => Ok(Source::CountedRight),
            "left" => Ok(Source::CountedLeft),
            "estimated" => Ok(Source::Estimated),
            _ => Err(Error::unexpected_reply()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(undelivered: u64, pending: u64, overlap: u64, ghosts: u64) -> Known {
        Known {
            undelivered: Undelivered {
                count: undelivered,
                source: Source::Tail,
            },
            pending,
            ghosts,
            overlap,
            corrections_exact: true,
            length: 0,
            last_delivered: EntryId::ZERO,
            last_generated: EntryId::ZERO,
            entries_added: 0,
            consumers: 0,
            reported_lag: None,
        }
    }

    #[test]
    fn backlog_saturates_instead_of_wrapping() {
        assert_eq!(known(3, 4, 1, 2).backlog(), 4);
        assert_eq!(known(u64::MAX, u64::MAX, 0, 0).backlog(), u64::MAX);
        assert_eq!(known(0, 1, 2, 3).backlog(), 0);
    }
}
