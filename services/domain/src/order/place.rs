//! The first decision: an order comes to be.

use super::transition::document;
use super::{Decision, Order, OrderLine, Passage, Policy, State};
use crate::UnixMilliseconds;
use crate::events::{OrderEvent, OrderPlaced};
use crate::ids::OrderId;
use crate::lines::Lines;
use crate::money::{Amount, Currency};

/// What a new order is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placing {
    /// A new id.
    pub id: OrderId,
    /// The shop's currency.
    pub currency: Currency,
    /// What is wanted.
    pub lines: Lines,
    /// Of the request.
    pub request_id: String,
    /// Of the request.
    pub traceparent: String,
}

/// Version 1 of an order, and order.placed.
pub fn place(placing: Placing, now: UnixMilliseconds, policy: &Policy) -> Decision {
    let Placing {
        id,
        currency,
        lines,
        request_id,
        traceparent,
    } = placing;
    let due = now + policy.order_deadline;
    let order = Order {
        id,
        version: 1,
        state: State::Pending,
        currency,
        lines: lines
            .as_slice()
            .iter()
            .map(|line| OrderLine {
                product_id: line.product_id,
                quantity: line.quantity,
                expected_unit_price: line.expected_unit_price,
                unit_price: None,
            })
            .collect(),
        subtotal: None,
        fee: None,
        total: None,
        captured: Amount::ZERO,
        refunded: Amount::ZERO,
        refund_open: Amount::ZERO,
        refunds: Vec::new(),
        open_refunds: Vec::new(),
        ledger: Vec::new(),
        reason: None,
        stop: false,
        stock_settled: false,
        attempts: 0,
        deadline_at: due,
        due_at: Some(due),
        created_at: now,
        updated_at: now,
        timeline: vec![Passage {
            state: State::Pending,
            at: now,
        }],
        request_id,
        traceparent,
    };
    Decision {
        expected_version: 0,
        expected_updated_at: 0,
        merge: document(&order),
        due: order.due_at,
        events: vec![OrderEvent::Placed(OrderPlaced {
            order_id: id,
            currency,
            lines,
        })],
        jobs: Vec::new(),
        refund: None,
        order,
    }
}
