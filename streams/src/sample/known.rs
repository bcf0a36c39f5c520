//! What a sample says. Pure.

use crate::entry_id::EntryId;
use std::time::Duration;

/// How a number of undelivered entries was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// Nothing lies behind the group's position. Exact.
    Tail,
    /// Nothing lies before it, so all that the stream holds is undelivered. Exact.
    Head,
    /// An earlier exact count, with what was added since and the way the group went since. Exact.
    Anchor,
    /// The entries behind it were counted. Exact.
    CountedRight,
    /// The entries before it were counted and taken from the length. Exact.
    CountedLeft,
    /// More than the cap on both sides: an estimate between proven bounds.
    Estimated,
}

impl Source {
    /// Every source.
    pub const ALL: [Self; 6] = [
        Self::Tail,
        Self::Head,
        Self::Anchor,
        Self::CountedRight,
        Self::CountedLeft,
        Self::Estimated,
    ];

    /// The name in status and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tail => "Tail",
            Self::Head => "Head",
            Self::Anchor => "Anchor",
            Self::CountedRight => "CountedRight",
            Self::CountedLeft => "CountedLeft",
            Self::Estimated => "Estimated",
        }
    }
}

/// Entries the group has not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undelivered {
    /// How many.
    pub count: u64,
    /// How that was found.
    pub source: Source,
}

impl Undelivered {
    /// Whether the count is the truth and not an estimate.
    pub fn is_exact(&self) -> bool {
        self.source != Source::Estimated
    }
}

/// Entries that were delivered and not acknowledged. No entry is counted in two of ghosts, overlap, poison and stalled;
/// what is in none of them is in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// All of them, as Redis counts them. Exact.
    pub total: u64,
    /// Those that no longer exist. Nobody can work on them.
    pub ghosts: u64,
    /// Those that are also undelivered, because the group's position was set back.
    pub overlap: u64,
    /// Whether ghosts and overlap are exact. If not, they are lower bounds, and the backlog an upper one.
    pub corrections_exact: bool,
    /// What looking at each of them showed; `None` when there are many and nobody asked.
    pub detail: Option<Detail>,
}

/// What looking at each pending entry showed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Detail {
    /// Entries delivered more often than allowed, or exactly so often and then left alone until they may be claimed.
    pub poison: u64,
    /// Others that have been left alone for so long that they may be claimed.
    pub stalled: u64,
    /// How long ago the entry that waits longest was delivered; poison is not looked at. Zero when there is none.
    pub oldest_idle: Duration,
    /// Every pending entry was looked at. If not, poison, stalled and `oldest_idle` are lower bounds.
    pub exact: bool,
}

/// What one consumer holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerShare {
    /// Its name, which is no secret but chosen by others: check it before it is shown.
    pub name: String,
    /// How much of [`Pending::total`].
    pub pending: u64,
    /// Present when [`Pending::detail`] is, and exact when that is.
    pub detail: Option<ShareDetail>,
}

impl ConsumerShare {
    /// Entries that nobody else may claim yet, as far as is known: all of them where nobody looked.
    pub fn unclaimable(&self) -> u64 {
        let counted = self
            .detail
            .map_or(0, |detail| detail.stalled.saturating_add(detail.poison));
        self.pending.saturating_sub(counted)
    }
}

/// What looking at each entry of one consumer showed; the figures mean what they mean in [`Detail`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareDetail {
    /// Its poison.
    pub poison: u64,
    /// Its entries that may be claimed.
    pub stalled: u64,
    /// How long its oldest entry waits.
    pub oldest_idle: Duration,
}

/// The figures of a group that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Entries the group has not read.
    pub undelivered: Undelivered,
    /// Entries the group has read and not acknowledged.
    pub pending: Pending,
    /// Who holds them: consumers with at least one, in the order of their names. The first 1024; none when the group has
    /// more than 4096 consumers, dead ones included.
    pub consumers: Vec<ConsumerShare>,
    /// Entries in the stream.
    pub length: u64,
    /// The group's position: the last entry it was handed.
    pub last_delivered: EntryId,
    /// The stream's newest id, of entries deleted since as well.
    pub last_generated: EntryId,
    /// Entries ever added to the stream, as Redis counts them. Going back means lost or replaced data.
    pub entries_added: u64,
    /// What Redis reports as lag, for display only.
    pub reported_lag: Option<u64>,
}

impl Known {
    /// The work that is left: undelivered and pending, each entry counted once, without what no longer exists and
    /// without what was seen to be poison.
    pub fn backlog(&self) -> u64 {
        let poison = self.pending.detail.map_or(0, |detail| detail.poison);
        self.undelivered
            .count
            .saturating_add(self.pending.total)
            .saturating_sub(self.pending.overlap)
            .saturating_sub(self.pending.ghosts)
            .saturating_sub(poison)
    }

    /// Whether [`backlog`](Self::backlog) is the truth. Poison among pending entries that were not looked at is still
    /// in it, as work: a sample with detail takes it out.
    pub fn is_exact(&self) -> bool {
        self.undelivered.is_exact() && self.pending.corrections_exact
    }
}

/// What a sample found. A Redis that cannot be asked is an error, never a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sample {
    /// No such key.
    NoStream,
    /// The key holds something else.
    WrongType,
    /// The stream has no such group.
    NoGroup {
        /// Entries in the stream.
        length: u64,
        /// The stream's newest id.
        last_generated: EntryId,
        /// Entries ever added.
        entries_added: u64,
    },
    /// The group exists.
    Known(Known),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(undelivered: u64, total: u64, overlap: u64, ghosts: u64, poison: u64) -> Known {
        Known {
            undelivered: Undelivered {
                count: undelivered,
                source: Source::Tail,
            },
            pending: Pending {
                total,
                ghosts,
                overlap,
                corrections_exact: true,
                detail: Some(Detail {
                    poison,
                    stalled: 0,
                    oldest_idle: Duration::ZERO,
                    exact: true,
                }),
            },
            consumers: Vec::new(),
            length: 0,
            last_delivered: EntryId::ZERO,
            last_generated: EntryId::ZERO,
            entries_added: 0,
            reported_lag: None,
        }
    }

    #[test]
    fn backlog_saturates_instead_of_wrapping() {
        assert_eq!(known(3, 4, 1, 2, 0).backlog(), 4);
        assert_eq!(known(3, 4, 1, 1, 1).backlog(), 4);
        assert_eq!(known(u64::MAX, u64::MAX, 0, 0, 0).backlog(), u64::MAX);
        assert_eq!(known(0, 1, 2, 3, 4).backlog(), 0);
    }
}
