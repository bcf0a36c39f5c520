//! What a history is made of. Pure.

use std::fmt;
use std::time::Duration;

/// Entries left alone for longer may be claimed. No history lasts that long: only XCLAIM's IDLE makes one so old.
pub(super) const CLAIM_MIN_IDLE: Duration = Duration::from_hours(1);

/// One step; a history of them can be run again.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// A command as words.
    Command(String),
    /// What a rollback comes back to; everything is always kept where there is an append-only file.
    Save,
    /// `kill -9`, and a start with what the disk holds.
    Restart,
    /// Both groups are sampled and compared with the truth.
    Sample {
        cap: u32,
        max_deliveries: u32,
        detail: bool,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(words) => formatter.write_str(words),
            Self::Save => formatter.write_str("(save)"),
            Self::Restart => formatter.write_str("(kill -9, restart)"),
            Self::Sample {
                cap,
                max_deliveries,
                detail,
            } => write!(
                formatter,
                "(sample: cap {cap}, deliveries {max_deliveries}, detail {detail})"
            ),
        }
    }
}
