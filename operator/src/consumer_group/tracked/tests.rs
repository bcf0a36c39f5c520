//! What a group remembers and concludes, without any Redis.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use shopwright_streams::{
    EntryId,
    sample::{ConsumerShare, Detail, Known, Pending, Sample, Source, Undelivered},
};

use super::{
    super::{
        actor_tests::{assignment, plan},
        pods::{GonePod, TargetPods},
        test_samples::empty,
    },
    *,
};
use crate::scaling::{self, Work};

fn tracked(replicas: u32, change: impl FnOnce(&mut shopwright_api::ConsumerGroupSpec)) -> Tracked {
    Tracked::new(assignment(plan(1, "group", change), replicas), Instant::now())
}

fn known(undelivered: u64, total: u64, added: u64) -> Known {
    Known {
        undelivered: Undelivered {
            count: undelivered,
            source: Source::Tail,
        },
        pending: Pending {
            total,
            ..empty().pending
        },
        last_generated: EntryId {
            milliseconds: added,
            sequence: 0,
        },
        entries_added: added,
        ..empty()
    }
}

fn with_detail(mut known: Known, poison: u64, stalled: u64) -> Known {
    known.pending.detail = Some(Detail {
        poison,
        stalled,
        oldest_idle: Duration::from_secs(90),
        exact: true,
    });
    known
}

fn gone(names: &[&str], since: Instant) -> TargetPods {
    let ended = |name: &&str| GonePod {
        name: (*name).to_owned(),
        since,
        asked: true,
    };
    TargetPods {
        live: Vec::new(),
        gone: names.iter().map(ended).collect(),
    }
}

fn learn(tracked: &mut Tracked, known: Known, second: u64) -> scaling::Sample {
    for stream in &mut tracked.streams {
        stream.ensured = true;
    }
    let now = Now {
        instant: Instant::now(),
        time: Timestamp::from_second(i64::try_from(second).expect("small")).expect("a time"),
    };
    tracked.learn(vec![Ok(Sample::Known(known))], now).0
}

fn decide(tracked: &mut Tracked, sample: scaling::Sample, second: u64) -> Decision {
    let moment = Moment::from_milliseconds(second * 1_000);
    tracked.decide(sample, moment, Instant::now()).expect("a target")
}

#[test]
fn arrivals_are_known_between_two_samples_without_a_gap_or_a_step_back() {
    let mut group = tracked(1, |_| {});
    let mut arrivals = |added: u64| {
        learn(&mut group, known(0, 0, added), 0);
        group.arrivals
    };
    assert_eq!([arrivals(5), arrivals(8), arrivals(8)], [None, Some(3), Some(0)]);
    assert_eq!([arrivals(2), arrivals(3)], [None, Some(1)], "other data");
    group.miss(Unknown::GroupLost);
    learn(&mut group, known(0, 0, 9), 0);
    assert_eq!(group.arrivals, None, "a gap");
}

#[test]
fn what_stalls_or_belonged_to_a_pod_that_is_gone_is_reclaimable_and_strangers_are_counted() {
    let mut group = tracked(1, |spec| spec.consumer_names = shopwright_api::ConsumerNames::PodName);
    group.assignment.pods = Arc::new(gone(&["gone"], Instant::now()));
    let mut sampled = with_detail(known(0, 10, 10), 2, 3);
    let share = |name: &str, pending| ConsumerShare {
        name: name.to_owned(),
        pending,
        detail: None,
    };
    sampled.consumers = vec![share("gone", 4), share("somebody", 6)];
    let sample = learn(&mut group, sampled, 0);
    let expected = Work {
        undelivered: 0,
        pending: 8,
        reclaimable: 7,
        poison: 2,
    };
    assert_eq!(sample, scaling::Sample::Exact(expected));
    let figures = group.figures.clone().expect("known");
    assert_eq!((figures.unknown_consumers, figures.in_flight()), (Some(1), 1));
    // A sample that looks at no entry does not turn poison into work.
    assert_eq!(
        learn(&mut group, known(0, 10, 10), 1).work().map(|work| work.poison),
        Some(2)
    );
    assert_eq!(
        learn(&mut group, known(0, 1, 10), 2).work().map(|work| work.backlog()),
        Some(0)
    );
}

#[test]
fn after_a_step_back_nothing_is_taken_away_for_a_whole_window() {
    let mut group = tracked(4, |spec| spec.scaling.cooldown_seconds = 1);
    for second in 0..3 {
        let sample = learn(&mut group, known(300, 0, 500), second);
        decide(&mut group, sample, second);
    }
    let now = Now {
        instant: Instant::now(),
        time: Timestamp::from_second(3).expect("a time"),
    };
    let (sample, learned) = group.learn(vec![Ok(Sample::Known(known(0, 0, 400)))], now);
    let reasons: Vec<_> = learned
        .notices
        .iter()
        .map(|notice| (notice.warning, notice.reason))
        .collect();
    assert_eq!(reasons, [(true, "DataLossSuspected")]);
    assert!(group.loss.is_some());
    for second in 3..59 {
        let decision = decide(&mut group, sample, second);
        assert_eq!(decision.desired, 4, "second {second}: {decision}");
    }
    // The window is of this process's clock, and over.
    group.held_until = Some(Instant::now());
    let mut fewest = 4;
    for second in 59..200 {
        fewest = fewest.min(decide(&mut group, sample, second).desired);
    }
    assert_eq!(fewest, 0, "and then everything is as ever");
}

#[test]
fn a_paused_group_says_what_it_would_do_and_does_nothing() {
    let mut group = tracked(0, |spec| spec.scaling.paused = true);
    let sample = learn(&mut group, known(250, 0, 250), 0);
    let decision = decide(&mut group, sample, 0);
    assert_eq!((decision.direction(), decision.proposed), (None, 3));
    let Some(crate::consumer_group::status::Report::Watched(watched)) = group.report() else {
        panic!("a report");
    };
    let decided = watched.decision.expect("decided");
    assert!(decided.paused && decided.desired == 3, "{decided:?}");
}

#[test]
fn a_fallback_comes_with_silence_and_only_then() {
    let mut group = tracked(1, |spec| {
        spec.scaling.fallback = Some(shopwright_api::Fallback {
            after_seconds: 10,
            replicas: 4,
            behavior: shopwright_api::FallbackBehavior::CurrentReplicasIfHigher,
        });
    });
    let sample = learn(&mut group, known(0, 1, 1), 0);
    decide(&mut group, sample, 0);
    for second in 1..30 {
        group.miss(Unknown::GroupLost);
        let decision = decide(&mut group, scaling::Sample::Unknown, second);
        if second < 10 {
            assert_eq!(decision.desired, 1, "{decision}");
        }
        if second > 12 {
            assert_eq!(decision.desired, 4, "{decision}");
        }
    }
    assert!(group.metrics(&group.decision.expect("decided")).fallback);
}

#[test]
fn the_first_answer_after_a_start_takes_nothing_away() {
    let mut group = tracked(5, |spec| spec.scaling.cooldown_seconds = 0);
    let sample = learn(&mut group, known(0, 0, 9), 0);
    let decision = decide(&mut group, sample, 0);
    assert_eq!(decision.direction(), None, "{decision}");
}

#[test]
fn a_pod_that_becomes_ready_or_goes_makes_its_group_due_at_once() {
    let mut group = tracked(1, |_| {});
    let later = Instant::now() + Duration::from_secs(30);
    let mut due_after = |pods: TargetPods| {
        group.due = later;
        let assignment = Assignment {
            pods: Arc::new(pods),
            ..group.assignment.clone()
        };
        group.reassign(&assignment, Instant::now());
        group.due < later
    };
    let gone = |names: &[&str]| gone(names, later);
    assert!(due_after(gone(&["one"])));
    assert!(!due_after(gone(&["one"])), "nothing new");
    assert!(due_after(gone(&["one", "two"])));
}

#[test]
fn poison_of_an_earlier_look_is_no_exact_count_once_something_has_moved() {
    let mut group = tracked(3, |_| {});
    let at_rest = with_detail(known(0, 200, 300), 200, 0);
    assert!(learn(&mut group, at_rest, 0).is_exact());
    assert!(learn(&mut group, known(0, 200, 300), 1).is_exact(), "nothing moved");
    // All poison was put aside, and as many entries were read: that is work, and the earlier look would hide it.
    let moved = Known {
        last_delivered: EntryId {
            milliseconds: 500,
            sequence: 0,
        },
        ..known(0, 200, 500)
    };
    assert!(!learn(&mut group, moved.clone(), 2).is_exact());
    let looked = learn(&mut group, with_detail(moved, 0, 0), 3);
    assert_eq!(
        (looked.is_exact(), looked.work().map(|work| work.pending)),
        (true, Some(200))
    );
}

#[test]
fn what_stalled_earlier_and_what_the_gone_hold_now_is_not_counted_twice() {
    let mut group = tracked(1, |spec| spec.consumer_names = shopwright_api::ConsumerNames::PodName);
    group.assignment.pods = Arc::new(gone(&["gone"], Instant::now()));
    let mut later = known(0, 200, 200);
    learn(&mut group, with_detail(later.clone(), 0, 50), 0);
    later.consumers = vec![ConsumerShare {
        name: "gone".to_owned(),
        pending: 60,
        detail: None,
    }];
    let reclaimable = learn(&mut group, later, 1).work().map(|work| work.reclaimable);
    assert_eq!(reclaimable, Some(60), "the 50 are among the 60 for all that is known");
}

#[test]
fn a_refused_write_is_not_slept_over_at_rest() {
    let mut group = tracked(0, |spec| spec.scaling.min_replicas = 1);
    let sample = learn(&mut group, known(0, 0, 0), 0);
    let decision = decide(&mut group, sample, 0);
    assert_eq!(decision.desired, 1);
    group.refused(500, &decision, Instant::now());
    assert!(group.wait(&Cadence::default()) < Duration::from_secs(10));
}

#[test]
fn a_loss_is_told_even_if_the_answer_to_its_repair_was_lost() {
    let mut group = tracked(2, |_| {});
    learn(&mut group, known(0, 0, 9), 0);
    let now = Now::read();
    let (_, learned) = group.learn(vec![Ok(Sample::NoStream)], now);
    assert!(learned.is_lost);
    let told = group.ensured(0, false, now).expect("a notice");
    assert_eq!(told.reason, "GroupLost");
    assert!(group.held_until.is_some(), "nothing is taken away for a while");
    assert_eq!(group.ensured(0, false, now), None, "once");
}
