//! How bad a network is. Pure.

use std::time::Duration;

/// What happens to the bytes between two peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// Nothing.
    Clear,
    /// Each piece waits up to so long before it goes on.
    Delaying {
        /// The longest wait.
        longest: Duration,
    },
    /// Now and then half of a piece goes on, and then both sides are reset.
    Halving,
    /// All connections are reset, and new ones too.
    Resetting,
    /// Connections are taken, and nothing goes on in either direction. What was sent meanwhile goes on when it is over.
    Silent,
}
