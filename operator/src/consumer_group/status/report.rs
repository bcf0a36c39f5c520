//! What was found out about one group. Plain data.

use jiff::Timestamp;
use shopwright_streams::sample::Source;

use super::{super::assign::Idle, Unknown};

/// What was found out about one group.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) enum Report {
    /// It is left alone.
    Idle(Idle),
    /// It is sampled, and scaled if possible.
    Watched(Box<Watched>),
}

/// The state of a group that is sampled.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct Watched {
    pub(in super::super) target: TargetState,
    /// Why the backlog is not known, if it is not.
    pub(in super::super) unknown: Option<Unknown>,
    /// As last known.
    pub(in super::super) figures: Figures,
    /// The newest decision; `None` before the first.
    pub(in super::super) decision: Option<Decided>,
    /// The backlog asks for more than the maximum.
    pub(in super::super) limited: bool,
    /// What this operator did, newest first.
    pub(in super::super) scales: Vec<Scaled>,
    /// Newest loss of data.
    pub(in super::super) loss: Option<Loss>,
    /// Upkeep has looked at everything. Before, what an earlier operator wrote of the next two stands.
    pub(in super::super) upkeep_looked: bool,
    /// A stream is not trimmed because of a group that nobody declared; names it.
    pub(in super::super) trim_blocked: Option<String>,
    /// Messages put aside; `None` when nobody asked.
    pub(in super::super) dead_letters: Option<u64>,
}

/// The workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum TargetState {
    /// It is there and has so many replicas.
    Found(u32),
    /// There is no such Deployment.
    NotFound,
    /// The API server refused to scale it, with this HTTP status; 0 without an answer.
    Refused(u16, u32),
}

/// The answer to "why so many?".
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Decided {
    pub(in super::super) replicas: u32,
    pub(in super::super) desired: u32,
    pub(in super::super) reason: &'static str,
    pub(in super::super) message: String,
    pub(in super::super) paused: bool,
    /// The backlog has been unknown for so long that the user's fallback applies.
    pub(in super::super) fallback: bool,
}

/// A change of replicas that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Scaled {
    pub(in super::super) at: Timestamp,
    pub(in super::super) from: u32,
    pub(in super::super) to: u32,
    pub(in super::super) reason: &'static str,
    pub(in super::super) message: String,
}

/// Data or a group that went missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Loss {
    pub(in super::super) at: Timestamp,
    pub(in super::super) reason: &'static str,
    pub(in super::super) message: String,
}

/// The work of a group, over all its streams.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Figures {
    pub(in super::super) streams: Vec<StreamFigures>,
    /// Work left, each entry counted once, without ghosts and poison.
    pub(in super::super) backlog: u64,
    /// Whether it was counted.
    pub(in super::super) exact: bool,
    /// Pending entries that others must claim.
    pub(in super::super) reclaimable: u64,
    pub(in super::super) poison: u64,
    pub(in super::super) ghosts: u64,
    pub(in super::super) oldest_pending_seconds: Option<u64>,
    /// Consumers that hold entries and were never seen as a pod; `None` unless names are pod names.
    pub(in super::super) unknown_consumers: Option<u64>,
    /// Redis's own lag, summed; `None` when it has none for a stream.
    pub(in super::super) reported_lag: Option<u64>,
    /// Entries ever added: tells whether anything moves.
    pub(in super::super) entries_added: u64,
}

/// One stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct StreamFigures {
    pub(in super::super) key: String,
    pub(in super::super) undelivered: u64,
    /// Pending entries that exist and are not undelivered as well.
    pub(in super::super) pending: u64,
    pub(in super::super) source: Source,
}

impl Figures {
    pub(in super::super) fn undelivered(&self) -> u64 {
        self.sum(|stream| stream.undelivered)
    }

    pub(in super::super) fn pending(&self) -> u64 {
        self.sum(|stream| stream.pending)
    }

    /// Pending entries that a living consumer works on.
    pub(in super::super) fn in_flight(&self) -> u64 {
        self.pending()
            .saturating_sub(self.reclaimable)
            .saturating_sub(self.poison)
    }

    fn sum(&self, figure: impl Fn(&StreamFigures) -> u64) -> u64 {
        self.streams
            .iter()
            .fold(0_u64, |sum, stream| sum.saturating_add(figure(stream)))
    }
}
