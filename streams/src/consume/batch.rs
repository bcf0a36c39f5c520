//! Entries that are handled together, each with what keeps it in hand. Pure.

use super::Outcome;
use super::entry::Entry;
use super::hold::Held;
use std::iter;
use std::time::Duration;

/// At least one entry, as a rule; handled singly, exactly one.
#[derive(Debug, Default)]
pub(super) struct Batch {
    entries: Vec<Entry>,
    held: Vec<Held>,
}

/// A batch by what became of its entries.
#[derive(Debug, Default)]
pub(super) struct Settled {
    pub(super) done: Vec<Held>,
    /// To be left pending.
    pub(super) left: Vec<Held>,
    pub(super) rejected: Vec<(Held, &'static str)>,
    /// To be handled again, after this time: the longest that one of them asked for.
    pub(super) again: Batch,
    pub(super) wait: Duration,
}

impl Batch {
    pub(super) fn push(&mut self, entry: Entry, held: Held) {
        self.entries.push(entry);
        self.held.push(held);
    }

    pub(super) fn of(entry: Entry, held: Held) -> Self {
        let mut batch = Self::default();
        batch.push(entry, held);
        batch
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// An entry without an outcome is left pending: of what nobody speaks of, nobody knows that it is done.
    pub(super) fn settle(self, outcomes: Vec<Outcome>) -> Settled {
        let mut settled = Settled::default();
        let outcomes = outcomes.into_iter().chain(iter::repeat(Outcome::Retry));
        for ((entry, held), outcome) in self.entries.into_iter().zip(self.held).zip(outcomes) {
            match outcome {
                Outcome::Done => settled.done.push(held),
                Outcome::Retry => settled.left.push(held),
                Outcome::Reject(reason) => settled.rejected.push((held, reason)),
                Outcome::RetryAfter(wait) => {
                    settled.wait = settled.wait.max(wait);
                    settled.again.push(entry, held);
                }
            }
        }
        settled
    }
}
