//! What payments tells about orders.

use serde::{Deserialize, Serialize};

use super::{Content, EventError, json, only, read, read_only};
use crate::ids::OrderId;
use crate::lines::Lines;
use crate::money::Currency;

/// What payments tells: `{NAME-payments}:events`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderEvent {
    /// Stored; inventory shall reserve.
    Placed(OrderPlaced),
    /// The money is there; inventory shall commit.
    Paid(OrderId),
    /// The provider said no; inventory shall release.
    Declined(OrderId),
    /// Called off; inventory shall release.
    Cancelled(OrderId),
    /// Inventory could not reserve; nothing to do.
    Rejected(OrderId),
    /// Paid and committed; nothing to do.
    Completed(OrderId),
    /// All of the money went back; nothing to do.
    Refunded(OrderId),
}

/// `data` of order.placed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderPlaced {
    /// Which order.
    pub order_id: OrderId,
    /// The order's currency: prices below are its minor units, and a product of another one is rejected.
    pub currency: Currency,
    /// What is wanted.
    pub lines: Lines,
}

impl Content for OrderEvent {
    fn kind(&self) -> &'static str {
        match self {
            Self::Placed(_) => "order.placed",
            Self::Paid(_) => "order.paid",
            Self::Declined(_) => "order.declined",
            Self::Cancelled(_) => "order.cancelled",
            Self::Rejected(_) => "order.rejected",
            Self::Completed(_) => "order.completed",
            Self::Refunded(_) => "order.refunded",
        }
    }

    fn order_id(&self) -> OrderId {
        match self {
            Self::Placed(placed) => placed.order_id,
            Self::Paid(id)
            | Self::Declined(id)
            | Self::Cancelled(id)
            | Self::Rejected(id)
            | Self::Completed(id)
            | Self::Refunded(id) => *id,
        }
    }

    fn data(&self) -> String {
        match self {
            Self::Placed(placed) => json(placed),
            other => only(other.order_id()),
        }
    }

    fn parse(kind: &str, data: &str) -> Result<Option<Self>, EventError> {
        let id = || read_only(kind, data);
        Ok(Some(match kind {
            "order.placed" => Self::Placed(read(kind, data)?),
            "order.paid" => Self::Paid(id()?),
            "order.declined" => Self::Declined(id()?),
            "order.cancelled" => Self::Cancelled(id()?),
            "order.rejected" => Self::Rejected(id()?),
            "order.completed" => Self::Completed(id()?),
            "order.refunded" => Self::Refunded(id()?),
            _ => return Ok(None),
        }))
    }
}
