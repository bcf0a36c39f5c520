//! `decide` with one rule broken each: by what it is told or what it remembers, which comes to the same as breaking the
//! rule itself. The property that is to notice must fail.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::{Decider, liveness, notices, safety};
use crate::scaling::{Decision, Fallback, Moment, Observation, Policy, Sample, State, Steps, Work, decide};

struct Mutant {
    breaks: &'static str,
    decide: Decider,
    noticed_by: &'static str,
}

const MUTANTS: &[Mutant] = &[
    Mutant {
        breaks: "pending entries are no work",
        decide: |state, it, now| with_work(state, it, now, |work| Work { pending: 0, ..work }),
        noticed_by: "the_need_covers_the_backlog_and_no_more",
    },
    Mutant {
        breaks: "what dead consumers left is no work",
        decide: |state, it, now| with_work(state, it, now, |work| Work { reclaimable: 0, ..work }),
        noticed_by: "what_dead_consumers_left_and_poison_hold_exactly_one",
    },
    Mutant {
        breaks: "poison is no work",
        decide: |state, it, now| with_work(state, it, now, |work| Work { poison: 0, ..work }),
        noticed_by: "zero_only_after_a_watched_cooldown_of_exact_zeros",
    },
    Mutant {
        breaks: "poison counts for size",
        decide: |state, it, now| {
            with_work(state, it, now, |work| Work {
                pending: work.pending.saturating_add(work.poison),
                ..work
            })
        },
        noticed_by: "what_dead_consumers_left_and_poison_hold_exactly_one",
    },
    Mutant {
        breaks: "sums wrap around",
        decide: |state, it, now| {
            with_work(state, it, now, |work| Work {
                undelivered: work.undelivered.wrapping_add(work.pending),
                pending: 0,
                ..work
            })
        },
        noticed_by: "more_backlog_never_means_fewer_replicas",
    },
    Mutant {
        breaks: "no window",
        decide: |state, it, now| with_policy(state, it, now, |policy| policy.with_window(Duration::ZERO)),
        noticed_by: "never_below_the_largest_need_of_the_window_unless_idle",
    },
    Mutant {
        breaks: "no cool-down",
        decide: |state, it, now| with_policy(state, it, now, |policy| rebuilt(policy, policy.max_replicas(), 0)),
        noticed_by: "zero_only_after_a_watched_cooldown_of_exact_zeros",
    },
    Mutant {
        breaks: "no maximum",
        decide: |state, it, now| {
            with_policy(state, it, now, |policy| {
                rebuilt(policy, u32::MAX, policy.cooldown_milliseconds())
            })
        },
        noticed_by: "always_between_the_bounds",
    },
    Mutant {
        breaks: "silence is zero",
        decide: |state, it, now| {
            let sample = match it.sample {
                Sample::Unknown => Sample::Exact(Work::default()),
                known => known,
            };
            decide(state, &Observation { sample, ..*it }, now)
        },
        noticed_by: "no_way_down_while_unknown_or_estimated",
    },
    Mutant {
        breaks: "an estimate is exact",
        decide: |state, it, now| {
            let sample = match it.sample {
                Sample::Estimated(work) => Sample::Exact(work),
                other => other,
            };
            decide(state, &Observation { sample, ..*it }, now)
        },
        noticed_by: "no_way_down_while_unknown_or_estimated",
    },
    Mutant {
        breaks: "a start is no start",
        decide: |state, it, now| {
            with_state(state, it, now, |state| {
                state.last_known = state.last_known.or(Some(now));
            })
        },
        noticed_by: "a_restart_at_any_point_never_scales_down",
    },
    Mutant {
        breaks: "a gap is no gap",
        decide: |state, it, now| {
            with_state(state, it, now, |state| {
                state.last_known = state.last_known.and(Some(now));
            })
        },
        noticed_by: "a_restart_at_any_point_never_scales_down",
    },
    Mutant {
        breaks: "no tolerance",
        decide: |state, it, now| with_policy(state, it, now, |policy| policy.with_tolerance(0)),
        noticed_by: "no_fall_within_the_tolerance",
    },
    Mutant {
        breaks: "steps of any size",
        decide: |state, it, now| {
            with_policy(state, it, now, |policy| {
                let any = |steps: Steps| Steps { largest: None, ..steps };
                policy.with_steps(any(policy.up()), any(policy.down()))
            })
        },
        noticed_by: "steps_keep_their_size_and_distance",
    },
    Mutant {
        breaks: "one step right after the other",
        decide: |state, it, now| with_state(state, it, now, |state| state.down = None),
        noticed_by: "steps_keep_their_size_and_distance",
    },
    Mutant {
        breaks: "paused writes",
        decide: |state, it, now| with_policy(state, it, now, |policy| policy.with_paused(false)),
        noticed_by: "paused_writes_nothing_and_proposes_the_same",
    },
    Mutant {
        breaks: "fallback at once",
        decide: |state, it, now| {
            with_policy(state, it, now, |policy| {
                policy.with_fallback(policy.fallback().map(|fallback| Fallback {
                    after: Duration::ZERO,
                    ..fallback
                }))
            })
        },
        noticed_by: "silence_changes_nothing_but_by_the_fallback",
    },
    Mutant {
        breaks: "no fallback",
        decide: |state, it, now| with_policy(state, it, now, |policy| policy.with_fallback(None)),
        noticed_by: "silence_changes_nothing_but_by_the_fallback",
    },
    Mutant {
        breaks: "a backlog equal to the activation wakes",
        decide: |state, it, now| {
            with_policy(state, it, now, |policy| {
                policy.with_activation(policy.activation().saturating_sub(1))
            })
        },
        noticed_by: "work_wakes_from_zero_in_one_decision_and_no_less_does",
    },
    Mutant {
        breaks: "idle right away",
        decide: |state, it, now| {
            with_state(state, it, now, |state| {
                state.quiet_since = state.quiet_since.and(Some(Moment::default()));
            })
        },
        noticed_by: "never_below_the_largest_need_of_the_window_unless_idle",
    },
    Mutant {
        breaks: "idle is not released",
        decide: |state, it, now| with_state(state, it, now, |state| state.regretted_at = Some(now)),
        noticed_by: "idle_replicas_do_not_wait_out_the_window",
    },
    Mutant {
        breaks: "no regret",
        decide: |state, it, now| with_state(state, it, now, |state| state.regretted_at = None),
        noticed_by: "idle_replicas_released_too_early_wait_the_next_time",
    },
    Mutant {
        breaks: "arrivals between two zeros do not interrupt the cool-down",
        decide: |state, it, now| {
            let arrivals = it.arrivals.filter(|arrivals| *arrivals == 0);
            decide(state, &Observation { arrivals, ..*it }, now)
        },
        noticed_by: "zero_only_after_a_watched_cooldown_of_exact_zeros",
    },
    Mutant {
        breaks: "what others raised is ours",
        decide: |state, it, now| with_state(state, it, now, |state| state.own = None),
        noticed_by: "what_others_raised_is_kept",
    },
    Mutant {
        breaks: "up by one at a time",
        decide: |state, it, now| {
            with_policy(state, it, now, |policy| {
                let one = Steps {
                    largest: Some(1),
                    period: Duration::ZERO,
                };
                policy.with_steps(one, policy.down())
            })
        },
        noticed_by: "up_to_the_whole_need_in_one_write",
    },
    Mutant {
        breaks: "a write that failed counts as done",
        decide: |state, it, now| {
            let (mut state, decision) = decide(state, it, now);
            state.wrote(decision.desired);
            (state, decision)
        },
        noticed_by: "a_lost_write_is_tried_again_at_once",
    },
    Mutant {
        breaks: "the backlog of one replica is taken for that of all",
        decide: |state, it, now| {
            let replicas = u64::from(it.replicas.max(1));
            let share = |work: Work| Work {
                undelivered: work.undelivered / replicas,
                pending: work.pending / replicas,
                ..work
            };
            with_work(state, it, now, share)
        },
        noticed_by: "a_constant_load_settles",
    },
    Mutant {
        breaks: "something besides the history counts",
        decide: |state, it, now| {
            static CALLS: AtomicU64 = AtomicU64::new(0);
            if CALLS.fetch_add(1, Ordering::Relaxed).is_multiple_of(7) {
                return decide(&State::default(), it, now);
            }
            decide(state, it, now)
        },
        noticed_by: "the_same_history_gives_the_same_decisions",
    },
    Mutant {
        breaks: "every answer is the first",
        decide: |_, it, now| decide(&State::default(), it, now),
        noticed_by: "a_quiet_group_comes_to_its_minimum",
    },
];

fn with_work(state: &State, it: &Observation, now: Moment, change: impl Fn(Work) -> Work) -> (State, Decision) {
    let sample = match it.sample {
        Sample::Exact(work) => Sample::Exact(change(work)),
        Sample::Estimated(work) => Sample::Estimated(change(work)),
        Sample::Unknown => Sample::Unknown,
    };
    decide(state, &Observation { sample, ..*it }, now)
}

fn with_policy(state: &State, it: &Observation, now: Moment, change: fn(Policy) -> Policy) -> (State, Decision) {
    let policy = change(it.policy);
    decide(state, &Observation { policy, ..*it }, now)
}

fn with_state(state: &State, it: &Observation, now: Moment, change: impl Fn(&mut State)) -> (State, Decision) {
    let mut state = state.clone();
    change(&mut state);
    decide(&state, it, now)
}

fn rebuilt(policy: Policy, max_replicas: u32, cooldown: u64) -> Policy {
    let (min, target) = (policy.min_replicas(), policy.backlog_per_replica());
    Policy::new(min, max_replicas, target, Duration::from_millis(cooldown))
        .with_activation(policy.activation())
        .with_window(Duration::from_millis(policy.window_milliseconds()))
        .with_tolerance(policy.tolerance_percent())
        .with_steps(policy.up(), policy.down())
        .with_fallback(policy.fallback())
        .with_paused(policy.is_paused())
}

/// A property that no mutant breaks may be one that cannot fail.
#[test]
fn every_property_notices_a_mutant() {
    for (name, _) in safety::PROPERTIES.iter().chain(liveness::PROPERTIES) {
        assert!(MUTANTS.iter().any(|mutant| mutant.noticed_by == *name), "{name}");
    }
}

#[test]
fn every_mutant_is_noticed() {
    for mutant in MUTANTS {
        let mut properties = safety::PROPERTIES.iter().chain(liveness::PROPERTIES);
        let (_, property) = properties
            .find(|(name, _)| *name == mutant.noticed_by)
            .expect("a property of that name");
        assert!(
            notices(*property, mutant.decide),
            "{} does not notice: {}",
            mutant.noticed_by,
            mutant.breaks
        );
    }
}
