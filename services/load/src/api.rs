//! The parts of the API's replies that load looks at. Members it does not know may come and go.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use shopwright_domain::ids::{OrderId, ProductId, RefundId};
use shopwright_domain::money::Money;
use shopwright_domain::order::State;

/// An order.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct OrderView {
    pub(crate) id: OrderId,
    pub(crate) state: State,
    pub(crate) version: u64,
    pub(crate) subtotal: Option<Money>,
    pub(crate) fee: Option<Money>,
    pub(crate) total: Option<Money>,
    pub(crate) captured: Option<Money>,
    pub(crate) refunded: Option<Money>,
    pub(crate) refund_open: Option<Money>,
    pub(crate) timeline: Vec<Passage>,
}

/// A state and when it was reached, by the shop's clock.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Passage {
    pub(crate) state: State,
    pub(crate) at: Timestamp,
}

/// A placed order, with the token that reads it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct PlacedView {
    #[serde(flatten)]
    pub(crate) order: OrderView,
    pub(crate) order_token: String,
}

/// A refund.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct RefundView {
    pub(crate) id: RefundId,
    pub(crate) amount: Money,
}

/// A product.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ProductView {
    pub(crate) id: ProductId,
    pub(crate) price: Money,
}

/// A list of products.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ProductList {
    pub(crate) items: Vec<ProductView>,
}

/// Stock of a product.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct StockView {
    pub(crate) on_hand: i64,
    pub(crate) reserved: i64,
}

/// An error's stable word (RFC 9457 with `code`).
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Problem {
    pub(crate) code: String,
}

impl OrderView {
    /// From being placed to its first terminal state, by the shop's clock, so that polling adds nothing to it.
    pub(crate) fn placed_to_terminal(&self) -> Option<Duration> {
        let placed = self.timeline.first()?.at;
        let ended = self.timeline.iter().find(|passage| passage.state.is_terminal())?.at;
        // A clock set back between the two leaves nothing to measure.
        Duration::try_from(ended.duration_since(placed)).ok()
    }

    /// Is money on its way back?
    pub(crate) fn has_open_refund(&self) -> bool {
        self.refund_open.is_some_and(|open| !open.amount.is_zero())
    }
}
