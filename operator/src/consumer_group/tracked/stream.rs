//! One stream of a group between two samples: what it holds, what came in since, whether data went missing. No I/O.

use std::{collections::BTreeSet, time::Instant};

use shopwright_api::ConsumerNames;
use shopwright_streams::{
    EntryId,
    sample::{ConsumerShare, Detail, Known},
};

use super::super::{pods::TargetPods, status::StreamFigures};
use crate::scaling::Work;

/// A stream of the group.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Stream {
    pub(in super::super) key: String,
    /// The group was there in an earlier sample or an earlier life of the operator: if it is not, it was lost.
    pub(in super::super) existed: bool,
    /// It is there as far as is known; else it has to be made before the next sample.
    pub(in super::super) ensured: bool,
    /// A sample found it gone. It was lost even if the answer to making it again gets lost, or somebody else makes it.
    pub(in super::super) lost: bool,
    /// Where it waits for news.
    pub(in super::super) watched_after: Option<EntryId>,
    /// The newest sample.
    pub(in super::super) known: Option<Known>,
    /// When Redis was last asked to repair its own counters.
    pub(in super::super) repaired: Option<Instant>,
    /// The newest look at each pending entry. Such a look is not part of every sample.
    detail: Option<Detail>,
    /// How many were pending, and up to where the group had read, at that look.
    looked_at: (u64, EntryId),
    /// Entries ever added, by the newest sample; `None` once one was missed since.
    added: Option<u64>,
}

/// What a sample of one stream changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    /// Entries added since the sample before; `None` when that cannot be told.
    pub(super) arrivals: Option<u64>,
    /// The stream went back in its own history.
    pub(super) rolled_back: bool,
}

impl Stream {
    pub(super) fn new(key: &str, existed: bool) -> Self {
        Self {
            key: key.to_owned(),
            existed,
            ..Self::default()
        }
    }

    /// What was known of a lost group means nothing for the new one.
    pub(super) fn made_anew(&mut self) {
        *self = Self {
            existed: true,
            ensured: true,
            ..Self::new(&self.key, true)
        };
    }

    /// The group's position.
    pub(in super::super) fn last_delivered(&self) -> EntryId {
        self.known.as_ref().map_or(EntryId::ZERO, |known| known.last_delivered)
    }

    /// The newest entry, if the group has not had it.
    pub(super) fn news(&self) -> Option<EntryId> {
        let known = self.known.as_ref()?;
        (known.last_generated > known.last_delivered).then_some(known.last_generated)
    }

    /// A sample was missed: what came in is not known any more.
    pub(super) fn missed(&mut self) {
        self.added = None;
    }

    pub(super) fn take(&mut self, known: Known) -> Taken {
        let before = self.known.as_ref();
        let rolled_back = before.is_some_and(|before| {
            known.entries_added < before.entries_added || known.last_generated < before.last_generated
        });
        if known.pending.detail.is_some() || rolled_back {
            self.detail = known.pending.detail;
            self.looked_at = (known.pending.total, known.last_delivered);
        }
        let added = self.added.filter(|_| !rolled_back);
        let arrivals = added.and_then(|before| known.entries_added.checked_sub(before));
        self.existed = true;
        self.added = Some(known.entries_added);
        self.known = Some(known);
        Taken { arrivals, rolled_back }
    }

    /// What waits longest, in seconds; `None` when nothing is pending.
    pub(super) fn oldest_pending_seconds(&self) -> Option<u64> {
        let detail = self.detail.as_ref().filter(|_| self.total() > 0)?;
        Some(detail.oldest_idle.as_secs())
    }

    /// Whether the work is the truth. Poison that was seen earlier may have gone since, and other entries have come in its
    /// place: it is known still only while nothing was delivered and nothing acknowledged.
    pub(super) fn is_exact(&self) -> bool {
        let poisoned = self.detail.is_some_and(|detail| detail.poison > 0);
        self.known.as_ref().is_some_and(|known| {
            known.is_exact() && (!poisoned || self.looked_at == (known.pending.total, known.last_delivered))
        })
    }

    /// Pending entries that no longer exist.
    pub(super) fn ghosts(&self) -> u64 {
        self.known.as_ref().map_or(0, |known| known.pending.ghosts)
    }

    fn total(&self) -> u64 {
        self.known.as_ref().map_or(0, |known| known.pending.total)
    }

    /// The work. An earlier look at the pending entries stands until the next: poison that counted as work in between would
    /// make the backlog swing.
    pub(super) fn work(&self, names: ConsumerNames, pods: &TargetPods) -> Work {
        let Some(known) = &self.known else {
            return Work::default();
        };
        let detail = self.detail.unwrap_or_default();
        let present = self.present();
        let poison = detail.poison.min(present);
        let pending = present - poison;
        let orphaned = match names {
            ConsumerNames::Any => 0,
            ConsumerNames::PodName => known
                .consumers
                .iter()
                .filter(|share| pods.is_gone(&share.name))
                .map(ConsumerShare::unclaimable)
                .fold(0, u64::saturating_add),
        };
        let reclaimable = match known.pending.detail {
            Some(_) => detail.stalled.saturating_add(orphaned),
            // What was stalled at the last look may be among what the gone hold now.
            None => detail.stalled.max(orphaned),
        };
        Work {
            undelivered: known.undelivered.count,
            pending,
            reclaimable: reclaimable.min(pending),
            poison,
        }
    }

    /// Pending entries that exist and are not undelivered as well.
    fn present(&self) -> u64 {
        let Some(known) = &self.known else { return 0 };
        let pending = &known.pending;
        pending
            .total
            .saturating_sub(pending.ghosts)
            .saturating_sub(pending.overlap)
    }

    pub(super) fn figures(&self) -> Option<StreamFigures> {
        let known = self.known.as_ref()?;
        Some(StreamFigures {
            key: self.key.clone(),
            undelivered: known.undelivered.count,
            pending: self.present(),
            source: known.undelivered.source,
        })
    }

    /// Names of consumers that hold entries and were never seen as pods.
    pub(super) fn strangers<'a>(&'a self, pods: &TargetPods) -> BTreeSet<&'a str> {
        let shares = self.known.iter().flat_map(|known| &known.consumers);
        shares
            .filter(|share| share.pending > 0 && !pods.is_known(&share.name))
            .map(|share| share.name.as_str())
            .collect()
    }
}
