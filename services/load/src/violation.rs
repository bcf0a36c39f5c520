//! What a shop must never do, as one of its clients can see it.

use std::fmt;

/// A kind of broken promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ViolationKind {
    /// One key made two orders, cancellations or refunds.
    Doubled,
    /// A repeated call was answered without `Idempotent-Replayed: true`, or with another status.
    NotReplayed,
    /// A call that had been accepted was refused when repeated.
    RepeatRefused,
    /// An accepted order is not there: three reads with its token, seconds apart, found nothing.
    Lost,
    /// An order's version went back, or stood still while its state changed.
    VersionBack,
    /// An order came into a state that cannot come after the one it was in.
    StateBack,
    /// The last event of a stream is not what a read says, though the stream had time to tell.
    StreamBehind,
    /// An event that is none: no order in it, or another one, or another version than its id.
    StreamUnsound,
    /// A cancellation was accepted, and the order completed.
    CancelIgnored,
    /// Subtotal, fee, total, captured and refunded do not add up.
    Money,
    /// On hand or reserved below zero, or more reserved than on hand.
    Stock,
}

impl ViolationKind {
    /// For people and programs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Doubled => "doubled",
            Self::NotReplayed => "not replayed",
            Self::RepeatRefused => "repeat refused",
            Self::Lost => "lost",
            Self::VersionBack => "version back",
            Self::StateBack => "state back",
            Self::StreamBehind => "stream behind",
            Self::StreamUnsound => "stream unsound",
            Self::CancelIgnored => "cancel ignored",
            Self::Money => "money",
            Self::Stock => "stock",
        }
    }
}

impl fmt::Display for ViolationKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// One broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which promise.
    pub kind: ViolationKind,
    /// Id of the order or product, or the key of the calls.
    pub subject: String,
    /// What was seen.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}: {}", self.kind, self.subject, self.detail)
    }
}
