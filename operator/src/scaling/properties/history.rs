//! Random histories, and how they are played to a decider.

use std::time::Duration;

use proptest::{prelude::*, test_runner::TestCaseResult};

use crate::scaling::{
    Decision, Fallback, FallbackRule, GAP, Moment, Observation, Policy, Sample, State, Steps, Work, need,
};

/// `decide`, or a mutant of it.
pub(super) type Decider = fn(&State, &Observation, Moment) -> (State, Decision);

/// One step of a history: time passes, Redis answers, perhaps somebody else scales the workload, perhaps the write fails.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) milliseconds: u64,
    pub(super) sample: Sample,
    pub(super) arrivals: Option<u64>,
    pub(super) meddle: Option<u32>,
    pub(super) lost: bool,
}

impl Step {
    /// An undisturbed second or so with this answer.
    pub(super) fn calm(milliseconds: u64, sample: Sample) -> Self {
        Self {
            milliseconds,
            sample,
            arrivals: Some(0),
            meddle: None,
            lost: false,
        }
    }
}

/// A history, and what a property may try at its end.
#[derive(Clone, Debug)]
pub(super) struct History {
    pub(super) policy: Policy,
    pub(super) start: u32,
    pub(super) steps: Vec<Step>,
    pub(super) work: Work,
    pub(super) more: Work,
    pub(super) gap: u64,
}

/// One decision of a history.
pub(super) struct Turn<'a> {
    pub(super) before: &'a State,
    pub(super) observation: &'a Observation,
    pub(super) decision: &'a Decision,
    pub(super) now: Moment,
    /// Somebody else has just scaled up, which is not what we had decided either.
    pub(super) raised: bool,
    /// The write, if there is one, is going to fail.
    pub(super) lost: bool,
}

impl Turn<'_> {
    pub(super) fn need(&self) -> Option<u32> {
        self.observation
            .sample
            .work()
            .map(|work| need(&work, &self.observation.policy))
    }

    pub(super) fn goes_down(&self) -> bool {
        self.decision.proposed < self.observation.replicas
    }

    pub(super) fn is_zero(&self) -> bool {
        self.observation.sample == Sample::Exact(Work::default())
    }
}

/// Where a history has led.
pub(super) struct End {
    pub(super) state: State,
    pub(super) replicas: u32,
    pub(super) clock: u64,
}

/// Plays a history and shows each decision to `check`.
pub(super) fn play(
    decide: Decider,
    policy: Policy,
    start: u32,
    steps: &[Step],
    mut check: impl FnMut(Turn<'_>) -> TestCaseResult,
) -> Result<End, TestCaseError> {
    let mut end = End {
        state: State::default(),
        replicas: start,
        clock: 0,
    };
    let mut decided = None;
    for step in steps {
        end.clock = end.clock.saturating_add(step.milliseconds);
        let before = end.replicas;
        end.replicas = step.meddle.unwrap_or(before);
        let observation = Observation {
            policy,
            replicas: end.replicas,
            sample: step.sample,
            arrivals: step.arrivals,
        };
        let now = Moment::from_milliseconds(end.clock);
        let (mut next, decision) = decide(&end.state, &observation, now);
        check(Turn {
            before: &end.state,
            observation: &observation,
            decision: &decision,
            now,
            raised: decided.is_some_and(|decided| end.replicas > before && end.replicas != decided),
            lost: step.lost,
        })?;
        if !step.lost {
            end.replicas = decision.desired;
            if decision.desired != decision.current {
                next.wrote(decision.desired);
            }
        }
        decided = Some(decision.desired);
        end.state = next;
    }
    Ok(end)
}

/// Since when something has held without a break, as a property sees it from outside.
#[derive(Default)]
pub(super) struct Since(Option<Moment>);

impl Since {
    pub(super) fn hold(&mut self, holds: bool, now: Moment) {
        if holds {
            self.0.get_or_insert(now);
        } else {
            self.0 = None;
        }
    }

    pub(super) fn break_off(&mut self) {
        self.0 = None;
    }

    pub(super) fn milliseconds(&self, now: Moment) -> Option<u64> {
        self.0.map(|since| now.milliseconds_since(since))
    }
}

/// Whether knowledge has had no gap, as a property sees it from outside.
#[derive(Default)]
pub(super) struct Watched(Option<Moment>);

impl Watched {
    pub(super) fn at(&mut self, known: bool, now: Moment) -> bool {
        let watched = self.0.is_some_and(|last| now.since(last) <= GAP);
        if known {
            self.0 = Some(now);
        }
        watched
    }
}

fn count() -> impl Strategy<Value = u64> {
    prop_oneof![5 => Just(0_u64), 6 => 0_u64..40, 2 => 0_u64..5_000, 1 => any::<u64>(), 1 => Just(u64::MAX)]
}

pub(super) fn work() -> impl Strategy<Value = Work> {
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
        5 => Just(Sample::Exact(Work::default())),
        6 => work().prop_map(Sample::Exact),
        1 => Just(Sample::Estimated(Work::default())),
        2 => work().prop_map(Sample::Estimated),
        2 => Just(Sample::Unknown),
    ]
}

fn steps_of() -> impl Strategy<Value = Steps> {
    let largest = prop_oneof![2 => Just(None), 1 => (1_u32..6).prop_map(Some)];
    (largest, 0_u64..20).prop_map(|(largest, period)| Steps {
        largest,
        period: Duration::from_secs(period),
    })
}

fn fallback() -> impl Strategy<Value = Option<Fallback>> {
    let rule = prop_oneof![
        Just(FallbackRule::Static),
        Just(FallbackRule::CurrentReplicas),
        Just(FallbackRule::CurrentReplicasIfHigher),
        Just(FallbackRule::CurrentReplicasIfLower),
    ];
    let some = (10_u64..60, 0_u32..20, rule).prop_map(|(after, replicas, rule)| {
        Some(Fallback {
            after: Duration::from_secs(after),
            replicas,
            rule,
        })
    });
    prop_oneof![1 => Just(None), 1 => some]
}

fn policy() -> impl Strategy<Value = Policy> {
    let target = prop_oneof![3 => 1_u64..10, 1 => 10_u64..200, 1 => Just(u64::MAX)];
    let max = prop_oneof![4 => 1_u32..20, 1 => Just(u32::MAX)];
    let min = prop_oneof![3 => Just(0_u32), 1 => 0_u32..25];
    let cooldown = prop_oneof![1 => Just(0_u64), 3 => 0_u64..120];
    let window = prop_oneof![1 => Just(0_u64), 4 => 1_u64..120];
    let activation = prop_oneof![2 => Just(0_u64), 1 => 1_u64..20];
    let paused = prop_oneof![5 => Just(false), 1 => Just(true)];
    let sizes = (min, max, target, activation);
    let times = (cooldown, window, 0_u32..=49);
    (sizes, times, (steps_of(), steps_of()), fallback(), paused).prop_map(
        |((min, max, target, activation), (cooldown, window, tolerance), (up, down), fallback, paused)| {
            Policy::new(min, max, target, Duration::from_secs(cooldown))
                .with_activation(activation)
                .with_window(Duration::from_secs(window))
                .with_tolerance(tolerance)
                .with_steps(up, down)
                .with_fallback(fallback)
                .with_paused(paused)
        },
    )
}

/// Histories come in stretches, as loads do: what takes a whole window or cool-down to go wrong would hardly ever be
/// met by samples that have nothing to do with each other.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    let time = prop_oneof![8 => 500_u64..9_000, 1 => 0_u64..400_000];
    let meddle = prop_oneof![6 => Just(None), 1 => (0_u32..30).prop_map(Some)];
    let arrivals = prop_oneof![6 => Just(Some(0)), 1 => (1_u64..9).prop_map(Some), 1 => Just(None)];
    let odd = prop_oneof![4 => Just(None), 1 => (0_usize..25).prop_map(Some)];
    let lost = prop_oneof![5 => Just(false), 1 => Just(true)];
    let stretch = (time, sample(), meddle, (arrivals, odd), lost, 1_usize..25).prop_map(
        |(milliseconds, sample, meddle, (arrivals, odd), lost, length)| {
            let step = |number: usize| Step {
                milliseconds,
                sample,
                // Arrivals come with the first sample of a stretch, or in the middle of it.
                arrivals: if odd.unwrap_or(0) == number { arrivals } else { Some(0) },
                meddle: meddle.filter(|_| number == 0),
                lost: lost && number.is_multiple_of(3),
            };
            (0..length).map(step).collect::<Vec<_>>()
        },
    );
    prop::collection::vec(stretch, 1..7).prop_map(|stretches| stretches.concat())
}

pub(super) fn history() -> impl Strategy<Value = History> {
    let gap = prop_oneof![3 => 0_u64..20_000, 1 => 0_u64..100_000];
    (policy(), 0_u32..40, steps(), work(), work(), gap).prop_map(|(policy, start, steps, work, more, gap)| History {
        policy,
        start,
        steps,
        work,
        more,
        gap,
    })
}
