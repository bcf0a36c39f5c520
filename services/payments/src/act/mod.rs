//! What happened to orders: read, decide, store; on a conflict again. One at a time here, many at once in [`batch`].

use shopwright_domain::ids::{OrderId, RefundId};
use shopwright_domain::order::{
    Decision, Input, Order, Outcome, Policy, Refund, RefundAnswer, Refusal, State, Stay, decide,
};

use crate::metrics::Metrics;
use crate::store::{Committed, Grounds, Mark, Store, StoreError};

mod batch;

pub use batch::{Answer, OrderInput};

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

impl Happening {
    /// The order, and what happened to it; none when a document is missing.
    fn with(&self, grounds: Grounds) -> Option<(Order, Input)> {
        let input = match self {
            Self::Input(input) => input.clone(),
            Self::Refund(_, answer) => Input::Refund(grounds.refund?, *answer),
        };
        Some((grounds.order?, input))
    }
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acted {
    /// As it is now; the mark was stored with the change.
    Changed {
        /// The order.
        order: Order,
        /// The refund that was opened or closed with it.
        refund: Option<Refund>,
    },
    /// The order as it was, with nothing to change; the mark was stored all the same: what was granted once stays granted.
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
            Acted::Changed { order, .. } | Acted::Unchanged(order) => Ok(order),
            // Only what has a mark can be known by one.
            Acted::Known(_) => Err(ActError::Contended),
        }
    }

    /// The same for a request that may be repeated: its mark is stored with the change, and looked for before anything is
    /// decided: a request that is known had its effect, whatever the rules would say now.
    pub async fn act_marked(&self, id: OrderId, happening: &Happening, mark: &Mark) -> Result<Acted, ActError> {
        self.attempt(id, happening, Some(mark)).await
    }

    async fn attempt(&self, id: OrderId, happening: &Happening, mark: Option<&Mark>) -> Result<Acted, ActError> {
        let refund = match happening {
            Happening::Input(_) => None,
            Happening::Refund(refund, _) => Some(*refund),
        };
        for _ in 0..ATTEMPTS {
            let grounds = self.store.grounds(id, refund, mark).await?;
            if let Some(record) = grounds.record {
                return Ok(Acted::Known(record));
            }
            let now = grounds.now;
            let (order, input) = happening.with(grounds).ok_or(ActError::Missing)?;
            let decision = match decide(&order, &input, now, &self.policy)? {
                Outcome::Stay(stay) => {
                    if let Some(mark) = mark
                        && let Some(record) = self.store.remember(mark).await?
                    {
                        return Ok(Acted::Known(record));
                    }
                    self.note(order.id, order.state, &input, stay);
                    return Ok(Acted::Unchanged(order));
                }
                Outcome::Advance(decision) => decision,
            };
            match self.store.commit(&decision, mark).await? {
                Committed::Stored => {
                    self.metrics.transition(&order, &decision.order);
                    let Decision { order, refund, .. } = *decision;
                    return Ok(Acted::Changed { order, refund });
                }
                Committed::Known(record) => return Ok(Acted::Known(record)),
                // This names no entries that could be lost.
                Committed::Conflict | Committed::EntriesLost(_) => self.metrics.conflicts.inc(),
            };
        }
        Err(ActError::Contended)
    }

    fn note(&self, order: OrderId, state: State, input: &Input, stay: Stay) {
        if stay == Stay::Contradiction {
            self.metrics.contradictions.inc();
            tracing::error!(%order, state = state.as_str(), ?input, "cannot have happened; nothing was changed");
        } else {
            tracing::debug!(%order, state = state.as_str(), ?stay, "nothing to change");
        }
    }
}
