//! A decision and its cause, in the words that Events, status and metrics use. Plain data.

use std::fmt;

use super::{Policy, Work};

/// What to do, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Replicas before.
    pub current: u32,
    /// Replicas wanted; equal to `current` when nothing is to be done.
    pub desired: u32,
    /// Why.
    pub cause: Cause,
    /// The work it was decided on, if known.
    pub work: Option<Work>,
    /// Whether that work was counted.
    pub exact: bool,
    /// The policy it was decided by.
    pub policy: Policy,
}

/// Which way a decision goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// More replicas.
    Up,
    /// Fewer replicas.
    Down,
}

impl Direction {
    /// The word for metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// Why a number of replicas was chosen or kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// From zero: there is work.
    Woken,
    /// The backlog needs more replicas.
    BacklogGrew,
    /// The largest need of the window is below what runs.
    BacklogShrank,
    /// To zero: nothing to do for the whole cool-down.
    Quiet {
        /// How long it has been quiet.
        milliseconds: u64,
    },
    /// Below the minimum.
    BelowMinimum,
    /// Above the maximum.
    AboveMaximum,
    /// Kept: exactly what the backlog needs.
    AsNeeded,
    /// Kept at zero: nothing to do.
    AtRest,
    /// Kept: fewer would do now, but the window remembers a larger need.
    Stabilizing {
        /// That larger need.
        largest: u32,
    },
    /// Kept: nothing to do, but not for long enough.
    CoolingDown {
        /// Until zero, if it stays quiet.
        remaining_milliseconds: u64,
    },
    /// Kept: the first answer after a start or a gap takes nothing away.
    JustStarted,
    /// Kept: an estimate takes nothing away.
    BacklogEstimated,
    /// Kept: Redis gave no answer.
    BacklogUnknown,
}

impl Cause {
    /// A fixed word for status, Events and metric labels.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Woken => "Woken",
            Self::BacklogGrew => "BacklogGrew",
            Self::BacklogShrank => "BacklogShrank",
            Self::Quiet { .. } => "Quiet",
            Self::BelowMinimum => "BelowMinimum",
            Self::AboveMaximum => "AboveMaximum",
            Self::AsNeeded => "AsNeeded",
            Self::AtRest => "AtRest",
            Self::Stabilizing { .. } => "Stabilizing",
            Self::CoolingDown { .. } => "CoolingDown",
            Self::JustStarted => "JustStarted",
            Self::BacklogEstimated => "BacklogEstimated",
            Self::BacklogUnknown => "BacklogUnknown",
        }
    }
}

impl Decision {
    /// Up, down, or nothing to do.
    pub const fn direction(&self) -> Option<Direction> {
        if self.desired > self.current {
            Some(Direction::Up)
        } else if self.desired < self.current {
            Some(Direction::Down)
        } else {
            None
        }
    }

    /// Whether the backlog asks for more replicas than the maximum allows.
    pub fn limited(&self) -> bool {
        self.work.is_some_and(|work| {
            work.backlog().div_ceil(self.policy.backlog_per_replica()) > u64::from(self.policy.max_replicas())
        })
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "from {} to {}: ", self.current, self.desired)?;
        match self.cause {
            Cause::Quiet { milliseconds } => write!(out, "no work for {} s", milliseconds / 1000)?,
            Cause::BelowMinimum => write!(out, "the minimum is {}", self.policy.min_replicas())?,
            Cause::AboveMaximum => write!(out, "the maximum is {}", self.policy.max_replicas())?,
            _ => write!(out, "{}", self.cause.reason())?,
        }
        match self.work {
            None => write!(out, "; backlog unknown"),
            Some(work) => write!(
                out,
                "; backlog {}{} (undelivered {}, pending {}), target {} per replica",
                if self.exact { "" } else { "about " },
                work.backlog(),
                work.undelivered,
                work.pending,
                self.policy.backlog_per_replica()
            ),
        }
    }
}
