//! What a `ConsumerGroup`'s status should say, and whether saying it is urgent. Pure; the time is passed in.

mod facts;
mod report;
#[cfg(test)]
mod tests;
mod unknown;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use shopwright_api::{ConsumerGroupStatus, LastDecision, RecentScale, StreamStatus, condition};

pub(super) use self::{
    report::{Decided, Figures, Loss, Report, Scaled, StreamFigures, TargetState, Watched},
    unknown::Unknown,
};

/// Most changes of replicas that are remembered.
pub(super) const RECENT_SCALES: usize = 5;

/// How soon a status has to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Urgency {
    /// It says what is already there.
    Nothing,
    /// Figures or explanations moved: at the next opportunity.
    Figures,
    /// Conditions, replicas or the generation changed.
    Now,
}

/// The status to write, given the one that is there.
pub(super) fn render(
    previous: &ConsumerGroupStatus,
    report: &Report,
    generation: Option<i64>,
    now: Timestamp,
) -> ConsumerGroupStatus {
    let facts = facts::facts(report, &previous.conditions, now);
    let mut status = ConsumerGroupStatus {
        observed_generation: generation,
        conditions: condition::merge(&previous.conditions, &facts, generation, now),
        recent_scales: previous.recent_scales.clone(),
        streams: streams_remembered(previous),
        ..ConsumerGroupStatus::default()
    };
    let Report::Watched(watched) = report else {
        return status;
    };
    if watched.unknown.is_none() {
        show_figures(&mut status, &watched.figures);
    }
    let stands = previous.dead_letters.filter(|_| !watched.upkeep_looked);
    status.dead_letters = watched.dead_letters.map(signed).or(stands);
    status.replicas = match watched.target {
        TargetState::Found(replicas) | TargetState::Refused(_, replicas) => Some(small(replicas)),
        TargetState::NotFound => None,
    };
    if let Some(decided) = watched.decision.as_ref().filter(|_| status.replicas.is_some()) {
        status.desired_replicas = Some(small(decided.desired));
        status.decision = Some(decision(previous.decision.as_ref(), decided, now));
    }
    status.recent_scales = recent(&previous.recent_scales, &watched.scales);
    status
}

fn show_figures(status: &mut ConsumerGroupStatus, figures: &Figures) {
    status.backlog = Some(signed(figures.backlog));
    status.undelivered = Some(signed(figures.undelivered()));
    status.pending = Some(signed(figures.pending()));
    status.exact = Some(figures.exact);
    status.in_flight = Some(signed(figures.in_flight()));
    status.reclaimable = Some(signed(figures.reclaimable));
    status.poison = Some(signed(figures.poison));
    status.ghosts = Some(signed(figures.ghosts));
    status.oldest_pending_seconds = figures.oldest_pending_seconds.map(signed);
    status.unknown_consumers = figures.unknown_consumers.map(signed);
    let streams = figures.streams.iter().map(|stream| StreamStatus {
        key: stream.key.clone(),
        undelivered: Some(signed(stream.undelivered)),
        pending: Some(signed(stream.pending)),
        source: Some(stream.source.as_str().to_owned()),
    });
    status.streams = streams.collect();
}

/// Which streams have had the group, without figures. Nothing else remembers it: without them a group that was lost in the
/// meantime would be made again behind its entries.
fn streams_remembered(previous: &ConsumerGroupStatus) -> Vec<StreamStatus> {
    let keys = previous.streams.iter().map(|stream| StreamStatus {
        key: stream.key.clone(),
        ..StreamStatus::default()
    });
    keys.collect()
}

/// The earlier answer stands for as long as what is wanted and the reason are the same: its figures say why it was given.
fn decision(previous: Option<&LastDecision>, decided: &Decided, now: Timestamp) -> LastDecision {
    let desired = small(decided.desired);
    let stands = previous.filter(|it| it.desired == desired && it.reason == decided.reason);
    stands.cloned().unwrap_or_else(|| LastDecision {
        time: Time(whole_seconds(now)),
        replicas: small(decided.replicas),
        desired,
        reason: decided.reason.to_owned(),
        message: bounded(&decided.message),
    })
}

/// What this operator did, before what earlier ones did.
fn recent(previous: &[RecentScale], ours: &[Scaled]) -> Vec<RecentScale> {
    let ours = ours.iter().map(|scaled| RecentScale {
        time: Time(whole_seconds(scaled.at)),
        from: small(scaled.from),
        to: small(scaled.to),
        reason: scaled.reason.to_owned(),
        message: bounded(&scaled.message),
    });
    let mut all: Vec<RecentScale> = ours.collect();
    let earlier: Vec<RecentScale> = previous.iter().filter(|it| !all.contains(it)).cloned().collect();
    all.extend(earlier);
    all.sort_by_key(|it| std::cmp::Reverse(it.time.0));
    all.truncate(RECENT_SCALES);
    all
}

/// Compares what is there with what should be.
pub(super) fn urgency(there: &ConsumerGroupStatus, wanted: &ConsumerGroupStatus) -> Urgency {
    let loud = |status: &ConsumerGroupStatus| {
        let scales = status.recent_scales.clone();
        let state = (status.observed_generation, status.replicas, status.desired_replicas);
        (condition::essence(&status.conditions), state, scales)
    };
    if there == wanted {
        Urgency::Nothing
    } else if loud(there) != loud(wanted) {
        Urgency::Now
    } else {
        Urgency::Figures
    }
}

// The API server keeps whole seconds: anything finer would differ from what it gives back and be written for ever.
fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

fn bounded(message: &str) -> String {
    message.chars().take(1024).collect()
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn small(replicas: u32) -> i32 {
    i32::try_from(replicas).unwrap_or(i32::MAX)
}

#[cfg(test)]
pub(super) use self::tests::{decided as decided_for_tests, watched as watched_for_tests};
