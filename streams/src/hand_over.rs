//! Marks what a consumer holds as claimable at once, so that no peer waits out `claim_min_idle` for it. Touches the
//! pending list of one group; the entries stay with their consumer until somebody claims them.

use crate::connection::Shared;
use crate::entry_id::EntryId;
use crate::error::Error;
use std::time::Duration;

/// The least idle time that marks an entry as handed over. An hour, so that only what is handed over has it, whoever looks.
const HANDED_OVER: Duration = Duration::from_hours(1);
/// Entries looked at by one script, so that none is slow.
const PAGE: usize = 256;

/// One page of a consumer's pending entries, marked. One that was marked before is left alone, so a second run takes no
/// second delivery off the count. Where a delivery was made and not finished, the next claim counts it anew; an entry
/// given as attempted keeps its count. XCLAIM lets go of an entry that was deleted from the stream.
/// KEYS: stream. ARGV: group, consumer, id to go on from, most entries looked at, most entries marked, idle time in
/// milliseconds, number of ids to keep, `1` if all were attempted, the ids to keep, ids that were attempted.
const HAND_OVER: &str = r"
local key, group, consumer, most, idle = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[5]), tonumber(ARGV[6])
local keep, attempted = {}, {}
local first_attempted, all_attempted = 9 + tonumber(ARGV[7]), ARGV[8] == '1'
for i = 9, #ARGV do
  if i < first_attempted then keep[ARGV[i]] = true else attempted[ARGV[i]] = true end
end
local pending = redis.call('XPENDING', key, group, '(' .. ARGV[3], '+', ARGV[4], consumer)
local last, marked = '', 0
for _, item in ipairs(pending) do
  if marked == most then break end
  local id, count = item[1], item[4]
  last = id
  if not keep[id] and item[3] < idle then
    if not (all_attempted or attempted[id]) then count = math.max(0, count - 1) end
    local claimed = redis.call('XCLAIM', key, group, consumer, 0, id, 'IDLE', idle, 'RETRYCOUNT', count, 'JUSTID')
    marked = marked + #claimed
  end
end
return {last, marked}
";

/// The idle time in milliseconds that marks an entry as handed over: peers that wait for `claim_min_idle` need not wait.
pub(crate) fn mark(claim_min_idle: Duration) -> u64 {
    u64::try_from(HANDED_OVER.max(claim_min_idle).as_millis()).unwrap_or(u64::MAX)
}

/// What [`of`] has marked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HandedOver {
    /// Entries marked by this call.
    pub entries: u64,
    /// Whether the limit ended the call, so that there may be more.
    pub remaining: bool,
}

/// Marks at most `limit` entries that `consumer` holds as claimable at once, by peers that claim what has been idle for
/// `claim_min_idle`. Only for a consumer that is known to be gone: a live one would see its entries taken while it handles
/// them. The delivery that was not finished is taken off the count. Safe to repeat: what is marked stays as it is.
///
/// Commands used: EVAL, XPENDING, XCLAIM.
pub async fn of(
    shared: &Shared,
    key: &str,
    group: &str,
    consumer: &str,
    claim_min_idle: Duration,
    limit: usize,
) -> Result<HandedOver, Error> {
    of_gone(
        shared,
        key,
        group,
        consumer,
        claim_min_idle,
        Attempted::Those(&[]),
        limit,
    )
    .await
}

/// As [`of`], for a consumer that ended without having been asked to: the delivery may be what ended it, so the count stays.
/// Else an entry that takes its consumer's whole machine with it would never be found to be poison.
///
/// Commands used: as [`of`].
pub async fn of_failed(
    shared: &Shared,
    key: &str,
    group: &str,
    consumer: &str,
    claim_min_idle: Duration,
    limit: usize,
) -> Result<HandedOver, Error> {
    of_gone(shared, key, group, consumer, claim_min_idle, Attempted::All, limit).await
}

async fn of_gone(
    shared: &Shared,
    key: &str,
    group: &str,
    consumer: &str,
    claim_min_idle: Duration,
    attempted: Attempted<'_>,
    limit: usize,
) -> Result<HandedOver, Error> {
    let own = Own {
        key,
        group,
        consumer,
        claim_min_idle,
        keep: &[],
        attempted,
    };
    own.hand_over(shared, limit).await
}

/// A consumer's pending entries, by what is to become of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Own<'a> {
    pub(crate) key: &'a str,
    pub(crate) group: &'a str,
    pub(crate) consumer: &'a str,
    pub(crate) claim_min_idle: Duration,
    /// In hand: not handed over.
    pub(crate) keep: &'a [EntryId],
    pub(crate) attempted: Attempted<'a>,
}

/// Which deliveries were not merely interrupted, but failed or may have ended the process: they stay counted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Attempted<'a> {
    All,
    Those(&'a [EntryId]),
}

impl Own<'_> {
    pub(crate) async fn hand_over(&self, shared: &Shared, limit: usize) -> Result<HandedOver, Error> {
        let mut after = EntryId::ZERO;
        let mut entries = 0;
        loop {
            let most = limit.saturating_sub(entries);
            if most == 0 {
                break;
            }
            let (last, marked) = self.page(shared, after, most).await?;
            entries += marked;
            match last {
                Some(last) => after = last,
                None => break,
            }
        }
        Ok(HandedOver {
            entries: u64::try_from(entries).unwrap_or(u64::MAX),
            remaining: entries >= limit,
        })
    }

    async fn page(&self, shared: &Shared, after: EntryId, most: usize) -> Result<(Option<EntryId>, usize), Error> {
        let (all_attempted, attempted) = match self.attempted {
            Attempted::All => (true, &[][..]),
            Attempted::Those(ids) => (false, ids),
        };
        let mut command = redis::cmd("EVAL");
        command.arg(HAND_OVER).arg(1).arg(self.key);
        command.arg(self.group).arg(self.consumer).arg(after.to_string());
        command.arg(PAGE).arg(most).arg(mark(self.claim_min_idle));
        command.arg(self.keep.len()).arg(u8::from(all_attempted));
        for id in self.keep.iter().chain(attempted) {
            command.arg(id.to_string());
        }
        let (last, marked): (String, usize) = command.query_async(&mut shared.repeating()).await?;
        Ok((last.parse().ok(), marked))
    }
}
