//! The user's scaling fields as numbers that no decision can go wrong by. Plain data.

use std::time::Duration;

/// The user's scaling fields, with impossible values made impossible: `min <= max`, `max >= 1`, a target of at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    min_replicas: u32,
    max_replicas: u32,
    backlog_per_replica: u64,
    cooldown_milliseconds: u64,
    activation: u64,
    window_milliseconds: u64,
    tolerance_percent: u32,
    up: Steps,
    down: Steps,
    fallback: Option<Fallback>,
    paused: bool,
}

/// How large a step may be, and how soon the next may follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps {
    /// Most replicas of one step; `None` is no limit. 0 is taken as 1.
    pub largest: Option<u32>,
    /// From one step to the next.
    pub period: Duration,
}

impl Steps {
    /// Any size, at once.
    pub const FREE: Self = Self {
        largest: None,
        period: Duration::ZERO,
    };

    pub(super) fn largest(&self) -> u32 {
        self.largest.map_or(u32::MAX, |largest| largest.max(1))
    }
}

/// What to do when the backlog has been unknown for long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fallback {
    /// For how long.
    pub after: Duration,
    /// The number that `rule` speaks of.
    pub replicas: u32,
    /// How it is meant.
    pub rule: FallbackRule,
}

/// How a fallback's number is meant, in KEDA's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FallbackRule {
    /// Exactly so many.
    Static,
    /// As many as there are.
    CurrentReplicas,
    /// As many as there are, but at least so many.
    CurrentReplicasIfHigher,
    /// As many as there are, but at most so many.
    CurrentReplicasIfLower,
}

impl Fallback {
    pub(super) fn of(&self, current: u32) -> u32 {
        match self.rule {
            FallbackRule::Static => self.replicas,
            FallbackRule::CurrentReplicas => current,
            FallbackRule::CurrentReplicasIfHigher => current.max(self.replicas),
            FallbackRule::CurrentReplicasIfLower => current.min(self.replicas),
        }
    }
}

impl Policy {
    /// A policy with everything else at its default: any work wakes, a window of 60 s, a tolerance of 10 %, one step
    /// down in 15 s, no other limit of steps, no fallback, not paused. Whoever wants to refuse impossible values does
    /// so before: here they are only bent until no decision can go wrong by them.
    pub fn new(min_replicas: u32, max_replicas: u32, backlog_per_replica: u64, cooldown: Duration) -> Self {
        let max_replicas = max_replicas.max(1);
        Self {
            min_replicas: min_replicas.min(max_replicas),
            max_replicas,
            backlog_per_replica: backlog_per_replica.max(1),
            cooldown_milliseconds: milliseconds(cooldown),
            activation: 0,
            window_milliseconds: 60_000,
            tolerance_percent: 10,
            up: Steps::FREE,
            down: Steps {
                largest: None,
                period: Duration::from_secs(15),
            },
            fallback: None,
            paused: false,
        }
    }

    /// From zero only when the backlog is larger than this.
    #[must_use]
    pub const fn with_activation(mut self, backlog: u64) -> Self {
        self.activation = backlog;
        self
    }

    /// How far back a need keeps replicas alive.
    #[must_use]
    pub fn with_window(mut self, window: Duration) -> Self {
        self.window_milliseconds = milliseconds(window);
        self
    }

    /// A fall of no more than so many percent of the replicas changes nothing; at most 49.
    #[must_use]
    pub fn with_tolerance(mut self, percent: u32) -> Self {
        self.tolerance_percent = percent.min(49);
        self
    }

    /// Limits of the way up and of the way down.
    #[must_use]
    pub const fn with_steps(mut self, up: Steps, down: Steps) -> Self {
        self.up = up;
        self.down = down;
        self
    }

    /// What to do when the backlog has been unknown for long; `None` holds.
    #[must_use]
    pub const fn with_fallback(mut self, fallback: Option<Fallback>) -> Self {
        self.fallback = fallback;
        self
    }

    /// Decide, but change nothing.
    #[must_use]
    pub const fn with_paused(mut self, paused: bool) -> Self {
        self.paused = paused;
        self
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

    /// The backlog that does not yet wake.
    pub const fn activation(&self) -> u64 {
        self.activation
    }

    /// How far back a need keeps replicas alive, in milliseconds.
    pub const fn window_milliseconds(&self) -> u64 {
        self.window_milliseconds
    }

    /// Percent of the replicas that a fall in need must exceed.
    pub const fn tolerance_percent(&self) -> u32 {
        self.tolerance_percent
    }

    /// Limits of the way up.
    pub const fn up(&self) -> Steps {
        self.up
    }

    /// Limits of the way down.
    pub const fn down(&self) -> Steps {
        self.down
    }

    /// What to do when the backlog has been unknown for long.
    pub const fn fallback(&self) -> Option<Fallback> {
        self.fallback
    }

    /// Whether nothing may be changed.
    pub const fn is_paused(&self) -> bool {
        self.paused
    }

    /// How long replicas that somebody else added are kept: a whole window and a whole cool-down, in milliseconds.
    pub fn courtesy_milliseconds(&self) -> u64 {
        self.window_milliseconds.max(self.cooldown_milliseconds)
    }

    /// `replicas`, brought between the bounds.
    pub fn clamp(&self, replicas: u32) -> u32 {
        replicas.clamp(self.min_replicas, self.max_replicas)
    }
}

pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
