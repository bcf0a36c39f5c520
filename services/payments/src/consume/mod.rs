//! The consumers: stock answers from inventory's stream, provider jobs from our own. One loop each, with a limit of its
//! own, so that a slow provider never holds up a stock answer.

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
        ActError::Store(store) if !store.is_passing() => {
            tracing::error!(%error, "the entry is left pending");
            Outcome::Retry
        }
        ActError::Store(_) | ActError::Contended => {
            tracing::warn!(%error, "the entry is tried again");
            Outcome::RetryAfter(PAUSE)
        }
        ActError::Missing => reject(error, "no-such-document"),
        ActError::Refused(_) => reject(error, "refused"),
    }
}

fn reject(error: &ActError, reason: &'static str) -> Outcome {
    tracing::error!(%error, reason, "the entry cannot be applied; it goes to the dead letters");
    Outcome::Reject(reason)
}
