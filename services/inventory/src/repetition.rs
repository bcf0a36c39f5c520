//! What a repeated request is answered: the first reply, rebuilt from the request's body and the record that was stored
//! with the effect. Pure.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shopwright_domain::ids::ProductId;
use shopwright_kit::Record;

use crate::product::{Adjustment, NewAdjustment, NewProduct, Product, Stock};

/// Who makes the requests that are remembered here; all of them need the admin key.
pub const CALLER: &str = "admin";

/// What of a created product is in neither the body nor the record's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Creation {
    /// When.
    pub created_at: Timestamp,
}

/// What of an adjustment is in neither the body nor the record's id. Written by the script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
struct Adjusting {
    created_at: Timestamp,
    on_hand: i64,
    reserved: i64,
}

/// The product as it was created, whatever became of it. `None` when the record is not of a creation.
pub fn product(new: NewProduct, record: &Record) -> Option<Product> {
    let Creation { created_at } = result(record)?;
    Some(new.with_identity(record.id.parse().ok()?, created_at))
}

/// The adjustment with the stock that it left. `None` when the record is not of an adjustment.
pub fn adjustment(product_id: ProductId, new: NewAdjustment, record: &Record) -> Option<Adjustment> {
    let result: Adjusting = result(record)?;
    Some(Adjustment {
        id: record.id.clone(),
        delta: new.delta,
        reason: new.reason,
        created_at: result.created_at,
        stock: Stock::new(product_id, result.on_hand, result.reserved),
    })
}

fn result<T: for<'a> Deserialize<'a>>(record: &Record) -> Option<T> {
    let result: Value = record.result.clone()?;
    serde_json::from_value(result).ok()
}
