//! What tests build their samples from. Plain data.

use shopwright_streams::{
    EntryId,
    sample::{Known, Pending, Source, Undelivered},
};

/// A group with nothing to do, on a stream that never had an entry.
pub(super) fn empty() -> Known {
    Known {
        undelivered: Undelivered {
            count: 0,
            source: Source::Tail,
        },
        pending: Pending {
            total: 0,
            ghosts: 0,
            overlap: 0,
            corrections_exact: true,
            detail: None,
        },
        consumers: Vec::new(),
        length: 0,
        last_delivered: EntryId::ZERO,
        last_generated: EntryId::ZERO,
        entries_added: 0,
        reported_lag: None,
    }
}
