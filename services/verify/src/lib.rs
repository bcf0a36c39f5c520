//! Compares the books of a shop while it runs: every order with its reservation, its refunds and the provider's book, every
//! product with its reservations, the streams with their groups. Reads only, as the user `verify`.
//!
//! Whoever reads many documents of a live shop sees some of them change. So a difference counts only when a second look by
//! one script, which sees everything at one moment, still shows it.

mod books;
mod connection;
mod expected;
#[cfg(feature = "journal")]
mod journal;
mod look;
mod orders;
mod report;
mod rules;
mod scan;
mod stock;
mod streams;

pub use connection::{Books, VerifyError};
pub use expected::{Expected, ExpectedOrder};
pub use report::{Finding, Invariant, Report};

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
}

impl Default for Options {
    fn default() -> Self {
        Self {
            settled: false,
            patience: Duration::from_mins(1),
            expected: None,
        }
    }
}

/// Compares everything. An error says that it could not be compared, a report what came of it.
pub async fn verify(books: &mut Books, options: &Options) -> Result<Report, VerifyError> {
    let mut report = Report::default();
    // Before anything is read: whatever changes from here on is in the stream behind this id.
    let since = stock::last_change(books).await?;
    let found = scan::everything(books).await?;
    let reservations = orders::check(books, &found, options, &mut report).await?;
    stock::check(books, &found, reservations, &since, &mut report).await?;
    streams::check(books, options, &mut report).await?;
    if let Some(expected) = &options.expected {
        expected.check(books, &found, &mut report).await?;
    }
    Ok(report)
}
