//! Which entries that stand under this consumer's name are to be taken in hand again, and as which delivery. Pure.

use crate::entry_id::EntryId;
use std::collections::{BTreeMap, BTreeSet};

/// What is pending under this consumer's name and not in hand: left by an earlier process of that name, or handed out with
/// a reply that was lost.
///
/// What an earlier process had may be what ended it, so taking it is another delivery. What a lost reply handed out no
/// handler has seen: that delivery was counted already. Which of the two it is, is decided when the entry is listed, which
/// changes nothing in Redis; so taking may be tried as often as it takes, and counts once.
#[derive(Debug)]
pub(super) struct Recovery {
    /// There may be entries that are not listed.
    incomplete: bool,
    /// Nothing was listed yet, so all that is there is from an earlier process.
    first: bool,
    found: BTreeMap<EntryId, Found>,
}

#[derive(Clone, Copy, Debug)]
struct Found {
    /// The delivery count with which it is to be taken.
    deliveries: u64,
    from_earlier_process: bool,
}

impl Recovery {
    pub(super) fn new() -> Self {
        Self {
            incomplete: true,
            first: true,
            found: BTreeMap::new(),
        }
    }

    /// A call failed: it may have handed out what nobody here knows of.
    pub(super) fn call_failed(&mut self) {
        self.incomplete = true;
    }

    /// Whether the pending entries have to be listed.
    pub(super) fn is_incomplete(&self) -> bool {
        self.incomplete
    }

    /// Whether nothing is to be listed or taken.
    pub(super) fn is_over(&self) -> bool {
        !self.incomplete && self.found.is_empty()
    }

    /// Everything that is pending under this name, with its delivery count; `known` is in hand, or was left here.
    pub(super) fn listed(&mut self, pending: Vec<(EntryId, u64)>, known: &BTreeSet<EntryId>) {
        let mut before = std::mem::take(&mut self.found);
        for (id, count) in pending {
            if known.contains(&id) {
                continue;
            }
            let found = match before.remove(&id) {
                // Raised meanwhile by the very call that failed, or by others.
                Some(found) => Found {
                    deliveries: found.deliveries.max(count),
                    ..found
                },
                None => Found {
                    deliveries: (count + u64::from(self.first)).max(1),
                    from_earlier_process: self.first,
                },
            };
            self.found.insert(id, found);
        }
        self.first = false;
        self.incomplete = false;
    }

    /// The first `most` to take, with the delivery count that each is to have.
    pub(super) fn next(&self, most: usize) -> Vec<(EntryId, u64)> {
        let first = self.found.iter().take(most);
        first.map(|(id, found)| (*id, found.deliveries)).collect()
    }

    /// These were taken, or are gone.
    pub(super) fn taken(&mut self, batch: &[(EntryId, u64)]) {
        for (id, _) in batch {
            self.found.remove(id);
        }
    }

    /// What an earlier process had and this one never came to: its delivery stays counted when it is handed over. None
    /// when that is everything, because nothing was listed yet.
    pub(super) fn of_earlier_process(&self) -> Option<impl Iterator<Item = EntryId>> {
        let earlier = self.found.iter().filter(|(_, found)| found.from_earlier_process);
        (!self.first).then(|| earlier.map(|(id, _)| *id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(sequence: u64) -> EntryId {
        EntryId {
            milliseconds: 1,
            sequence,
        }
    }

    fn listed(recovery: &mut Recovery, pending: &[(u64, u64)], known: &[u64]) {
        assert!(recovery.is_incomplete());
        let pending = pending
            .iter()
            .map(|(sequence, count)| (id(*sequence), *count))
            .collect();
        recovery.listed(pending, &known.iter().map(|sequence| id(*sequence)).collect());
    }

    #[test]
    fn a_delivery_to_an_earlier_process_counts_once_however_often_taking_fails() {
        let mut recovery = Recovery::new();
        // A list that never came changes nothing.
        recovery.call_failed();
        assert!(recovery.of_earlier_process().is_none());
        listed(&mut recovery, &[(1, 1), (2, 0), (3, 4)], &[]);
        for count_in_redis in [1, 2, 2, 2] {
            assert_eq!(recovery.next(2), [(id(1), 2), (id(2), 1)]);
            recovery.call_failed();
            listed(&mut recovery, &[(1, count_in_redis), (2, 0), (3, 4)], &[]);
        }
        let batch = recovery.next(2);
        recovery.taken(&batch);
        assert_eq!(recovery.of_earlier_process().unwrap().collect::<Vec<_>>(), [id(3)]);
        recovery.taken(&[(id(3), 5)]);
        assert!(recovery.is_over());
    }

    #[test]
    fn what_a_lost_reply_handed_out_is_not_counted_again_and_what_is_known_is_left_alone() {
        let mut recovery = Recovery::new();
        listed(&mut recovery, &[], &[]);
        assert!(recovery.is_over());
        recovery.call_failed();
        listed(&mut recovery, &[(1, 1), (2, 3), (3, 1)], &[2]);
        assert_eq!(recovery.next(9), [(id(1), 1), (id(3), 1)]);
        assert_eq!(recovery.of_earlier_process().unwrap().count(), 0);
        // The first is gone, the other was raised by others.
        recovery.call_failed();
        listed(&mut recovery, &[(3, 2)], &[]);
        assert_eq!(recovery.next(9), [(id(3), 2)]);
    }
}
