//! What is to be done for one group, and what was done already. Pure; the time is passed in.
//!
//! Whose entries may be touched: hand-over and deletion are for names that were seen as pods of the target and are gone;
//! dead letters also for names of pods that live, and where names say nothing, for any.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use shopwright_api::ConsumerNames;

use super::{
    super::{assign::Trim, pods::TargetPods, validate::Plan},
    facts::{Facts, StreamFacts},
};

/// Between two hand-overs of one name that still turns out to hold what nobody may claim.
const AGAIN: Duration = Duration::from_secs(2);
/// The same, when the sample could not tell whether that is so.
const AGAIN_UNSURE: Duration = Duration::from_secs(30);
/// Between two attempts to delete a name that holds something.
const DELETE_AGAIN: Duration = Duration::from_mins(1);
/// Between two searches for poison that is left.
const BURY_AGAIN: Duration = Duration::from_secs(5);
/// Between two trims of a stream, and two counts of dead letters.
const ROUTINE: Duration = Duration::from_secs(30);
/// The same for a group at rest.
const ROUTINE_AT_REST: Duration = Duration::from_mins(5);
/// After Redis refused something: asking again and again fills its log.
const REFUSED: Duration = Duration::from_mins(5);

/// Kinds of chores, the urgent ones first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    HandOver,
    Bury,
    DeleteConsumer,
    CountDeadLetters,
    Trim,
}

/// One bounded thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Chore {
    /// Lets the others claim what this consumer holds.
    HandOver {
        stream: String,
        consumer: String,
        /// It was asked to end, so that its last deliveries are not held against the entries.
        asked: bool,
    },
    /// Moves poison to the dead letters: of these consumers, or of any.
    Bury {
        stream: String,
        owners: Option<Vec<String>>,
    },
    /// Deletes a consumer that holds nothing.
    DeleteConsumer {
        stream: String,
        consumer: String,
    },
    CountDeadLetters {
        stream: String,
    },
    Trim(Trim),
}

impl Chore {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::HandOver { .. } => Kind::HandOver,
            Self::Bury { .. } => Kind::Bury,
            Self::DeleteConsumer { .. } => Kind::DeleteConsumer,
            Self::CountDeadLetters { .. } => Kind::CountDeadLetters,
            Self::Trim(_) => Kind::Trim,
        }
    }

    pub(super) fn stream(&self) -> &str {
        match self {
            Self::HandOver { stream, .. }
            | Self::Bury { stream, .. }
            | Self::DeleteConsumer { stream, .. }
            | Self::CountDeadLetters { stream }
            | Self::Trim(Trim { stream, .. }) => stream,
        }
    }
}

/// What came of a chore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Done {
    HandedOver {
        entries: u64,
        remaining: bool,
    },
    Buried(u64),
    /// The name is gone, by us or before.
    Deleted(bool),
    /// It holds something.
    Kept,
    DeadLetters(u64),
    Trimmed(u64),
    TrimBlocked {
        group: String,
        others: u64,
    },
}

/// Everything a plan depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    pub(super) plan: &'a Plan,
    pub(super) pods: &'a TargetPods,
    pub(super) trims: &'a [Trim],
    pub(super) facts: Option<&'a Facts>,
}

/// What was done for a gone pod's name on one stream.
#[derive(Clone, Copy, Debug)]
struct Handed {
    /// Tells this end of the name from another.
    since: Instant,
    at: Instant,
    remaining: bool,
    deleted: bool,
    delete_again: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Failed {
    until: Instant,
    times: u32,
}

/// What was done for one group.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// By stream and consumer.
    handed: BTreeMap<(String, String), Handed>,
    /// When something was last done, by kind and stream.
    routine: BTreeMap<(Kind, String), Instant>,
    failed: BTreeMap<(Kind, String), Failed>,
}

impl Memory {
    /// What is to be done now, urgent things first.
    pub(super) fn plan(&self, view: View<'_>, now: Instant) -> Vec<Chore> {
        let mut chores = Vec::new();
        for (index, stream) in view.plan.streams.iter().enumerate() {
            let facts = view.facts.and_then(|facts| facts.streams.get(index)?.as_ref());
            if !view.plan.policy.is_paused() {
                self.after_pods(view, stream, facts, now, &mut chores);
                chores.extend(self.bury(view, stream, facts, now));
                chores.extend(self.trim(view, stream, facts, now));
            }
            if view.plan.dead_letters && self.is_due(Kind::CountDeadLetters, stream, routine(view), now) {
                chores.push(Chore::CountDeadLetters { stream: stream.clone() });
            }
        }
        chores.retain(|chore| {
            let place = (chore.kind(), chore.stream().to_owned());
            self.failed.get(&place).is_none_or(|failed| failed.until <= now)
        });
        chores.sort_by_key(Chore::kind);
        chores
    }

    /// Hand-over and deletion for each pod that is gone.
    fn after_pods(
        &self,
        view: View<'_>,
        stream: &str,
        facts: Option<&StreamFacts>,
        now: Instant,
        chores: &mut Vec<Chore>,
    ) {
        if view.plan.consumer_names != ConsumerNames::PodName {
            return;
        }
        for gone in &view.pods.gone {
            let consumer = &gone.name;
            if view.pods.live(consumer).is_some() {
                continue;
            }
            let hand_over = || Chore::HandOver {
                stream: stream.to_owned(),
                consumer: consumer.clone(),
                asked: gone.asked,
            };
            let holds = facts.and_then(|facts| facts.holders.get(consumer));
            let handed = self.handed.get(&(stream.to_owned(), consumer.clone()));
            let Some(handed) = handed.filter(|handed| handed.since == gone.since && !handed.remaining) else {
                chores.push(hand_over());
                continue;
            };
            let seen_after = view.facts.is_some_and(|facts| facts.at > handed.at);
            if let Some(holds) = holds.filter(|_| seen_after) {
                let pause = holds.unclaimable.map_or(AGAIN_UNSURE, |_| AGAIN);
                if holds.unclaimable != Some(0) && now.saturating_duration_since(handed.at) >= pause {
                    chores.push(hand_over());
                }
            } else if let Some(after) = view.plan.pending.delete_consumers_after
                && now.saturating_duration_since(gone.since) >= after
                && !handed.deleted
                && handed.delete_again.is_none_or(|again| again <= now)
            {
                let (stream, consumer) = (stream.to_owned(), consumer.clone());
                chores.push(Chore::DeleteConsumer { stream, consumer });
            }
        }
    }

    fn bury(&self, view: View<'_>, stream: &str, facts: Option<&StreamFacts>, now: Instant) -> Option<Chore> {
        let facts = facts.filter(|facts| view.plan.dead_letters && facts.poison > 0)?;
        if !self.is_due(Kind::Bury, stream, BURY_AGAIN, now) {
            return None;
        }
        let owners = match view.plan.consumer_names {
            ConsumerNames::Any => None,
            ConsumerNames::PodName => {
                let holders = facts.holders.iter().filter(|(_, holds)| holds.poison > 0);
                let names: Vec<String> = holders
                    .map(|(name, _)| name.clone())
                    .filter(|name| view.pods.is_known(name))
                    .collect();
                // Poison of strangers only: nobody here may touch it.
                if names.is_empty() {
                    return None;
                }
                Some(names)
            }
        };
        let stream = stream.to_owned();
        Some(Chore::Bury { stream, owners })
    }

    fn trim(&self, view: View<'_>, stream: &str, facts: Option<&StreamFacts>, now: Instant) -> Option<Chore> {
        let trim = view.trims.iter().find(|trim| trim.stream == stream)?;
        let wanted = trim.without_retention.is_none() && facts.is_some_and(|facts| facts.length > 0);
        (wanted && self.is_due(Kind::Trim, stream, routine(view), now)).then(|| Chore::Trim(trim.clone()))
    }

    fn is_due(&self, kind: Kind, stream: &str, pause: Duration, now: Instant) -> bool {
        let last = self.routine.get(&(kind, stream.to_owned()));
        last.is_none_or(|last| now.saturating_duration_since(*last) >= pause)
    }

    /// Takes in what came of a chore.
    pub(super) fn done(&mut self, chore: &Chore, done: &Done, pods: &TargetPods, now: Instant) {
        let place = (chore.kind(), chore.stream().to_owned());
        self.failed.remove(&place);
        match (chore, done) {
            (Chore::HandOver { stream, consumer, .. }, Done::HandedOver { entries, remaining }) => {
                let Some(gone) = pods.gone.iter().find(|gone| gone.name == *consumer) else {
                    return;
                };
                let deleted = *entries == 0 && self.is_deleted(stream, consumer);
                let handed = Handed {
                    since: gone.since,
                    at: now,
                    remaining: *remaining,
                    deleted,
                    delete_again: None,
                };
                self.handed.insert((stream.clone(), consumer.clone()), handed);
            }
            (Chore::DeleteConsumer { stream, consumer }, outcome) => {
                if let Some(handed) = self.handed.get_mut(&(stream.clone(), consumer.clone())) {
                    handed.deleted = matches!(outcome, Done::Deleted(_));
                    handed.delete_again = Some(now + DELETE_AGAIN);
                }
            }
            (_, done) => {
                self.routine.insert(place, now);
                if matches!(done, Done::Buried(1..)) {
                    let count = (Kind::CountDeadLetters, chore.stream().to_owned());
                    self.routine.remove(&count);
                }
            }
        }
    }

    fn is_deleted(&self, stream: &str, consumer: &str) -> bool {
        let handed = self.handed.get(&(stream.to_owned(), consumer.to_owned()));
        handed.is_some_and(|handed| handed.deleted)
    }

    /// It failed: others of its kind on that stream have to wait. `refused`: no repetition will help soon.
    pub(super) fn failed(&mut self, chore: &Chore, refused: bool, now: Instant) {
        let failed = self
            .failed
            .entry((chore.kind(), chore.stream().to_owned()))
            .or_insert(Failed { until: now, times: 0 });
        let pause = if refused {
            REFUSED
        } else {
            Duration::from_secs(1_u64 << failed.times.min(6))
        };
        failed.until = now + pause;
        failed.times = failed.times.saturating_add(1);
    }

    /// Drops what concerns names that are no longer remembered.
    pub(super) fn prune(&mut self, pods: &TargetPods) {
        self.handed.retain(|(_, consumer), _| pods.is_gone(consumer));
    }
}

fn routine(view: View<'_>) -> Duration {
    match view.facts {
        Some(facts) if !facts.at_rest => ROUTINE,
        _ => ROUTINE_AT_REST,
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
