//! Which watches wait for what, and which one an entry wakes. Pure.

use crate::entry_id::EntryId;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// One group that waits: its stream, and the position behind which an entry is news.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// The stream.
    pub key: String,
    /// The group's last delivered id.
    pub after: EntryId,
}

/// The watched set. Several watches may name one stream: XREAD then asks from the earliest of their positions.
#[derive(Debug)]
pub(super) struct WatchedSet<Token> {
    watches: HashMap<Token, Entry>,
}

#[derive(Debug)]
struct Entry {
    watch: Watch,
    quarantined: bool,
    /// Whether the caller has been told that the key is refused.
    told: bool,
}

impl<Token: Clone + Eq + Hash> WatchedSet<Token> {
    pub(super) fn new() -> Self {
        Self {
            watches: HashMap::new(),
        }
    }

    /// Whether the call under way must be issued again for this.
    pub(super) fn add(&mut self, token: Token, watch: Watch) -> bool {
        // A key that is known to fail must not join the others again just because one more group names it.
        let quarantined = self
            .watches
            .values()
            .any(|other| other.quarantined && other.watch.key == watch.key);
        let entry = Entry {
            watch,
            quarantined,
            told: false,
        };
        let unchanged = self.watches.get(&token).is_some_and(|old| old.watch == entry.watch);
        self.watches.insert(token, entry);
        !unchanged && !quarantined
    }

    pub(super) fn remove(&mut self, token: &Token) {
        self.watches.remove(token);
    }

    /// The streams to block on, each with the earliest position that a watch of it has.
    pub(super) fn blocking(&self) -> BTreeMap<String, EntryId> {
        self.positions(false)
    }

    /// The streams to try one by one.
    pub(super) fn quarantined(&self) -> BTreeMap<String, EntryId> {
        self.positions(true)
    }

    fn positions(&self, quarantined: bool) -> BTreeMap<String, EntryId> {
        let mut positions = BTreeMap::new();
        for entry in self.watches.values().filter(|entry| entry.quarantined == quarantined) {
            let position = positions.entry(entry.watch.key.clone()).or_insert(entry.watch.after);
            *position = (*position).min(entry.watch.after);
        }
        positions
    }

    /// Takes out and returns the watches that an entry `id` of `key` is news for.
    pub(super) fn wake(&mut self, key: &str, id: EntryId) -> Vec<Token> {
        let woken: Vec<Token> = self
            .watches
            .iter()
            .filter(|(_, entry)| entry.watch.key == key && entry.watch.after < id)
            .map(|(token, _)| token.clone())
            .collect();
        for token in &woken {
            self.watches.remove(token);
        }
        woken
    }

    /// The watches of a refused `key` whose owners have not been told yet.
    pub(super) fn newly_refused(&mut self, key: &str) -> Vec<Token> {
        self.watches
            .iter_mut()
            .filter(|(_, entry)| entry.watch.key == key && !entry.told)
            .map(|(token, entry)| {
                entry.told = true;
                token.clone()
            })
            .collect()
    }

    /// Moves the watches of `key` out of the common call or back into it. Returns those that moved.
    pub(super) fn quarantine(&mut self, key: &str, quarantined: bool) -> Vec<Token> {
        let moved = self
            .watches
            .iter_mut()
            .filter(|(_, entry)| entry.watch.key == key && entry.quarantined != quarantined);
        moved
            .map(|(token, entry)| {
                entry.quarantined = quarantined;
                // A key let out of quarantine has been readable; the next refusal is news again.
                entry.told &= quarantined;
                token.clone()
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(key: &str, milliseconds: u64) -> Watch {
        Watch {
            key: key.to_owned(),
            after: EntryId {
                milliseconds,
                sequence: 0,
            },
        }
    }

    fn id(milliseconds: u64) -> EntryId {
        EntryId {
            milliseconds,
            sequence: 0,
        }
    }

    #[test]
    fn two_groups_of_one_stream_are_asked_for_from_the_earlier_and_woken_each_by_its_own() {
        let mut set = WatchedSet::new();
        set.add("behind", at("stream", 5));
        set.add("ahead", at("stream", 9));
        assert_eq!(set.blocking(), BTreeMap::from([("stream".to_owned(), id(5))]));
        assert_eq!(set.wake("stream", id(7)), ["behind"]);
        assert_eq!(set.blocking(), BTreeMap::from([("stream".to_owned(), id(9))]));
        assert!(set.wake("stream", id(9)).is_empty());
        assert_eq!(set.wake("stream", id(10)), ["ahead"]);
        assert!(set.blocking().is_empty());
    }

    #[test]
    fn a_quarantined_key_stays_apart_for_new_watches_too() {
        let mut set = WatchedSet::new();
        assert!(set.add("a", at("bad", 0)));
        assert!(set.add("b", at("good", 0)));
        assert_eq!(set.quarantine("bad", true), ["a"]);
        assert!(!set.add("c", at("bad", 0)));
        assert_eq!(set.blocking().into_keys().collect::<Vec<_>>(), ["good"]);
        assert_eq!(set.quarantine("bad", false).len(), 2);
        assert_eq!(set.blocking().len(), 2);
    }

    #[test]
    fn putting_back_the_same_watch_interrupts_nothing() {
        let mut set = WatchedSet::new();
        assert!(set.add("a", at("stream", 1)));
        assert!(!set.add("a", at("stream", 1)));
        assert!(set.add("a", at("stream", 2)));
    }
}
