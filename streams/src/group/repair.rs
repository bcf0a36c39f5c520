//! Gives a group its lag back, where Redis has lost it and it can be proven. Touches the group's counter, never its
//! position.

use crate::connection::Shared;
use crate::error::Error;

/// Entries counted at most on either side of the group's position; as many as an exact sample counts.
const CAP: usize = 1000;

/// Redis computes the lag as entries added minus entries read, and forgets the latter when a group was set somewhere, or
/// when an entry ahead of it was deleted. In the same script the entries that are left are counted and the counter is set
/// to what makes the difference right, with the id where the group stands: outside a script that id could be old, and
/// SETID would deliver again what was read meanwhile. While the newest deleted entry lies ahead, Redis trusts no counter.
/// KEYS: stream. ARGV: group, cap.
const REPAIR: &str = concat!(
    include_str!("../prelude.lua"),
    r"
local key, group, cap = KEYS[1], ARGV[1], tonumber(ARGV[2])
local stream = redis.pcall('XINFO', 'STREAM', key)
if stream.err then
  if string.find(stream.err, 'no such key', 1, true) then return 0 end
  return stream
end
stream = to_map(stream)
local found = find_group(key, group)
if not found or found['lag'] then return 0 end
local last, length, deleted = found['last-delivered-id'], stream['length'], stream['max-deleted-entry-id']
if length > 0 and deleted ~= '0-0' and not less(deleted, last) then return 0 end

local left
if length == 0 or last == LAST_ID or count('XRANGE', key, '(' .. last, '+', 'COUNT', 1) == 0 then
  left = 0
else
  left = count('XRANGE', key, '(' .. last, '+', 'COUNT', cap + 1)
  if left > cap then
    local before = count('XREVRANGE', key, last, '-', 'COUNT', cap + 1)
    if before > cap then return 0 end
    left = length - before
  end
end
local read = stream['entries-added'] - left
if read < 0 then return 0 end
redis.call('XGROUP', 'SETID', key, group, last, 'ENTRIESREAD', string.format('%.0f', read))
return find_group(key, group)['lag'] == left and 1 or 0
"
);

/// Repairs a lag that Redis says is unknown, without moving the group. Answers whether the lag is right now and was not
/// before: false when nothing is to be repaired, when there is no such stream or group, when more than 1,000 entries lie
/// on both sides of the group's position, or while a deleted entry lies ahead of it.
///
/// Commands used: EVAL, XINFO STREAM, XINFO GROUPS, XRANGE, XREVRANGE, XGROUP SETID.
pub async fn repair(shared: &Shared, key: &str, group: &str) -> Result<bool, Error> {
    Ok(redis::cmd("EVAL")
        .arg(REPAIR)
        .arg(1)
        .arg(key)
        .arg(group)
        .arg(CAP)
        // Run a second time it finds the lag known and answers false; callers use that for reports only.
        .query_async(&mut shared.repeating())
        .await?)
}
