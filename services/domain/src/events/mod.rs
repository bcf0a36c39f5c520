//! What one service tells the other: typed events and their flat stream fields. Readers take any order, any repetition,
//! unknown fields and unknown types.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::ids::OrderId;

mod order;
mod stock;

pub use order::{OrderEvent, OrderPlaced};
pub use stock::{RejectionReason, StockEvent, StockRejected, StockReserved};

/// Why a stream entry is no event. It will not become one by being delivered again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// A field that every entry carries.
    #[error("the entry has no field {0}")]
    MissingField(&'static str),
    /// `data` is no JSON, or not of the shape that the type asks for.
    #[error("the data of {kind} is not understood: {reason}")]
    Data {
        /// The entry's type.
        kind: String,
        /// What the parser said.
        reason: String,
    },
    /// `subject` and `data.order_id` name different orders.
    #[error("subject and data name different orders")]
    Subject,
}

/// What every entry carries beside its content. Every field is text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Meta {
    /// Unique per event, a UUID of version 7.
    pub id: String,
    /// When it happened, RFC 3339.
    pub time: String,
    /// W3C trace context of the request that began the order; may be empty.
    pub traceparent: String,
    /// Id of the request that began the order; may be empty.
    pub request_id: String,
}

/// A decoded entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received<E> {
    /// Id, time, trace.
    pub meta: Meta,
    /// Its content; `None` when the type is unknown here, which is a dead letter.
    pub content: Option<E>,
    /// The type as written.
    pub kind: String,
}

/// What can be written to a stream and read back.
pub trait Content: Sized {
    /// The entry's `type`.
    fn kind(&self) -> &'static str;
    /// The entry's `subject`.
    fn order_id(&self) -> OrderId;
    /// The entry's `data`, JSON text.
    fn data(&self) -> String;
    /// From `type` and `data`; `None` for an unknown type.
    fn parse(kind: &str, data: &str) -> Result<Option<Self>, EventError>;
}

/// The flat fields of an entry, in the order in which they are written.
pub fn encode<E: Content>(content: &E, meta: &Meta) -> Vec<(&'static str, String)> {
    vec![
        ("id", meta.id.clone()),
        ("type", content.kind().to_owned()),
        ("subject", content.order_id().to_string()),
        ("time", meta.time.clone()),
        ("traceparent", meta.traceparent.clone()),
        ("request_id", meta.request_id.clone()),
        ("data", content.data()),
    ]
}

/// Reads an entry's fields, given as a look-up by name.
pub fn decode<'a, E: Content>(field: impl Fn(&str) -> Option<&'a str>) -> Result<Received<E>, EventError> {
    let required = |name: &'static str| field(name).ok_or(EventError::MissingField(name));
    let optional = |name: &str| field(name).unwrap_or_default().to_owned();
    let kind = required("type")?;
    let content = E::parse(kind, required("data")?)?;
    if let Some(content) = &content
        && required("subject")? != content.order_id().to_string()
    {
        return Err(EventError::Subject);
    }
    let meta = Meta {
        id: required("id")?.to_owned(),
        time: optional("time"),
        traceparent: optional("traceparent"),
        request_id: optional("request_id"),
    };
    Ok(Received {
        meta,
        content,
        kind: kind.to_owned(),
    })
}

/// `data` of everything that only names its order.
#[derive(Serialize, Deserialize)]
struct OrderOnly {
    order_id: OrderId,
}

pub(crate) fn json<T: Serialize>(value: &T) -> String {
    // Maps with text keys, lists, numbers and text: there is nothing in them that cannot be written.
    serde_json::to_string(value).unwrap_or_default()
}

pub(crate) fn read<T: DeserializeOwned>(kind: &str, data: &str) -> Result<T, EventError> {
    serde_json::from_str(data).map_err(|error| EventError::Data {
        kind: kind.to_owned(),
        reason: error.to_string(),
    })
}

pub(crate) fn only(order_id: OrderId) -> String {
    json(&OrderOnly { order_id })
}

pub(crate) fn read_only(kind: &str, data: &str) -> Result<OrderId, EventError> {
    read::<OrderOnly>(kind, data).map(|data| data.order_id)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::ids::ProductId;
    use crate::lines::{Line, Lines, PricedLine};
    use crate::money::Amount;

    fn order() -> OrderId {
        OrderId::from_parts(1, [1; 10])
    }

    fn round<E: Content + PartialEq + std::fmt::Debug + Clone>(content: &E) {
        let meta = Meta {
            id: "i".into(),
            time: "t".into(),
            traceparent: "p".into(),
            request_id: "r".into(),
        };
        let fields: HashMap<_, _> = encode(content, &meta).into_iter().collect();
        assert_eq!(fields.len(), 7);
        let read = decode::<E>(|name| fields.get(name).map(String::as_str)).unwrap();
        assert_eq!(
            read,
            Received {
                meta,
                content: Some(content.clone()),
                kind: content.kind().to_owned()
            }
        );
    }

    #[test]
    fn every_event_is_read_back() {
        let product_id = ProductId::from_parts(2, [2; 10]);
        let price = Amount::new(1299).unwrap();
        let lines = Lines::new(&[Line {
            product_id,
            quantity: 2,
            expected_unit_price: Some(price),
        }])
        .unwrap();
        round(&OrderEvent::Placed(OrderPlaced {
            order_id: order(),
            currency: "EUR".parse().unwrap(),
            lines,
        }));
        for event in [
            OrderEvent::Paid(order()),
            OrderEvent::Declined(order()),
            OrderEvent::Cancelled(order()),
            OrderEvent::Rejected(order()),
            OrderEvent::Completed(order()),
            OrderEvent::Refunded(order()),
        ] {
            round(&event);
        }
        let lines = vec![PricedLine {
            product_id,
            quantity: 2,
            unit_price: price,
        }];
        round(&StockEvent::Reserved(StockReserved {
            order_id: order(),
            lines,
        }));
        for reason in RejectionReason::ALL {
            let rejected = StockRejected {
                order_id: order(),
                reason,
                product_id: Some(product_id),
            };
            assert!(StockEvent::Rejected(rejected.clone()).data().contains(reason.as_str()));
            round(&StockEvent::Rejected(rejected));
        }
        for event in [
            StockEvent::Committed(order()),
            StockEvent::CommitRefused(order()),
            StockEvent::Released(order()),
        ] {
            round(&event);
        }
    }

    #[test]
    fn unknown_types_are_kept_apart_from_broken_entries() {
        let decode = |fields: &[(&'static str, &'static str)]| {
            let fields: HashMap<_, _> = fields.iter().copied().collect();
            decode::<OrderEvent>(|name| fields.get(name).copied())
        };
        let unknown = decode(&[("id", "1"), ("type", "order.gift_wrapped"), ("data", "{}")]).unwrap();
        assert_eq!((unknown.content, unknown.kind.as_str()), (None, "order.gift_wrapped"));
        assert_eq!(
            decode(&[("id", "1"), ("data", "{}")]),
            Err(EventError::MissingField("type"))
        );
        assert!(matches!(
            decode(&[("type", "order.paid"), ("data", "{")]),
            Err(EventError::Data { .. })
        ));
        let other = r#"{"order_id":"01890a5d-ac96-774b-bcce-b302099a8057"}"#;
        let forged = decode(&[
            ("id", "1"),
            ("type", "order.paid"),
            ("subject", "somebody"),
            ("data", other),
        ]);
        assert_eq!(forged, Err(EventError::Subject));
    }
}
