//! The conditions of a group as they are now. Pure; the time is passed in.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use shopwright_api::condition::{
    self, ABLE_TO_SCALE, ACTIVE, BACKLOG_KNOWN, DATA_LOSS, DEAD_LETTERS, FALLBACK, Fact, GROUP_READY, Holds, PAUSED,
    POISON, READY, SCALING_LIMITED, TRIM_BLOCKED, UNKNOWN_CONSUMERS,
};

use super::{
    super::assign::{Idle, Rival},
    Report, TargetState, Unknown, Watched,
};

/// How long a loss of data is shown after it was noticed: long enough for people to see it, not so long that the next one
/// goes unnoticed.
pub(in super::super) const LOSS_SHOWN: Duration = Duration::from_hours(1);

pub(super) fn facts(report: &Report, previous: &[Condition], now: Timestamp) -> Vec<Fact> {
    let watched = match report {
        Report::Idle(idle) => {
            let (reason, message) = idle_words(idle);
            let able = Fact::new(ABLE_TO_SCALE, false, reason, message);
            return vec![summary([&able]), able];
        }
        Report::Watched(watched) => watched,
    };
    let (able, group, backlog) = (able(watched.target), group(watched.unknown), backlog(watched.unknown));
    let mut facts = vec![
        summary([&able, &backlog, &group]),
        able,
        group,
        backlog,
        limited(watched.limited),
    ];
    facts.extend(active(watched, previous));
    facts.extend(noteworthy(watched, previous, now));
    facts
}

/// True when all are; else the first that is not says why.
fn summary<'a>(facts: impl IntoIterator<Item = &'a Fact>) -> Fact {
    match facts.into_iter().find(|fact| fact.holds != Holds::True) {
        Some(fact) => Fact::new(READY, false, fact.reason, fact.message.clone()),
        None => Fact::new(
            READY,
            true,
            "Scaling",
            "the group exists, its backlog is known and its target follows it",
        ),
    }
}

fn idle_words(idle: &Idle) -> (&'static str, String) {
    match idle {
        Idle::Invalid(problems) => ("InvalidSpec", problems.join("; ")),
        Idle::Conflict(rival) => {
            let message = match rival {
                Rival::SameTarget(name) => format!("the older ConsumerGroup {name} scales the same target"),
                Rival::SameWork(name) => format!("the older ConsumerGroup {name} has the same stream and group"),
                Rival::Autoscaler(name) => format!("the HorizontalPodAutoscaler {name} scales the same target"),
            };
            ("ConflictingScaler", message)
        }
    }
}

fn able(target: TargetState) -> Fact {
    let no = |reason, message: String| Fact::new(ABLE_TO_SCALE, false, reason, message);
    match target {
        TargetState::Found(_) => Fact::new(ABLE_TO_SCALE, true, "ReadyForNewScale", "the target can be scaled"),
        TargetState::NotFound => no(
            "TargetNotFound",
            "the Deployment of spec.scaleTargetRef does not exist".to_owned(),
        ),
        TargetState::Refused(0, _) => no("FailedRescale", "the API server did not answer".to_owned()),
        TargetState::Refused(code, _) => no("FailedRescale", format!("the API server answered {code}")),
    }
}

fn group(unknown: Option<Unknown>) -> Fact {
    match unknown {
        None => Fact::new(GROUP_READY, true, "GroupExists", "the group exists on every stream"),
        Some(reason) if reason.reason() == "GroupLost" || reason.reason() == "WrongType" => {
            Fact::new(GROUP_READY, false, reason.reason(), reason.message())
        }
        Some(reason) => Fact::new(GROUP_READY, Holds::Unknown, reason.reason(), reason.message()),
    }
}

fn backlog(unknown: Option<Unknown>) -> Fact {
    match unknown {
        None => Fact::new(BACKLOG_KNOWN, true, "Sampled", "Redis was asked"),
        Some(reason) => Fact::new(BACKLOG_KNOWN, false, reason.reason(), reason.message()),
    }
}

fn limited(limited: bool) -> Fact {
    let (reason, message) = if limited {
        (
            "TooManyReplicas",
            "the backlog asks for more replicas than spec.maxReplicas",
        )
    } else {
        (
            "DesiredWithinRange",
            "the backlog asks for no more than spec.maxReplicas",
        )
    };
    Fact::new(SCALING_LIMITED, limited, reason, message)
}

/// Not said of a group that has never been known.
fn active(watched: &Watched, previous: &[Condition]) -> Option<Fact> {
    let replicas = match watched.target {
        TargetState::Found(replicas) | TargetState::Refused(_, replicas) => replicas,
        TargetState::NotFound => 0,
    };
    if replicas > 0 {
        return Some(Fact::new(ACTIVE, true, "Replicas", "the target has replicas"));
    }
    if watched.unknown.is_some() {
        condition::find(previous, ACTIVE)?;
        return Some(Fact::new(
            ACTIVE,
            Holds::Unknown,
            "BacklogUnknown",
            "the backlog is not known",
        ));
    }
    Some(if watched.figures.backlog > 0 || watched.figures.poison > 0 {
        Fact::new(ACTIVE, true, "Backlog", "there is work")
    } else {
        Fact::new(ACTIVE, false, "AtRest", "there is no work and there are no replicas")
    })
}

/// Conditions that say something only when they hold. They appear with the first time, and say after it that it is over.
fn noteworthy(watched: &Watched, previous: &[Condition], now: Timestamp) -> Vec<Fact> {
    let figures = &watched.figures;
    let decision = watched.decision.as_ref();
    let known = watched.unknown.is_none();
    let mut facts = Vec::new();
    let mut note = |kind, holds: bool, reason, over, message: &dyn Fn() -> String| {
        if holds {
            facts.push(Fact::new(kind, true, reason, message()));
        } else if condition::find(previous, kind).is_some() {
            facts.push(Fact::new(kind, false, over, ""));
        }
    };
    let paused = decision.is_some_and(|it| it.paused);
    note(PAUSED, paused, "Paused", "NotPaused", &|| {
        "spec.paused: nothing is scaled; status.decision says what would be done".to_owned()
    });
    let fallback = decision.is_some_and(|it| it.fallback);
    note(FALLBACK, fallback, "BacklogUnknown", "BacklogKnown", &|| {
        "the backlog has been unknown for longer than spec.fallback.afterSeconds".to_owned()
    });
    // What is not known now was last seen as it is written.
    let held = |kind| condition::find(previous, kind).is_some_and(|it| it.status == "True");
    let poison = if known { figures.poison > 0 } else { held(POISON) };
    note(POISON, poison, "TooManyDeliveries", "NoPoison", &|| {
        "messages were delivered spec.pending.maxDeliveries times and not acknowledged; see status.poison".to_owned()
    });
    let strangers = if known {
        figures.unknown_consumers.is_some_and(|count| count > 0)
    } else {
        held(UNKNOWN_CONSUMERS)
    };
    note(UNKNOWN_CONSUMERS, strangers, "NeverSeenAsPods", "AllKnown", &|| {
        "consumers that were never seen as pods of the target hold messages; nobody touches those before they have been idle for spec.pending.claimMinIdleSeconds".to_owned()
    });
    // A new operator has not looked yet: what the earlier one wrote stands until then.
    let stands = |kind| condition::find(previous, kind).filter(|it| !watched.upkeep_looked && it.status == "True");
    let blocked = watched.trim_blocked.clone();
    let blocked = blocked.or_else(|| stands(TRIM_BLOCKED).map(|it| it.message.clone()));
    note(
        TRIM_BLOCKED,
        blocked.is_some(),
        "UndeclaredGroup",
        "NotBlocked",
        &|| blocked.clone().unwrap_or_default(),
    );
    let dead = match watched.dead_letters {
        Some(count) => count > 0,
        None => stands(DEAD_LETTERS).is_some(),
    };
    note(DEAD_LETTERS, dead, "MessagesPutAside", "None", &|| {
        "messages are in the dead-letter stream; see status.deadLetters".to_owned()
    });
    facts.extend(loss(watched, previous, now));
    facts
}

/// Our own newest loss, or one that an earlier operator wrote down, for as long as it is to be shown.
fn loss(watched: &Watched, previous: &[Condition], now: Timestamp) -> Option<Fact> {
    let is_recent = |at: Timestamp| now.duration_since(at).unsigned_abs() < LOSS_SHOWN;
    if let Some(loss) = watched.loss.as_ref().filter(|loss| is_recent(loss.at)) {
        return Some(Fact::new(DATA_LOSS, true, loss.reason, loss.message.clone()));
    }
    let before = condition::find(previous, DATA_LOSS)?;
    let word = ["GroupLost", "DataLossSuspected"]
        .into_iter()
        .find(|word| *word == before.reason && before.status == "True");
    let written_by_another = watched.loss.is_none() && is_recent(before.last_transition_time.0);
    Some(match word {
        Some(reason) if written_by_another => Fact::new(DATA_LOSS, true, reason, before.message.clone()),
        _ => Fact::new(DATA_LOSS, false, "NoLossLately", "none was noticed in the last hour"),
    })
}
