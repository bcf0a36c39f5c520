//! What upkeep has to say: figures for status, and news for Events. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use shopwright_streams::{Error, dead_letter};

use super::{
    super::{assign::Trim, cluster::Notice, validate::Plan},
    plan::{Chore, Done, Kind},
};

/// Longest name that is shown.
const NAME_SHOWN: usize = 64;

/// What upkeep found out about a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Findings {
    /// Everything has been looked at since this operator took the group up. Before, what an earlier one found stands.
    pub(in super::super) looked: bool,
    /// Entries in the dead letters of all streams; `None` while unknown.
    pub(in super::super) dead_letters: Option<u64>,
    /// A stream that is not trimmed though this group wants it.
    pub(in super::super) trim_blocked: Option<TrimBlocked>,
}

/// Why a stream is not trimmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum TrimBlocked {
    /// The stream has a group that no `ConsumerGroup` of this namespace declares, and so many more.
    Undeclared { stream: String, group: String, others: u64 },
    /// This `ConsumerGroup` names the stream and has no `retention`.
    NoRetention { stream: String, consumer_group: String },
}

impl fmt::Display for TrimBlocked {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Undeclared { stream, group, others } => {
                write!(
                    out,
                    "stream {stream} is not trimmed: no ConsumerGroup declares its group {}",
                    shown(group)
                )?;
                match others {
                    0 => Ok(()),
                    others => write!(out, " nor {others} more"),
                }
            }
            Self::NoRetention { stream, consumer_group } => {
                write!(
                    out,
                    "stream {stream} is not trimmed: ConsumerGroup {consumer_group} has no retention"
                )
            }
        }
    }
}

/// A name that users chose, fit for conditions and Events.
fn shown(name: &str) -> String {
    let printable = |character: char| if character.is_ascii_graphic() { character } else { '?' };
    name.chars().map(printable).take(NAME_SHOWN).collect()
}

/// What is known of one group, kept between two looks.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    pub(super) looked: bool,
    /// By stream.
    dead_letters: BTreeMap<String, u64>,
    undeclared: BTreeMap<String, (String, u64)>,
    without_retention: BTreeMap<String, String>,
    refused: BTreeMap<Kind, Error>,
}

impl Found {
    /// What the group wants done now.
    pub(super) fn declared(&mut self, plan: &Plan, trims: &[Trim]) {
        if !plan.dead_letters {
            self.dead_letters.clear();
        }
        let own: BTreeSet<&str> = trims.iter().map(|trim| trim.stream.as_str()).collect();
        self.undeclared.retain(|stream, _| own.contains(stream.as_str()));
        let without = |trim: &Trim| Some((trim.stream.clone(), trim.without_retention.clone()?));
        self.without_retention = trims.iter().filter_map(without).collect();
    }

    pub(super) fn done(&mut self, chore: &Chore, done: &Done, news: &mut News) {
        self.refused.remove(&chore.kind());
        match (chore, done) {
            (Chore::HandOver { .. }, Done::HandedOver { entries: 1.., .. }) => news.handed(chore, done),
            (_, Done::Buried(entries)) => news.buried += entries,
            (_, Done::Deleted(true)) => news.deleted += 1,
            (Chore::CountDeadLetters { stream }, Done::DeadLetters(count)) => {
                self.dead_letters.insert(stream.clone(), *count);
            }
            (Chore::Trim(trim), Done::TrimBlocked { group, others }) => {
                let before = self.undeclared.insert(trim.stream.clone(), (group.clone(), *others));
                if before.is_none_or(|(before, _)| before != *group) {
                    news.blocked.push(TrimBlocked::Undeclared {
                        stream: trim.stream.clone(),
                        group: group.clone(),
                        others: *others,
                    });
                }
            }
            (Chore::Trim(trim), Done::Trimmed(entries)) => {
                news.trimmed += entries;
                self.undeclared.remove(&trim.stream);
            }
            _ => {}
        }
    }

    pub(super) fn refused(&mut self, kind: Kind, error: Error, news: &mut News) {
        if self.refused.insert(kind, error).is_none() {
            news.refused.push((kind, error));
        }
    }

    pub(super) fn findings(&self) -> Findings {
        let undeclared = self.undeclared.iter().next();
        let undeclared = undeclared.map(|(stream, (group, others))| TrimBlocked::Undeclared {
            stream: stream.clone(),
            group: group.clone(),
            others: *others,
        });
        let without = self.without_retention.iter().next();
        let without = without.map(|(stream, consumer_group)| TrimBlocked::NoRetention {
            stream: stream.clone(),
            consumer_group: consumer_group.clone(),
        });
        Findings {
            looked: self.looked,
            dead_letters: (!self.dead_letters.is_empty()).then(|| self.dead_letters.values().sum()),
            trim_blocked: undeclared.or(without),
        }
    }
}

/// What happened in one go, to be told in few words.
#[derive(Debug, Default)]
pub(super) struct News {
    /// Pods, and how much each has left.
    handed: BTreeMap<String, u64>,
    buried: u64,
    deleted: u64,
    trimmed: u64,
    blocked: Vec<TrimBlocked>,
    refused: Vec<(Kind, Error)>,
}

impl News {
    fn handed(&mut self, chore: &Chore, done: &Done) {
        if let (Chore::HandOver { consumer, .. }, Done::HandedOver { entries, .. }) = (chore, done) {
            *self.handed.entry(consumer.clone()).or_default() += entries;
        }
    }

    /// (kind, how many), as metrics count it.
    pub(super) fn counts(&self) -> [(&'static str, u64); 4] {
        [
            ("HandedOver", self.handed.values().sum()),
            ("DeadLettered", self.buried),
            ("ConsumerDeleted", self.deleted),
            ("Trimmed", self.trimmed),
        ]
    }

    pub(super) fn notices(&self, plan: &Plan) -> Vec<Notice> {
        let mut notices = Vec::new();
        if let Some((first, _)) = self.handed.iter().next() {
            let entries: u64 = self.handed.values().sum();
            let more = self.handed.len() - 1;
            let whose = if more == 0 {
                first.clone()
            } else {
                format!("{first} and {more} more")
            };
            notices.push(Notice::new(
                false,
                "HandedOver",
                "HandOver",
                &format!("{entries} pending entries of {whose}, gone, may be claimed by others at once"),
            ));
        }
        if self.buried > 0 {
            let note = format!(
                "{} entries had {} deliveries or more and are handled by nobody; they are in {} now",
                self.buried,
                plan.pending.max_deliveries,
                plan.streams
                    .iter()
                    .map(|stream| dead_letter::key(stream, &plan.group))
                    .collect::<Vec<_>>()
                    .join(", "),
            );
            notices.push(Notice::new(true, "DeadLettered", "Bury", &note));
        }
        if self.deleted > 0 {
            let note = format!(
                "{} consumers without entries, whose pods are gone, were deleted",
                self.deleted
            );
            notices.push(Notice::new(false, "ConsumersDeleted", "DeleteConsumers", &note));
        }
        for blocked in &self.blocked {
            notices.push(Notice::new(true, "TrimBlocked", "Trim", &blocked.to_string()));
        }
        for (kind, error) in &self.refused {
            notices.push(Notice::new(
                true,
                "UpkeepRefused",
                words(*kind),
                &format!("{}: {error}", words(*kind)),
            ));
        }
        notices
    }
}

fn words(kind: Kind) -> &'static str {
    match kind {
        Kind::HandOver => "HandOver",
        Kind::Bury => "Bury",
        Kind::DeleteConsumer => "DeleteConsumers",
        Kind::CountDeadLetters => "CountDeadLetters",
        Kind::Trim => "Trim",
    }
}
