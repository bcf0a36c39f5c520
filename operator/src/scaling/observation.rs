//! What a decision is made from: what Redis answered, what the workload has. Plain data.

use std::time::Duration;

use super::Policy;

/// A moment on a monotonic clock of the caller's, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

impl Moment {
    /// The moment `milliseconds` after the clock's start.
    pub const fn from_milliseconds(milliseconds: u64) -> Self {
        Self(milliseconds)
    }

    /// Time from `earlier` to here; zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.milliseconds_since(earlier))
    }

    /// Milliseconds from `earlier` to here; zero if `earlier` is later.
    pub const fn milliseconds_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Work found in the streams of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Entries no consumer has been given yet.
    pub undelivered: u64,
    /// Entries given and not acknowledged, each counted once, without those that no longer exist and without poison.
    pub pending: u64,
    /// Those of `pending` that their consumer will not finish: a replica must be there to claim them.
    pub reclaimable: u64,
    /// Entries delivered so often that they no longer count for size; they hold one replica until dead-lettered.
    pub poison: u64,
}

impl Work {
    /// Entries that size the workload.
    pub const fn backlog(&self) -> u64 {
        self.undelivered.saturating_add(self.pending)
    }

    /// Whether there is nothing at all to do.
    pub const fn is_none(&self) -> bool {
        self.backlog() == 0 && self.reclaimable == 0 && self.poison == 0
    }

    /// The work of two streams of one group.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            undelivered: self.undelivered.saturating_add(other.undelivered),
            pending: self.pending.saturating_add(other.pending),
            reclaimable: self.reclaimable.saturating_add(other.reclaimable),
            poison: self.poison.saturating_add(other.poison),
        }
    }
}

/// What is known of a group's work. Unknown is a case of its own, never a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sample {
    /// Counted.
    Exact(Work),
    /// Bounded but not counted: good enough to add replicas, never to take them away.
    Estimated(Work),
    /// Redis did not answer, or what it answered means nothing.
    Unknown,
}

impl Sample {
    /// The work, if anything is known of it.
    pub const fn work(&self) -> Option<Work> {
        match self {
            Self::Exact(work) | Self::Estimated(work) => Some(*work),
            Self::Unknown => None,
        }
    }

    /// Whether the work was counted.
    pub const fn is_exact(&self) -> bool {
        matches!(self, Self::Exact(_))
    }

    /// Both streams of one group: known only if both are, exact only if both are.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        match (self, other) {
            (Self::Exact(one), Self::Exact(two)) => Self::Exact(one.plus(two)),
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
            (Self::Exact(one) | Self::Estimated(one), Self::Exact(two) | Self::Estimated(two)) => {
                Self::Estimated(one.plus(two))
            }
        }
    }
}

/// Everything one decision looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observation {
    /// The user's fields.
    pub policy: Policy,
    /// `spec.replicas` of the workload now.
    pub replicas: u32,
    /// What Redis answered.
    pub sample: Sample,
    /// Entries added to the streams since the last sample that was known; `None` when that cannot be told (the first
    /// sample, a gap, other data).
    pub arrivals: Option<u64>,
}
