//! How much work a group has left, each entry counted once, as a single snapshot. Reads only.
//!
//! backlog = undelivered + pending - overlap - ghosts - poison. Redis's own `lag` is nil or wrong in a good part of the
//! histories that deletions, trims and SETID make, so it is never taken as it is; see `script.lua` for the rule and
//! [`anchor`] for why a remembered count may be built on.
//!
//! What a Redis user needs for it, with `orders` for the stream (nothing of `@dangerous`, no `INFO`):
//!
//! ```text
//! user sampler on >PASSWORD ~orders resetchannels +ping +eval_ro +evalsha_ro +xinfo|stream +xinfo|groups +xrange +xrevrange +xpending
//! ```

mod anchor;
#[cfg(test)]
mod fuzz;
mod known;
mod reply;
mod sampler;

pub use known::{ConsumerShare, Detail, Known, Pending, Sample, ShareDetail, Source, Undelivered};
pub use sampler::{Sampler, sample};

use std::time::Duration;

/// The most entries that one count looks at, about 1 ms of Redis's time at 300 bytes an entry; the way from the anchor may
/// be four times as long.
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
    /// Pending for longer than this without a delivery, an entry may be claimed by another consumer.
    pub claim_min_idle: Duration,
    /// How many deliveries an entry gets before it is poison; 0 for any number.
    pub max_deliveries: u32,
    /// Look into the pending entries even when they are many, up to `cap` of them. 128 are always looked at.
    pub detail: bool,
}

impl<'a> Target<'a> {
    /// A group with everything counted that may be, entries claimable after a minute, and no poison.
    pub fn new(key: &'a str, group: &'a str) -> Self {
        Self {
            key,
            group,
            cap: COUNT_LIMIT,
            claim_min_idle: Duration::from_secs(60),
            max_deliveries: 0,
            detail: true,
        }
    }
}
