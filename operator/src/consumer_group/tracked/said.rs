//! What a group says of itself: status, Events, metrics. Plain data out.

use std::time::{Duration, Instant};

use shopwright_streams::sample::Source;

use super::{
    super::{
        cluster::{Notice, Written},
        status::{Decided, RECENT_SCALES, Report, Scaled, TargetState, Watched},
    },
    Refused, Tracked,
};
use crate::{
    metrics::{GroupFigures, WorkFigures},
    scaling::{Cause, Decision},
};

impl Tracked {
    /// A scale write was done, `latency` after the entry that woke the group, if one did.
    pub(in super::super) fn scaled(
        &mut self,
        decision: &Decision,
        written: Written,
        at: jiff::Timestamp,
        latency: Option<Duration>,
    ) -> Notice {
        self.written = Some(written);
        self.state.wrote(written.replicas);
        self.refused = None;
        self.same = 0;
        let scaled = Scaled {
            at,
            from: decision.current,
            to: written.replicas,
            reason: decision.cause.reason(),
            message: decision.to_string(),
        };
        self.scales.insert(0, scaled);
        self.scales.truncate(RECENT_SCALES);
        let target = &self.assignment.plan.target;
        let mut note = format!("{target} {decision}");
        if let Some(latency) = latency {
            note = format!("{note}; {} ms after the entry", latency.as_millis());
        }
        let action = format!("ScaleFrom{}To{}", decision.current, decision.desired);
        Notice::new(false, "SuccessfulRescale", &action, &note)
    }

    /// A scale write failed. Answers what to tell, the first time in a row.
    pub(in super::super) fn refused(&mut self, code: u16, decision: &Decision, now: Instant) -> Option<Notice> {
        let times = self.refused.map_or(0, |refused| refused.times);
        let pause = Duration::from_secs(1_u64 << times.min(5));
        self.refused = Some(Refused {
            code,
            times: times.saturating_add(1),
            again: now + pause,
        });
        let note = format!(
            "{} could not be scaled {decision}; the API server answered {code}",
            self.assignment.plan.target
        );
        (times == 0).then(|| Notice::new(true, "FailedRescale", "Scale", &note))
    }

    /// What status should say; `None` while too little is known.
    pub(in super::super) fn report(&self) -> Option<Report> {
        if self.unknown.is_none() && self.figures.is_none() {
            return None;
        }
        let target = match (self.replicas(), self.refused) {
            (None, _) => TargetState::NotFound,
            (Some(replicas), None) => TargetState::Found(replicas),
            (Some(replicas), Some(refused)) => TargetState::Refused(refused.code, replicas),
        };
        Some(Report::Watched(Box::new(Watched {
            target,
            unknown: self.unknown,
            figures: self.figures.clone().unwrap_or_default(),
            decision: self.decision.as_ref().map(decided),
            limited: self.limited,
            scales: self.scales.clone(),
            loss: self.loss.clone(),
            upkeep_looked: self.upkeep_facts.looked,
            trim_blocked: self.upkeep_facts.trim_blocked.as_ref().map(ToString::to_string),
            dead_letters: self.upkeep_facts.dead_letters,
        })))
    }

    /// What metrics should say of the newest decision.
    pub(in super::super) fn metrics(&self, decision: &Decision) -> GroupFigures {
        let figures = self.figures.as_ref().filter(|_| decision.work.is_some());
        GroupFigures {
            work: figures.map(|figures| WorkFigures {
                backlog: figures.backlog,
                source: figures
                    .streams
                    .iter()
                    .map(|stream| stream.source)
                    .max()
                    .unwrap_or(Source::Tail),
                undelivered: figures.undelivered(),
                pending: [figures.in_flight(), figures.reclaimable, figures.poison, figures.ghosts],
                reported_lag: figures.reported_lag,
                oldest_pending_seconds: figures.oldest_pending_seconds,
            }),
            current: decision.current,
            ready: self.assignment.target.as_ref().map_or(0, |target| target.available),
            desired: decision.proposed,
            fallback: matches!(decision.cause, Cause::Fallback { .. }),
        }
    }
}

fn decided(decision: &Decision) -> Decided {
    Decided {
        replicas: decision.current,
        desired: decision.proposed,
        reason: decision.cause.reason(),
        message: decision.to_string(),
        paused: decision.policy.is_paused(),
        fallback: matches!(decision.cause, Cause::Fallback { .. }),
    }
}
