//! The remembered count that makes an exact sample of a deep backlog cheap. Pure.
//!
//! An anchor is a fact about a *stream*: "behind this id lie so many entries". It says nothing about the group, whose
//! position is only counted from it: entries between the two are the way the group went since. That is why SETID,
//! ENTRIESREAD and Redis's own lag, which are wrong or lie in many histories, cannot make it wrong.
//!
//! Entries are added behind the newest id only, so the fact stays true, with the added ones, unless something behind the
//! anchor was removed.
//! - A trim removes the lowest ids first. As long as an entry at or before the anchor is there, none behind it was
//!   trimmed; when none is there, all that the stream holds lies behind it, and the length is the count.
//! - Deletions by id hit nothing behind the anchor when nothing was removed at all, which is when the stream grew by as
//!   many entries as were added, or when the largest id ever deleted is at or before the anchor.
//!
//! Counters or ids that went back, or another first entry behind the anchor, mean another stream under the same name. A
//! new stream whose ids are all larger than the old one's, as the clock makes them, has no entry before the anchor. What
//! is left out: someone who sets Redis's counters by hand (XSETID, with which Redis copies streams), or who replaces a
//! stream by another one with the old ids and larger counters.

use crate::entry_id::EntryId;
use redis::Cmd;

/// "Behind `id` lie `behind` entries", and the state of the stream's counters when that was so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Anchor {
    pub(super) id: EntryId,
    pub(super) behind: u64,
    pub(super) length: u64,
    pub(super) added: u64,
    pub(super) generated: EntryId,
    /// The first entry behind `id`, if there is one.
    pub(super) first: Option<EntryId>,
}

impl Anchor {
    /// Appends it as the script reads it.
    pub(super) fn append(&self, command: &mut Cmd) {
        command
            .arg(self.id.to_string())
            .arg(self.behind)
            .arg(self.length)
            .arg(self.added)
            .arg(self.generated.to_string())
            .arg(self.first.map(|id| id.to_string()).unwrap_or_default());
    }
}
