//! What must hold for every history. Each property names the mutation of `decide` that it catches.

use std::time::Duration;

use proptest::prelude::*;

use super::{Cause, Decision, Direction, Moment, Observation, Policy, Sample, State, WINDOW, Work, decide, need};

/// One step of a history: time passes, Redis answers, and perhaps somebody else scales the workload.
#[derive(Clone, Debug)]
struct Step {
    milliseconds: u64,
    sample: Sample,
    meddle: Option<u32>,
}

fn count() -> impl Strategy<Value = u64> {
    prop_oneof![5 => Just(0_u64), 6 => 0_u64..40, 2 => 0_u64..5_000, 1 => any::<u64>(), 1 => Just(u64::MAX)]
}

fn work() -> impl Strategy<Value = Work> {
    let few = || prop_oneof![9 => Just(0_u64), 1 => 1_u64..4];
    (count(), count(), few(), few()).prop_map(|(undelivered, pending, reclaimable, poison)| Work {
        undelivered,
        pending,
        reclaimable,
        poison,
    })
}

fn sample() -> impl Strategy<Value = Sample> {
    prop_oneof![
        4 => Just(Sample::Exact(Work::default())),
        6 => work().prop_map(Sample::Exact),
        1 => Just(Sample::Estimated(Work::default())),
        2 => work().prop_map(Sample::Estimated),
        2 => Just(Sample::Unknown),
    ]
}

fn policy() -> impl Strategy<Value = Policy> {
    let target = prop_oneof![3 => 1_u64..10, 1 => 10_u64..200, 1 => Just(u64::MAX)];
    let max = prop_oneof![4 => 1_u32..20, 1 => Just(u32::MAX)];
    let min = prop_oneof![3 => Just(0_u32), 1 => 0_u32..25];
    let cooldown = prop_oneof![1 => Just(0_u64), 3 => 0_u64..120];
    (min, max, target, cooldown)
        .prop_map(|(min, max, target, cooldown)| Policy::new(min, max, target, Duration::from_secs(cooldown)))
}

/// Histories come in stretches, as loads do: what takes a whole window or cool-down to go wrong would hardly ever be
/// met by samples that have nothing to do with each other.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    let time = prop_oneof![8 => 500_u64..9_000, 1 => 0_u64..400_000];
    let meddle = prop_oneof![6 => Just(None), 1 => (0_u32..30).prop_map(Some)];
    let stretch = (time, sample(), meddle, 1_usize..25).prop_map(|(milliseconds, sample, meddle, length)| {
        let step = |number: usize| Step {
            milliseconds,
            sample,
            meddle: meddle.filter(|_| number == 0),
        };
        (0..length).map(step).collect::<Vec<_>>()
    });
    prop::collection::vec(stretch, 1..7).prop_map(|stretches| stretches.concat())
}

/// Runs a history in which every decision is carried out, and shows each step's observation, decision and time to
/// `check`.
fn run(
    policy: Policy,
    start: u32,
    steps: &[Step],
    mut check: impl FnMut(&State, &Observation, &Decision, Moment) -> Result<(), TestCaseError>,
) -> Result<State, TestCaseError> {
    let mut state = State::default();
    let mut replicas = start;
    let mut clock = 0_u64;
    for step in steps {
        clock = clock.saturating_add(step.milliseconds);
        replicas = step.meddle.unwrap_or(replicas);
        let observation = Observation {
            policy,
            replicas,
            sample: step.sample,
        };
        let now = Moment::from_milliseconds(clock);
        let (next, decision) = decide(&state, &observation, now);
        check(&state, &observation, &decision, now)?;
        state = next;
        replicas = decision.desired;
    }
    Ok(state)
}

fn within(policy: &Policy, replicas: u32) -> bool {
    (policy.min_replicas()..=policy.max_replicas()).contains(&replicas)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// Catches: `bound` left out for holds or for unknown samples; a window floor that escapes the maximum.
    #[test]
    fn always_between_the_bounds(policy in policy(), start in 0_u32..40, steps in steps()) {
        run(policy, start, &steps, |_, _, decision, _| {
            prop_assert!(within(&policy, decision.desired), "{decision}");
            Ok(())
        })?;
    }

    /// Catches: a threshold, a step limit or a hold on the way from zero, also on an estimate or after any history.
    #[test]
    fn any_work_wakes_from_zero_in_one_decision(policy in policy(), work in work(), exact: bool, steps in steps()) {
        prop_assume!(!work.is_none());
        let state = run(policy, 0, &steps, |_, _, _, _| Ok(()))?;
        let sample = if exact { Sample::Exact(work) } else { Sample::Estimated(work) };
        let now = Moment::from_milliseconds(u64::MAX);
        let (_, decision) = decide(&state, &Observation { policy, replicas: 0, sample }, now);
        prop_assert_eq!(decision.desired, need(&work, &policy));
        prop_assert!(decision.desired >= 1);
        prop_assert_eq!(decision.direction(), Some(Direction::Up));
    }

    /// Catches: treating an estimate or silence as zero; a window that may take the last replica; forgetting that
    /// pending, reclaimable or poisonous entries are work; a cool-down that is not waited for or not interrupted.
    #[test]
    fn zero_only_after_a_watched_cooldown_of_exact_zeros(policy in policy(), start in 0_u32..40, steps in steps()) {
        let mut quiet_since: Option<Moment> = None;
        run(policy, start, &steps, |_, observation, decision, now| {
            let zero = observation.sample == Sample::Exact(Work::default());
            match observation.sample {
                Sample::Unknown => {}
                _ if zero => { quiet_since.get_or_insert(now); }
                _ => quiet_since = None,
            }
            if decision.desired == 0 && decision.current > 0 {
                prop_assert!(zero, "to zero on {:?}", observation.sample);
                let quiet = now.milliseconds_since(quiet_since.unwrap_or(now));
                prop_assert!(quiet >= policy.cooldown_milliseconds(), "after {quiet} ms");
            }
            Ok(())
        })?;
    }

    /// Catches: computing a need from the last known backlog, or treating unknown as nothing.
    #[test]
    fn no_way_down_while_unknown_or_estimated(policy in policy(), start in 0_u32..40, steps in steps()) {
        run(policy, start, &steps, |_, observation, decision, _| {
            if !observation.sample.is_exact() && observation.replicas <= policy.max_replicas() {
                prop_assert!(decision.desired >= observation.replicas, "{decision}");
            }
            Ok(())
        })?;
    }

    /// Catches: a fresh state that scales down at once, also with a cool-down of zero; no hold after a long silence.
    #[test]
    fn a_restart_at_any_point_never_scales_down(
        policy in policy(), replicas in 0_u32..40, steps in steps(), sample in sample(),
    ) {
        let replicas = replicas.min(policy.max_replicas());
        let observation = Observation { policy, replicas, sample };
        let (_, first) = decide(&State::default(), &observation, Moment::from_milliseconds(7));
        prop_assert!(first.desired >= replicas, "{first}");
        let state = run(policy, replicas, &steps, |_, _, _, _| Ok(()))?;
        let (_, after_silence) = decide(&state, &observation, Moment::from_milliseconds(u64::MAX));
        prop_assert!(after_silence.desired >= replicas, "{after_silence}");
    }

    /// Catches: a step limit, a tolerance, or an up-window on the way up.
    #[test]
    fn up_to_the_whole_need_in_one_write(policy in policy(), start in 0_u32..40, steps in steps()) {
        run(policy, start, &steps, |_, observation, decision, _| {
            if let Some(work) = observation.sample.work() {
                prop_assert!(decision.desired >= need(&work, &policy), "{decision}");
            }
            Ok(())
        })?;
    }

    /// Catches: following the need of the moment, or a window that forgets the largest need too early.
    #[test]
    fn above_zero_never_below_the_largest_need_of_the_window(policy in policy(), start in 0_u32..40, steps in steps()) {
        let mut needs: Vec<(Moment, u32)> = Vec::new();
        run(policy, start, &steps, |_, observation, decision, now| {
            if let Some(work) = observation.sample.work() {
                needs.push((now, need(&work, &policy)));
            }
            if decision.direction() == Some(Direction::Down) && decision.desired > 0 {
                let largest = needs.iter().filter(|(at, _)| now.since(*at) < WINDOW).map(|(_, need)| *need).max();
                prop_assert!(decision.desired >= largest.unwrap_or(0).min(observation.replicas), "{decision}");
            }
            Ok(())
        })?;
    }

    /// Catches: rounding down, leaving out pending entries, one replica too many, a product that overflows.
    #[test]
    fn the_need_covers_the_backlog_and_no_more(policy in policy(), work in work()) {
        let backlog = u128::from(work.undelivered.saturating_add(work.pending));
        let holds = |replicas: u32| u128::from(replicas) * u128::from(policy.backlog_per_replica()) >= backlog;
        let need = need(&work, &policy);
        prop_assert!(holds(need) || need == policy.max_replicas());
        if need > policy.min_replicas().max(1) {
            prop_assert!(!holds(need - 1), "{need} is more than needed");
        }
    }

    /// Catches: any sign error, and an estimate or a floor that depends on the backlog the wrong way round.
    #[test]
    fn more_backlog_never_means_fewer_replicas(
        policy in policy(), start in 0_u32..40, steps in steps(), one in work(), more in work(), gap in 0_u64..100_000,
    ) {
        prop_assert!(need(&one.plus(more), &policy) >= need(&one, &policy));
        let mut clock = Moment::default();
        let state = run(policy, start, &steps, |_, _, _, now| { clock = now; Ok(()) })?;
        let now = Moment::from_milliseconds(clock.milliseconds_since(Moment::default()).saturating_add(gap));
        let desired = |work| decide(&state, &Observation { policy, replicas: start, sample: Sample::Exact(work) }, now).1.desired;
        prop_assert!(desired(one.plus(more)) >= desired(one));
    }

    /// Catches: hidden clocks, hash-ordered containers, randomness.
    #[test]
    fn the_same_history_gives_the_same_decisions(policy in policy(), start in 0_u32..40, steps in steps()) {
        let mut first = Vec::new();
        let mut second = Vec::new();
        let one = run(policy, start, &steps, |_, _, decision, _| { first.push(*decision); Ok(()) })?;
        let two = run(policy, start, &steps, |_, _, decision, _| { second.push(*decision); Ok(()) })?;
        prop_assert_eq!(first, second);
        prop_assert_eq!(one, two);
    }

    /// Catches: a window whose remembered needs outlive the load, a cool-down that never ends, an endless hold.
    #[test]
    fn a_quiet_group_comes_to_its_minimum(policy in policy(), start in 0_u32..40, steps in steps()) {
        let mut quiet = steps;
        let seconds = policy.cooldown_milliseconds() / 1000 + WINDOW.as_secs() + 2;
        quiet.extend((0..seconds).map(|_| Step {
            milliseconds: 1_000, sample: Sample::Exact(Work::default()), meddle: None,
        }));
        let mut last = u32::MAX;
        run(policy, start, &quiet, |_, _, decision, _| { last = decision.desired; Ok(()) })?;
        prop_assert_eq!(last, policy.min_replicas());
    }

    /// Catches: flapping, by a window that counts its own decisions or a cool-down that undoes a wake: a constant load
    /// moves the workload in one direction only, and then no more.
    #[test]
    fn a_constant_load_settles(policy in policy(), start in 0_u32..40, work in work()) {
        let constant: Vec<Step> = (0..150)
            .map(|_| Step { milliseconds: 1_500, sample: Sample::Exact(work), meddle: None })
            .collect();
        let mut directions = Vec::new();
        run(policy, start, &constant, |_, _, decision, _| {
            directions.extend(decision.direction());
            Ok(())
        })?;
        prop_assert!(directions.len() <= 3, "{directions:?}");
        directions.dedup();
        prop_assert!(directions.len() <= 1, "{directions:?}");
    }

    /// Catches: counting poison for size; letting it hold nothing.
    #[test]
    fn poison_alone_holds_exactly_one(policy in policy(), poison in 1_u64..) {
        let work = Work { poison, ..Work::default() };
        prop_assert_eq!(need(&work, &policy), policy.clamp(1));
    }
}

fn every_second(
    state: &mut State,
    policy: Policy,
    replicas: &mut u32,
    from: u64,
    seconds: u64,
    sample: Sample,
) -> Option<Cause> {
    let mut last = None;
    for second in from..from + seconds {
        let observation = Observation {
            policy,
            replicas: *replicas,
            sample,
        };
        let (next, decision) = decide(state, &observation, Moment::from_milliseconds(second * 1_000));
        *state = next;
        *replicas = decision.desired;
        last = Some(decision.cause);
    }
    last
}

#[test]
fn a_day_in_words() {
    let policy = Policy::new(0, 10, 100, Duration::from_mins(1));
    let (mut state, mut replicas) = (State::default(), 0);
    let backlog = |undelivered| {
        Sample::Exact(Work {
            undelivered,
            ..Work::default()
        })
    };
    let mut second =
        |seconds, sample, replicas: &mut u32, from| every_second(&mut state, policy, replicas, from, seconds, sample);

    assert_eq!(second(5, backlog(0), &mut replicas, 0), Some(Cause::AtRest));
    assert_eq!(second(1, backlog(1), &mut replicas, 5), Some(Cause::Woken));
    assert_eq!(replicas, 1);
    assert_eq!(second(1, backlog(730), &mut replicas, 6), Some(Cause::BacklogGrew));
    assert_eq!(replicas, 8);
    assert_eq!(
        second(30, backlog(150), &mut replicas, 7),
        Some(Cause::Stabilizing { largest: 8 })
    );
    assert_eq!(replicas, 8);
    second(40, backlog(150), &mut replicas, 37);
    assert_eq!(replicas, 2);
    second(59, backlog(0), &mut replicas, 77);
    assert!(replicas >= 1, "the cool-down is not over");
    assert_eq!(
        second(2, backlog(0), &mut replicas, 136).map(|cause| cause.reason()),
        Some("Quiet")
    );
    second(1, backlog(0), &mut replicas, 138);
    assert_eq!(replicas, 0);
}

#[test]
fn a_silence_longer_than_the_cooldown_starts_it_again() {
    let policy = Policy::new(0, 10, 100, Duration::from_secs(30));
    let (mut state, mut replicas) = (State::default(), 3);
    let zero = Sample::Exact(Work::default());
    every_second(&mut state, policy, &mut replicas, 0, 20, zero);
    assert_eq!(
        every_second(&mut state, policy, &mut replicas, 20, 120, Sample::Unknown),
        Some(Cause::BacklogUnknown)
    );
    assert_eq!(replicas, 3, "silence changes nothing");
    every_second(&mut state, policy, &mut replicas, 140, 29, zero);
    assert_eq!(replicas, 3, "a cool-down must be watched");
    every_second(&mut state, policy, &mut replicas, 169, 2, zero);
    assert_eq!(replicas, 0);
}

#[test]
fn what_somebody_else_raised_is_kept_for_a_window() {
    let policy = Policy::new(1, 10, 100, Duration::from_mins(1));
    let (mut state, mut replicas) = (State::default(), 1);
    let zero = Sample::Exact(Work::default());
    every_second(&mut state, policy, &mut replicas, 0, 100, zero);
    replicas = 6;
    every_second(&mut state, policy, &mut replicas, 100, 59, zero);
    assert_eq!(replicas, 6);
    every_second(&mut state, policy, &mut replicas, 159, 3, zero);
    assert_eq!(replicas, 1);
}

#[test]
fn new_bounds_apply_at_once_even_while_unknown() {
    let state = State::default();
    let at = |min, max, replicas| {
        let policy = Policy::new(min, max, 100, Duration::from_mins(1));
        let observation = Observation {
            policy,
            replicas,
            sample: Sample::Unknown,
        };
        decide(&state, &observation, Moment::default()).1
    };
    assert_eq!((at(2, 10, 0).desired, at(2, 10, 0).cause), (2, Cause::BelowMinimum));
    assert_eq!((at(0, 4, 9).desired, at(0, 4, 9).cause), (4, Cause::AboveMaximum));
    assert_eq!((at(0, 4, 3).desired, at(0, 4, 3).cause), (3, Cause::BacklogUnknown));
}

#[test]
fn says_from_to_and_why() {
    let policy = Policy::new(0, 20, 100, Duration::from_mins(1));
    let sample = Sample::Exact(Work {
        undelivered: 800,
        pending: 50,
        ..Work::default()
    });
    let (_, decision) = decide(
        &State::default(),
        &Observation {
            policy,
            replicas: 2,
            sample,
        },
        Moment::default(),
    );
    assert_eq!(
        decision.to_string(),
        "from 2 to 9: BacklogGrew; backlog 850 (undelivered 800, pending 50), target 100 per replica"
    );
}
