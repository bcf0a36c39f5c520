//! The life of a consumer group: made with its stream, repaired where it stands. Touches the one group of the one stream.

mod repair;

pub use repair::repair;

use crate::connection::Shared;
use crate::error::Error;

/// Creates the group in one atomic step, with its stream when that is missing.
///
/// A group at `$` of a stream with entries is told how many entries went before it; without that, Redis cannot say the
/// group's lag until it has read to the end. Lua numbers hold the count exactly up to 2^53.
const ENSURE: &str = concat!(
    include_str!("prelude.lua"),
    r"
local key, group, start = KEYS[1], ARGV[1], ARGV[2]
local stream = redis.pcall('XINFO', 'STREAM', key)
if stream.err and not string.find(stream.err, 'no such key', 1, true) then
  return stream
end
local existed = not stream.err
local created
if existed and start == '$' then
  local added = to_map(stream)['entries-added']
  created = redis.pcall('XGROUP', 'CREATE', key, group, '$', 'ENTRIESREAD', string.format('%.0f', added))
else
  created = redis.pcall('XGROUP', 'CREATE', key, group, start, 'MKSTREAM')
end
if created.err then
  if string.sub(created.err, 1, 9) ~= 'BUSYGROUP' then return created end
  return {0, 1}
end
return {1, existed and 1 or 0}
"
);

/// Where a new group begins to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StartFrom {
    /// `0`: every entry the stream still has.
    Beginning,
    /// `$`: only entries added from now on.
    End,
}

impl StartFrom {
    /// As Redis writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Beginning => "0",
            Self::End => "$",
        }
    }
}

/// What [`ensure`] found and did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ensured {
    /// The group was not there and is now.
    pub created: bool,
    /// The stream was there before.
    pub stream_existed: bool,
}

/// Makes sure that `group` exists on the stream `key`. Changes nothing when it does; `start` counts only on creation.
///
/// Commands used: EVAL, XINFO STREAM, XGROUP CREATE.
pub async fn ensure(shared: &Shared, key: &str, group: &str, start: StartFrom) -> Result<Ensured, Error> {
    let (created, stream_existed): (bool, bool) = redis::cmd("EVAL")
        .arg(ENSURE)
        .arg(1)
        .arg(key)
        .arg(group)
        .arg(start.as_str())
        // Run a second time it would change nothing, but say so: `created` is then false. Callers use it for reports only.
        .query_async(&mut shared.repeating())
        .await?;
    Ok(Ensured {
        created,
        stream_existed,
    })
}
