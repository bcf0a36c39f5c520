//! Histories that people can follow, with the words that they read.

use std::time::Duration;

use super::{Cause, Decision, Fallback, FallbackRule, Moment, Observation, Policy, Sample, State, Steps, Work, decide};

/// A workload that obeys at once, sampled every second.
struct Workload {
    policy: Policy,
    state: State,
    replicas: u32,
    second: u64,
    /// Replicas times seconds since the start.
    cost: u64,
}

impl Workload {
    fn new(policy: Policy, replicas: u32) -> Self {
        Self {
            policy,
            state: State::default(),
            replicas,
            second: 0,
            cost: 0,
        }
    }

    fn second(&mut self, sample: Sample, arrivals: u64) -> Decision {
        let decision = self.decide(sample, (self.second > 0).then_some(arrivals));
        self.state.wrote(decision.desired);
        self.replicas = decision.desired;
        self.cost += u64::from(self.replicas);
        decision
    }

    /// Nobody answers whether the decision was carried out.
    fn unanswered(&mut self, sample: Sample) -> Decision {
        self.cost += u64::from(self.replicas);
        self.decide(sample, Some(0))
    }

    fn decide(&mut self, sample: Sample, arrivals: Option<u64>) -> Decision {
        let observation = Observation {
            policy: self.policy,
            replicas: self.replicas,
            sample,
            arrivals,
        };
        let now = Moment::from_milliseconds(self.second * 1_000);
        let (state, decision) = decide(&self.state, &observation, now);
        self.state = state;
        self.second += 1;
        decision
    }

    /// The same answer for so long; the last decision.
    fn seconds(&mut self, seconds: u64, sample: Sample) -> Decision {
        (1..seconds).for_each(|_| {
            self.second(sample, 0);
        });
        self.second(sample, 0)
    }
}

const ZERO: Sample = Sample::Exact(Work {
    undelivered: 0,
    pending: 0,
    reclaimable: 0,
    poison: 0,
});

fn backlog(undelivered: u64) -> Sample {
    Sample::Exact(Work {
        undelivered,
        ..Work::default()
    })
}

fn policy() -> Policy {
    Policy::new(0, 10, 100, Duration::from_mins(1))
}

#[test]
fn a_day_in_words() {
    let mut shop = Workload::new(policy(), 0);
    assert_eq!(shop.seconds(5, ZERO).cause, Cause::AtRest);
    assert_eq!(shop.seconds(1, backlog(1)).cause, Cause::Woken);
    assert_eq!(shop.replicas, 1);
    assert_eq!(shop.seconds(1, backlog(730)).cause, Cause::BacklogGrew);
    assert_eq!(shop.replicas, 8);
    let kept = shop.seconds(30, backlog(150));
    assert_eq!(
        kept.to_string(),
        "stays at 8: fewer would do now, but 8 were needed within the last 60 s; backlog 150 (undelivered 150, pending \
         0), target 100 per replica"
    );
    assert_eq!(shop.seconds(30, backlog(150)).cause, Cause::BacklogShrank);
    assert_eq!(shop.replicas, 2);
    shop.seconds(5, backlog(150));
    let idle = shop.seconds(11, ZERO);
    assert_eq!(
        idle.to_string(),
        "from 2 to 1: no work and no arrivals for 10 s; backlog 0 (undelivered 0, pending 0), target 100 per replica"
    );
    assert_eq!(
        shop.seconds(49, ZERO).to_string(),
        "stays at 1: there is nothing to do, but not yet for the 60 s after which the last replica goes; backlog 0 \
         (undelivered 0, pending 0), target 100 per replica"
    );
    assert_eq!(
        shop.seconds(1, ZERO).to_string(),
        "from 1 to 0: no work for 60 s; backlog 0 (undelivered 0, pending 0), target 100 per replica"
    );
}

/// 20,000 messages of 20 ms at once, at most 20 replicas, pods that need 2 s to start.
#[test]
fn a_dump_is_drained_at_little_cost() {
    let mut dump = Workload::new(Policy::new(0, 20, 100, Duration::from_mins(1)), 0);
    dump.seconds(30, ZERO);
    let (mut left, mut started) = (20_000_u64, Vec::new());
    let mut drained = 0;
    for second in 0..200_u64 {
        let arrivals = if second == 0 { left } else { 0 };
        dump.second(if left == 0 { ZERO } else { backlog(left) }, arrivals);
        started.push(dump.replicas);
        let running = second
            .checked_sub(2)
            .and_then(|at| started.get(usize::try_from(at).ok()?));
        left = left.saturating_sub(50 * u64::from(running.copied().unwrap_or(0).min(dump.replicas)));
        if left > 0 {
            drained = second;
        }
    }
    assert_eq!(started[0], 20, "all at once");
    assert!(drained <= 23, "drained after {drained} s");
    assert_eq!(dump.replicas, 0);
    assert!(dump.cost <= 800, "{} replica-seconds", dump.cost);
}

/// The released replicas were needed again within the window: that is not done twice.
#[test]
fn bursts_do_not_make_it_flap() {
    let mut bursts = Workload::new(Policy::new(0, 20, 100, Duration::from_mins(1)), 0);
    let mut changes = 0;
    for _ in 0..20 {
        for second in 0..30 {
            let before = bursts.replicas;
            let (sample, arrivals) = if second < 5 { (backlog(2_000), 400) } else { (ZERO, 0) };
            bursts.second(sample, arrivals);
            changes += u32::from(bursts.replicas != before);
        }
    }
    assert_eq!(changes, 3, "up, down once too early, up again, and then they stay");
}

#[test]
fn a_silence_longer_than_the_cooldown_starts_it_again() {
    let mut silent = Workload::new(Policy::new(0, 10, 100, Duration::from_secs(30)), 3);
    silent.seconds(5, ZERO);
    assert_eq!(silent.seconds(120, Sample::Unknown).cause, Cause::BacklogUnknown);
    assert_eq!(silent.replicas, 3, "silence changes nothing");
    silent.seconds(30, ZERO);
    assert_eq!(silent.replicas, 1, "a cool-down must be watched");
    silent.seconds(1, ZERO);
    assert_eq!(silent.replicas, 0);
}

#[test]
fn a_fallback_applies_when_its_time_has_come() {
    let fallback = Fallback {
        after: Duration::from_secs(30),
        replicas: 4,
        rule: FallbackRule::CurrentReplicasIfHigher,
    };
    let mut asleep = Workload::new(policy().with_fallback(Some(fallback)), 0);
    asleep.seconds(3, ZERO);
    assert_eq!(asleep.seconds(30, Sample::Unknown).cause, Cause::BacklogUnknown);
    assert_eq!(
        asleep.seconds(1, Sample::Unknown).to_string(),
        "from 0 to 4: the fallback applies, for Redis has not answered for 30 s; backlog unknown"
    );
    assert_eq!(asleep.seconds(1, ZERO).cause, Cause::JustStarted, "back again");
    asleep.seconds(61, ZERO);
    assert_eq!(asleep.replicas, 0);
}

/// Somebody scales up by hand just after it went to zero: not undone at once, although it has long been quiet.
#[test]
fn a_hand_is_not_slapped() {
    let mut resting = Workload::new(policy(), 1);
    resting.seconds(70, ZERO);
    assert_eq!(resting.replicas, 0);
    resting.replicas = 1;
    let kept = resting.seconds(1, ZERO);
    assert_eq!(
        kept.to_string(),
        "stays at 1: somebody else has scaled up, which is kept for 60 s; backlog 0 (undelivered 0, pending 0), target \
         100 per replica"
    );
    resting.seconds(59, ZERO);
    assert_eq!(resting.replicas, 1);
    resting.seconds(1, ZERO);
    assert_eq!(resting.replicas, 0);
}

#[test]
fn new_bounds_apply_at_once_even_while_unknown() {
    let at = |min, max, replicas| {
        let mut it = Workload::new(Policy::new(min, max, 100, Duration::from_mins(1)), replicas);
        let decision = it.second(Sample::Unknown, 0);
        (decision.desired, decision.cause)
    };
    assert_eq!(at(2, 10, 0), (2, Cause::BelowMinimum));
    assert_eq!(at(0, 4, 9), (4, Cause::AboveMaximum));
    assert_eq!(at(0, 4, 3), (3, Cause::BacklogUnknown));
}

/// Why so many? Never "as many as the backlog needs" when it needs none, or more.
#[test]
fn a_bound_that_is_reached_is_named() {
    let words = |sample| Workload::new(Policy::new(2, 5, 100, Duration::from_mins(1)), 2).second(sample, 0);
    assert_eq!(
        words(ZERO).to_string(),
        "stays at 2: fewer would do, but the minimum is 2; backlog 0 (undelivered 0, pending 0), target 100 per replica"
    );
    assert_eq!(words(backlog(150)).cause, Cause::AsNeeded);
    let mut busy = Workload::new(policy(), 10);
    assert_eq!(
        busy.second(backlog(1_001), 0).to_string(),
        "stays at 10: more are needed, but the maximum is 10; backlog 1001 (undelivered 1001, pending 0), target 100 per \
         replica"
    );
}

#[test]
fn a_fall_as_large_as_the_tolerance_is_within_it() {
    let at_rest_for_a_window = |undelivered| Workload::new(policy(), 10).seconds(62, backlog(undelivered));
    assert_eq!(
        at_rest_for_a_window(900).to_string(),
        "stays at 10: 9 would do, but so small a fall is within the tolerance of 10 %; backlog 900 (undelivered 900, \
         pending 0), target 100 per replica"
    );
    let steps = Steps {
        largest: None,
        period: Duration::ZERO,
    };
    let mut falling = Workload::new(policy().with_steps(Steps::FREE, steps), 10);
    falling.seconds(62, backlog(800));
    assert_eq!(falling.replicas, 8);
}

/// A step is a write that was carried out: one that failed is tried again at once, and one whose answer was lost counts.
#[test]
fn steps_are_counted_as_they_are_carried_out() {
    let one = Steps {
        largest: Some(2),
        period: Duration::from_secs(15),
    };
    let mut slow = Workload::new(policy().with_steps(one, Steps::FREE), 1);
    assert_eq!(slow.unanswered(backlog(5_000)).desired, 3);
    assert_eq!(slow.second(backlog(5_000), 0).desired, 3, "it had failed");
    assert_eq!(slow.second(backlog(5_000), 0).cause, Cause::StepLimited { target: 10 });
    slow.seconds(13, backlog(5_000));
    slow.replicas = slow.unanswered(backlog(5_000)).desired;
    assert_eq!(slow.replicas, 5);
    assert_eq!(
        slow.second(backlog(5_000), 0).cause,
        Cause::StepLimited { target: 10 },
        "it had been carried out"
    );
}

/// A number on the way from what there was to what was decided is nobody's but theirs.
#[test]
fn a_hand_that_is_quicker_than_a_write_counts() {
    let mut slow = Workload::new(policy(), 2);
    slow.seconds(3, backlog(150));
    assert_eq!(slow.unanswered(backlog(750)).desired, 8);
    slow.replicas = 4;
    let kept = slow.seconds(20, ZERO);
    assert!(matches!(kept.cause, Cause::RaisedByOthers { .. }), "{kept}");
}

/// What a decision would have done while paused is not ours when somebody else does it.
#[test]
fn what_somebody_does_while_it_is_paused_is_theirs() {
    let mut paused = Workload::new(policy().with_paused(true), 2);
    assert_eq!(paused.seconds(5, backlog(1_000)).proposed, 10);
    paused.replicas = 10;
    paused.second(backlog(1_000), 0);
    paused.policy = policy();
    let kept = paused.seconds(20, ZERO);
    assert!(matches!(kept.cause, Cause::RaisedByOthers { .. }), "{kept}");
}

#[test]
fn says_from_to_and_why() {
    let work = Work {
        undelivered: 4_000,
        pending: 210,
        reclaimable: 7,
        poison: 1,
    };
    let words = |policy: Policy, sample| Workload::new(policy, 2).second(sample, 0).to_string();
    let many = Policy::new(0, 50, 500, Duration::from_mins(1));
    assert_eq!(
        words(many, Sample::Exact(work)),
        "from 2 to 9: the backlog grew; backlog 4210 (undelivered 4000, pending 210, to be claimed 7), poison 1, target \
         500 per replica"
    );
    let step = Steps {
        largest: Some(3),
        period: Duration::from_secs(15),
    };
    assert_eq!(
        words(
            many.with_steps(step, Steps::FREE),
            Sample::Estimated(Work {
                reclaimable: 0,
                poison: 0,
                ..work
            })
        ),
        "from 2 to 5: the backlog grew; 9 are needed, but steps are limited; backlog about 4210 (undelivered 4000, \
         pending 210), target 500 per replica"
    );
    assert_eq!(
        words(policy().with_paused(true), backlog(5_000)),
        "paused, would go from 2 to 10: the backlog grew; more are needed, but the maximum is 10; backlog 5000 \
         (undelivered 5000, pending 0), target 100 per replica"
    );
}
