//! What the check needs to know of an order or a refund, worked out once for each.

use shopwright_domain::money::Amount;
use shopwright_domain::order::{Order, PostingKind, State};

use crate::rules::Rules;
use crate::sample::Slot;

/// A sample's amount: two minor units at most.
pub fn minor_units(amount: Amount) -> u8 {
    u8::try_from(amount.minor_units()).unwrap_or(u8::MAX)
}

/// What is known of an order.
#[expect(clippy::struct_excessive_bools, reason = "they are what an order's document has")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderFacts {
    /// Where it stands.
    pub state: State,
    /// Called off while the provider may have been asked.
    pub stop: bool,
    /// Inventory has said that it holds nothing.
    pub stock_settled: bool,
    /// Something has to happen next.
    pub has_due_time: bool,
    /// The provider may be asked to charge it.
    pub may_charge: bool,
    /// What the provider took.
    pub captured: u8,
    /// What went back.
    pub refunded: u8,
    /// What is on its way back.
    pub refund_open: u8,
    /// Its amounts fit each other.
    pub adds_up: bool,
}

impl OrderFacts {
    /// Of a normal order.
    pub fn of(rules: &dyn Rules, order: &Order) -> Self {
        Self {
            state: order.state,
            stop: order.stop,
            stock_settled: order.stock_settled,
            has_due_time: order.due_at.is_some(),
            may_charge: rules.may_charge(order),
            captured: minor_units(order.captured),
            refunded: minor_units(order.refunded),
            refund_open: minor_units(order.refund_open),
            adds_up: adds_up(order),
        }
    }

    /// Money has been taken by what the order says.
    pub const fn is_paid_for(&self) -> bool {
        matches!(self.state, State::Paid | State::Completed | State::Refunded)
    }
}

/// Captured is nothing or the total, what goes back is never more, and the ledger says the same.
fn adds_up(order: &Order) -> bool {
    let minor = Amount::minor_units;
    let postings = |kind| order.ledger.iter().filter(move |posting| posting.kind == kind);
    let sum = |kind| postings(kind).map(|posting| minor(posting.amount)).sum::<i64>();
    let total = order.total.map_or(0, minor);
    let parts = order.subtotal.map_or(0, minor) + order.fee.map_or(0, minor);
    let (captured, refunded, open) = (minor(order.captured), minor(order.refunded), minor(order.refund_open));
    let is_paid_for = matches!(order.state, State::Paid | State::Completed | State::Refunded);
    total == parts
        && captured == if is_paid_for { total } else { 0 }
        && refunded + open <= captured
        && (order.state == State::Refunded) == (is_paid_for && refunded == captured)
        && postings(PostingKind::Capture).count() == usize::from(is_paid_for)
        && sum(PostingKind::Capture) == captured
        && sum(PostingKind::Refund) == refunded
}

/// What is known of a refund document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefundFacts {
    /// Which refund.
    pub slot: Slot,
    /// How much.
    pub amount: u8,
    /// The provider's answer is outstanding.
    pub is_open: bool,
    /// The money is back, by what shop and provider concluded.
    pub is_booked: bool,
}
