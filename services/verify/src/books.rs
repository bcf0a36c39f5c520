//! What the parties have on record, as it is read. Pure.

use std::collections::HashMap;

use redis::{Value, from_redis_value};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use shopwright_domain::ids::OrderId;
use shopwright_domain::lines::PricedLine;
use shopwright_domain::order::{Order, Refund};
use shopwright_domain::reservation::Reservation;

/// A document that is there and understood, not there, or there and not understood.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Document<T> {
    Missing,
    Broken,
    Present(T),
}

impl<T> Document<T> {
    pub(crate) fn present(&self) -> Option<&T> {
        match self {
            Self::Present(document) => Some(document),
            Self::Missing | Self::Broken => None,
        }
    }

    pub(crate) fn into_present(self) -> Option<T> {
        match self {
            Self::Present(document) => Some(document),
            Self::Missing | Self::Broken => None,
        }
    }
}

impl<T: DeserializeOwned> Document<T> {
    pub(crate) fn read(value: Value) -> Self {
        match from_redis_value::<Option<String>>(value) {
            Ok(None) => Self::Missing,
            Ok(Some(text)) => serde_json::from_str(&text).map_or(Self::Broken, Self::Present),
            Err(_) => Self::Broken,
        }
    }
}

/// A reservation's document.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct ReservationBook {
    pub(crate) state: Reservation,
    #[serde(default)]
    pub(crate) lines: Vec<PricedLine>,
}

/// The provider's hash about a charge or a refund; empty where it was never asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ProviderBook {
    pub(crate) state: String,
    /// A refund of all that was left, whatever that was.
    pub(crate) is_rest: bool,
    pub(crate) amount: i64,
    pub(crate) captured: i64,
    pub(crate) refunded: i64,
}

impl ProviderBook {
    pub(crate) fn read(value: Value) -> Option<Self> {
        let fields: HashMap<String, String> = from_redis_value(value).ok()?;
        let number = |name: &str| fields.get(name).map_or(Some(0), |text| text.parse().ok());
        Some(Self {
            state: fields.get("state").cloned().unwrap_or_default(),
            is_rest: fields.get("asked").is_some_and(|asked| asked == "rest"),
            amount: number("amount")?,
            captured: number("captured")?,
            refunded: number("refunded")?,
        })
    }
}

/// A refund at both parties.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RefundBook {
    pub(crate) document: Document<Refund>,
    pub(crate) provider: ProviderBook,
}

/// Everything about one order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OrderBooks {
    pub(crate) id: OrderId,
    pub(crate) order: Document<Order>,
    pub(crate) reservation: Document<ReservationBook>,
    /// Score in the set of due times.
    pub(crate) due: Option<f64>,
    pub(crate) charge: ProviderBook,
    /// Of those that the order lists.
    pub(crate) refunds: Vec<RefundBook>,
}
