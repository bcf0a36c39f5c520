//! One group of an actor: what is remembered between two samples, and what a sample means. No I/O; the time is passed in.

mod cadence;
mod learn;
mod said;
mod stream;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

pub(super) use self::{cadence::Cadence, learn::Now, stream::Stream};
use super::{
    assign::Assignment,
    cluster::Written,
    gather::SeenTarget,
    status::{Figures, Loss, Scaled, Unknown},
    upkeep::Findings,
};
use crate::scaling::{self, Cause, Decision, Moment, Observation, Sample};

/// A group and its memory.
#[derive(Debug)]
pub(super) struct Tracked {
    pub(super) assignment: Assignment,
    pub(super) streams: Vec<Stream>,
    /// When it is to be sampled next.
    pub(super) due: Instant,
    /// The watcher cannot wait for it, so it is polled.
    pub(super) poll: bool,
    /// What upkeep found, for status.
    pub(super) upkeep_facts: Findings,
    /// When every pending entry is looked at again.
    detail_due: Instant,
    state: scaling::State,
    /// Our own last write, until the cache has caught up with it.
    written: Option<Written>,
    misses: u32,
    unknown: Option<Unknown>,
    /// Why the last sample brought nothing, told or not.
    missed: Option<Unknown>,
    figures: Option<Figures>,
    /// Samples in a row that showed the same.
    same: u32,
    /// Entries added since the sample before; `None` when that cannot be told.
    arrivals: Option<u64>,
    /// After a loss of data, nothing is taken away before this.
    held_until: Option<Instant>,
    loss: Option<Loss>,
    decision: Option<Decision>,
    limited: bool,
    scales: Vec<Scaled>,
    refused: Option<Refused>,
    /// It was at rest before the newest sample: a rescale then is a wake.
    rested: bool,
}

/// A scale write that failed, and how often in a row.
#[derive(Clone, Copy, Debug)]
struct Refused {
    code: u16,
    times: u32,
    again: Instant,
}

impl Tracked {
    pub(super) fn new(assignment: Assignment, now: Instant) -> Self {
        let known = &assignment.streams_known;
        let streams = assignment.plan.streams.iter();
        Self {
            streams: streams.map(|key| Stream::new(key, known.contains(key))).collect(),
            assignment,
            due: now,
            poll: false,
            upkeep_facts: Findings::default(),
            detail_due: now,
            state: scaling::State::default(),
            written: None,
            misses: 0,
            unknown: None,
            missed: None,
            figures: None,
            same: 0,
            arrivals: None,
            held_until: None,
            loss: None,
            decision: None,
            limited: false,
            scales: Vec::new(),
            refused: None,
            rested: false,
        }
    }

    /// Takes over what changed in the cluster, and is due at once if anything has. Memory outlives a change of bounds or
    /// replicas.
    pub(super) fn reassign(&mut self, assignment: &Assignment, now: Instant) {
        if self.assignment == *assignment {
            return;
        }
        let same_work = self.assignment.subject.uid == assignment.subject.uid
            && self.assignment.plan.streams == assignment.plan.streams
            && self.assignment.plan.group == assignment.plan.group;
        if !same_work {
            *self = Self::new(assignment.clone(), now);
            return;
        }
        let target = assignment.target.as_ref();
        let other_target = self.assignment.plan.target != assignment.plan.target;
        if other_target || self.written.is_some_and(|written| overtaken(written, target)) {
            self.written = None;
        }
        if other_target || self.assignment.target.is_none() {
            self.refused = None;
        }
        let is_news =
            differs_by_more_than_pods(&self.assignment, assignment) || assignment.pods.is_news(&self.assignment.pods);
        self.assignment = assignment.clone();
        if is_news {
            self.due = now;
            self.same = 0;
        }
    }

    /// Replicas the target is to have as far as is known; `None` when it does not exist.
    pub(super) fn replicas(&self) -> Option<u32> {
        let seen = self.assignment.target.as_ref()?.replicas;
        Some(self.written.map_or(seen, |written| written.replicas))
    }

    /// Nothing runs and nothing is to be done: news is waited for.
    pub(super) fn is_at_rest(&self) -> bool {
        let nothing_to_do = |figures: &Figures| figures.backlog == 0 && figures.poison == 0 && figures.exact;
        self.unknown.is_none()
            && self.misses == 0
            && self.figures.as_ref().is_some_and(nothing_to_do)
            && self.replicas().unwrap_or(0) == 0
            && self.refused.is_none()
            && self.streams.iter().all(|stream| stream.ensured)
    }

    /// Whether every pending entry is to be looked at now. Answers true once in a while.
    pub(super) fn wants_detail(&mut self, cadence: &Cadence, now: Instant) -> bool {
        let wanted = self.detail_due <= now;
        if wanted {
            self.detail_due = now + cadence.detail;
        }
        wanted
    }

    /// How long until the next sample.
    pub(super) fn wait(&self, cadence: &Cadence) -> Duration {
        let lost = self.streams.iter().any(|stream| !stream.ensured);
        if self.misses == 0 {
            return if self.is_at_rest() && !self.poll {
                cadence.at_rest
            } else {
                cadence.between(self.same, self.decision.as_ref())
            };
        }
        if self.misses == 1 && lost && self.missed == Some(Unknown::GroupLost) {
            // A lost group is made again at once.
            return Duration::ZERO;
        }
        let has_fallback = self.assignment.plan.policy.fallback().is_some();
        let needs_people = self.missed.is_some_and(|reason| reason.needs_people());
        // A fallback comes by asking for a decision.
        cadence.after_misses(self.misses, needs_people && !has_fallback)
    }

    /// How many samples in a row brought nothing.
    pub(super) fn misses(&self) -> u32 {
        self.misses
    }

    /// Decides; `None` while there is no target.
    pub(super) fn decide(&mut self, sample: Sample, moment: Moment, now: Instant) -> Option<Decision> {
        let replicas = self.replicas()?;
        let is_held = self.held_until.is_some_and(|until| now < until);
        let observation = Observation {
            policy: self.assignment.plan.policy,
            replicas,
            // After a loss the count is right and the work behind it may be missing: good enough for more replicas only.
            sample: match sample {
                Sample::Exact(work) if is_held => Sample::Estimated(work),
                as_it_is => as_it_is,
            },
            arrivals: self.arrivals,
        };
        let (state, decision) = scaling::decide(&self.state, &observation, moment);
        self.state = state;
        if decision.direction().is_none() && decision.work.is_some() {
            // Nothing is left to write. While the backlog is unknown nobody can tell, and the pause goes on.
            self.refused = None;
        }
        if decision.work.is_some() {
            self.limited = decision.limited();
        }
        self.decision = Some(decision);
        Some(decision)
    }

    /// Whether a scale write may be tried now, after earlier ones failed.
    pub(super) fn may_scale(&self, now: Instant) -> bool {
        self.refused.is_none_or(|refused| refused.again <= now)
    }

    /// The target turned out not to exist.
    pub(super) fn target_gone(&mut self) {
        self.assignment.target = None;
        self.written = None;
    }

    /// Milliseconds since the epoch of the newest entry that woke the group: the id carries the clock.
    pub(super) fn newest_entry(&self, decision: &Decision) -> Option<u64> {
        let newest = self
            .streams
            .iter()
            .filter_map(Stream::news)
            .map(|id| id.milliseconds)
            .max();
        newest.filter(|_| self.rested && decision.cause == Cause::Woken)
    }
}

fn differs_by_more_than_pods(one: &Assignment, other: &Assignment) -> bool {
    let podless = |it: &Assignment| Assignment {
        pods: std::sync::Arc::default(),
        ..it.clone()
    };
    podless(one) != podless(other)
}

/// Whether the cache shows our write, or something later.
fn overtaken(written: Written, target: Option<&SeenTarget>) -> bool {
    let Some(target) = target else { return true };
    match (written.version, target.version) {
        (Some(ours), Some(seen)) => seen >= ours,
        _ => true,
    }
}
