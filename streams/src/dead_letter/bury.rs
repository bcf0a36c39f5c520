//! Moves pending entries to the dead letters. Touches the group's pending list and the dead-letter stream.

use super::key as dead_key;
use crate::connection::Shared;
use crate::entry_id::EntryId;
use crate::error::Error;
use std::time::Duration;

/// The reason given for an entry that was delivered too often.
pub const TOO_MANY_DELIVERIES: &str = "too-many-deliveries";

/// Pending entries looked at by one script, so that none is slow.
const PAGE: usize = 128;

/// KEYS: stream, dead letters. ARGV: group, consumer, id, reason.
const BURY: &str = concat!(
    include_str!("bury.lua"),
    r"
local item = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1, ARGV[2])[1]
if not item then return -1 end
return bury(KEYS[1], KEYS[2], ARGV[1], ARGV[2], item[1], item[3], item[4], ARGV[4])
"
);

/// KEYS: stream, dead letters. ARGV: group, id to go on from, most entries looked at, most entries buried, idle
/// milliseconds from which the last permitted delivery has failed, deliveries permitted, reason, names of owners (none for
/// any).
/// What was delivered more often is poison, whoever has it now; but one who renews what it has in hand has not given up,
/// so half the idle time must have gone by.
const BURY_LEFT: &str = concat!(
    include_str!("bury.lua"),
    r"
local idle, permitted, owners = tonumber(ARGV[5]), tonumber(ARGV[6]), {}
for i = 8, #ARGV do owners[ARGV[i]] = true end
local any, last, buried = #ARGV < 8, '', 0
local pending = redis.call('XPENDING', KEYS[1], ARGV[1], 'IDLE', math.floor(idle / 2), '(' .. ARGV[2], '+', ARGV[3])
for _, item in ipairs(pending) do
  if buried == tonumber(ARGV[4]) then break end
  local id, owner, idled, count = item[1], item[2], item[3], item[4]
  last = id
  if (any or owners[owner]) and (count > permitted or count == permitted and idled >= idle) then
    buried = buried + bury(KEYS[1], KEYS[2], ARGV[1], owner, id, idled, count, ARGV[7])
  end
end
return {last, buried}
"
);

/// What [`bury`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Buried {
    /// It is among the dead letters and acknowledged.
    Yes,
    /// It is not pending, or somebody else has it now.
    NotOurs,
    /// It had been deleted from the stream, and was let go.
    Gone,
}

/// Moves the pending entry `id` to the dead letters, if `consumer` still has it. The copy and the acknowledgement are one
/// script: there is never one without the other. `reason` is a fixed word.
///
/// Commands used: EVAL, XPENDING, XCLAIM, XACK on the stream; XADD on the dead letters. One ACL selector must hold both
/// keys with EVAL.
pub async fn bury(
    shared: &Shared,
    key: &str,
    group: &str,
    consumer: &str,
    id: EntryId,
    reason: &str,
) -> Result<Buried, Error> {
    let buried: i64 = redis::cmd("EVAL")
        .arg(BURY)
        .arg(2)
        .arg(key)
        .arg(dead_key(key, group))
        .arg(group)
        .arg(consumer)
        .arg(id.to_string())
        .arg(reason)
        // Run a second time it finds the entry acknowledged and changes nothing.
        .query_async(&mut shared.repeating())
        .await?;
    match buried {
        1 => Ok(Buried::Yes),
        0 => Ok(Buried::Gone),
        -1 => Ok(Buried::NotOurs),
        _ => Err(Error::unexpected_reply()),
    }
}

/// Whose entries may be moved.
#[derive(Clone, Copy, Debug)]
pub enum Owners<'a> {
    /// Everybody's.
    Any,
    /// These consumers'.
    Named(&'a [&'a str]),
}

/// Moves at most `limit` entries to the dead letters that were delivered too often and that nobody handles any more:
/// delivered more than `max_deliveries` times, or exactly so often and idle for `claim_min_idle`. An entry whose owner
/// renews it is never moved. 0 deliveries permitted means any number. Answers how many were moved.
///
/// Commands used: as [`bury`].
pub async fn bury_left(
    shared: &Shared,
    key: &str,
    group: &str,
    owners: Owners<'_>,
    claim_min_idle: Duration,
    max_deliveries: u32,
    limit: usize,
) -> Result<u64, Error> {
    let names = match owners {
        Owners::Any => &[][..],
        Owners::Named(names) => names,
    };
    if max_deliveries == 0 || limit == 0 || matches!(owners, Owners::Named([])) {
        return Ok(0);
    }
    let idle = u64::try_from(claim_min_idle.as_millis()).unwrap_or(u64::MAX);
    let mut after = EntryId::ZERO;
    let mut buried = 0;
    while buried < limit {
        let mut command = redis::cmd("EVAL");
        command.arg(BURY_LEFT).arg(2).arg(key).arg(dead_key(key, group));
        command.arg(group).arg(after.to_string()).arg(PAGE).arg(limit - buried);
        command
            .arg(idle)
            .arg(max_deliveries)
            .arg(TOO_MANY_DELIVERIES)
            .arg(names);
        let (last, moved): (String, usize) = command.query_async(&mut shared.repeating()).await?;
        buried += moved;
        match last.parse() {
            Ok(last) => after = last,
            Err(_) => break,
        }
    }
    Ok(u64::try_from(buried).unwrap_or(u64::MAX))
}
