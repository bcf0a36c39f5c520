//! Trims a stream behind its slowest group. Touches that one stream.

use crate::connection::Shared;
use crate::error::Error;
use redis::{Value, from_redis_value};
use std::time::Duration;

/// The proof and the trim as one script. Only XTRIM MINID: by length, or entry by entry, what a group has not finished
/// could go, and XDEL makes Redis lose the group's lag.
/// KEYS: stream. ARGV: retention in milliseconds, declared groups.
const TRIM: &str = concat!(
    include_str!("prelude.lua"),
    r"
local key, retention = KEYS[1], tonumber(ARGV[1])
local missing, undeclared, others = {}, nil, 0
for i = 2, #ARGV do missing[ARGV[i]] = true end
local declared = {}
for name in pairs(missing) do declared[name] = true end

local groups = redis.pcall('XINFO', 'GROUPS', key)
if groups.err then
  if string.find(groups.err, 'no such key', 1, true) then return {'nothing'} end
  return groups
end
for i, group in ipairs(groups) do
  groups[i] = to_map(group)
  local name = groups[i]['name']
  missing[name] = nil
  if not declared[name] then
    undeclared, others = undeclared or name, others + 1
  end
end
if undeclared then return {'blocked', undeclared, others} end
-- A declared group that is not there was lost, or is about to be made where the stream begins: all of it may be its work.
if #groups == 0 or next(missing) then return {'nothing'} end

local now = redis.call('TIME')
local oldest = math.floor(now[1] * 1000 + now[2] / 1000 - retention)
if oldest <= 0 then return {'nothing'} end
local least = string.format('%.0f-0', oldest)
local function keep_from(id)
  if id and less(id, least) then least = id end
end
for _, group in ipairs(groups) do
  keep_from(redis.call('XPENDING', key, group['name'])[2])
  local last = group['last-delivered-id']
  if last ~= LAST_ID then
    local undelivered = redis.call('XRANGE', key, '(' .. last, '+', 'COUNT', 1)[1]
    keep_from(undelivered and undelivered[1])
  end
end
return {'trimmed', redis.call('XTRIM', key, 'MINID', '~', least)}
"
);

/// What [`behind`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trimmed {
    /// So many entries are gone, at least one.
    Trimmed(u64),
    /// All that is there is young, or some group's work; or a declared group, or the stream, is missing.
    Nothing,
    /// A group that nobody declared may need anything.
    Blocked {
        /// Its name, as Redis has it.
        group: String,
        /// How many more such groups there are.
        others: u64,
    },
}

/// Removes entries older than `retention`, by the clock of Redis, that no group still has to deliver or to finish.
/// Nothing goes while the stream has a group that is not in `declared`, or lacks one that is. Redis frees whole blocks of
/// entries (a hundred by default), so up to a block more than necessary stays. An id that a producer chose counts as the
/// time it says.
///
/// Commands used: EVAL, XINFO GROUPS, TIME, XPENDING, XRANGE, XTRIM.
pub async fn behind(shared: &Shared, key: &str, declared: &[&str], retention: Duration) -> Result<Trimmed, Error> {
    let mut command = redis::cmd("EVAL");
    command.arg(TRIM).arg(1).arg(key);
    command.arg(u64::try_from(retention.as_millis()).unwrap_or(u64::MAX));
    command.arg(declared);
    let reply: Vec<Value> = command.query_async(&mut shared.repeating()).await?;
    let mut parts = reply.into_iter();
    let word: String = from_redis_value(parts.next().ok_or_else(Error::unexpected_reply)?)?;
    match (word.as_str(), parts.next(), parts.next()) {
        ("nothing", ..) => Ok(Trimmed::Nothing),
        ("trimmed", Some(number), _) => Ok(match from_redis_value(number)? {
            0 => Trimmed::Nothing,
            number => Trimmed::Trimmed(number),
        }),
        ("blocked", Some(name), Some(others)) => Ok(Trimmed::Blocked {
            group: String::from_utf8_lossy(&from_redis_value::<Vec<u8>>(name)?).into_owned(),
            others: from_redis_value::<u64>(others)?.saturating_sub(1),
        }),
        _ => Err(Error::unexpected_reply()),
    }
}
