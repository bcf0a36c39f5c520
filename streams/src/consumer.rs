//! The life of a consumer's name in its group. Touches that group.

use crate::connection::Shared;
use crate::error::{Class, Error};

/// XGROUP DELCONSUMER drops the consumer's pending entries from the group, never to be delivered again. So the proof
/// that there are none and the deletion are one script. Whoever may not list consumers is not told an unknown name.
/// KEYS: stream. ARGV: group, consumer.
const DELETE_IF_IDLE: &str = r"
local key, group, consumer = KEYS[1], ARGV[1], ARGV[2]
for _, holder in ipairs(redis.call('XPENDING', key, group)[4] or {}) do
  if holder[1] == consumer then return {'holds', tonumber(holder[2])} end
end
if redis.acl_check_cmd('XINFO', 'CONSUMERS', key, group) then
  local known = false
  for _, item in ipairs(redis.call('XINFO', 'CONSUMERS', key, group)) do
    for i = 1, #item, 2 do
      if item[i] == 'name' and item[i + 1] == consumer then known = true end
    end
  end
  if not known then return {'unknown', 0} end
end
redis.call('XGROUP', 'DELCONSUMER', key, group, consumer)
return {'yes', 0}
";

/// What became of a consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// Its name is gone.
    Yes,
    /// It holds so many pending entries, at least one, and stays.
    Holds(u64),
    /// No such stream, group or consumer.
    Unknown,
}

/// Deletes `consumer` from the group when it holds nothing. A live consumer that is deleted loses nothing: its next read
/// makes it anew.
///
/// Commands used: EVAL, XPENDING, XGROUP DELCONSUMER; XINFO CONSUMERS where permitted.
pub async fn delete_if_idle(shared: &Shared, key: &str, group: &str, consumer: &str) -> Result<Deleted, Error> {
    let reply: Result<(String, u64), Error> = redis::cmd("EVAL")
        .arg(DELETE_IF_IDLE)
        .arg(1)
        .arg(key)
        .arg(group)
        .arg(consumer)
        .query_async(&mut shared.repeating())
        .await
        .map_err(Error::from);
    match reply {
        Ok((word, held)) => match word.as_str() {
            "yes" => Ok(Deleted::Yes),
            "holds" => Ok(Deleted::Holds(held)),
            "unknown" => Ok(Deleted::Unknown),
            _ => Err(Error::unexpected_reply()),
        },
        Err(error) if error.class() == Class::NoGroup => Ok(Deleted::Unknown),
        Err(error) => Err(error),
    }
}
