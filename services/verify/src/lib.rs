//! Compares the books of a shop while it runs: every order with its reservation, its refunds and the provider's book, every
//! product with its reservations, the streams with their groups. Reads only, as the user `verify`.
//!
//! Whoever reads many documents of a live shop sees some of them change. So a difference counts only when a second look by
//! one script, which sees everything at one moment, still shows it. What cannot be seen at one moment is left undecided, and
//! the report is not clean.

mod books;
mod connection;
mod events;
mod expected;
#[cfg(feature = "journal")]
mod journal;
mod look;
mod orders;
mod report;
mod reservations;
mod rules;
mod scan;
mod stock;
mod streams;

pub use connection::{Books, VerifyError};
pub use expected::{Expected, ExpectedOrder, ExpectedRefund};
pub use report::{Finding, Invariant, Report};
pub use rules::{MORE_WENT_BACK, UNKNOWN_MONEY};

use std::time::Duration;

/// How to judge.
#[derive(Debug, Clone)]
pub struct Options {
    /// Nothing is under way any more: every order must have ended, every entry be done, every dead-letter stream be empty.
    pub settled: bool,
    /// How far an order's due time may lie back before it counts as stuck; the sweeper may be busy, or Redis have been away.
    pub patience: Duration,
    /// What the shop is known to have accepted.
    pub expected: Option<Expected>,
    /// The most ids, order lines and events, each, that are held in memory at once. A shop with more is not compared.
    pub most_held: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            settled: false,
            patience: Duration::from_mins(1),
            expected: None,
            most_held: usize::MAX,
        }
    }
}

impl Options {
    /// Whether so much may be held in memory.
    pub(crate) fn allow(&self, held: usize) -> Result<(), VerifyError> {
        if held > self.most_held {
            return Err(VerifyError::TooLarge);
        }
        Ok(())
    }
}

/// Compares everything. An error says that it could not be compared, a report what came of it.
pub async fn verify(books: &mut Books, options: &Options) -> Result<Report, VerifyError> {
    let mut report = Report::default();
    let mut reservations = stock::begin(books).await?;
    let found = scan::everything(books, options).await?;
    orders::check(books, &found, options, &mut reservations, &mut report).await?;
    stock::check(books, &found, options, &mut reservations, &mut report).await?;
    streams::check(books, options, &mut report).await?;
    if let Some(expected) = &options.expected {
        expected.check(books, &found, &mut report).await?;
    }
    Ok(report)
}
