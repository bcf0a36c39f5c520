//! What is needed against what runs: the rules, one after the other. Pure.

use std::cmp::Ordering;

use super::{Cause, Moment, Observation, Policy, State, Work, policy, state::Need};

/// Replicas that `work` alone asks for: its backlog over the target, rounded up, at least one while there is anything
/// to do, between the policy's bounds.
pub fn need(work: &Work, policy: &Policy) -> u32 {
    policy.clamp(u32::try_from(unbounded_need(work, policy)).unwrap_or(u32::MAX))
}

/// The same without the bounds.
pub(super) fn unbounded_need(work: &Work, policy: &Policy) -> u64 {
    let by_backlog = work.backlog().div_ceil(policy.backlog_per_replica());
    by_backlog.max(u64::from(!work.is_none()))
}

/// What a known backlog leads to, before the user's bounds are applied.
pub(super) fn weigh(state: &State, observation: &Observation, work: &Work, need: Need, now: Moment) -> (u32, Cause) {
    let (current, policy) = (observation.replicas, &observation.policy);
    if need.now > current {
        return up(state, observation, work, need.now, now);
    }
    if current == 0 {
        return (0, Cause::AtRest);
    }
    if need.now == current {
        return (current, kept_as_needed(work, policy, current));
    }
    if !observation.sample.is_exact() {
        return (current, Cause::BacklogEstimated);
    }
    if !need.watched {
        return (current, Cause::JustStarted);
    }
    if let Some(remaining_milliseconds) = state.courtesy(policy, now) {
        return (current, Cause::RaisedByOthers { remaining_milliseconds });
    }
    match aim(state, policy, current, work, need, now) {
        Ok((target, cause)) => {
            let reachable = target.max(state.lowest(policy, current, now));
            if reachable < current {
                (reachable, cause)
            } else {
                (current, Cause::StepLimited { target })
            }
        }
        Err(kept) => (current, kept),
    }
}

/// Right as it is: by the backlog, or because a bound is nearer.
fn kept_as_needed(work: &Work, policy: &Policy, current: u32) -> Cause {
    match unbounded_need(work, policy).cmp(&u64::from(current)) {
        Ordering::Less => Cause::AtMinimum,
        Ordering::Equal => Cause::AsNeeded,
        Ordering::Greater => Cause::AtMaximum,
    }
}

fn up(state: &State, observation: &Observation, work: &Work, need: u32, now: Moment) -> (u32, Cause) {
    let (current, policy) = (observation.replicas, &observation.policy);
    let wakes = work.backlog() > policy.activation() || work.reclaimable > 0 || work.poison > 0;
    if current == 0 && policy.min_replicas() == 0 && !wakes {
        return (0, Cause::BelowActivation);
    }
    let reachable = need.min(state.highest(policy, current, now));
    let cause = match current {
        _ if need == policy.min_replicas() => Cause::BelowMinimum,
        _ if reachable <= current => Cause::StepLimited { target: need },
        0 => Cause::Woken,
        _ => Cause::BacklogGrew,
    };
    (reachable.max(current), cause)
}

/// Where to go down to, and why, or why not.
fn aim(
    state: &State,
    policy: &Policy,
    current: u32,
    work: &Work,
    need: Need,
    now: Moment,
) -> Result<(u32, Cause), Cause> {
    let quiet = state.quiet(now).filter(|_| policy.min_replicas() == 0);
    if let Some(milliseconds) = quiet
        && milliseconds >= policy.cooldown_milliseconds()
    {
        return Ok((0, Cause::Quiet { milliseconds }));
    }
    // The last replica is the cool-down's to take, never the window's.
    let last = policy.min_replicas().max(1);
    let floor = need.largest.max(last);
    if floor > last && last < current && state.may_release(policy, now) {
        return Ok((last, Cause::Idle));
    }
    if floor < current {
        // Tolerance is about noise, and no backlog at all is no noise.
        if work.backlog() == 0 || exceeds_tolerance(policy, current, floor) {
            return Ok((floor, Cause::BacklogShrank));
        }
        return Err(Cause::WithinTolerance { target: floor });
    }
    match quiet {
        Some(quiet) if current <= last => Err(Cause::CoolingDown {
            remaining_milliseconds: policy.cooldown_milliseconds().saturating_sub(quiet),
        }),
        _ => Err(Cause::Stabilizing { largest: need.largest }),
    }
}

fn exceeds_tolerance(policy: &Policy, current: u32, target: u32) -> bool {
    let fall = u64::from(current.saturating_sub(target));
    fall * 100 > u64::from(current) * u64::from(policy.tolerance_percent())
}

/// What a silence leads to: nothing, until the user's fallback applies.
pub(super) fn without_answer(state: &State, observation: &Observation, now: Moment) -> (u32, Cause) {
    let (current, policy) = (observation.replicas, &observation.policy);
    let silent = state.silent(now);
    let Some(fallback) = policy
        .fallback()
        .filter(|fallback| silent >= policy::milliseconds(fallback.after))
    else {
        return (current, Cause::BacklogUnknown);
    };
    let target = fallback.of(current);
    match state.courtesy(policy, now) {
        Some(remaining_milliseconds) if target < current => (current, Cause::RaisedByOthers { remaining_milliseconds }),
        _ => (target, Cause::Fallback { milliseconds: silent }),
    }
}

/// Applies the user's bounds. They hold even while the backlog is unknown: a lowered maximum is an order, not a guess.
pub(super) fn bound(policy: &Policy, current: u32, wanted: u32, cause: Cause) -> (u32, Cause) {
    let bounded = policy.clamp(wanted);
    let cause = if bounded > wanted && current < policy.min_replicas() {
        Cause::BelowMinimum
    } else if bounded < wanted && current > policy.max_replicas() {
        Cause::AboveMaximum
    } else {
        cause
    };
    (bounded, cause)
}
