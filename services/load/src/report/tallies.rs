//! What is counted.

use crate::call::Call;

use super::latency::Histogram;

/// An attempt that had no good reply.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Failure {
    /// Of which call.
    pub call: Call,
    /// The reply's status; none when there was no whole reply.
    pub status: Option<u16>,
    /// The problem's code, or what happened instead of a reply.
    pub code: String,
}

/// How orders fared when they were placed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Placed {
    /// A 202 was seen.
    pub accepted: u64,
    /// No definite reply came within the bounded attempts.
    pub unknown: u64,
    /// A definite no.
    pub refused: u64,
    /// Every attempt was turned away before it could take effect.
    pub unavailable: u64,
}

/// How cancellations, or refunds, fared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Requested {
    /// A 202 was seen.
    pub accepted: u64,
    /// A definite no: mostly the order's state.
    pub refused: u64,
    /// Turned away, or no definite reply.
    pub failed: u64,
}

/// What the readers of live streams saw.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Streams {
    /// Opened, each again after it broke included.
    pub opened: u64,
    /// Events read.
    pub events: u64,
    /// Ended or broken by the other side.
    pub ended: u64,
    /// Given up because not even a heartbeat came.
    pub silent: u64,
    /// Attempts to open one that failed or were turned away.
    pub turned_away: u64,
    /// Read to their end, and the last event was what a read says.
    pub confirmed: u64,
    /// Could not be compared with a read, since one of the two was out of reach.
    pub unconfirmed: u64,
}

/// All calls of one kind.
#[derive(Debug, Clone, Default)]
pub struct Calls {
    /// Those that ended without a definite reply, or were turned away to the last.
    pub given_up: u64,
    /// From the intended start to the end, with every repeat and every wait between; the ones given up included.
    pub latency: Histogram,
}

/// How arrivals were started.
#[derive(Debug, Clone, Default)]
pub struct Starts {
    /// In all.
    pub started: u64,
    /// Those that had to wait, because as many as allowed were in flight. They were started later, or never.
    pub late: u64,
    /// Never started: the run was at its end, or stopped.
    pub never: u64,
    /// From intended to actual start. When this is large without late ones, the load's own machine is too slow.
    pub delay: Histogram,
}
