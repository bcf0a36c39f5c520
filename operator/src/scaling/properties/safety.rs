//! What must never happen.

use proptest::{prelude::*, test_runner::TestCaseResult};

use super::history::{Decider, History, Since, Step, Turn, Watched, play};
use crate::scaling::{
    Cause, FallbackRule, IDLE_BEFORE_RELEASE, Moment, Observation, Sample, State, Steps, policy::milliseconds,
};

super::properties! {
    always_between_the_bounds,
    zero_only_after_a_watched_cooldown_of_exact_zeros,
    no_way_down_while_unknown_or_estimated,
    a_restart_at_any_point_never_scales_down,
    never_below_the_largest_need_of_the_window_unless_idle,
    idle_replicas_released_too_early_wait_the_next_time,
    no_fall_within_the_tolerance,
    steps_keep_their_size_and_distance,
    paused_writes_nothing_and_proposes_the_same,
    silence_changes_nothing_but_by_the_fallback,
    what_others_raised_is_kept,
    the_same_history_gives_the_same_decisions,
}

fn always_between_the_bounds(decide: Decider, it: &History) -> TestCaseResult {
    let bounds = it.policy.min_replicas()..=it.policy.max_replicas();
    play(decide, it.policy, it.start, &it.steps, |turn| {
        prop_assert!(bounds.contains(&turn.decision.proposed), "{}", turn.decision);
        if !it.policy.is_paused() {
            prop_assert_eq!(turn.decision.desired, turn.decision.proposed);
        }
        Ok(())
    })?;
    Ok(())
}

/// An estimate or silence is no zero; pending, reclaimable and poisonous entries are work; arrivals that were handled
/// between two samples are work, too.
fn zero_only_after_a_watched_cooldown_of_exact_zeros(decide: Decider, it: &History) -> TestCaseResult {
    let (mut quiet, mut watched) = (Since::default(), Watched::default());
    play(decide, it.policy, it.start, &it.steps, |turn| {
        let known = turn.observation.sample != Sample::Unknown;
        let arrived = turn.observation.arrivals.is_some_and(|arrivals| arrivals > 0);
        let was_watched = watched.at(known, turn.now);
        if known {
            if !was_watched || arrived {
                quiet.break_off();
            }
            quiet.hold(turn.is_zero(), turn.now);
        }
        let fallback = matches!(turn.decision.cause, Cause::Fallback { .. });
        let on_the_way = matches!(turn.decision.cause, Cause::Quiet { .. });
        let to_zero = turn.decision.proposed == 0 && turn.observation.replicas > 0 && !fallback;
        if to_zero || on_the_way {
            prop_assert!(turn.is_zero(), "to zero on {:?}", turn.observation.sample);
            let passed = quiet.milliseconds(turn.now);
            prop_assert!(passed >= Some(it.policy.cooldown_milliseconds()), "after {passed:?} ms");
        }
        Ok(())
    })?;
    Ok(())
}

fn no_way_down_while_unknown_or_estimated(decide: Decider, it: &History) -> TestCaseResult {
    let asked_for = it.policy.fallback().is_some_and(|fallback| {
        matches!(
            fallback.rule,
            FallbackRule::Static | FallbackRule::CurrentReplicasIfLower
        )
    });
    play(decide, it.policy, it.start, &it.steps, |turn| {
        let exact = matches!(turn.observation.sample, Sample::Exact(_));
        let unknown = turn.observation.sample == Sample::Unknown;
        let may = exact || (unknown && asked_for);
        if !may && turn.observation.replicas <= it.policy.max_replicas() {
            prop_assert!(!turn.goes_down(), "{}", turn.decision);
        }
        Ok(())
    })?;
    Ok(())
}

fn a_restart_at_any_point_never_scales_down(decide: Decider, it: &History) -> TestCaseResult {
    let replicas = it.start.min(it.policy.max_replicas());
    for sample in it.steps.iter().map(|step| step.sample).chain([Sample::Exact(it.work)]) {
        let observation = Observation {
            policy: it.policy,
            replicas,
            sample,
            arrivals: None,
        };
        let (_, first) = decide(&State::default(), &observation, Moment::from_milliseconds(7));
        prop_assert!(first.proposed >= replicas, "{first}");
    }
    let end = play(decide, it.policy, it.start, &it.steps, |_| Ok(()))?;
    let observation = Observation {
        policy: it.policy,
        replicas,
        sample: Sample::Exact(it.work),
        arrivals: Some(0),
    };
    let (_, after_silence) = decide(&end.state, &observation, Moment::from_milliseconds(u64::MAX));
    prop_assert!(after_silence.proposed >= replicas, "{after_silence}");
    Ok(())
}

/// Idle is: ten seconds without a gap, in which every answer was an exact zero and nothing arrived that is known of.
fn never_below_the_largest_need_of_the_window_unless_idle(decide: Decider, it: &History) -> TestCaseResult {
    let mut needs: Vec<(Moment, u32)> = Vec::new();
    let (mut idle, mut watched) = (Since::default(), Watched::default());
    play(decide, it.policy, it.start, &it.steps, |turn| {
        let known = turn.observation.sample != Sample::Unknown;
        let was_watched = watched.at(known, turn.now);
        let arrived = turn.observation.arrivals.is_some_and(|arrivals| arrivals > 0);
        if known {
            if !was_watched || arrived {
                idle.break_off();
            }
            idle.hold(turn.is_zero(), turn.now);
        }
        needs.extend(turn.need().map(|need| (turn.now, need)));
        // The fallback is an order, and where the way to zero begins is another property's.
        let other = match turn.decision.cause {
            Cause::Fallback { .. } => true,
            Cause::Quiet { .. } => it.policy.min_replicas() == 0,
            _ => false,
        };
        if turn.goes_down() && turn.decision.proposed > 0 && !other {
            let window = it.policy.window_milliseconds();
            let recent = needs.iter().filter(|(at, _)| turn.now.milliseconds_since(*at) < window);
            let largest = recent.map(|(_, need)| *need).max().unwrap_or(0);
            if turn.decision.proposed < largest.min(turn.observation.replicas) {
                let passed = idle.milliseconds(turn.now);
                prop_assert!(
                    passed >= Some(milliseconds(IDLE_BEFORE_RELEASE)),
                    "{passed:?}: {}",
                    turn.decision
                );
                prop_assert!(
                    turn.decision.proposed >= it.policy.min_replicas().max(1),
                    "{}",
                    turn.decision
                );
            }
        }
        Ok(())
    })?;
    Ok(())
}

/// Without it a burst every half a minute would start and stop all replicas each time.
fn idle_replicas_released_too_early_wait_the_next_time(decide: Decider, it: &History) -> TestCaseResult {
    let window = it.policy.window_milliseconds();
    let (mut released, mut regretted): (Option<Moment>, Option<Moment>) = (None, None);
    let mut bursts = it.steps.clone();
    // What random stretches seldom are: the same burst again and again, with pauses that look idle.
    for _ in 0..4 {
        bursts.push(Step::calm(1_000, Sample::Exact(it.work)));
        bursts.extend((0..13).map(|_| Step::calm(1_000, Sample::Exact(crate::scaling::Work::default()))));
    }
    let policy = it.policy.with_paused(false);
    play(decide, policy, it.start, &bursts, |turn| {
        let early = released.is_some_and(|at| turn.now.milliseconds_since(at) < window);
        if early && turn.need() > Some(policy.min_replicas().max(1)) {
            regretted = Some(turn.now);
        }
        if turn.decision.cause == Cause::Idle {
            let again = regretted.is_none_or(|at| turn.now.milliseconds_since(at) >= 10 * window);
            prop_assert!(again, "released again: {}", turn.decision);
            released = Some(turn.now);
        }
        Ok(())
    })?;
    Ok(())
}

fn no_fall_within_the_tolerance(decide: Decider, it: &History) -> TestCaseResult {
    let policy = it.policy.with_steps(Steps::FREE, Steps::FREE);
    play(decide, policy, it.start, &it.steps, |turn| {
        let bound = turn.observation.replicas > policy.max_replicas();
        let work = turn.observation.sample.work().is_some_and(|work| work.backlog() > 0);
        if turn.goes_down() && work && !bound {
            let fall = u64::from(turn.observation.replicas - turn.decision.proposed) * 100;
            let allowed = u64::from(turn.observation.replicas) * u64::from(policy.tolerance_percent());
            prop_assert!(fall > allowed, "{}", turn.decision);
        }
        Ok(())
    })?;
    Ok(())
}

/// The user's orders (bounds, fallback) are carried out at once, and the step from zero never waits. A write that failed
/// is no step.
fn steps_keep_their_size_and_distance(decide: Decider, it: &History) -> TestCaseResult {
    let policy = it.policy.with_paused(false);
    let (mut last_up, mut last_down): (Option<Moment>, Option<Moment>) = (None, None);
    play(decide, policy, it.start, &it.steps, |turn| {
        let (from, to) = (turn.observation.replicas, turn.decision.desired);
        let order = matches!(
            turn.decision.cause,
            Cause::BelowMinimum | Cause::AboveMaximum | Cause::Fallback { .. }
        );
        let soon = |last: Option<Moment>, limits: Steps| {
            last.is_some_and(|at| turn.now.milliseconds_since(at) < milliseconds(limits.period))
        };
        if to > from {
            if let Some(largest) = policy.up().largest.filter(|_| !order) {
                prop_assert!(to - from <= largest, "{}", turn.decision);
                prop_assert!(from == 0 || !soon(last_up, policy.up()), "{}", turn.decision);
            }
            last_up = if turn.lost { last_up } else { Some(turn.now) };
        }
        if to < from {
            if !order {
                prop_assert!(from - to <= policy.down().largest(), "{}", turn.decision);
                prop_assert!(!soon(last_down, policy.down()), "{}", turn.decision);
            }
            last_down = if turn.lost { last_down } else { Some(turn.now) };
        }
        Ok(())
    })?;
    Ok(())
}

fn paused_writes_nothing_and_proposes_the_same(decide: Decider, it: &History) -> TestCaseResult {
    let policy = it.policy.with_paused(true);
    play(decide, policy, it.start, &it.steps, |turn| {
        prop_assert_eq!(turn.decision.desired, turn.observation.replicas);
        prop_assert_eq!(turn.decision.direction(), None);
        let awake = Observation {
            policy: policy.with_paused(false),
            ..*turn.observation
        };
        let (_, unpaused) = decide(turn.before, &awake, turn.now);
        prop_assert_eq!(turn.decision.proposed, unpaused.desired);
        prop_assert_eq!(turn.decision.cause, unpaused.cause);
        Ok(())
    })?;
    Ok(())
}

fn silence_changes_nothing_but_by_the_fallback(decide: Decider, it: &History) -> TestCaseResult {
    let mut silent = Since::default();
    let mut raised: Option<Moment> = None;
    let mut check = |turn: Turn<'_>| {
        let unknown = turn.observation.sample == Sample::Unknown;
        silent.hold(unknown, turn.now);
        raised = if turn.raised { Some(turn.now) } else { raised };
        if !unknown {
            return Ok(());
        }
        let current = turn.observation.replicas;
        let due = it
            .policy
            .fallback()
            .filter(|fallback| silent.milliseconds(turn.now) >= Some(milliseconds(fallback.after)));
        let wanted = due.map_or(current, |fallback| match fallback.rule {
            FallbackRule::Static => fallback.replicas,
            FallbackRule::CurrentReplicas => current,
            FallbackRule::CurrentReplicasIfHigher => current.max(fallback.replicas),
            FallbackRule::CurrentReplicasIfLower => current.min(fallback.replicas),
        });
        let courtesy = raised.is_some_and(|at| turn.now.milliseconds_since(at) < it.policy.courtesy_milliseconds());
        let wanted = if courtesy { wanted.max(current) } else { wanted };
        prop_assert_eq!(turn.decision.proposed, it.policy.clamp(wanted), "{}", turn.decision);
        Ok(())
    };
    let mut steps = it.steps.clone();
    steps.extend((0..25).map(|_| Step::calm(3_000, Sample::Unknown)));
    play(decide, it.policy, it.start, &steps, &mut check)?;
    Ok(())
}

/// Also when the workload has just gone to zero, with a cool-down long over.
fn what_others_raised_is_kept(decide: Decider, it: &History) -> TestCaseResult {
    let mut raised: Option<Moment> = None;
    let mut steps = it.steps.clone();
    steps.extend((0..40).map(|number| Step {
        meddle: (number == 20).then_some(3),
        ..Step::calm(5_000, Sample::Exact(crate::scaling::Work::default()))
    }));
    play(decide, it.policy, it.start, &steps, |turn| {
        raised = if turn.raised { Some(turn.now) } else { raised };
        let kept = raised.is_some_and(|at| turn.now.milliseconds_since(at) < it.policy.courtesy_milliseconds());
        if kept && turn.observation.replicas <= it.policy.max_replicas() {
            prop_assert!(!turn.goes_down(), "{}", turn.decision);
        }
        Ok(())
    })?;
    Ok(())
}

/// No hidden clocks, hash-ordered containers, randomness.
fn the_same_history_gives_the_same_decisions(decide: Decider, it: &History) -> TestCaseResult {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    let one = play(decide, it.policy, it.start, &it.steps, |turn| {
        first.push(*turn.decision);
        Ok(())
    })?;
    let two = play(decide, it.policy, it.start, &it.steps, |turn| {
        second.push(*turn.decision);
        Ok(())
    })?;
    prop_assert_eq!(first, second);
    prop_assert_eq!(one.state, two.state);
    Ok(())
}
