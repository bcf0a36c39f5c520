//! How many replicas a consumer group's workload should have. Pure: no clock, no I/O, no floating point, and nothing
//! of the operator, so that a simulator can call the very code that runs in production.
//!
//! - **Up** at once and in one write, from zero on a single entry, unless the user limits steps or sets an activation.
//! - **Down** to the largest need of the window, so that a short lull does not stop pods that are about to be needed
//!   again; but without any work and arrivals for [`IDLE_BEFORE_RELEASE`], to the last replica at once, unless that
//!   turned out to be too early lately.
//! - **To zero** only when exact samples have shown no work for the whole cool-down.
//! - **Never down** on an unknown or estimated backlog (save by a fallback that the user asked for), nor on the first
//!   answer after a start or a gap in knowledge, nor soon after somebody else has scaled up.

mod cause;
mod decision;
#[cfg(test)]
mod examples;
mod observation;
mod policy;
#[cfg(test)]
mod properties;
mod state;
mod weigh;
mod window;

pub use cause::Cause;
pub use decision::{Decision, Direction};
pub use observation::{Moment, Observation, Sample, Work};
pub use policy::{Fallback, FallbackRule, Policy, Steps};
pub use state::{GAP, IDLE_BEFORE_RELEASE, State};
pub use weigh::need;

/// Decides the number of replicas from one observation. Call it once per sample, with `now` never going back.
///
/// The returned state belongs to the next call whether or not the decision could be carried out: the next
/// observation says what the workload really has. If it was, tell [`State::wrote`].
pub fn decide(state: &State, observation: &Observation, now: Moment) -> (State, Decision) {
    let mut state = state.clone();
    let (policy, current) = (observation.policy, observation.replicas);
    state.learn_replicas(current, now);
    let (wanted, cause) = match &observation.sample {
        Sample::Unknown => {
            state.learn_silence(now);
            weigh::without_answer(&state, observation, now)
        }
        Sample::Exact(work) | Sample::Estimated(work) => {
            let zero = work.is_none() && observation.sample.is_exact();
            let need = state.learn_need(observation, need(work, &policy), zero, now);
            weigh::weigh(&state, observation, work, need, now)
        }
    };
    let (proposed, cause) = weigh::bound(&policy, current, wanted, cause);
    let desired = if policy.is_paused() { current } else { proposed };
    state.learn_decision(current, desired, cause == Cause::Idle, now);
    let decision = Decision {
        current,
        desired,
        proposed,
        cause,
        work: observation.sample.work(),
        exact: observation.sample.is_exact(),
        policy,
    };
    (state, decision)
}
