//! Takes over entries that were delivered and not acknowledged. Touches the group's pending list.

use super::Settings;
use super::entry::{Entry, Fields};
use crate::connection::Shared;
use crate::entry_id::EntryId;
use crate::error::Error;
use redis::{FromRedisValue, RedisError, Value};
use std::sync::Arc;

/// One page of XAUTOCLAIM with each entry's delivery count, which no other reply tells. One script, so that a claim
/// whose reply is lost is at least whole.
/// KEYS: stream. ARGV: group, consumer, milliseconds of idle, cursor, count.
const CLAIM: &str = r"
local page = redis.call('XAUTOCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4], 'COUNT', ARGV[5])
local entries = {}
for i, entry in ipairs(page[2]) do
  local pending = redis.call('XPENDING', KEYS[1], ARGV[1], entry[1], entry[1], 1)
  entries[i] = {entry[1], pending[1][4], entry[2]}
end
return {page[1], entries, #(page[3] or {})}
";

/// The consumer's own pending entries, left by an earlier process of the same name or by a reply that was lost, without
/// those it has in hand. XCLAIM counts the delivery and lets go of what was deleted.
/// KEYS: stream. ARGV: group, consumer, id to go on from, count, ids in hand.
const RECOVER: &str = r"
local in_hand = {}
for i = 5, #ARGV do in_hand[ARGV[i]] = true end
local pending = redis.call('XPENDING', KEYS[1], ARGV[1], '(' .. ARGV[3], '+', ARGV[4], ARGV[2])
local entries, deleted, last = {}, 0, ''
for _, item in ipairs(pending) do
  last = item[1]
  if not in_hand[last] then
    local claimed = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, last)
    if claimed[1] then
      entries[#entries + 1] = {last, item[4] + 1, claimed[1][2]}
    else
      deleted = deleted + 1
    end
  end
end
return {last, entries, deleted}
";

/// Entries that were taken over, and where to go on.
#[derive(Debug)]
pub(super) struct Page {
    /// Where the next page begins; none after the last.
    pub(super) next: Option<EntryId>,
    pub(super) entries: Vec<Entry>,
    /// Entries that no longer exist and were let go.
    pub(super) deleted: usize,
}

/// Claims at most `count` entries that have been idle for `claim_min_idle`, from `cursor` on. Redis looks at ten times
/// `count` pending entries for one page, so a page may be empty and not the last.
pub(super) async fn idle(
    shared: &Shared,
    settings: &Settings,
    stream: &Arc<str>,
    cursor: EntryId,
    count: usize,
) -> Result<Page, Error> {
    let reply: Value = redis::cmd("EVAL")
        .arg(CLAIM)
        .arg(1)
        .arg(&settings.key)
        .arg(&settings.group)
        .arg(&settings.consumer)
        .arg(u64::try_from(settings.claim_min_idle.as_millis()).unwrap_or(u64::MAX))
        .arg(cursor.to_string())
        .arg(count)
        // Not repeated: a second run would find the entries no longer idle and lose sight of them until they are again.
        .query_async(&mut shared.clone())
        .await?;
    page(reply, stream)
}

/// Takes at most `count` own pending entries behind `after` that are not `in_hand`.
pub(super) async fn own(
    shared: &Shared,
    settings: &Settings,
    stream: &Arc<str>,
    after: EntryId,
    count: usize,
    in_hand: &[EntryId],
) -> Result<Page, Error> {
    let mut command = redis::cmd("EVAL");
    command
        .arg(RECOVER)
        .arg(1)
        .arg(&settings.key)
        .arg(&settings.group)
        .arg(&settings.consumer);
    command.arg(after.to_string()).arg(count);
    for id in in_hand {
        command.arg(id.to_string());
    }
    let reply: Value = command.query_async(&mut shared.repeating()).await?;
    page(reply, stream)
}

fn page(reply: Value, stream: &Arc<str>) -> Result<Page, Error> {
    type Item = (String, u64, Vec<Vec<u8>>);
    let (next, items, deleted): (String, Vec<Item>, usize) = convert(reply)?;
    let mut entries = Vec::with_capacity(items.len());
    for (id, delivery_count, fields) in items {
        entries.push(Entry {
            stream: Arc::clone(stream),
            id: id.parse().map_err(|_| Error::unexpected_reply())?,
            delivery_count,
            fields: pairs(fields),
        });
    }
    let next = next.parse().ok().filter(|next| *next != EntryId::ZERO);
    Ok(Page { next, entries, deleted })
}

/// Field names and values, which Redis sends one after the other.
pub(super) fn pairs(flat: Vec<Vec<u8>>) -> Fields {
    let mut flat = flat.into_iter();
    std::iter::from_fn(|| Some((flat.next()?, flat.next()?))).collect()
}

pub(super) fn convert<T: FromRedisValue>(value: Value) -> Result<T, Error> {
    redis::from_redis_value(value).map_err(|error| Error::from(RedisError::from(error)))
}
