//! A decision, in the words that Events, status and metrics use. Plain data.

use std::fmt;

use super::{Cause, Policy, Work, need, weigh::unbounded_need};

/// What to do, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Replicas before.
    pub current: u32,
    /// Replicas to write; equal to `current` when nothing is to be done, and always while paused.
    pub desired: u32,
    /// Replicas that would be written if the policy were not paused.
    pub proposed: u32,
    /// Why `proposed`.
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
        let most = u64::from(self.policy.max_replicas());
        self.work.is_some_and(|work| unbounded_need(&work, &self.policy) > most)
    }
}

/// `from 2 to 9: the backlog grew; backlog 850 (undelivered 800, pending 50), target 100 per replica`.
impl fmt::Display for Decision {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let policy = &self.policy;
        let (current, proposed) = (self.current, self.proposed);
        match (policy.is_paused(), proposed == current) {
            (false, true) => write!(out, "stays at {current}: ")?,
            (false, false) => write!(out, "from {current} to {proposed}: ")?,
            (true, true) => write!(out, "paused, would stay at {current}: ")?,
            (true, false) => write!(out, "paused, would go from {current} to {proposed}: ")?,
        }
        out.write_str(&self.cause.sentence(policy))?;
        let Some(work) = self.work else {
            return out.write_str("; backlog unknown");
        };
        let says_so = matches!(self.cause, Cause::AboveMaximum | Cause::AtMaximum);
        if self.limited() && !says_so {
            write!(out, "; more are needed, but the maximum is {}", policy.max_replicas())?;
        } else if proposed > current && need(&work, policy) > proposed {
            write!(out, "; {} are needed, but steps are limited", need(&work, policy))?;
        }
        let (exactness, backlog) = (if self.exact { "" } else { "about " }, work.backlog());
        let (undelivered, pending) = (work.undelivered, work.pending);
        write!(
            out,
            "; backlog {exactness}{backlog} (undelivered {undelivered}, pending {pending}"
        )?;
        if work.reclaimable > 0 {
            write!(out, ", to be claimed {}", work.reclaimable)?;
        }
        out.write_str(")")?;
        if work.poison > 0 {
            write!(out, ", poison {}", work.poison)?;
        }
        write!(out, ", target {} per replica", policy.backlog_per_replica())
    }
}
