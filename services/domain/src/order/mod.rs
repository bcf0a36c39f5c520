//! Orders: what one is, and ([`decide`]) what becomes of it. The only place with order rules; storage compares
//! version and time of the last change, and writes what was decided here.

use serde::{Deserialize, Serialize};

use crate::UnixMilliseconds;
use crate::events::RejectionReason;
use crate::ids::{OrderId, ProductId, RefundId};
use crate::money::{Amount, Currency};

mod decide;
mod decision;
mod merge;
mod place;
pub mod rules;
pub mod situation;
mod transition;

#[cfg(test)]
mod table;
#[cfg(test)]
mod world;

pub use decide::decide;
pub use decision::{ChargeAnswer, Decision, Input, Outcome, Policy, RefundAnswer, RefundRequest, Refusal, Stay};
pub use merge::merge_patch;
pub use place::{Placing, place};

/// Where an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Stored; inventory has been asked for stock.
    Pending,
    /// Stock is held and prices are taken; the provider is about to be asked.
    Reserved,
    /// The provider may have been asked.
    Charging,
    /// The money is there; inventory has been asked to commit, or the money is on its way back.
    Paid,
    /// Paid and committed.
    Completed,
    /// Inventory could not reserve.
    Rejected,
    /// The provider said no.
    Declined,
    /// Called off before any money moved.
    Cancelled,
    /// All of the money went back.
    Refunded,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 9] = [
        Self::Pending,
        Self::Reserved,
        Self::Charging,
        Self::Paid,
        Self::Completed,
        Self::Rejected,
        Self::Declined,
        Self::Cancelled,
        Self::Refunded,
    ];

    /// The stable word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Reserved => "reserved",
            Self::Charging => "charging",
            Self::Paid => "paid",
            Self::Completed => "completed",
            Self::Rejected => "rejected",
            Self::Declined => "declined",
            Self::Cancelled => "cancelled",
            Self::Refunded => "refunded",
        }
    }

    /// Has the shopper's order ended? A completed one may still be refunded; none ever becomes unfinished again.
    pub const fn is_terminal(self) -> bool {
        !matches!(self, Self::Pending | Self::Reserved | Self::Charging | Self::Paid)
    }
}

impl std::str::FromStr for State {
    type Err = UnknownState;
    fn from_str(text: &str) -> Result<Self, UnknownState> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or(UnknownState)
    }
}

/// No state of an order has this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no state of an order has this name")]
pub struct UnknownState;

/// Why an order is where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Inventory: no such product.
    UnknownProduct,
    /// Inventory: no longer sold.
    Archived,
    /// Inventory: too few.
    InsufficientStock,
    /// Inventory: not the price that the shopper saw.
    PriceChanged,
    /// Inventory: the product has another currency.
    CurrencyMismatch,
    /// The provider said no.
    Declined,
    /// It took too long.
    Deadline,
    /// The shopper called it off.
    Shopper,
    /// Subtotal and fee together leave the range of an amount.
    TotalOutOfRange,
    /// Paid, but inventory no longer held the stock.
    CommitRefused,
}

impl From<RejectionReason> for Reason {
    fn from(reason: RejectionReason) -> Self {
        match reason {
            RejectionReason::UnknownProduct => Self::UnknownProduct,
            RejectionReason::Archived => Self::Archived,
            RejectionReason::InsufficientStock => Self::InsufficientStock,
            RejectionReason::PriceChanged => Self::PriceChanged,
            RejectionReason::CurrencyMismatch => Self::CurrencyMismatch,
        }
    }
}

/// One line as stored. Prices are minor units of the order's currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderLine {
    /// In one line of an order only.
    pub product_id: ProductId,
    /// Pieces, 1 to [`MAX_QUANTITY`](crate::lines::MAX_QUANTITY).
    pub quantity: u32,
    /// What the shopper saw for one piece, if the order holds at that price only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_unit_price: Option<Amount>,
    /// For one piece, as inventory took it together with the stock; from `reserved` on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit_price: Option<Amount>,
}

/// A state that the order came into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passage {
    /// The one it came into; an order comes into each at most once.
    pub state: State,
    /// When that was decided, by the clock of Redis.
    pub at: UnixMilliseconds,
}

/// The most refunds of one order: they bound its document.
pub const MAX_REFUNDS: usize = 100;

/// Which way money moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PostingKind {
    /// To the shop.
    Capture,
    /// Back to the shopper.
    Refund,
}

/// One movement of money, in minor units of the order's currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posting {
    /// To the shop or back.
    pub kind: PostingKind,
    /// Never negative, whichever way it moved.
    pub amount: Amount,
    /// The refund by which it went back; none for a capture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refund_id: Option<RefundId>,
    /// When the provider's answer was taken in, which is later than the money moved.
    pub at: UnixMilliseconds,
}

/// An order, as its document holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Its id; also the key of its charge.
    pub id: OrderId,
    /// 1 when placed, one more with every change.
    pub version: u64,
    /// Where it stands.
    pub state: State,
    /// The shop's, when it was placed; every amount in the order is in its minor units.
    pub currency: Currency,
    /// 1 to [`MAX_LINES`](crate::lines::MAX_LINES), one per product.
    pub lines: Vec<OrderLine>,
    /// Sum of the lines, once prices are taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subtotal: Option<Amount>,
    /// The shop's fee on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fee: Option<Amount>,
    /// Subtotal and fee: what is charged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<Amount>,
    /// What the provider took: nothing, or the total.
    pub captured: Amount,
    /// What went back. Never more than captured, together with `refund_open`.
    pub refunded: Amount,
    /// What is on its way back.
    pub refund_open: Amount,
    /// Every refund that was ever opened, oldest first; at most [`MAX_REFUNDS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refunds: Vec<RefundId>,
    /// Those of them that the provider has not answered yet; their amounts add up to `refund_open`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub open_refunds: Vec<RefundId>,
    /// Every movement of money, oldest first; captures less refunds are what the shop has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ledger: Vec<Posting>,
    /// Why it is where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Called off while the provider may have been asked: no new charge, and if one happened it goes back.
    pub stop: bool,
    /// Inventory has said that it holds nothing for this order (any more).
    pub stock_settled: bool,
    /// How often something was asked again in this state; the back-off.
    pub attempts: u32,
    /// When patience with stock and provider ends.
    pub deadline_at: UnixMilliseconds,
    /// When something has to happen next; the member's score in the set of due times. `None`: nothing any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<UnixMilliseconds>,
    /// When it was placed.
    pub created_at: UnixMilliseconds,
    /// When it last changed.
    pub updated_at: UnixMilliseconds,
    /// Every state it came into, oldest first; the last is where it stands.
    pub timeline: Vec<Passage>,
    /// Id of the request that placed it, carried on by its events and jobs; may be empty.
    #[serde(default)]
    pub request_id: String,
    /// W3C trace context of that request, carried on in the same way; may be empty.
    #[serde(default)]
    pub traceparent: String,
}

impl Order {
    /// May the provider be asked to charge it? Only when that is on record.
    pub fn may_charge(&self) -> bool {
        self.state == State::Charging && !self.stop
    }

    /// Is all of the captured money to go back, as nothing was sold for it? Then the provider is asked for all that is left:
    /// after Redis has lost writes, more may be back than the order knows.
    pub fn returns_all(&self) -> bool {
        self.state == State::Paid
    }

    /// Captured and neither back nor on its way back.
    pub fn refundable(&self) -> Amount {
        self.captured
            .minus(self.refunded)
            .and_then(|rest| rest.minus(self.refund_open))
            .unwrap_or(Amount::ZERO)
    }
}

/// Where a refund stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefundState {
    /// The provider is to be asked, or has been.
    Requested,
    /// The money is back.
    Succeeded,
    /// The provider said no.
    Failed,
}

/// A refund, as its document holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refund {
    /// Its id; also its key with the provider.
    pub id: RefundId,
    /// The order whose money it is.
    pub order_id: OrderId,
    /// At least 1 minor unit, and no more than was captured and neither back nor on its way back.
    pub amount: Amount,
    /// The order's.
    pub currency: Currency,
    /// Where it stands.
    pub state: RefundState,
    /// What staff said about it, at most 200 characters; none for a refund that the shop opened by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it was asked for (again).
    pub created_at: UnixMilliseconds,
    /// When it last changed.
    pub updated_at: UnixMilliseconds,
}
