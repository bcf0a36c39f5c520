//! What must happen, and how soon.

use proptest::{prelude::*, test_runner::TestCaseResult};

use super::history::{Decider, History, Step, play};
use crate::scaling::{
    Direction, IDLE_BEFORE_RELEASE, Moment, Observation, Policy, Sample, State, Steps, Work, need, policy::milliseconds,
};

super::properties! {
    work_wakes_from_zero_in_one_decision_and_no_less_does,
    up_to_the_whole_need_in_one_write,
    the_need_covers_the_backlog_and_no_more,
    more_backlog_never_means_fewer_replicas,
    a_lost_write_is_tried_again_at_once,
    idle_replicas_do_not_wait_out_the_window,
    a_quiet_group_comes_to_its_minimum,
    a_constant_load_settles,
    what_dead_consumers_left_and_poison_hold_exactly_one,
}

/// The way down in steps of any size; how soon they may follow each other stays the user's.
fn any_size(policy: Policy) -> Policy {
    let down = Steps {
        largest: None,
        ..policy.down()
    };
    policy.with_steps(Steps::FREE, down).with_paused(false)
}

/// Whatever happened before, also a wake just before, and also on an estimate.
fn work_wakes_from_zero_in_one_decision_and_no_less_does(decide: Decider, it: &History) -> TestCaseResult {
    let policy = it.policy;
    let end = play(decide, policy, it.start, &it.steps, |_| Ok(()))?;
    let now = Moment::from_milliseconds(end.clock.saturating_add(it.gap));
    let at_the_threshold = Work {
        undelivered: policy.activation(),
        ..Work::default()
    };
    let mut state = end.state;
    for work in [it.work, it.more, at_the_threshold] {
        let wakes = work.backlog() > policy.activation() || work.reclaimable > 0 || work.poison > 0;
        let expected = if wakes || policy.min_replicas() > 0 {
            let step = policy.up().largest.unwrap_or(u32::MAX);
            policy.clamp(need(&work, &policy).min(step))
        } else {
            0
        };
        for sample in [Sample::Exact(work), Sample::Estimated(work)] {
            let observation = Observation {
                policy,
                replicas: 0,
                sample,
                arrivals: None,
            };
            let (next, decision) = decide(&state, &observation, now);
            state = next;
            state.wrote(decision.desired);
            prop_assert_eq!(decision.proposed, expected, "{}", decision);
            prop_assert!(!wakes || decision.proposed >= 1);
        }
    }
    Ok(())
}

fn up_to_the_whole_need_in_one_write(decide: Decider, it: &History) -> TestCaseResult {
    let policy = it.policy.with_steps(Steps::FREE, it.policy.down()).with_activation(0);
    play(decide, policy, it.start, &it.steps, |turn| {
        if let Some(need) = turn.need() {
            prop_assert!(turn.decision.proposed >= need, "{}", turn.decision);
        }
        Ok(())
    })?;
    Ok(())
}

/// No rounding down, no entry left out, no replica too many, no product or sum that overflows.
fn the_need_covers_the_backlog_and_no_more(decide: Decider, it: &History) -> TestCaseResult {
    let policy = it.policy.with_steps(Steps::FREE, Steps::FREE).with_activation(0);
    let observation = Observation {
        policy,
        replicas: 0,
        sample: Sample::Exact(it.work),
        arrivals: None,
    };
    let (_, decision) = decide(&State::default(), &observation, Moment::default());
    let replicas = decision.proposed;
    // What a sum in 64 bits cannot hold is as good as its largest value.
    let backlog = (u128::from(it.work.undelivered) + u128::from(it.work.pending)).min(u128::from(u64::MAX));
    let holds = |replicas: u32| u128::from(replicas) * u128::from(policy.backlog_per_replica()) >= backlog;
    prop_assert!(holds(replicas) || replicas == policy.max_replicas());
    if replicas > policy.min_replicas().max(1) {
        prop_assert!(!holds(replicas - 1), "{replicas} is more than needed");
    }
    Ok(())
}

fn more_backlog_never_means_fewer_replicas(decide: Decider, it: &History) -> TestCaseResult {
    let end = play(decide, it.policy, it.start, &it.steps, |_| Ok(()))?;
    let now = Moment::from_milliseconds(end.clock.saturating_add(it.gap));
    for replicas in [end.replicas, it.start, 0, 1] {
        let proposed = |work| {
            let observation = Observation {
                policy: it.policy,
                replicas,
                sample: Sample::Exact(work),
                arrivals: Some(0),
            };
            decide(&end.state, &observation, now).1.proposed
        };
        prop_assert!(proposed(it.work.plus(it.more)) >= proposed(it.work));
        prop_assert!(proposed(it.work) >= proposed(Work::default()));
    }
    Ok(())
}

fn a_lost_write_is_tried_again_at_once(decide: Decider, it: &History) -> TestCaseResult {
    let policy = it.policy.with_paused(false);
    let end = play(decide, policy, it.start, &it.steps, |_| Ok(()))?;
    for sample in [Sample::Exact(it.work), Sample::Exact(Work::default()), Sample::Unknown] {
        let observation = Observation {
            policy,
            replicas: end.replicas,
            sample,
            arrivals: Some(0),
        };
        let now = Moment::from_milliseconds(end.clock.saturating_add(1_000));
        let soon = Moment::from_milliseconds(end.clock.saturating_add(1_500));
        let (state, lost) = decide(&end.state, &observation, now);
        let (_, again) = decide(&state, &observation, soon);
        match lost.direction() {
            Some(Direction::Up) => prop_assert!(again.desired >= lost.desired, "{lost}, then {again}"),
            Some(Direction::Down) => prop_assert!(again.desired <= lost.desired, "{lost}, then {again}"),
            None => {}
        }
    }
    Ok(())
}

/// Also a second time, when only the last replica was needed in between.
fn idle_replicas_do_not_wait_out_the_window(decide: Decider, it: &History) -> TestCaseResult {
    let policy = any_size(it.policy);
    let seconds = |seconds: u64, undelivered: u64| {
        let work = Work {
            undelivered,
            ..Work::default()
        };
        (0..seconds).map(move |_| Step::calm(1_000, Sample::Exact(work)))
    };
    let period = milliseconds(policy.down().period) / 1_000;
    let patience = milliseconds(IDLE_BEFORE_RELEASE) / 1_000 + 1;
    let release = || seconds(8, it.work.undelivered.max(1)).chain(seconds(patience, 0));
    let pause = seconds(1, 1).chain(seconds(period + policy.window_milliseconds() / 1_000, 0));
    let steps: Vec<Step> = release().chain(pause).chain(release()).collect();
    let end = play(decide, policy, 0, &steps, |_| Ok(()))?;
    prop_assert!(
        end.replicas <= policy.min_replicas().max(1),
        "{} are left",
        end.replicas
    );
    Ok(())
}

/// No window whose remembered needs outlive the load, no cool-down that never ends, no endless hold.
fn a_quiet_group_comes_to_its_minimum(decide: Decider, it: &History) -> TestCaseResult {
    let policy = any_size(it.policy);
    let mut steps = it.steps.clone();
    let waits = policy.courtesy_milliseconds() + 2 * milliseconds(policy.down().period);
    let zero = Step::calm(1_000, Sample::Exact(Work::default()));
    steps.extend((0..waits / 1_000 + 20).map(|_| zero));
    let end = play(decide, policy, it.start, &steps, |_| Ok(()))?;
    prop_assert_eq!(end.replicas, policy.min_replicas());
    Ok(())
}

/// A constant load moves the workload in one direction only, and then no more.
fn a_constant_load_settles(decide: Decider, it: &History) -> TestCaseResult {
    let policy = any_size(it.policy);
    let constant = Step {
        arrivals: it.steps.first().and_then(|step| step.arrivals),
        ..Step::calm(1_500, Sample::Exact(it.work))
    };
    let mut directions = Vec::new();
    let mut last_change = 0;
    let mut number = 0;
    play(decide, policy, it.start, &vec![constant; 200], |turn| {
        number += 1;
        if let Some(direction) = turn.decision.direction() {
            directions.push(direction);
            last_change = number;
        }
        Ok(())
    })?;
    prop_assert!(directions.len() <= 3, "{directions:?}");
    directions.dedup();
    prop_assert!(directions.len() <= 1, "{directions:?}");
    prop_assert!(last_change <= 120, "still changing after {last_change} samples");
    Ok(())
}

/// They do not count for size, and they are work.
fn what_dead_consumers_left_and_poison_hold_exactly_one(decide: Decider, it: &History) -> TestCaseResult {
    let policy = any_size(it.policy);
    let poison = Work {
        poison: it.work.poison.max(it.more.undelivered).max(1),
        ..Work::default()
    };
    let left = Work {
        reclaimable: 3,
        ..Work::default()
    };
    for work in [poison, left] {
        let constant = vec![Step::calm(1_500, Sample::Exact(work)); 200];
        let end = play(decide, policy, it.start, &constant, |_| Ok(()))?;
        prop_assert_eq!(end.replicas, policy.clamp(1));
    }
    Ok(())
}
