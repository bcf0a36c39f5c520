//! The script's reply, read by position. Pure.

use super::anchor::Anchor;
use super::known::{ConsumerShare, Detail, Known, Pending, Sample, ShareDetail, Source, Undelivered};
use crate::entry_id::EntryId;
use crate::error::Error;
use redis::{FromRedisValue, Value};
use std::time::Duration;

/// The sample, and the anchor for the next one.
pub(super) fn parse(reply: &Value) -> Result<(Sample, Option<Anchor>), Error> {
    let fields = Fields::of(reply)?;
    let sample = match fields.get::<String>(0)?.as_str() {
        "no-stream" => Sample::NoStream,
        "wrong-type" => Sample::WrongType,
        "no-group" => Sample::NoGroup {
            length: fields.count(1)?,
            last_generated: fields.id(2)?,
            entries_added: fields.count(3)?,
        },
        "known" => return Ok((Sample::Known(known(fields)?), anchor(fields.list(14)?)?)),
        _ => return Err(Error::unexpected_reply()),
    };
    Ok((sample, None))
}

fn known(fields: Fields<'_>) -> Result<Known, Error> {
    Ok(Known {
        undelivered: Undelivered {
            count: fields.count(1)?,
            source: source(&fields.get::<String>(2)?)?,
        },
        pending: Pending {
            total: fields.count(3)?,
            ghosts: fields.count(4)?,
            overlap: fields.count(5)?,
            corrections_exact: fields.get(6)?,
            detail: detail(fields.list(7)?)?,
        },
        consumers: fields.list(8)?.0.iter().map(share).collect::<Result<_, _>>()?,
        length: fields.count(9)?,
        last_delivered: fields.id(10)?,
        last_generated: fields.id(11)?,
        entries_added: fields.count(12)?,
        reported_lag: fields.count(13).ok(),
    })
}

fn source(word: &str) -> Result<Source, Error> {
    match word {
        "tail" => Ok(Source::Tail),
        "head" => Ok(Source::Head),
        "anchor" => Ok(Source::Anchor),
        "right" => Ok(Source::CountedRight),
        "left" => Ok(Source::CountedLeft),
        "estimated" => Ok(Source::Estimated),
        _ => Err(Error::unexpected_reply()),
    }
}

fn detail(fields: Fields<'_>) -> Result<Option<Detail>, Error> {
    if fields.0.is_empty() {
        return Ok(None);
    }
    Ok(Some(Detail {
        poison: fields.count(0)?,
        stalled: fields.count(1)?,
        oldest_idle: fields.milliseconds(2)?,
        exact: fields.get(3)?,
    }))
}

fn share(reply: &Value) -> Result<ConsumerShare, Error> {
    let fields = Fields::of(reply)?;
    let name: Vec<u8> = fields.get(0)?;
    let inner = fields.list(2)?;
    let detail = if inner.0.is_empty() {
        None
    } else {
        Some(ShareDetail {
            poison: inner.count(0)?,
            stalled: inner.count(1)?,
            oldest_idle: inner.milliseconds(2)?,
        })
    };
    Ok(ConsumerShare {
        // A name that is no text belongs to no pod; it is shown as well as can be.
        name: String::from_utf8_lossy(&name).into_owned(),
        pending: fields.count(1)?,
        detail,
    })
}

fn anchor(fields: Fields<'_>) -> Result<Option<Anchor>, Error> {
    if fields.0.is_empty() {
        return Ok(None);
    }
    let first: String = fields.get(5)?;
    Ok(Some(Anchor {
        id: fields.id(0)?,
        behind: fields.count(1)?,
        length: fields.count(2)?,
        added: fields.count(3)?,
        generated: fields.id(4)?,
        first: if first.is_empty() { None } else { Some(id(&first)?) },
    }))
}

fn id(text: &str) -> Result<EntryId, Error> {
    text.parse().map_err(|_| Error::unexpected_reply())
}

#[derive(Clone, Copy)]
struct Fields<'a>(&'a [Value]);

impl<'a> Fields<'a> {
    fn of(value: &'a Value) -> Result<Self, Error> {
        match value {
            Value::Array(fields) => Ok(Self(fields)),
            _ => Err(Error::unexpected_reply()),
        }
    }

    fn at(self, index: usize) -> Result<&'a Value, Error> {
        self.0.get(index).ok_or_else(Error::unexpected_reply)
    }

    fn get<T: FromRedisValue>(self, index: usize) -> Result<T, Error> {
        Ok(redis::from_redis_value_ref(self.at(index)?)?)
    }

    /// A number that is negative is none: the client library would wrap it into a huge one.
    fn count(self, index: usize) -> Result<u64, Error> {
        u64::try_from(self.get::<i64>(index)?).map_err(|_| Error::unexpected_reply())
    }

    fn list(self, index: usize) -> Result<Self, Error> {
        Self::of(self.at(index)?)
    }

    fn id(self, index: usize) -> Result<EntryId, Error> {
        id(&self.get::<String>(index)?)
    }

    fn milliseconds(self, index: usize) -> Result<Duration, Error> {
        Ok(Duration::from_millis(self.count(index)?))
    }
}
