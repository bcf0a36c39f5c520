//! What happens to an order, and what is decided about it: the words of [`decide`](super::decide).

use serde_json::Value;

use super::{MAX_REFUNDS, Order, Refund, State};
use crate::UnixMilliseconds;
use crate::events::{OrderEvent, RejectionReason};
use crate::ids::RefundId;
use crate::jobs::Job;
use crate::lines::PricedLine;
use crate::money::{Amount, FeePercent};

/// What the provider says has become of a charge, whichever way it was asked: charge, stop or look-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChargeAnswer {
    /// The money moved.
    Charged,
    /// It said no, for good.
    Declined,
    /// It will refuse this key for ever.
    Stopped,
    /// Anything else: no answer, an error, busy, or a look-up that found nothing. Concludes nothing.
    Unknown,
}

/// What the provider says has become of a refund.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefundAnswer {
    /// The money is back.
    Succeeded,
    /// It said no.
    Failed,
    /// Anything else. Concludes nothing.
    Unknown,
}

/// What can happen to an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// `stock.reserved`, with prices.
    StockReserved(Vec<PricedLine>),
    /// `stock.rejected`
    StockRejected(RejectionReason),
    /// `stock.committed`
    StockCommitted,
    /// `stock.commit_refused`
    StockCommitRefused,
    /// `stock.released`
    StockReleased,
    /// The provider is about to be asked for the charge.
    ChargeStarting,
    /// The provider's answer about the charge.
    Charge(ChargeAnswer),
    /// The shopper calls it off.
    Cancel,
    /// The clock may have passed the order's due time.
    Due,
    /// Staff ask for money to go back.
    RefundRequested(RefundRequest),
    /// The provider's answer about a refund, with the refund's document as read together with the order's.
    Refund(Refund, RefundAnswer),
}

/// A wish that money goes back.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RefundRequest {
    /// A new id, the same whenever the wish is repeated; also the refund's key with the provider.
    pub id: RefundId,
    /// How much; none is all that is left.
    pub amount: Option<Amount>,
    /// For people.
    pub reason: Option<String>,
}

/// What an order is given to finish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// For inventory's answer, and again for the charge, in milliseconds.
    pub order_deadline: i64,
    /// The first wait before the provider is asked again, in milliseconds; it doubles.
    pub charge_retry: i64,
    /// The first wait before inventory is reminded, or a refund asked for again, in milliseconds; it doubles.
    pub release_retry: i64,
    /// The longest wait of both, in milliseconds.
    pub longest_retry: i64,
    /// On the subtotal.
    pub fee: FeePercent,
}

/// A change, to be stored as a whole or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The version that the stored order must still have; 0 for a new one.
    pub expected_version: u64,
    /// When the stored order must have changed last; 0 for a new one. A Redis that has lost its last writes can come to the
    /// same version by another way.
    pub expected_updated_at: UnixMilliseconds,
    /// The order afterwards.
    pub order: Order,
    /// RFC 7396 patch from the stored document to the new one.
    pub merge: Value,
    /// When something has to happen next.
    pub due: Option<UnixMilliseconds>,
    /// To be told to inventory.
    pub events: Vec<OrderEvent>,
    /// To be asked of the provider.
    pub jobs: Vec<Job>,
    /// The refund's document afterwards, where it changes.
    pub refund: Option<Refund>,
}

/// Why nothing changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stay {
    /// Known already, or no longer of interest.
    Repeated,
    /// An unknown answer; the due time sees to it that it is asked again.
    Inconclusive,
    /// The due time is not reached.
    NotDue,
    /// It cannot have happened by the rules of all three parties: log it as an error, change nothing.
    Contradiction,
}

/// What [`decide`] says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Store this.
    Advance(Box<Decision>),
    /// Nothing to store.
    Stay(Stay),
}

/// What the one who asked has to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not in this state.
    #[error("an order that is {} cannot be called off", .0.as_str())]
    Conflict(State),
    /// Money goes back from sold orders only; what is unfinished is called off, or returns its money by itself.
    #[error("nothing of an order that is {} can be refunded", .0.as_str())]
    NotRefundable(State),
    /// More than was captured, what went back and what is on its way back taken off.
    #[error("at most {0} minor units can be refunded")]
    RefundExceeds(Amount),
    /// The document of an order is bounded.
    #[error("an order has at most {MAX_REFUNDS} refunds")]
    TooManyRefunds,
    /// `stock.reserved` names other products or quantities than the order.
    #[error("the reserved lines are not the order's")]
    LinesDiffer,
}
