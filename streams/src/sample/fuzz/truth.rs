//! What is true, counted from full listings of entries and pending entries, and what a sample must say then.

use super::step::CLAIM_MIN_IDLE;
use super::{GROUPS, Tally};
use crate::connection::Shared;
use crate::entry_id::EntryId;
use crate::sample::{Known, Sample, Source};
use redis::{RedisResult, Value};
use std::collections::{BTreeMap, BTreeSet};

/// A pending entry as XPENDING lists it: id, consumer, milliseconds of idleness, deliveries.
type Listed = (String, String, u64, u64);

/// The stream, in full.
pub(super) struct Truth {
    pub(super) present: Vec<EntryId>,
    pub(super) generated: EntryId,
    added: u64,
    groups: BTreeMap<String, Group>,
}

struct Group {
    last: EntryId,
    pending: Vec<Listed>,
}

impl Truth {
    /// `None` when there is no stream.
    pub(super) async fn read(shared: &Shared) -> Option<Self> {
        let mut pipeline = redis::pipe();
        pipeline.ignore_errors();
        pipeline.cmd("XINFO").arg("STREAM").arg("s");
        pipeline.cmd("XRANGE").arg("s").arg("-").arg("+");
        pipeline.cmd("XINFO").arg("GROUPS").arg("s");
        for group in GROUPS {
            pipeline
                .cmd("XPENDING")
                .arg("s")
                .arg(group)
                .arg("-")
                .arg("+")
                .arg(100_000);
        }
        let replies: Vec<RedisResult<Value>> = pipeline.query_async(&mut shared.clone()).await.unwrap();
        let mut replies = replies.into_iter();
        let mut next = || replies.next().unwrap();
        let stream: BTreeMap<String, Value> = redis::from_redis_value(next().ok()?).unwrap();
        let entries: Vec<(String, Value)> = redis::from_redis_value(next().unwrap()).unwrap();
        let described: Vec<BTreeMap<String, Value>> = redis::from_redis_value(next().unwrap()).unwrap();
        let mut groups = BTreeMap::new();
        for group in GROUPS {
            let pending = next();
            let Some(described) = described.iter().find(|fields| text(&fields["name"]) == group) else {
                continue;
            };
            let found = Group {
                last: id(&text(&described["last-delivered-id"])),
                pending: redis::from_redis_value(pending.unwrap()).unwrap(),
            };
            groups.insert(group.to_owned(), found);
        }
        Some(Self {
            present: entries.iter().map(|(text, _)| id(text)).collect(),
            generated: id(&text(&stream["last-generated-id"])),
            added: redis::from_redis_value_ref(&stream["entries-added"]).unwrap(),
            groups,
        })
    }

    pub(super) fn pending_of(&self, group: &str) -> Vec<EntryId> {
        let listed = self.groups.get(group).map(|group| group.pending.as_slice());
        listed.unwrap_or_default().iter().map(|entry| id(&entry.0)).collect()
    }

    /// Says what is wrong with a sample of `group`.
    pub(super) fn check(
        &self,
        group: &str,
        sample: &Sample,
        (cap, max_deliveries, asked): (u64, u64, bool),
        tally: &mut Tally,
    ) -> Result<(), String> {
        let Some(found) = self.groups.get(group) else {
            let expected = Sample::NoGroup {
                length: self.present.len() as u64,
                last_generated: self.generated,
                entries_added: self.added,
            };
            return is("no group", sample, &expected);
        };
        let Sample::Known(known) = sample else {
            return Err(format!("{sample:?} instead of figures"));
        };
        let figures = Figures::of(&self.present, found, max_deliveries);
        is("length", known.length, self.present.len() as u64)?;
        is("position", known.last_delivered, found.last)?;
        is("newest id", known.last_generated, self.generated)?;
        is("entries added", known.entries_added, self.added)?;
        figures.check_undelivered(known, cap)?;
        figures.check_pending(known, cap, asked)?;
        figures.check_backlog(known)?;
        tally.note(known, figures.undelivered);
        Ok(())
    }
}

/// What lies on one consumer, or on all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Load {
    pending: u64,
    poison: u64,
    stalled: u64,
    /// Milliseconds.
    oldest: u64,
}

#[derive(Debug, Default)]
struct Figures {
    undelivered: u64,
    ghosts: u64,
    overlap: u64,
    all: Load,
    shares: BTreeMap<String, Load>,
    /// Entries that are undelivered or pending and can be worked on.
    work: u64,
}

impl Figures {
    fn of(present: &[EntryId], group: &Group, max_deliveries: u64) -> Self {
        let present: BTreeSet<EntryId> = present.iter().copied().collect();
        let mut work: BTreeSet<EntryId> = present.iter().copied().filter(|id| *id > group.last).collect();
        let mut figures = Self {
            undelivered: work.len() as u64,
            ..Self::default()
        };
        let limit = u64::try_from(CLAIM_MIN_IDLE.as_millis()).unwrap();
        for (text, consumer, idle, deliveries) in &group.pending {
            let share = figures.shares.entry(consumer.clone()).or_default();
            share.pending += 1;
            figures.all.pending += 1;
            let id = id(text);
            if !present.contains(&id) {
                figures.ghosts += 1;
                continue;
            }
            if id > group.last {
                figures.overlap += 1;
                continue;
            }
            let poison =
                max_deliveries > 0 && (*deliveries > max_deliveries || *deliveries == max_deliveries && *idle >= limit);
            for load in [share, &mut figures.all] {
                if poison {
                    load.poison += 1;
                    continue;
                }
                load.stalled += u64::from(*idle >= limit);
                load.oldest = load.oldest.max(*idle);
            }
            if !poison {
                work.insert(id);
            }
        }
        figures.work = work.len() as u64;
        figures
    }

    fn check_undelivered(&self, known: &Known, cap: u64) -> Result<(), String> {
        let count = known.undelivered.count;
        if known.undelivered.source != Source::Estimated {
            return is("undelivered", count, self.undelivered);
        }
        let proven = cap + 1..known.length.saturating_sub(cap);
        if proven.contains(&count) && proven.contains(&self.undelivered) {
            return Ok(());
        }
        Err(format!(
            "estimated {count}, true {}, proven {proven:?}",
            self.undelivered
        ))
    }

    fn check_pending(&self, known: &Known, cap: u64, asked: bool) -> Result<(), String> {
        let pending = known.pending;
        is("pending", pending.total, self.all.pending)?;
        if pending.corrections_exact {
            is("ghosts", pending.ghosts, self.ghosts)?;
            is("overlap", pending.overlap, self.overlap)?;
        } else if pending.ghosts > self.ghosts || pending.overlap > self.overlap || pending.total <= cap.max(128) {
            return Err(format!("inexact corrections {pending:?}, true {self:?}"));
        }
        is(
            "detail is given",
            pending.detail.is_some(),
            pending.total <= 128 || asked,
        )?;
        let exact = pending.detail.is_some_and(|detail| detail.exact);
        is(
            "detail is exact",
            exact,
            pending.detail.is_some() && pending.total <= cap.max(128),
        )?;
        if let Some(detail) = pending.detail {
            let said = Load {
                pending: pending.total,
                poison: detail.poison,
                stalled: detail.stalled,
                oldest: milliseconds(detail.oldest_idle),
            };
            self.all.is_said_by(said, exact)?;
        }
        is("number of shares", known.consumers.len(), self.shares.len())?;
        for (share, (name, load)) in known.consumers.iter().zip(&self.shares) {
            is("consumer", share.name.as_str(), name.as_str())?;
            is("share", share.pending, load.pending)?;
            is("share in detail", share.detail.is_some(), pending.detail.is_some())?;
            if let Some(detail) = share.detail {
                let said = Load {
                    pending: share.pending,
                    poison: detail.poison,
                    stalled: detail.stalled,
                    oldest: milliseconds(detail.oldest_idle),
                };
                load.is_said_by(said, exact)?;
            }
        }
        Ok(())
    }

    fn check_backlog(&self, known: &Known) -> Result<(), String> {
        let detail = known.pending.detail;
        let seen = detail.map_or(0, |detail| detail.poison);
        let truth = self.work + self.all.poison - seen;
        if known.is_exact() {
            return is("backlog", known.backlog(), truth);
        }
        if known.undelivered.is_exact() && known.backlog() < truth {
            return Err(format!("backlog {} hides work, true {truth}", known.backlog()));
        }
        Ok(())
    }
}

impl Load {
    fn is_said_by(self, said: Self, exact: bool) -> Result<(), String> {
        // The truth was read a little later than the sample.
        let later = Self {
            oldest: said.oldest,
            ..self
        };
        let close = said.oldest <= self.oldest && (!exact || self.oldest - said.oldest < 60_000);
        let fits = if exact {
            said == later
        } else {
            said.poison <= self.poison && said.stalled <= self.stalled
        };
        if close && fits {
            return Ok(());
        }
        Err(format!("detail {said:?}, true {self:?}"))
    }
}

fn is<T: PartialEq + std::fmt::Debug + Copy>(what: &str, said: T, truth: T) -> Result<(), String> {
    if said == truth {
        return Ok(());
    }
    Err(format!("{what}: said {said:?}, true {truth:?}"))
}

fn milliseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap()
}

fn text(value: &Value) -> String {
    redis::from_redis_value_ref(value).unwrap()
}

fn id(text: &str) -> EntryId {
    text.parse().unwrap()
}
