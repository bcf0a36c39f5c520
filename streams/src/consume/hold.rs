//! The entries that this process knows of: those in hand, and those it has left pending for a while. Pure but for the
//! lock.

use super::Counters;
use crate::entry_id::EntryId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

/// The entries in hand, shared by the loop, the handlers and the renewal.
#[derive(Clone, Debug)]
pub(super) struct Holding {
    entries: Arc<Mutex<Entries>>,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Entries {
    in_hand: BTreeSet<EntryId>,
    /// Left pending by their handlers, and when.
    left: BTreeMap<EntryId, Instant>,
}

/// Keeps an entry in hand, and its slot taken, until dropped, however its handler ends.
#[derive(Debug)]
pub(super) struct Held {
    holding: Holding,
    id: EntryId,
    left: bool,
    /// Given back last, so that no more is in hand than there are slots.
    _slot: OwnedSemaphorePermit,
}

impl Holding {
    pub(super) fn new(counters: Arc<Counters>) -> Self {
        Self {
            entries: Arc::default(),
            counters,
        }
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an entry in hand; none when it is there already, which a claim after a long stall can bring about.
    pub(super) fn take(&self, id: EntryId, slot: OwnedSemaphorePermit) -> Option<Held> {
        let mut entries = self.lock();
        let taken = entries.in_hand.insert(id);
        entries.left.remove(&id);
        taken.then(|| {
            self.counters.in_hand.fetch_add(1, Ordering::Relaxed);
            Held {
                holding: self.clone(),
                id,
                left: false,
                _slot: slot,
            }
        })
    }

    /// What is in hand now.
    pub(super) fn in_hand(&self) -> Vec<EntryId> {
        self.lock().in_hand.iter().copied().collect()
    }

    /// What handlers tried and left pending, and nobody took in hand here since.
    pub(super) fn left(&self) -> Vec<EntryId> {
        self.lock().left.keys().copied().collect()
    }

    /// What is in hand or was left.
    pub(super) fn known(&self) -> BTreeSet<EntryId> {
        let entries = self.lock();
        entries.in_hand.iter().chain(entries.left.keys()).copied().collect()
    }

    /// Forgets what was left longer ago than this: by then it may be claimed by anybody.
    pub(super) fn forget_left(&self, longer_ago_than: Duration) {
        self.lock().left.retain(|_, left| left.elapsed() < longer_ago_than);
    }
}

impl Held {
    pub(super) fn id(&self) -> EntryId {
        self.id
    }

    /// The entry stays pending after a failed attempt, which counts. Anything else that drops a held entry either ends it
    /// or interrupts an attempt.
    pub(super) fn leave(mut self) {
        self.left = true;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut entries = self.holding.lock();
        entries.in_hand.remove(&self.id);
        if self.left || std::thread::panicking() {
            entries.left.insert(self.id, Instant::now());
        }
        self.holding.counters.in_hand.fetch_sub(1, Ordering::Relaxed);
    }
}
