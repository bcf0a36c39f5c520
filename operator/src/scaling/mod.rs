//! How many replicas a consumer group's workload should have. Pure: no clock, no I/O, no floating point, and nothing
//! of the operator, so that a simulator can call the very code that runs in production.
//!
//! - **Up** at once and in one write, from zero on a single entry.
//! - **Down** to the largest need of the last [`WINDOW`], so that a short lull does not stop pods that are about to be
//!   needed again.
//! - **To zero** only when exact samples have shown no work for the whole cool-down.
//! - **Never down** on an unknown or estimated backlog, nor on the first answer after a start or a gap in knowledge.

mod decision;
mod observation;
#[cfg(test)]
mod properties;
mod window;

pub use decision::{Cause, Decision, Direction};
pub use observation::{Moment, Observation, Policy, Sample, Work};
pub use window::WINDOW;

use window::Window;

/// Longest time between two answers that still counts as having watched without a break. A longer gap (the operator
/// restarted, Redis was away) is treated as a new start: what happened meanwhile is not known to have been quiet.
pub const GAP: std::time::Duration = std::time::Duration::from_secs(15);

/// What one group's decisions remember. `default()` is a new start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    window: Window,
    /// When the backlog was last known, exactly or estimated.
    last_known: Option<Moment>,
    /// Since when every answer has been an exact zero.
    quiet_since: Option<Moment>,
    /// The most replicas that the workload may have by our own doing: seen with, or told to have.
    last_replicas: Option<u32>,
}

/// Decides the number of replicas from one observation. Call it once per sample, with `now` never going back.
///
/// The returned state belongs to the next call whether or not the decision could be carried out: the next
/// observation says what the workload really has.
pub fn decide(state: &State, observation: &Observation, now: Moment) -> (State, Decision) {
    let mut state = state.clone();
    let watched = state.last_known.is_some_and(|last| now.since(last) <= GAP);

    // Someone else raised the workload: what runs now deserves a whole window before it is taken away.
    if state.last_replicas.is_some_and(|last| observation.replicas > last) {
        state.window.record(now, observation.replicas);
    }

    let (desired, cause) = match &observation.sample {
        Sample::Unknown => (observation.replicas, Cause::BacklogUnknown),
        Sample::Exact(work) | Sample::Estimated(work) => {
            if !watched {
                state.window.record(now, observation.replicas);
                state.quiet_since = None;
            }
            state.last_known = Some(now);
            if work.is_none() && observation.sample.is_exact() {
                state.quiet_since.get_or_insert(now);
            } else {
                state.quiet_since = None;
            }
            let need = need(work, &observation.policy);
            let largest = state.window.record(now, need);
            weigh(
                &state,
                observation,
                Need {
                    now: need,
                    largest,
                    watched,
                },
                now,
            )
        }
    };

    let (desired, cause) = bound(observation, desired, cause);
    // A write that failed, or is not seen yet, is not someone else's doing.
    state.last_replicas = Some(desired.max(observation.replicas));
    let decision = Decision {
        current: observation.replicas,
        desired,
        cause,
        work: observation.sample.work(),
        exact: observation.sample.is_exact(),
        policy: observation.policy,
    };
    (state, decision)
}

/// Replicas that `work` alone asks for: its backlog over the target, rounded up, at least one while there is anything
/// to do, between the policy's bounds.
pub fn need(work: &Work, policy: &Policy) -> u32 {
    let by_backlog = work.backlog().div_ceil(policy.backlog_per_replica());
    let at_least = u64::from(!work.is_none());
    policy.clamp(u32::try_from(by_backlog.max(at_least)).unwrap_or(u32::MAX))
}

/// Need at this moment, the largest of the window, and whether the time before was watched.
#[derive(Clone, Copy)]
struct Need {
    now: u32,
    largest: u32,
    watched: bool,
}

/// Weighs what is needed against what runs, before the user's bounds are applied.
fn weigh(state: &State, observation: &Observation, need: Need, now: Moment) -> (u32, Cause) {
    let current = observation.replicas;
    if need.now > current {
        let cause = match current {
            _ if need.now == observation.policy.min_replicas() => Cause::BelowMinimum,
            0 => Cause::Woken,
            _ => Cause::BacklogGrew,
        };
        return (need.now, cause);
    }
    if current == 0 {
        return (0, Cause::AtRest);
    }
    if !observation.sample.is_exact() {
        let cause = if need.now == current {
            Cause::AsNeeded
        } else {
            Cause::BacklogEstimated
        };
        return (current, cause);
    }
    if need.now == current {
        return (current, Cause::AsNeeded);
    }
    if !need.watched {
        return (current, Cause::JustStarted);
    }
    let policy = &observation.policy;
    let quiet = state.quiet_since.map_or(0, |since| now.milliseconds_since(since));
    if policy.min_replicas() == 0 && state.quiet_since.is_some() && quiet >= policy.cooldown_milliseconds() {
        return (0, Cause::Quiet { milliseconds: quiet });
    }
    // The last replica is the cool-down's to take, never the window's.
    let floor = need.largest.max(1);
    if floor < current {
        return (floor, Cause::BacklogShrank);
    }
    if state.quiet_since.is_some() && policy.min_replicas() == 0 {
        let remaining = policy.cooldown_milliseconds().saturating_sub(quiet);
        return (
            current,
            Cause::CoolingDown {
                remaining_milliseconds: remaining,
            },
        );
    }
    (current, Cause::Stabilizing { largest: need.largest })
}

/// Applies the user's bounds. They hold even while the backlog is unknown: a lowered maximum is an order, not a guess.
fn bound(observation: &Observation, desired: u32, cause: Cause) -> (u32, Cause) {
    let policy = &observation.policy;
    let bounded = policy.clamp(desired);
    if bounded == desired {
        return (desired, cause);
    }
    let cause = if bounded > desired {
        Cause::BelowMinimum
    } else {
        Cause::AboveMaximum
    };
    (bounded, cause)
}
