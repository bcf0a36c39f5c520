//! One thing that happened to one order: read, decide, store; on a conflict again.

use shopwright_domain::ids::{OrderId, RefundId};
use shopwright_domain::order::{Input, Order, Outcome, Policy, RefundAnswer, Refusal, Stay, decide};

use crate::metrics::Metrics;
use crate::store::{Committed, Loaded, Mark, Store, StoreError};

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

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acted {
    /// The order as it is now; the mark was stored with the change.
    Changed(Order),
    /// The order as it was, with nothing to change. No mark was stored: a repetition is judged anew.
    Unchanged(Order),
    /// The request had its effect before; this is the record of it.
    Known(String),
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
        match self.attempt(id, happening, None).await? {
            Acted::Changed(order) | Acted::Unchanged(order) => Ok(order),
            // Only what has a mark can be known by one.
            Acted::Known(_) => Err(ActError::Contended),
        }
    }

    /// The same for a request that may be repeated: its mark is stored with the change, and looked for before anything is
    /// decided. A refusal counts only when the mark is not there: a request that is known had its effect, whatever the
    /// rules say now.
    pub async fn act_marked(&self, id: OrderId, happening: &Happening, mark: &Mark) -> Result<Acted, ActError> {
        self.attempt(id, happening, Some(mark)).await
    }

    async fn attempt(&self, id: OrderId, happening: &Happening, mark: Option<&Mark>) -> Result<Acted, ActError> {
        for _ in 0..ATTEMPTS {
            if let Some(mark) = mark
                && let Some(record) = self.store.mark(&mark.id).await?
            {
                return Ok(Acted::Known(record));
            }
            let (loaded, input) = self.read(id, happening).await?;
            let decision = match decide(&loaded.order, &input, loaded.now, &self.policy)? {
                Outcome::Stay(stay) => {
                    self.note(&loaded.order, &input, stay);
                    return Ok(Acted::Unchanged(loaded.order));
                }
                Outcome::Advance(decision) => decision,
            };
            match self.store.commit(&decision, mark).await? {
                Committed::Stored => {
                    self.metrics.transition(&loaded.order, &decision.order);
                    return Ok(Acted::Changed(decision.order));
                }
                Committed::Known(record) => return Ok(Acted::Known(record)),
                Committed::Conflict => self.metrics.conflicts.inc(),
            };
        }
        Err(ActError::Contended)
    }

    async fn read(&self, id: OrderId, happening: &Happening) -> Result<(Loaded, Input), ActError> {
        match happening {
            Happening::Input(input) => {
                let loaded = self.store.load(id).await?.ok_or(ActError::Missing)?;
                Ok((loaded, input.clone()))
            }
            Happening::Refund(refund, answer) => {
                let read = self.store.load_with_refund(id, *refund).await?;
                let (loaded, refund) = read.ok_or(ActError::Missing)?;
                Ok((loaded, Input::Refund(refund, *answer)))
            }
        }
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
