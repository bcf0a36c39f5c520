//! The consumers: stock answers from inventory's stream, in batches; provider jobs from our own, each by itself. One loop
//! each, with a limit of its own, so that a slow provider never holds up a stock answer.

use std::time::Duration;

use shopwright_domain::events::{Content, EventError, Received, decode};
use shopwright_streams::consume::{Entry, Outcome};

use crate::act::ActError;
use crate::metrics::Metrics;

mod jobs;
mod stock;

pub use jobs::JobHandler;
pub use stock::StockHandler;

/// Before an entry in hand is tried again because Redis was away or others were faster.
const PAUSE: Duration = Duration::from_millis(500);

/// The entry's content, or what to do with an entry that has none for us.
fn read<E: Content>(entry: &Entry, metrics: &Metrics) -> Result<Received<E>, Outcome> {
    match decode::<E>(|name| entry.fields.text(name)) {
        Ok(received) => Ok(received),
        Err(error) => {
            report_broken(entry, &error, metrics);
            // No delivery will make it readable.
            Err(Outcome::Reject("malformed"))
        }
    }
}

fn report_broken(entry: &Entry, error: &EventError, metrics: &Metrics) {
    metrics.broken.inc();
    tracing::error!(stream = %entry.stream, id = %entry.id, %error, "entry cannot be read; it goes to the dead letters");
}

fn report_unknown(entry: &Entry, kind: &str, metrics: &Metrics) -> Outcome {
    metrics.unknown.inc();
    tracing::warn!(stream = %entry.stream, id = %entry.id, kind, "entry of an unknown type; it goes to the dead letters");
    Outcome::Reject("unknown-type")
}

/// What becomes of an entry whose order could not be changed. Whatever passes by itself is waited for and uses up no
/// delivery, so that an outage makes no dead letters; what only a repair can help is left to the deliveries that it has.
fn after(error: &ActError) -> Outcome {
    match error {
        ActError::Store(store) if !store.is_passing() => Outcome::Retry,
        ActError::Store(_) | ActError::Contended => Outcome::RetryAfter(PAUSE),
        ActError::Missing => Outcome::Reject("no-such-document"),
        ActError::Refused(_) => Outcome::Reject("refused"),
    }
}

/// Logs what was not done: one line for all that only has to wait, one for each of the others.
fn report<E: AsRef<ActError>>(failures: &[(&Entry, E)], metrics: &Metrics) {
    let mut waiting = (0_u64, None);
    for (entry, error) in failures {
        let (stream, id, error) = (&entry.stream, entry.id, error.as_ref());
        match after(error) {
            Outcome::RetryAfter(_) => waiting = (waiting.0 + 1, Some(error)),
            Outcome::Reject(reason) => {
                tracing::error!(%stream, %id, %error, reason, "entry cannot be applied; it goes to the dead letters");
            }
            _ => tracing::error!(%stream, %id, %error, "entry cannot be applied; it is left pending"),
        }
    }
    if let (entries, Some(error)) = waiting {
        metrics.postponed.inc_by(entries);
        tracing::warn!(entries, %error, "not applied yet; tried again");
    }
}
