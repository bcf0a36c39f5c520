//! One group of an actor: what is remembered between two samples, and what a sample means. No I/O; the time is passed in.

use std::time::{Duration, Instant};

use shopwright_streams::{EntryId, sample::Sample};

use super::{
    assign::Assignment,
    cluster::{Notice, Written},
    gather::SeenTarget,
    status::{Report, Scaled, StreamFigures, TargetState, Unknown, Watched},
};
use crate::scaling::{self, Cause, Decision, Moment, Observation, Work};

/// Silent samples in a row before anybody is told. One slow sample is no outage.
const MISSES: u32 = 3;

/// A stream of the group.
#[derive(Clone, Debug, Default)]
pub(super) struct Stream {
    pub(super) key: String,
    /// The group was there in an earlier sample or an earlier life of the operator: if it is not, it was lost.
    pub(super) existed: bool,
    /// It is there as far as is known; else it has to be made before the next sample.
    pub(super) ensured: bool,
    /// Where it waits for news.
    pub(super) watched_after: Option<EntryId>,
    /// The group's position.
    pub(super) last_delivered: EntryId,
    last_generated: EntryId,
    entries_added: u64,
}

/// A group and its memory.
#[derive(Debug)]
pub(super) struct Tracked {
    pub(super) assignment: Assignment,
    pub(super) streams: Vec<Stream>,
    /// When it is to be sampled next.
    pub(super) due: Instant,
    /// The watcher cannot wait for it, so it is polled.
    pub(super) poll: bool,
    state: scaling::State,
    /// Our own last write, until the cache has caught up with it.
    written: Option<Written>,
    misses: u32,
    unknown: Option<Unknown>,
    figures: Option<Figures>,
    desired: Option<u32>,
    limited: bool,
    last_scale: Option<Scaled>,
    refused: Option<Refused>,
    /// It was at rest before the newest sample: a rescale then is a wake.
    rested: bool,
}

#[derive(Clone, Debug)]
struct Figures {
    streams: Vec<StreamFigures>,
    backlog: u64,
}

/// A scale write that failed, and how often in a row.
#[derive(Clone, Copy, Debug)]
struct Refused {
    code: u16,
    times: u32,
    again: Instant,
}

/// What became of a sample.
#[derive(Debug, Default)]
pub(super) struct Learned {
    pub(super) notices: Vec<Notice>,
    /// The credentials were refused.
    pub(super) credentials_refused: bool,
}

impl Tracked {
    pub(super) fn new(assignment: Assignment, now: Instant) -> Self {
        let streams = assignment.plan.streams.iter().map(|key| Stream {
            key: key.clone(),
            existed: assignment.streams_known.contains(key),
            ..Stream::default()
        });
        Self {
            streams: streams.collect(),
            assignment,
            due: now,
            poll: false,
            state: scaling::State::default(),
            written: None,
            misses: 0,
            unknown: None,
            figures: None,
            desired: None,
            limited: false,
            last_scale: None,
            refused: None,
            rested: false,
        }
    }

    /// Takes over what changed in the cluster. Memory outlives a change of bounds or replicas.
    pub(super) fn reassign(&mut self, assignment: Assignment, now: Instant) {
        if self.assignment == assignment {
            return;
        }
        let same_work = self.assignment.subject.uid == assignment.subject.uid
            && self.assignment.plan.streams == assignment.plan.streams
            && self.assignment.plan.group == assignment.plan.group;
        if !same_work {
            *self = Self::new(assignment, now);
            return;
        }
        if self
            .written
            .is_some_and(|written| overtaken(written, assignment.target.as_ref()))
        {
            self.written = None;
        }
        if self.assignment.plan.target != assignment.plan.target {
            self.written = None;
        }
        if self.assignment.target.is_none() || self.assignment.plan.target != assignment.plan.target {
            self.refused = None;
        }
        self.assignment = assignment;
        self.due = now;
    }

    /// Replicas the target is to have as far as is known; `None` when it does not exist.
    pub(super) fn replicas(&self) -> Option<u32> {
        let seen = self.assignment.target.as_ref()?.replicas;
        Some(self.written.map_or(seen, |written| written.replicas))
    }

    /// Nothing runs and nothing is to be done: news is waited for.
    pub(super) fn is_at_rest(&self) -> bool {
        self.unknown.is_none()
            && self.misses == 0
            && self.figures.as_ref().is_some_and(|figures| figures.backlog == 0)
            && self.replicas().unwrap_or(0) == 0
            && self.streams.iter().all(|stream| stream.ensured)
    }

    /// The group is on a stream now; `created` just now, if so. Answers what to tell.
    pub(super) fn ensured(&mut self, index: usize, created: bool) -> Option<Notice> {
        let group = self.assignment.plan.group.clone();
        let stream = self.streams.get_mut(index)?;
        stream.ensured = true;
        let existed = std::mem::replace(&mut stream.existed, true);
        if !created {
            return None;
        }
        let key = stream.key.clone();
        if !existed {
            return Some(notice(
                false,
                "GroupCreated",
                &key,
                format!("group {group} made on stream {key}"),
            ));
        }
        // What was known of the lost group means nothing for the new one.
        *stream = Stream {
            key: key.clone(),
            existed: true,
            ensured: true,
            ..Stream::default()
        };
        Some(notice(
            true,
            "GroupLost",
            &key,
            format!("group {group} was gone from stream {key}; made again at 0"),
        ))
    }

    /// Takes in one sample of each stream.
    pub(super) fn learn(
        &mut self,
        samples: Vec<Result<Sample, shopwright_streams::Error>>,
    ) -> (scaling::Sample, Learned) {
        self.rested = self.is_at_rest();
        let mut learned = Learned::default();
        let mut total = scaling::Sample::Exact(Work::default());
        let mut figures = Figures {
            streams: Vec::new(),
            backlog: 0,
        };
        let mut unknown = None;
        for (stream, sample) in self.streams.iter_mut().zip(samples) {
            let known = match sample {
                Ok(Sample::Known(known)) => known,
                Ok(Sample::NoStream | Sample::NoGroup { .. }) => {
                    stream.ensured = false;
                    unknown = unknown.or(Some(Unknown::GroupLost));
                    continue;
                }
                Ok(Sample::WrongType) => {
                    unknown = Some(Unknown::WrongType);
                    continue;
                }
                Err(error) => {
                    let reason = Unknown::Redis(error);
                    learned.credentials_refused |= reason.is_about_credentials();
                    unknown = Some(reason);
                    continue;
                }
            };
            if stream.existed && known.entries_added < stream.entries_added {
                let note = format!(
                    "stream {} has fewer entries added than before: its data was replaced",
                    stream.key
                );
                learned.notices.push(notice(true, "GroupLost", &stream.key, note));
            }
            stream.existed = true;
            stream.last_delivered = known.last_delivered;
            stream.last_generated = known.last_generated;
            stream.entries_added = known.entries_added;
            let in_hand = known.pending.saturating_sub(known.ghosts).saturating_sub(known.overlap);
            let work = Work {
                undelivered: known.undelivered.count,
                pending: in_hand,
                ..Work::default()
            };
            total = total.plus(if known.is_exact() {
                scaling::Sample::Exact(work)
            } else {
                scaling::Sample::Estimated(work)
            });
            figures.backlog = figures.backlog.saturating_add(work.backlog());
            figures.streams.push(StreamFigures {
                key: stream.key.clone(),
                undelivered: work.undelivered,
                pending: in_hand,
            });
        }
        if let Some(reason) = unknown {
            learned.notices.extend(self.miss(reason));
            return (scaling::Sample::Unknown, learned);
        }
        self.misses = 0;
        self.unknown = None;
        self.figures = Some(figures);
        (total, learned)
    }

    /// Nothing was learned. Answers what to tell, when this has become news.
    pub(super) fn miss(&mut self, reason: Unknown) -> Option<Notice> {
        self.misses = self.misses.saturating_add(1);
        let is_news = self.unknown.map(|known| known.reason()) != Some(reason.reason());
        if !(reason.is_certain() || self.misses >= MISSES) || !is_news {
            return None;
        }
        self.unknown = Some(reason);
        (reason != Unknown::GroupLost).then(|| notice(true, reason.reason(), "Sample", reason.message()))
    }

    /// How many samples in a row brought nothing.
    pub(super) fn misses(&self) -> u32 {
        self.misses
    }

    /// Decides; `None` while there is no target.
    pub(super) fn decide(&mut self, sample: scaling::Sample, now: Moment) -> Option<Decision> {
        let replicas = self.replicas()?;
        let observation = Observation {
            policy: self.assignment.plan.policy,
            replicas,
            sample,
        };
        let (state, decision) = scaling::decide(&self.state, &observation, now);
        self.state = state;
        if decision.direction().is_none() && decision.work.is_some() {
            // Nothing is left to write. While the backlog is unknown nobody can tell, and the pause goes on.
            self.refused = None;
        }
        self.desired = Some(decision.desired);
        self.limited = if decision.work.is_some() {
            decision.limited()
        } else {
            self.limited
        };
        Some(decision)
    }

    /// Whether a scale write may be tried now, after earlier ones failed.
    pub(super) fn may_scale(&self, now: Instant) -> bool {
        self.refused.is_none_or(|refused| refused.again <= now)
    }

    /// A scale write was done, `latency` after the entry that woke the group, if one did.
    pub(super) fn scaled(
        &mut self,
        decision: &Decision,
        written: Written,
        at: jiff::Timestamp,
        latency: Option<Duration>,
    ) -> Notice {
        self.written = Some(written);
        self.refused = None;
        let reason = decision.cause.reason();
        self.last_scale = Some(Scaled {
            at,
            from: decision.current,
            to: written.replicas,
            reason,
        });
        let target = &self.assignment.plan.target;
        let mut note = format!("{target} {decision}");
        if let Some(latency) = latency {
            note = format!("{note}; {} ms after the entry", latency.as_millis());
        }
        let action = format!("ScaleFrom{}To{}", decision.current, decision.desired);
        Notice {
            warning: false,
            reason: "SuccessfulRescale",
            action,
            note,
        }
    }

    /// A scale write failed. Answers what to tell, the first time in a row.
    pub(super) fn refused(&mut self, code: u16, decision: &Decision, now: Instant) -> Option<Notice> {
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
        (times == 0).then(|| notice(true, "FailedRescale", "Scale", note))
    }

    /// The target turned out not to exist.
    pub(super) fn target_gone(&mut self) {
        self.assignment.target = None;
        self.written = None;
    }

    /// Milliseconds since the epoch of the newest entry that woke the group: the id carries the clock.
    pub(super) fn newest_entry(&self, decision: &Decision) -> Option<u64> {
        let behind = self
            .streams
            .iter()
            .filter(|stream| stream.last_generated > stream.last_delivered);
        let newest = behind.map(|stream| stream.last_generated.milliseconds).max();
        newest.filter(|_| self.rested && decision.cause == Cause::Woken)
    }

    /// What status should say; `None` while too little is known.
    pub(super) fn report(&self) -> Option<Report> {
        if self.unknown.is_none() && self.figures.is_none() {
            return None;
        }
        let figures = self.figures.clone().unwrap_or(Figures {
            streams: Vec::new(),
            backlog: 0,
        });
        let target = match (self.replicas(), self.refused) {
            (None, _) => TargetState::NotFound,
            (Some(replicas), None) => TargetState::Found(replicas),
            (Some(replicas), Some(refused)) => TargetState::Refused(refused.code, replicas),
        };
        Some(Report::Watched(Watched {
            target,
            unknown: self.unknown,
            streams: figures.streams,
            backlog: figures.backlog,
            desired: self.replicas().and(self.desired),
            limited: self.limited,
            last_scale: self.last_scale,
        }))
    }
}

/// Whether the cache shows our write, or something later.
fn overtaken(written: Written, target: Option<&SeenTarget>) -> bool {
    let Some(target) = target else { return true };
    match (written.version, target.version) {
        (Some(ours), Some(seen)) => seen >= ours,
        _ => true,
    }
}

fn notice(warning: bool, reason: &'static str, action: &str, note: String) -> Notice {
    // An Event's action has at most 128 characters.
    Notice {
        warning,
        reason,
        action: action.chars().take(128).collect(),
        note,
    }
}
