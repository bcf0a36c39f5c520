//! What a decision is made from: the policy a user wrote, what Redis answered, what the workload has. Plain data.

use std::time::Duration;

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

/// The user's scaling fields, with impossible values made impossible: `min <= max`, `max >= 1`, a target of at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    min_replicas: u32,
    max_replicas: u32,
    backlog_per_replica: u64,
    cooldown_milliseconds: u64,
}

impl Policy {
    /// A policy from the fields of a resource. Whoever wants to refuse impossible values does so before: here they are
    /// only bent until no decision can go wrong by them.
    pub fn new(min_replicas: u32, max_replicas: u32, backlog_per_replica: u64, cooldown: Duration) -> Self {
        let max_replicas = max_replicas.max(1);
        Self {
            min_replicas: min_replicas.min(max_replicas),
            max_replicas,
            backlog_per_replica: backlog_per_replica.max(1),
            cooldown_milliseconds: u64::try_from(cooldown.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// Fewest replicas.
    pub const fn min_replicas(&self) -> u32 {
        self.min_replicas
    }

    /// Most replicas, at least 1.
    pub const fn max_replicas(&self) -> u32 {
        self.max_replicas
    }

    /// Entries one replica is expected to hold, at least 1.
    pub const fn backlog_per_replica(&self) -> u64 {
        self.backlog_per_replica
    }

    /// How long it must have been quiet before zero, in milliseconds.
    pub const fn cooldown_milliseconds(&self) -> u64 {
        self.cooldown_milliseconds
    }

    /// `replicas`, brought between the bounds.
    pub fn clamp(&self, replicas: u32) -> u32 {
        replicas.clamp(self.min_replicas, self.max_replicas)
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
}
