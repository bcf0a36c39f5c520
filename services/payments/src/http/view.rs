//! An order as the API shows it: money with its currency, times as RFC 3339.

use serde::{Deserialize, Serialize};
use shopwright_domain::ids::{OrderId, ProductId};
use shopwright_domain::money::{Amount, Money};
use shopwright_domain::order::{Order, OrderLine, Reason, State};

use crate::store::rfc3339;

/// The reply's body. Members that say nothing yet are left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderView {
    /// Its id.
    pub id: OrderId,
    /// Where it stands.
    pub state: State,
    /// 1 to 50, one per product.
    pub lines: Vec<LineView>,
    /// Sum of quantity times price over all lines; from `reserved` on, as the two below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subtotal: Option<Money>,
    /// The shop's fee on the subtotal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fee: Option<Money>,
    /// Subtotal and fee: what is charged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<Money>,
    /// What the provider took, which is the total; left out until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub captured: Option<Money>,
    /// What went back, if anything did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refunded: Option<Money>,
    /// What is on its way back, if anything is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refund_open: Option<Money>,
    /// Why it ended without a sale, or is about to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// 1 when placed, one more with every change.
    pub version: u64,
    /// When it was placed: RFC 3339 in UTC, with milliseconds, as every time here.
    pub created_at: String,
    /// When it last changed.
    pub updated_at: String,
    /// Every state it came into, oldest first.
    pub timeline: Vec<PassageView>,
}

/// One product of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineView {
    /// As inventory's catalogue knows it.
    pub product_id: ProductId,
    /// Pieces, 1 to 10,000.
    pub quantity: u32,
    /// For one piece, as taken together with the stock; from `reserved` on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit_price: Option<Money>,
}

/// A state and when it was reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassageView {
    /// The one it came into.
    pub state: State,
    /// When it did.
    pub at: String,
}

impl From<&Order> for OrderView {
    fn from(order: &Order) -> Self {
        let money = |amount: Amount| Money {
            amount,
            currency: order.currency,
        };
        let moved = |amount: Amount| (!amount.is_zero()).then(|| money(amount));
        Self {
            id: order.id,
            state: order.state,
            lines: order
                .lines
                .iter()
                .map(|line| LineView {
                    product_id: line.product_id,
                    quantity: line.quantity,
                    unit_price: line.unit_price.map(money),
                })
                .collect(),
            subtotal: order.subtotal.map(money),
            fee: order.fee.map(money),
            total: order.total.map(money),
            captured: moved(order.captured),
            refunded: moved(order.refunded),
            refund_open: moved(order.refund_open),
            reason: order.reason,
            version: order.version,
            created_at: rfc3339(order.created_at),
            updated_at: rfc3339(order.updated_at),
            timeline: order
                .timeline
                .iter()
                .map(|passage| PassageView {
                    state: passage.state,
                    at: rfc3339(passage.at),
                })
                .collect(),
        }
    }
}

impl OrderView {
    /// As it was when it was placed, whatever became of it: a repeated request to place it is told the same.
    pub(super) fn as_placed(order: &Order) -> Self {
        let created_at = rfc3339(order.created_at);
        let line = |line: &OrderLine| LineView {
            product_id: line.product_id,
            quantity: line.quantity,
            unit_price: None,
        };
        Self {
            id: order.id,
            state: State::Pending,
            lines: order.lines.iter().map(line).collect(),
            subtotal: None,
            fee: None,
            total: None,
            captured: None,
            refunded: None,
            refund_open: None,
            reason: None,
            version: 1,
            updated_at: created_at.clone(),
            timeline: vec![PassageView {
                state: State::Pending,
                at: created_at.clone(),
            }],
            created_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use shopwright_domain::lines::{Line, Lines, PricedLine};
    use shopwright_domain::money::FeePercent;
    use shopwright_domain::order::{Input, Outcome, Placing, Policy, decide, place};

    use super::*;

    #[test]
    fn an_order_is_shown_as_placed_however_far_it_came() {
        let policy = Policy {
            order_deadline: 1_000,
            charge_retry: 1,
            release_retry: 1,
            longest_retry: 1,
            fee: FeePercent::new(20).unwrap(),
        };
        let line = Line {
            product_id: ProductId::generate(),
            quantity: 2,
            expected_unit_price: Some(Amount::new(5).unwrap()),
        };
        let placing = Placing {
            id: OrderId::generate(),
            currency: "EUR".parse().unwrap(),
            lines: Lines::new(&[line]).unwrap(),
            request_id: "request".into(),
            traceparent: String::new(),
        };
        let placed = place(placing, 1_000, &policy).order;
        let priced = PricedLine {
            product_id: line.product_id,
            quantity: 2,
            unit_price: Amount::new(5).unwrap(),
        };
        let outcome = decide(&placed, &Input::StockReserved(vec![priced]), 2_000, &policy).unwrap();
        let Outcome::Advance(decision) = outcome else {
            panic!("nothing to store")
        };
        let reserved = decision.order;
        assert_ne!(OrderView::from(&reserved), OrderView::from(&placed));
        assert_eq!(OrderView::as_placed(&reserved), OrderView::from(&placed));
        assert_eq!(OrderView::as_placed(&placed), OrderView::from(&placed));
    }
}
