//! What one group's decisions remember from one to the next. Plain data; the time is passed in.

use std::{cmp::Ordering, time::Duration};

use super::{Moment, Observation, Policy, Steps, policy, window::Window};

/// Longest time between two answers that still counts as having watched without a break. A longer gap (the operator
/// restarted, Redis was away) is treated as a new start: what happened meanwhile is not known to have been quiet.
pub const GAP: Duration = Duration::from_secs(15);

/// With no work and no arrivals for so long, all but the last replica need not wait out the window.
pub const IDLE_BEFORE_RELEASE: Duration = Duration::from_secs(10);

/// For so many windows after idle replicas were released too early, they wait out the window again.
const REGRET_WINDOWS: u64 = 10;

/// What one group's decisions remember. `default()` is a new start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    window: Window,
    /// When the backlog was last known, exactly or estimated.
    pub(super) last_known: Option<Moment>,
    /// Since when every sample has been without an answer.
    unknown_since: Option<Moment>,
    /// Since when every answer has been an exact zero and nothing is known to have arrived.
    pub(super) quiet_since: Option<Moment>,
    /// The last decision: its numbers of replicas are our own doing, carried out or not.
    pub(super) own: Option<Own>,
    /// When somebody else last raised the workload.
    raised_at: Option<Moment>,
    /// When the last step up was decided, of those that were carried out.
    up: Option<Moment>,
    /// The same of steps down.
    pub(super) down: Option<Moment>,
    /// When idle replicas were last released before the window had passed.
    released_at: Option<Moment>,
    /// When that last turned out to have been too early.
    pub(super) regretted_at: Option<Moment>,
}

/// What was decided last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Own {
    from: u32,
    to: u32,
    at: Moment,
}

/// What a known backlog asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Need {
    /// At this moment.
    pub(super) now: u32,
    /// The largest of the window.
    pub(super) largest: u32,
    /// Whether the time before was watched.
    pub(super) watched: bool,
}

impl State {
    /// A scale write was carried out. Without this call everything holds as well, except that somebody who raises the
    /// workload to the very number it had before the write looks like a write that failed.
    pub fn wrote(&mut self, replicas: u32) {
        let Some(own) = &mut self.own else { return };
        match replicas.cmp(&own.from) {
            Ordering::Greater => self.up = Some(own.at),
            Ordering::Less => self.down = Some(own.at),
            Ordering::Equal => {}
        }
        (own.from, own.to) = (replicas, replicas);
    }

    /// Takes in how many replicas there are: what our own doing does not explain is somebody else's.
    pub(super) fn learn_replicas(&mut self, replicas: u32, now: Moment) {
        let Some(own) = self.own else { return };
        if replicas == own.to {
            // Also when the answer to the write was lost.
            self.wrote(replicas);
        } else if replicas > own.from.min(own.to) && replicas != own.from {
            self.raised_at = Some(now);
        }
    }

    /// Takes in that there was no answer.
    pub(super) fn learn_silence(&mut self, now: Moment) {
        self.unknown_since.get_or_insert(now);
    }

    /// Takes in an answer that asks for `need` replicas; `zero`: exactly nothing to do.
    pub(super) fn learn_need(&mut self, observation: &Observation, need: u32, zero: bool, now: Moment) -> Need {
        let policy = &observation.policy;
        let window = policy.window_milliseconds();
        let watched = self.last_known.is_some_and(|last| now.since(last) <= GAP);
        if !watched {
            // What runs now may be needed for all we know.
            self.window.record(now, observation.replicas, window);
            self.quiet_since = None;
        }
        self.last_known = Some(now);
        self.unknown_since = None;
        if observation.arrivals.is_some_and(|arrivals| arrivals > 0) {
            self.quiet_since = None;
        }
        if zero {
            self.quiet_since.get_or_insert(now);
        } else {
            self.quiet_since = None;
        }
        let early = self.released_at.is_some_and(|at| now.milliseconds_since(at) < window);
        if early && need > policy.min_replicas().max(1) {
            self.regretted_at = Some(now);
        }
        let largest = self.window.record(now, need, window);
        Need {
            now: need,
            largest,
            watched,
        }
    }

    /// Takes in what was decided.
    pub(super) fn learn_decision(&mut self, from: u32, to: u32, released: bool, now: Moment) {
        self.own = Some(Own { from, to, at: now });
        if released && to < from {
            self.released_at = Some(now);
        }
    }

    /// For how many milliseconds there has been nothing to do.
    pub(super) fn quiet(&self, now: Moment) -> Option<u64> {
        self.quiet_since.map(|since| now.milliseconds_since(since))
    }

    /// For how many milliseconds there has been no answer.
    pub(super) fn silent(&self, now: Moment) -> u64 {
        self.unknown_since.map_or(0, |since| now.milliseconds_since(since))
    }

    /// Whether all but the last replica may go without waiting out the window.
    pub(super) fn may_release(&self, policy: &Policy, now: Moment) -> bool {
        let idle = self.quiet(now) >= Some(policy::milliseconds(IDLE_BEFORE_RELEASE));
        let memory = policy.window_milliseconds().saturating_mul(REGRET_WINDOWS);
        let regretted = self.regretted_at.is_some_and(|at| now.milliseconds_since(at) < memory);
        idle && !regretted
    }

    /// Milliseconds for which what somebody else added is still kept; `None` when nothing is.
    pub(super) fn courtesy(&self, policy: &Policy, now: Moment) -> Option<u64> {
        let passed = now.milliseconds_since(self.raised_at?);
        policy
            .courtesy_milliseconds()
            .checked_sub(passed)
            .filter(|left| *left > 0)
    }

    /// The most replicas one step up may lead to now. The step from zero never waits.
    pub(super) fn highest(&self, policy: &Policy, current: u32, now: Moment) -> u32 {
        let steps = policy.up();
        match steps.largest {
            None => u32::MAX,
            Some(_) if current > 0 && holds(self.up, steps, now) => current,
            Some(largest) => current.saturating_add(largest.max(1)),
        }
    }

    /// The fewest replicas one step down may lead to now.
    pub(super) fn lowest(&self, policy: &Policy, current: u32, now: Moment) -> u32 {
        let steps = policy.down();
        if holds(self.down, steps, now) {
            current
        } else {
            current.saturating_sub(steps.largest())
        }
    }
}

/// Whether the next step has to wait for the period of the last one to pass.
fn holds(last: Option<Moment>, steps: Steps, now: Moment) -> bool {
    last.is_some_and(|at| now.milliseconds_since(at) < policy::milliseconds(steps.period))
}
