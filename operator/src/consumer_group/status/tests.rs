//! What status says of each state, and how soon it is written.

use shopwright_api::condition::READY;
use shopwright_streams::sample::Source;

use super::{
    super::assign::{Idle, Rival},
    *,
};

pub(in super::super) fn watched() -> Watched {
    Watched {
        target: TargetState::Found(2),
        unknown: None,
        figures: Figures {
            streams: vec![StreamFigures {
                key: "orders".to_owned(),
                undelivered: 5,
                pending: 3,
                source: Source::Tail,
            }],
            backlog: 8,
            exact: true,
            ..Figures::default()
        },
        decision: Some(decided(2, "AsNeeded")),
        limited: false,
        scales: Vec::new(),
        loss: None,
        upkeep_looked: true,
        trim_blocked: None,
        dead_letters: None,
    }
}

pub(in super::super) fn decided(desired: u32, reason: &'static str) -> Decided {
    Decided {
        replicas: 2,
        desired,
        reason,
        message: format!("{reason}; backlog 8"),
        paused: false,
        fallback: false,
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a time")
}

fn rendered(watched: Watched) -> ConsumerGroupStatus {
    render(
        &ConsumerGroupStatus::default(),
        &Report::Watched(Box::new(watched)),
        Some(7),
        at(1_000),
    )
}

/// (type, status, reason) of all conditions.
fn words(status: &ConsumerGroupStatus) -> Vec<(&str, &str, &str)> {
    let words = |one: &'_ k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition| {
        (
            one.type_.clone().leak() as &str,
            one.status.clone().leak() as &str,
            one.reason.clone().leak() as &str,
        )
    };
    status.conditions.iter().map(words).collect()
}

#[test]
fn all_is_well() {
    let status = rendered(watched());
    assert_eq!(
        words(&status),
        [
            ("Ready", "True", "Scaling"),
            ("AbleToScale", "True", "ReadyForNewScale"),
            ("GroupReady", "True", "GroupExists"),
            ("BacklogKnown", "True", "Sampled"),
            ("ScalingLimited", "False", "DesiredWithinRange"),
            ("Active", "True", "Replicas"),
        ]
    );
    assert_eq!(
        (status.backlog, status.undelivered, status.pending),
        (Some(8), Some(5), Some(3))
    );
    assert_eq!(
        (status.replicas, status.desired_replicas, status.observed_generation),
        (Some(2), Some(2), Some(7))
    );
}

#[test]
fn every_way_not_to_be_ready_has_its_reason() {
    let ready = |report: Report| {
        let status = render(&ConsumerGroupStatus::default(), &report, Some(1), at(0));
        let ready = condition::find(&status.conditions, READY).expect("there");
        (ready.status.clone(), ready.reason.clone())
    };
    let lacking = |change: fn(&mut Watched)| {
        let mut watched = watched();
        change(&mut watched);
        ready(Report::Watched(Box::new(watched)))
    };
    let no = |reason: &str| ("False".to_owned(), reason.to_owned());
    assert_eq!(lacking(|it| it.target = TargetState::NotFound), no("TargetNotFound"));
    assert_eq!(
        lacking(|it| it.target = TargetState::Refused(403, 2)),
        no("FailedRescale")
    );
    assert_eq!(
        lacking(|it| it.unknown = Some(Unknown::SecretNotFound)),
        no("SecretNotFound")
    );
    assert_eq!(lacking(|it| it.unknown = Some(Unknown::WrongType)), no("WrongType"));
    assert_eq!(
        ready(Report::Idle(Idle::Invalid(vec!["a".into(), "b".into()]))),
        no("InvalidSpec")
    );
    assert_eq!(
        ready(Report::Idle(Idle::Conflict(Rival::SameTarget("other".into())))),
        no("ConflictingScaler")
    );
    assert_eq!(
        lacking(|it| it.limited = true).0,
        "True",
        "at its maximum it works as told"
    );
}

#[test]
fn unknown_shows_no_figures_but_remembers_the_streams() {
    let known = rendered(watched());
    let unknown = Watched {
        unknown: Some(Unknown::SecretNotFound),
        ..watched()
    };
    let status = render(&known, &Report::Watched(Box::new(unknown)), Some(7), at(2_000));
    assert_eq!((status.backlog, status.undelivered, status.pending), (None, None, None));
    assert_eq!(
        status.streams,
        [StreamStatus {
            key: "orders".to_owned(),
            ..StreamStatus::default()
        }]
    );
}

#[test]
fn a_group_that_is_left_alone_shows_no_figures_but_remembers_the_streams() {
    let known = rendered(watched());
    for idle in [
        Idle::Invalid(vec!["a".into()]),
        Idle::Conflict(Rival::Autoscaler("other".into())),
    ] {
        let status = render(&known, &Report::Idle(idle), Some(8), at(2_000));
        let keys: Vec<_> = status.streams.iter().map(|it| (it.key.as_str(), it.pending)).collect();
        assert_eq!((status.backlog, keys), (None, vec![("orders", None)]));
    }
}

#[test]
fn only_what_people_wait_for_is_urgent() {
    let there = rendered(watched());
    let later = |watched| render(&there, &Report::Watched(Box::new(watched)), Some(7), at(9_000));
    assert_eq!(
        urgency(&there, &later(watched())),
        Urgency::Nothing,
        "time alone changes nothing"
    );
    assert_eq!(
        urgency(
            &there,
            &later(Watched {
                figures: Figures {
                    backlog: 9,
                    ..watched().figures
                },
                ..watched()
            })
        ),
        Urgency::Figures
    );
    assert_eq!(
        urgency(
            &there,
            &later(Watched {
                decision: Some(decided(3, "BacklogGrew")),
                ..watched()
            })
        ),
        Urgency::Now
    );
    assert_eq!(
        urgency(
            &there,
            &later(Watched {
                unknown: Some(Unknown::WrongType),
                ..watched()
            })
        ),
        Urgency::Now
    );
    let next_generation = render(&there, &Report::Watched(Box::new(watched())), Some(8), at(9_000));
    assert_eq!(urgency(&there, &next_generation), Urgency::Now);
}

#[test]
fn scales_of_an_earlier_operator_are_kept_behind_our_own_and_no_more_than_five() {
    let scaled = |second: i64, to: u32| Scaled {
        at: at(second),
        from: 0,
        to,
        reason: "Woken",
        message: "Woken; backlog 8".to_owned(),
    };
    let of = |scales: Vec<Scaled>| Report::Watched(Box::new(Watched { scales, ..watched() }));
    let there = render(
        &ConsumerGroupStatus::default(),
        &of(vec![scaled(500, 4), scaled(400, 3), scaled(300, 2)]),
        Some(7),
        at(1_000),
    );
    let tos = |status: &ConsumerGroupStatus| status.recent_scales.iter().map(|it| it.to).collect::<Vec<_>>();
    assert_eq!(tos(&render(&there, &of(Vec::new()), Some(7), at(9_000))), [4, 3, 2]);
    let ours = vec![scaled(800, 7), scaled(700, 6), scaled(600, 5)];
    let status = render(&there, &of(ours.clone()), Some(7), at(9_000));
    assert_eq!(tos(&status), [7, 6, 5, 4, 3]);
    assert_eq!(urgency(&there, &status), Urgency::Now);
    let again = render(&status, &of(ours), Some(7), at(9_100));
    assert_eq!(urgency(&status, &again), Urgency::Nothing, "said once");
}

#[test]
fn the_answer_to_why_so_many_stands_until_what_is_wanted_or_the_reason_changes() {
    let there = rendered(watched());
    let later = |decision| {
        let watched = Watched {
            decision: Some(decision),
            ..watched()
        };
        let status = render(&there, &Report::Watched(Box::new(watched)), Some(7), at(9_000));
        (status.decision.clone().expect("there"), urgency(&there, &status))
    };
    let same = Decided {
        message: "AsNeeded; backlog 9".to_owned(),
        ..decided(2, "AsNeeded")
    };
    let (answer, how_soon) = later(same);
    assert_eq!((answer.time.0, how_soon), (at(1_000), Urgency::Nothing));
    let (answer, how_soon) = later(decided(2, "CoolingDown"));
    assert_eq!((answer.time.0, how_soon), (at(9_000), Urgency::Figures));
}

#[test]
fn a_loss_is_shown_for_an_hour_also_by_the_next_operator_and_then_over() {
    let loss = Loss {
        at: at(1_000),
        reason: "GroupLost",
        message: "group g was gone".to_owned(),
    };
    let there = rendered(Watched {
        loss: Some(loss.clone()),
        ..watched()
    });
    let word = |loss: Option<Loss>, second: i64| {
        let report = Report::Watched(Box::new(Watched { loss, ..watched() }));
        let status = render(&there, &report, Some(7), at(second));
        condition::find(&status.conditions, condition::DATA_LOSS).map(|it| (it.status.clone(), it.reason.clone()))
    };
    let yes = Some(("True".to_owned(), "GroupLost".to_owned()));
    let no = Some(("False".to_owned(), "NoLossLately".to_owned()));
    assert_eq!(word(Some(loss.clone()), 4_599), yes);
    assert_eq!(word(None, 4_599), yes, "a restart of the operator forgets nothing");
    assert_eq!((word(Some(loss), 4_600), word(None, 4_600)), (no.clone(), no));
    let never = rendered(watched());
    assert!(condition::find(&never.conditions, condition::DATA_LOSS).is_none());
}

#[test]
fn what_matters_only_when_it_holds_appears_with_it_and_says_when_it_is_over() {
    let mut loud = watched();
    loud.figures.poison = 2;
    loud.figures.unknown_consumers = Some(1);
    loud.dead_letters = Some(3);
    loud.trim_blocked = Some("group strangers".to_owned());
    loud.decision = Some(Decided {
        paused: true,
        fallback: true,
        ..decided(2, "AsNeeded")
    });
    let there = rendered(loud);
    let quiet = render(&there, &Report::Watched(Box::new(watched())), Some(7), at(2_000));
    for kind in [
        "Paused",
        "Fallback",
        "Poison",
        "UnknownConsumers",
        "TrimBlocked",
        "DeadLetters",
    ] {
        let is = |status: &ConsumerGroupStatus| condition::find(&status.conditions, kind).map(|it| it.status.clone());
        assert_eq!(is(&rendered(watched())), None, "{kind}");
        assert_eq!(is(&there), Some("True".to_owned()), "{kind}");
        assert_eq!(is(&quiet), Some("False".to_owned()), "{kind}");
    }
    assert_eq!(there.poison, Some(2));
}

#[test]
fn a_new_operator_takes_nothing_back_before_it_has_looked() {
    let there = rendered(Watched {
        dead_letters: Some(3),
        trim_blocked: Some("group strangers".to_owned()),
        ..watched()
    });
    let after = |upkeep_looked| {
        let report = Report::Watched(Box::new(Watched {
            upkeep_looked,
            ..watched()
        }));
        render(&there, &report, Some(7), at(2_000))
    };
    assert_eq!(after(false).conditions, there.conditions);
    assert_eq!(after(false).dead_letters, Some(3));
    assert_eq!(urgency(&there, &after(false)), Urgency::Nothing);
    assert_eq!(after(true).dead_letters, None);
    let blocked = condition::find(&after(true).conditions, "TrimBlocked").map(|it| it.status.clone());
    assert_eq!(blocked, Some("False".to_owned()));
}
