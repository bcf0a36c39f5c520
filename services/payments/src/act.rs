//! One thing that happened to one order: read, decide, store; on a conflict again.

use shopwright_domain::ids::{OrderId, RefundId};
use shopwright_domain::order::{Input, Order, Outcome, Policy, RefundAnswer, Refusal, Stay, decide};

use crate::metrics::Metrics;
use crate::store::{Committed, Store, StoreError};

/// How often a decision is made anew when somebody else was faster.
const ATTEMPTS: u32 = 3;

/// What happened.
#[derive(Debug, Clone)]
pub enum Happening {
    /// Something that is known whole.
    Input(Input),
    /// The provider's answer about a refund, whose document is read with the order.
    Refund(RefundId, RefundAnswer),
}

/// Why nothing was concluded.
#[derive(Debug, thiserror::Error)]
pub enum ActError {
    /// Redis.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Others were faster, every time.
    #[error("the order changed under every attempt")]
    Contended,
    /// There is no such order, or no such refund.
    #[error("there is no such document")]
    Missing,
    /// By the rules.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// Decides and stores. Shared by API, sweeper and consumers, so that there is one way for an order to change.
#[derive(Debug, Clone)]
pub struct Actor {
    /// The orders.
    pub store: Store,
    /// What orders are given to finish.
    pub policy: Policy,
    /// Counts.
    pub metrics: Metrics,
}

impl Actor {
    /// The order afterwards, changed or not.
    pub async fn act(&self, id: OrderId, happening: &Happening) -> Result<Order, ActError> {
        for _ in 0..ATTEMPTS {
            let loaded = self.store.load(id).await?.ok_or(ActError::Missing)?;
            let input = match happening {
                Happening::Input(input) => input.clone(),
                Happening::Refund(refund_id, answer) => Input::Refund(
                    self.store.load_refund(*refund_id).await?.ok_or(ActError::Missing)?,
                    *answer,
                ),
            };
            match decide(&loaded.order, &input, loaded.now, &self.policy)? {
                Outcome::Stay(stay) => {
                    self.note(&loaded.order, &input, stay);
                    return Ok(loaded.order);
                }
                Outcome::Advance(decision) => {
                    if self.store.commit(&decision).await? == Committed::Stored {
                        self.metrics.transition(&loaded.order, &decision.order);
                        return Ok(decision.order);
                    }
                    self.metrics.conflicts.inc();
                }
            }
        }
        Err(ActError::Contended)
    }

    fn note(&self, order: &Order, input: &Input, stay: Stay) {
        if stay == Stay::Contradiction {
            self.metrics.contradictions.inc();
            tracing::error!(order = %order.id, state = order.state.as_str(), ?input, "cannot have happened; nothing was changed");
        } else {
            tracing::debug!(order = %order.id, state = order.state.as_str(), ?stay, "nothing to change");
        }
    }
}
