//! Takes over entries that were delivered and not acknowledged. Touches the group's pending list.

use super::Settings;
use super::entry::{Entry, Fields};
use crate::connection::Shared;
use crate::entry_id::EntryId;
use crate::error::Error;
use redis::Value;
use std::sync::Arc;

/// Pending entries of a group up to which a look finds whatever is idle, wherever it is. Redis passes over what is not in
/// 0.12 microseconds each (measured on 7.4.1; XAUTOCLAIM takes 6).
const SMALL: usize = 16_384;
/// Pending entries that one look at a larger group goes through, from a cursor on.
const PAGE: usize = 2_048;
/// Entries looked up for each that is claimed: what peers that looked at the same time leave of them.
const CHOICE: usize = 4;

/// Finds what has been idle and is not in hand here; changes nothing.
/// KEYS: stream. ARGV: group, milliseconds of idle, id to go on from, count, the two limits, ids in hand.
const LOOK: &str = r"
local key, group, idle, count = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[4])
local in_hand = {}
for i = 7, #ARGV do in_hand[ARGV[i]] = true end
local small = redis.call('XPENDING', key, group)[1] <= tonumber(ARGV[5])
local pending, next_id = nil, ''
if small then
  pending = redis.call('XPENDING', key, group, 'IDLE', ARGV[2], '-', '+', count + #ARGV - 6)
else
  pending = redis.call('XPENDING', key, group, '(' .. ARGV[3], '+', ARGV[6])
  if #pending == tonumber(ARGV[6]) then next_id = pending[#pending][1] end
end
local ids = {}
for _, item in ipairs(pending) do
  local id = item[1]
  if item[3] >= idle and not in_hand[id] then
    ids[#ids + 1] = id
    if #ids == count then
      if not small then next_id = id end
      break
    end
  end
end
return {next_id, ids}
";

/// Claims those that are still idle, each with its delivery count, which the claim raises by one. One script, so that a
/// claim whose reply is lost is at least whole. XCLAIM lets go of what was deleted.
/// KEYS: stream. ARGV: group, consumer, milliseconds of idle, count, ids.
const CLAIM: &str = r"
local key, group, consumer, idle, count = KEYS[1], ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local entries, deleted = {}, 0
for i = 5, #ARGV do
  if #entries == count then break end
  local id = ARGV[i]
  local item = redis.call('XPENDING', key, group, 'IDLE', idle, id, id, 1)[1]
  if item then
    local claimed = redis.call('XCLAIM', key, group, consumer, idle, id)
    if claimed[1] then
      entries[#entries + 1] = {id, item[4] + 1, claimed[1][2]}
    else
      deleted = deleted + 1
    end
  end
end
return {entries, deleted}
";

/// Takes own pending entries in hand, each with the delivery count it is given; running it twice is as running it once.
/// XCLAIM lets go of what was deleted.
/// KEYS: stream. ARGV: group, consumer, then ids, each with its count.
const TAKE_OWN: &str = r"
local key, group, consumer = KEYS[1], ARGV[1], ARGV[2]
local entries, deleted = {}, 0
for i = 3, #ARGV, 2 do
  local id = ARGV[i]
  local item = redis.call('XPENDING', key, group, id, id, 1, consumer)[1]
  if item then
    local deliveries = math.max(item[4], tonumber(ARGV[i + 1]))
    local claimed = redis.call('XCLAIM', key, group, consumer, 0, id, 'RETRYCOUNT', deliveries)
    if claimed[1] then
      entries[#entries + 1] = {id, deliveries, claimed[1][2]}
    else
      deleted = deleted + 1
    end
  end
end
return {entries, deleted}
";

/// Entries that have been idle, and where to go on.
#[derive(Debug)]
pub(super) struct Found {
    /// Where the next look begins; none after the last page.
    pub(super) next: Option<EntryId>,
    pub(super) ids: Vec<String>,
}

/// Entries that were taken over.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) entries: Vec<Entry>,
    /// Entries that no longer exist and were let go.
    pub(super) deleted: usize,
}

/// Finds entries that have been idle for `claim_min_idle`, enough to claim `count` of them when peers are after them too.
/// Of a huge pending list one page is looked at, from `cursor` on; it may be empty and not the last.
pub(super) async fn look(
    shared: &Shared,
    settings: &Settings,
    cursor: EntryId,
    count: usize,
    in_hand: &[EntryId],
) -> Result<Found, Error> {
    let mut command = redis::cmd("EVAL");
    command.arg(LOOK).arg(1).arg(&settings.key).arg(&settings.group);
    command.arg(idle(settings));
    command.arg(cursor.to_string()).arg(count * CHOICE).arg(SMALL).arg(PAGE);
    for id in in_hand {
        command.arg(id.to_string());
    }
    let (next, ids): (String, Vec<String>) = command.query_async(&mut shared.repeating()).await?;
    let next = next.parse().ok();
    Ok(Found { next, ids })
}

/// Claims at most `count` of what a look has found. Apart from the look, because a call that Redis takes up only after an
/// outage finds idle what it kept its holder from renewing: a look may be thrown away, a claim has counted a delivery.
pub(super) async fn claim(
    shared: &Shared,
    settings: &Settings,
    stream: &Arc<str>,
    ids: &[String],
    count: usize,
) -> Result<Page, Error> {
    let mut command = script(CLAIM, settings);
    command.arg(idle(settings)).arg(count).arg(ids);
    // Not repeated: a second run would find the entries no longer idle and lose sight of them until they are again.
    page(command.query_async(&mut shared.clone()).await?, stream)
}

fn idle(settings: &Settings) -> u64 {
    u64::try_from(settings.claim_min_idle.as_millis()).unwrap_or(u64::MAX)
}

/// Every entry that is pending under this consumer's name, with its delivery count.
pub(super) async fn list_own(shared: &Shared, settings: &Settings) -> Result<Vec<(EntryId, u64)>, Error> {
    let mut own = Vec::new();
    let mut after = EntryId::ZERO;
    loop {
        let mut command = redis::cmd("XPENDING");
        command.arg(&settings.key).arg(&settings.group);
        command
            .arg(format!("({after}"))
            .arg("+")
            .arg(PAGE)
            .arg(&settings.consumer);
        let page: Vec<(String, Value, u64, u64)> = command.query_async(&mut shared.repeating()).await?;
        for (id, _, _, deliveries) in &page {
            after = id.parse().map_err(|_| Error::unexpected_reply())?;
            own.push((after, *deliveries));
        }
        if page.len() < PAGE {
            return Ok(own);
        }
    }
}

/// Takes own pending entries, each with its delivery count.
pub(super) async fn take_own(
    shared: &Shared,
    settings: &Settings,
    stream: &Arc<str>,
    batch: &[(EntryId, u64)],
) -> Result<Page, Error> {
    let mut command = script(TAKE_OWN, settings);
    for (id, deliveries) in batch {
        command.arg(id.to_string()).arg(deliveries);
    }
    page(command.query_async(&mut shared.repeating()).await?, stream)
}

fn script(script: &str, settings: &Settings) -> redis::Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(script).arg(1).arg(&settings.key);
    command.arg(&settings.group).arg(&settings.consumer);
    command
}

fn page(reply: Value, stream: &Arc<str>) -> Result<Page, Error> {
    type Item = (String, u64, Vec<Vec<u8>>);
    let (items, deleted): (Vec<Item>, usize) = redis::from_redis_value(reply)?;
    let mut entries = Vec::with_capacity(items.len());
    for (id, delivery_count, fields) in items {
        entries.push(Entry {
            stream: Arc::clone(stream),
            id: id.parse().map_err(|_| Error::unexpected_reply())?,
            delivery_count,
            fields: pairs(fields),
        });
    }
    Ok(Page { entries, deleted })
}

/// Field names and values, which Redis sends one after the other.
pub(super) fn pairs(flat: Vec<Vec<u8>>) -> Fields {
    let mut flat = flat.into_iter();
    std::iter::from_fn(|| Some((flat.next()?, flat.next()?))).collect()
}
