//! Taking in samples: what they add up to, what was lost, what is worth telling. No I/O.

use std::{collections::BTreeSet, time::Duration, time::Instant};

use jiff::Timestamp;
use shopwright_api::ConsumerNames;
use shopwright_streams::sample::Sample;

use super::{
    super::{
        cluster::Notice,
        status::{Figures, Loss, Unknown},
    },
    Tracked,
};
use crate::scaling::{self, Work};

/// Silent samples in a row before anybody is told. One slow sample is no outage.
const MISSES: u32 = 3;

/// What became of a sample.
#[derive(Debug, Default)]
pub(in super::super) struct Learned {
    pub(in super::super) notices: Vec<Notice>,
    /// No other group of this Redis fares better.
    pub(in super::super) concerns_all: Option<Unknown>,
    /// The group is gone from a stream on which it was.
    pub(in super::super) is_lost: bool,
}

/// The two clocks.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Now {
    pub(in super::super) instant: Instant,
    pub(in super::super) time: Timestamp,
}

impl Now {
    pub(in super::super) fn read() -> Self {
        Self {
            instant: Instant::now(),
            time: Timestamp::now(),
        }
    }
}

impl Tracked {
    /// The group is on a stream now; `created` just now, if so. Answers what to tell.
    pub(in super::super) fn ensured(&mut self, index: usize, created: bool, now: Now) -> Option<Notice> {
        let group = self.assignment.plan.group.clone();
        let stream = self.streams.get_mut(index)?;
        stream.ensured = true;
        let existed = std::mem::replace(&mut stream.existed, true);
        if !created && !std::mem::take(&mut stream.lost) {
            return None;
        }
        let key = stream.key.clone();
        if !existed {
            let note = format!("group {group} made on stream {key}");
            return Some(Notice::new(false, "GroupCreated", &key, &note));
        }
        stream.made_anew();
        let again = if created {
            "made again at 0"
        } else {
            "it is there again"
        };
        let note = format!("group {group} was gone from stream {key}; {again}");
        Some(self.lost("GroupLost", &key, &note, now))
    }

    /// Data or a group went missing: nothing is taken away for a whole window.
    fn lost(&mut self, reason: &'static str, key: &str, note: &str, now: Now) -> Notice {
        let policy = &self.assignment.plan.policy;
        let hold = Duration::from_millis(policy.courtesy_milliseconds());
        self.held_until = Some(now.instant + hold);
        self.loss = Some(Loss {
            at: now.time,
            reason,
            message: note.to_owned(),
        });
        Notice::new(true, reason, key, note)
    }

    /// Takes in one sample of each stream.
    pub(in super::super) fn learn(
        &mut self,
        samples: Vec<Result<Sample, shopwright_streams::Error>>,
        now: Now,
    ) -> (scaling::Sample, Learned) {
        self.rested = self.is_at_rest();
        let mut learned = Learned::default();
        let mut unknown = None;
        let mut arrivals = Some(0_u64);
        let mut rolled_back = Vec::new();
        for (stream, sample) in self.streams.iter_mut().zip(samples) {
            match sample {
                Ok(Sample::Known(known)) => {
                    let taken = stream.take(known);
                    if taken.rolled_back {
                        rolled_back.push(stream.key.clone());
                    }
                    arrivals = arrivals.zip(taken.arrivals).map(|(one, two)| one.saturating_add(two));
                }
                Ok(Sample::NoStream | Sample::NoGroup { .. }) => {
                    stream.ensured = false;
                    stream.lost |= stream.existed;
                    learned.is_lost |= stream.existed;
                    unknown = unknown.or(Some(Unknown::GroupLost));
                }
                Ok(Sample::WrongType) => unknown = Some(Unknown::WrongType),
                Err(error) => {
                    let reason = Unknown::Redis(error);
                    learned.concerns_all = learned.concerns_all.or(Some(reason).filter(Unknown::concerns_all));
                    unknown = Some(reason);
                }
            }
        }
        for key in rolled_back {
            let note = format!("stream {key} went back to an earlier state: entries and acknowledgements may be lost");
            learned.notices.push(self.lost("DataLossSuspected", &key, &note, now));
        }
        if let Some(reason) = unknown {
            learned.notices.extend(self.miss(reason));
            return (scaling::Sample::Unknown, learned);
        }
        self.arrivals = arrivals;
        (self.known(), learned)
    }

    /// All streams are known: adds them up.
    fn known(&mut self) -> scaling::Sample {
        let (names, pods) = (self.assignment.plan.consumer_names, &self.assignment.pods);
        let work = self
            .streams
            .iter()
            .fold(Work::default(), |sum, stream| sum.plus(stream.work(names, pods)));
        let known = || self.streams.iter().filter_map(|stream| stream.known.as_ref());
        let sum = |figures: &mut dyn Iterator<Item = u64>| figures.fold(0, u64::saturating_add);
        let exact = self.streams.iter().all(super::Stream::is_exact);
        let strangers: BTreeSet<&str> = self.streams.iter().flat_map(|stream| stream.strangers(pods)).collect();
        let figures = Figures {
            streams: self.streams.iter().filter_map(super::Stream::figures).collect(),
            backlog: work.backlog(),
            exact,
            reclaimable: work.reclaimable,
            poison: work.poison,
            ghosts: sum(&mut self.streams.iter().map(super::Stream::ghosts)),
            oldest_pending_seconds: self
                .streams
                .iter()
                .filter_map(super::Stream::oldest_pending_seconds)
                .max(),
            unknown_consumers: (names == ConsumerNames::PodName)
                .then(|| u64::try_from(strangers.len()).unwrap_or(u64::MAX)),
            reported_lag: known().try_fold(0_u64, |sum, known| Some(sum.saturating_add(known.reported_lag?))),
            entries_added: sum(&mut known().map(|known| known.entries_added)),
        };
        let ageless = |figures: &Figures| Figures {
            oldest_pending_seconds: None,
            ..figures.clone()
        };
        let is_same = self.misses == 0 && self.figures.as_ref().map(ageless) == Some(ageless(&figures));
        self.same = if is_same { self.same.saturating_add(1) } else { 0 };
        self.misses = 0;
        self.unknown = None;
        self.missed = None;
        self.figures = Some(figures);
        if exact {
            scaling::Sample::Exact(work)
        } else {
            scaling::Sample::Estimated(work)
        }
    }

    /// Nothing was learned. Answers what to tell, when this has become news.
    pub(in super::super) fn miss(&mut self, reason: Unknown) -> Option<Notice> {
        for stream in &mut self.streams {
            stream.missed();
        }
        self.arrivals = None;
        self.same = 0;
        self.misses = self.misses.saturating_add(1);
        self.missed = Some(reason);
        let is_news = self.unknown.map(|known| known.reason()) != Some(reason.reason());
        if !(reason.is_certain() || self.misses >= MISSES) || !is_news {
            return None;
        }
        self.unknown = Some(reason);
        (reason != Unknown::GroupLost).then(|| Notice::new(true, reason.reason(), "Sample", &reason.message()))
    }
}
