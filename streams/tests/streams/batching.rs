//! A handler of batches that records what came together.

use shopwright_streams::EntryId;
use shopwright_streams::consume::{BatchHandler, Entry, Outcome};
use std::sync::{Arc, Mutex};

/// Records each batch and answers as told by a function of it.
pub(crate) struct Batches<F> {
    /// The entries that came together, by their numbers, with the delivery counts.
    seen: Mutex<Vec<Vec<(usize, u64)>>>,
    answer: F,
}

impl<F, R> Batches<F>
where
    F: Fn(Vec<Entry>) -> R + Send + Sync + 'static,
    R: Future<Output = Vec<Outcome>> + Send,
{
    pub(crate) fn new(answer: F) -> Arc<Self> {
        Arc::new(Self {
            seen: Mutex::default(),
            answer,
        })
    }

    pub(crate) fn seen(&self) -> Vec<Vec<(usize, u64)>> {
        self.seen.lock().unwrap().clone()
    }

    /// How many entries have come, those that came again counted again.
    pub(crate) fn entries(&self) -> usize {
        self.seen.lock().unwrap().iter().map(Vec::len).sum()
    }

    /// The delivery counts with which the entry came.
    pub(crate) fn counts(&self, number: usize) -> Vec<u64> {
        let seen = self.seen.lock().unwrap();
        let all = seen.iter().flatten().filter(|(seen, _)| *seen == number);
        all.map(|(_, count)| *count).collect()
    }
}

impl<F, R> BatchHandler for Batches<F>
where
    F: Fn(Vec<Entry>) -> R + Send + Sync + 'static,
    R: Future<Output = Vec<Outcome>> + Send,
{
    fn handle(&self, entries: &[Entry]) -> impl Future<Output = Vec<Outcome>> + Send {
        let batch = entries.iter().map(|entry| (number(entry), entry.delivery_count));
        self.seen.lock().unwrap().push(batch.collect());
        (self.answer)(entries.to_vec())
    }
}

pub(crate) fn number(entry: &Entry) -> usize {
    entry.fields.text("number").unwrap().parse().unwrap()
}

/// The same outcome for all.
pub(crate) fn all(entries: &[Entry], outcome: Outcome) -> Vec<Outcome> {
    vec![outcome; entries.len()]
}

/// Entries numbered from `first` on, as a handler records them at their `count`th delivery.
pub(crate) fn numbered(numbers: std::ops::Range<usize>, count: u64) -> Vec<(usize, u64)> {
    numbers.map(|number| (number, count)).collect()
}

/// Adds entries with these numbers.
pub(crate) async fn add_all(shared: &shopwright_streams::Shared, numbers: std::ops::Range<usize>) -> Vec<EntryId> {
    let mut ids = Vec::new();
    for number in numbers {
        ids.push(crate::support::add(shared, "s", number).await);
    }
    ids
}
