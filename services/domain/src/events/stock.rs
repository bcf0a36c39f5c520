//! What inventory answers about stock.

use serde::{Deserialize, Serialize};

use super::{Content, EventError, json, only, read, read_only};
use crate::ids::{OrderId, ProductId};
use crate::lines::PricedLine;

/// What inventory answers: `{NAME-inventory}:events`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StockEvent {
    /// All lines are taken from stock, at these prices.
    Reserved(StockReserved),
    /// None is.
    Rejected(StockRejected),
    /// The reservation is final.
    Committed(OrderId),
    /// There was no reservation to make final.
    CommitRefused(OrderId),
    /// Nothing is held for the order, and nothing ever will be.
    Released(OrderId),
}

/// `data` of stock.reserved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StockReserved {
    /// Which order.
    pub order_id: OrderId,
    /// The lines with the prices that were taken, in minor units of the order's currency.
    pub lines: Vec<PricedLine>,
}

/// `data` of stock.rejected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StockRejected {
    /// Which order.
    pub order_id: OrderId,
    /// Why.
    pub reason: RejectionReason,
    /// Because of which product, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product_id: Option<ProductId>,
}

/// Why inventory could not reserve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RejectionReason {
    /// No such product.
    UnknownProduct,
    /// No longer sold.
    Archived,
    /// Too few.
    InsufficientStock,
    /// Not the price that the shopper saw.
    PriceChanged,
    /// The product has another currency than the order.
    CurrencyMismatch,
}

impl RejectionReason {
    /// Every one.
    pub const ALL: [Self; 5] = [
        Self::UnknownProduct,
        Self::Archived,
        Self::InsufficientStock,
        Self::PriceChanged,
        Self::CurrencyMismatch,
    ];

    /// The stable word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownProduct => "unknown_product",
            Self::Archived => "archived",
            Self::InsufficientStock => "insufficient_stock",
            Self::PriceChanged => "price_changed",
            Self::CurrencyMismatch => "currency_mismatch",
        }
    }
}

impl Content for StockEvent {
    fn kind(&self) -> &'static str {
        match self {
            Self::Reserved(_) => "stock.reserved",
            Self::Rejected(_) => "stock.rejected",
            Self::Committed(_) => "stock.committed",
            Self::CommitRefused(_) => "stock.commit_refused",
            Self::Released(_) => "stock.released",
        }
    }

    fn order_id(&self) -> OrderId {
        match self {
            Self::Reserved(reserved) => reserved.order_id,
            Self::Rejected(rejected) => rejected.order_id,
            Self::Committed(id) | Self::CommitRefused(id) | Self::Released(id) => *id,
        }
    }

    fn data(&self) -> String {
        match self {
            Self::Reserved(reserved) => json(reserved),
            Self::Rejected(rejected) => json(rejected),
            other => only(other.order_id()),
        }
    }

    fn parse(kind: &str, data: &str) -> Result<Option<Self>, EventError> {
        let id = || read_only(kind, data);
        Ok(Some(match kind {
            "stock.reserved" => Self::Reserved(read(kind, data)?),
            "stock.rejected" => Self::Rejected(read(kind, data)?),
            "stock.committed" => Self::Committed(id()?),
            "stock.commit_refused" => Self::CommitRefused(id()?),
            "stock.released" => Self::Released(id()?),
            _ => return Ok(None),
        }))
    }
}
