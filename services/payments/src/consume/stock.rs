//! Applies inventory's answers to orders, many at once.

use shopwright_domain::events::{Content, StockEvent};
use shopwright_domain::order::Input;
use shopwright_kit::crash;
use shopwright_streams::consume::{BatchHandler, Entry, Outcome};

use super::{after, read, report, report_unknown};
use crate::act::{Actor, OrderInput};

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

    fn input(&self, entry: &Entry) -> Result<OrderInput, Outcome> {
        let received = read::<StockEvent>(entry, &self.actor.metrics)?;
        let Some(event) = received.content else {
            return Err(report_unknown(entry, &received.kind, &self.actor.metrics));
        };
        let order = event.order_id();
        let input = match event {
            StockEvent::Reserved(reserved) => Input::StockReserved(reserved.lines),
            StockEvent::Rejected(rejected) => Input::StockRejected(rejected.reason),
            StockEvent::Committed(_) => Input::StockCommitted,
            StockEvent::CommitRefused(_) => Input::StockCommitRefused,
            StockEvent::Released(_) => Input::StockReleased,
        };
        Ok(OrderInput {
            order,
            input,
            entry: Some(entry.id),
        })
    }
}

impl BatchHandler for StockHandler {
    async fn handle(&self, entries: &[Entry]) -> Vec<Outcome> {
        let mut outcomes = vec![Outcome::Done; entries.len()];
        let (mut inputs, mut indices) = (Vec::new(), Vec::new());
        for (index, entry) in entries.iter().enumerate() {
            match self.input(entry) {
                Ok(input) => {
                    inputs.push(input);
                    indices.push(index);
                }
                Err(outcome) => outcomes[index] = outcome,
            }
        }
        crash::point("payments.stock.before_store");
        let answers = self.actor.act_all(&inputs).await;
        crash::point("payments.stock.after_store");
        let mut failures = Vec::new();
        for (index, answer) in indices.into_iter().zip(answers) {
            if let Err(error) = answer {
                outcomes[index] = after(&error);
                failures.push((&entries[index], error));
            }
        }
        report(&failures, &self.actor.metrics);
        outcomes
    }
}
