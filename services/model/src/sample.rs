//! The one shape of order that is checked, and its form without counters and times.
//!
//! One line, one piece, a total of two minor units: the smallest that can be refunded in two parts. Rules know no other
//! difference between orders than these amounts, so more lines or larger sums reach no other state of the machine.

use shopwright_domain::UnixMilliseconds;
use shopwright_domain::ids::{OrderId, ProductId, RefundId};
use shopwright_domain::lines::{Line, Lines, PricedLine};
use shopwright_domain::money::{Amount, Currency, FeePercent};
use shopwright_domain::order::{Decision, Order, Passage, Placing, Policy, Refund, RefundRequest, place};
use shopwright_domain::reservation::Offer;

use crate::rules::Rules;
use crate::table::TableError;

/// The time of every decision.
pub const NOW: UnixMilliseconds = 1_000_000;

/// What a sample order costs, fee and all, in minor units.
pub const TOTAL: u8 = 2;

/// Which refund of an order. Three are enough: the one that payments opens by itself, and two that staff ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Slot {
    /// All of it, opened by payments when the order cannot be delivered.
    Whole,
    /// One minor unit, asked for by staff.
    Part,
    /// All that is left, asked for by staff.
    Rest,
}

impl Slot {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Whole, Self::Part, Self::Rest];

    /// The one with this id: what staff did not ask for, payments did.
    pub fn of(id: RefundId) -> Self {
        if id == part_id() {
            Self::Part
        } else if id == rest_id() {
            Self::Rest
        } else {
            Self::Whole
        }
    }

    /// Its bit in a set.
    pub const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// Both orders have this id in what is decided: rules compare ids for equality only, within one order.
pub fn order_id() -> OrderId {
    OrderId::from_parts(1, [1; 10])
}

/// What the orders are made of.
#[derive(Debug, Clone)]
pub struct Sample {
    /// What orders are given to finish; only their order in time matters, and time is free here.
    pub policy: Policy,
    /// What is wanted.
    pub lines: Lines,
    currency: Currency,
    unit_price: Amount,
}

impl Sample {
    /// The sample.
    pub fn new() -> Result<Self, TableError> {
        let line = Line {
            product_id: ProductId::from_parts(2, [2; 10]),
            quantity: 1,
            expected_unit_price: None,
        };
        Ok(Self {
            policy: Policy {
                order_deadline: 900_000,
                charge_retry: 5_000,
                release_retry: 30_000,
                longest_retry: 300_000,
                fee: FeePercent::new(100).map_err(|_| TableError::Sample)?,
            },
            lines: Lines::new(&[line]).map_err(|_| TableError::Sample)?,
            currency: "EUR".parse().map_err(|_| TableError::Sample)?,
            unit_price: Amount::new(1).map_err(|_| TableError::Sample)?,
        })
    }

    /// The order as it is placed.
    pub fn place(&self) -> Decision {
        let placing = Placing {
            id: order_id(),
            currency: self.currency,
            lines: self.lines.clone(),
            request_id: String::new(),
            traceparent: String::new(),
        };
        place(placing, NOW, &self.policy)
    }

    /// What inventory says when so many pieces are available.
    pub fn judge(&self, rules: &dyn Rules, available: i8) -> Result<(), shopwright_domain::events::RejectionReason> {
        let offer = Offer {
            unit_price: self.unit_price,
            currency: self.currency,
            archived: false,
            available: available.into(),
        };
        rules
            .judge(self.currency, self.lines.as_slice(), offer)
            .map(|_| ())
            .map_err(|(reason, _)| reason)
    }

    /// The lines with their prices, as `stock.reserved` carries them.
    pub fn priced(&self) -> Vec<PricedLine> {
        let price = |line: &Line| PricedLine {
            product_id: line.product_id,
            quantity: line.quantity,
            unit_price: self.unit_price,
        };
        self.lines.as_slice().iter().map(price).collect()
    }

    /// Staff ask for one minor unit.
    pub fn refund_of_part(&self) -> RefundRequest {
        RefundRequest {
            id: part_id(),
            amount: Some(self.unit_price),
            reason: None,
        }
    }

    /// Staff ask for all that is left.
    pub fn refund_of_rest(&self) -> RefundRequest {
        RefundRequest {
            id: rest_id(),
            amount: None,
            reason: None,
        }
    }
}

fn part_id() -> RefundId {
    RefundId::from_parts(3, [3; 10])
}

fn rest_id() -> RefundId {
    RefundId::from_parts(4, [4; 10])
}

/// The order without its counters and times, so that there are finitely many.
///
/// Sound, because rules only write these members, or compare them in one way that is asked for explicitly:
/// - `version` and `updated_at` are compared by storage, for being the same, and never by rules. Here whoever is about to
///   store knows whether somebody else has, and whether Redis has lost the order as it was read.
/// - `attempts` makes the next wait longer, and nothing else. How long a wait is does not matter where time is free.
/// - `due_at` and `deadline_at` are compared with `now` when something may be due. Here whatever has a due time may be due
///   at once, with the deadline passed or not, and [`at_time`] says which.
/// - `refunds` keeps no whole refund that the provider refused: the next one has another id, and nothing is ever decided
///   about the old one again. So there is one whole refund at a time, which is always called the same.
/// - `timeline` and the ledger's times are written for people. Of the timeline the last passage is kept.
///
/// A property test compares decisions about orders in both forms.
pub fn normal(mut order: Order) -> Order {
    order.version = 1;
    order.attempts = 0;
    order.created_at = 0;
    order.updated_at = 0;
    order.deadline_at = 0;
    order.due_at = order.due_at.map(|_| 0);
    order.timeline = vec![Passage {
        state: order.state,
        at: 0,
    }];
    for posting in &mut order.ledger {
        posting.at = 0;
    }
    let (open, ledger) = (&order.open_refunds, &order.ledger);
    let is_booked = |id| ledger.iter().any(|posting| posting.refund_id == Some(id));
    order
        .refunds
        .retain(|&id| Slot::of(id) != Slot::Whole || open.contains(&id) || is_booked(id));
    let booked = order.ledger.iter_mut().filter_map(|posting| posting.refund_id.as_mut());
    for id in order.refunds.iter_mut().chain(&mut order.open_refunds).chain(booked) {
        *id = normal_id(*id);
    }
    order
}

/// A normal order at [`NOW`]: due if it has a due time, with its deadline passed or not.
pub fn at_time(order: &Order, is_past_deadline: bool) -> Order {
    let mut order = order.clone();
    order.due_at = order.due_at.map(|_| NOW);
    order.deadline_at = if is_past_deadline { NOW } else { NOW + 1 };
    order
}

/// All whole refunds are called the same: an order has one at a time.
fn normal_id(id: RefundId) -> RefundId {
    match Slot::of(id) {
        Slot::Whole => RefundId::of_whole(order_id(), 0),
        Slot::Part | Slot::Rest => id,
    }
}

/// The refund without its times.
pub fn normal_refund(mut refund: Refund) -> Refund {
    refund.id = normal_id(refund.id);
    refund.created_at = 0;
    refund.updated_at = 0;
    refund
}
