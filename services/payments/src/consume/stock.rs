//! Applies inventory's answers to orders.

use shopwright_domain::events::StockEvent;
use shopwright_domain::order::Input;
use shopwright_streams::consume::{Entry, Handler, Outcome};
use tracing::Instrument;

use super::{after, read, report_unknown};
use crate::act::{Actor, Happening};

/// Handles `{NAME-inventory}:events`.
#[derive(Debug)]
pub struct StockHandler {
    actor: Actor,
}

impl StockHandler {
    /// Acts by the rules.
    pub fn new(actor: Actor) -> Self {
        Self { actor }
    }

    async fn apply(&self, event: StockEvent) -> Outcome {
        use shopwright_domain::events::Content;
        let id = event.order_id();
        let input = match event {
            StockEvent::Reserved(reserved) => Input::StockReserved(reserved.lines),
            StockEvent::Rejected(rejected) => Input::StockRejected(rejected.reason),
            StockEvent::Committed(_) => Input::StockCommitted,
            StockEvent::CommitRefused(_) => Input::StockCommitRefused,
            StockEvent::Released(_) => Input::StockReleased,
        };
        match self.actor.act(id, &Happening::Input(input)).await {
            Ok(_) => Outcome::Done,
            Err(error) => after(&error),
        }
    }
}

impl Handler for StockHandler {
    async fn handle(&self, entry: &Entry) -> Outcome {
        let received = match read::<StockEvent>(entry, &self.actor.metrics) {
            Ok(received) => received,
            Err(outcome) => return outcome,
        };
        let Some(event) = received.content else {
            return report_unknown(entry, &received.kind, &self.actor.metrics);
        };
        let span = tracing::info_span!(
            "stock",
            kind = received.kind,
            request_id = received.meta.request_id,
            traceparent = received.meta.traceparent
        );
        self.apply(event).instrument(span).await
    }
}
