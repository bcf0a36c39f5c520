//! Where an order stands and what can happen to it, as finely as the rules tell: rows and columns of [`rules`](super::rules).

use super::{Order, State};

/// A row of the table: a state, and what of the order's marks matters in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Situation {
    /// Inventory has been asked.
    Pending,
    /// Stock is held, the charge is a job.
    Reserved,
    /// The provider may have been asked.
    Charging,
    /// The same, called off: the provider is asked to refuse the charge.
    Stopping,
    /// Inventory has been asked to commit.
    Paid,
    /// Charged although called off: money and stock go back.
    PaidTooLate,
    /// Charged, and inventory holds nothing (any more): the money goes back.
    PaidForNothing,
    /// Sold.
    Completed,
    /// Sold, and a refund is open.
    Refunding,
    /// Inventory could not reserve.
    Rejected,
    /// The provider said no; inventory may still hold stock.
    DeclinedHolding,
    /// The same, and inventory holds nothing.
    Declined,
    /// Called off; inventory may still hold stock.
    CancelledHolding,
    /// The same, and inventory holds nothing.
    Cancelled,
    /// All money is back; inventory may still hold stock.
    RefundedHolding,
    /// All money is back, and inventory holds nothing.
    Refunded,
}

impl Situation {
    /// Every one.
    pub const ALL: [Self; 16] = [
        Self::Pending,
        Self::Reserved,
        Self::Charging,
        Self::Stopping,
        Self::Paid,
        Self::PaidTooLate,
        Self::PaidForNothing,
        Self::Completed,
        Self::Refunding,
        Self::Rejected,
        Self::DeclinedHolding,
        Self::Declined,
        Self::CancelledHolding,
        Self::Cancelled,
        Self::RefundedHolding,
        Self::Refunded,
    ];

    /// Where this order stands.
    pub fn of(order: &Order) -> Self {
        match order.state {
            State::Pending => Self::Pending,
            State::Reserved => Self::Reserved,
            State::Charging if order.stop => Self::Stopping,
            State::Charging => Self::Charging,
            State::Paid if order.stock_settled => Self::PaidForNothing,
            State::Paid if order.stop => Self::PaidTooLate,
            State::Paid => Self::Paid,
            State::Completed if order.open_refunds.is_empty() => Self::Completed,
            State::Completed => Self::Refunding,
            State::Rejected => Self::Rejected,
            State::Declined if order.stock_settled => Self::Declined,
            State::Declined => Self::DeclinedHolding,
            State::Cancelled if order.stock_settled => Self::Cancelled,
            State::Cancelled => Self::CancelledHolding,
            State::Refunded if order.stop && !order.stock_settled => Self::RefundedHolding,
            State::Refunded => Self::Refunded,
        }
    }

    /// In a few words.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Reserved => "reserved",
            Self::Charging => "charging",
            Self::Stopping => "charging, stop",
            Self::Paid => "paid",
            Self::PaidTooLate => "paid, stop",
            Self::PaidForNothing => "paid, nothing held",
            Self::Completed => "completed",
            Self::Refunding => "completed, refund open",
            Self::Rejected => "rejected",
            Self::DeclinedHolding => "declined, stock open",
            Self::Declined => "declined",
            Self::CancelledHolding => "cancelled, stock open",
            Self::Cancelled => "cancelled",
            Self::RefundedHolding => "refunded, stock open",
            Self::Refunded => "refunded",
        }
    }
}

/// A column of the table: an input that says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Trigger {
    /// `stock.reserved`, for the order's own lines.
    StockReserved,
    /// The same, at prices whose total is no amount.
    StockReservedOutOfRange,
    /// `stock.rejected`
    StockRejected,
    /// `stock.committed`
    StockCommitted,
    /// `stock.commit_refused`
    StockCommitRefused,
    /// `stock.released`
    StockReleased,
    /// A worker is about to ask the provider.
    ChargeStarting,
    /// The provider: the money moved.
    Charged,
    /// The provider: no, for good.
    ChargeDeclined,
    /// The provider: this key is refused for ever.
    ChargeStopped,
    /// The shopper calls it off.
    Cancel,
    /// The due time is reached.
    Due,
    /// The due time is reached, and the deadline too.
    DueAfterDeadline,
    /// Staff ask for money to go back.
    RefundRequested,
    /// The provider: the money of an open refund is back.
    RefundSucceeded,
    /// The provider: the open refund is refused.
    RefundFailed,
}

impl Trigger {
    /// Every one.
    pub const ALL: [Self; 16] = [
        Self::StockReserved,
        Self::StockReservedOutOfRange,
        Self::StockRejected,
        Self::StockCommitted,
        Self::StockCommitRefused,
        Self::StockReleased,
        Self::ChargeStarting,
        Self::Charged,
        Self::ChargeDeclined,
        Self::ChargeStopped,
        Self::Cancel,
        Self::Due,
        Self::DueAfterDeadline,
        Self::RefundRequested,
        Self::RefundSucceeded,
        Self::RefundFailed,
    ];

    /// In a few words.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::StockReserved => "stock.reserved",
            Self::StockReservedOutOfRange => "stock.reserved, total out of range",
            Self::StockRejected => "stock.rejected",
            Self::StockCommitted => "stock.committed",
            Self::StockCommitRefused => "stock.commit_refused",
            Self::StockReleased => "stock.released",
            Self::ChargeStarting => "charge about to start",
            Self::Charged => "provider: charged",
            Self::ChargeDeclined => "provider: declined",
            Self::ChargeStopped => "provider: stopped",
            Self::Cancel => "shopper cancels",
            Self::Due => "due",
            Self::DueAfterDeadline => "due, deadline passed",
            Self::RefundRequested => "refund asked for",
            Self::RefundSucceeded => "provider: refunded",
            Self::RefundFailed => "provider: refund refused",
        }
    }
}
