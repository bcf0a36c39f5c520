//! Products as the API takes and gives them. Pure: whatever is wrong with a request is found here, all of it at once.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shopwright_domain::{
    ids::ProductId,
    money::{Amount, Currency, Money},
};
use shopwright_kit::FieldError;

/// The longest name, in characters.
pub const MAX_NAME: usize = 200;
/// The longest description, in characters.
pub const MAX_DESCRIPTION: usize = 5_000;
/// The longest reason of an adjustment, in characters.
pub const MAX_REASON: usize = 200;
/// The most pieces of one product.
pub const MAX_STOCK: i64 = 1_000_000_000;

/// A product as everybody may see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Product {
    /// Names it.
    pub id: ProductId,
    /// What it is called.
    pub name: String,
    /// More about it; may be empty.
    pub description: String,
    /// For one piece.
    pub price: Money,
    /// Whether a piece is neither sold nor reserved.
    pub in_stock: bool,
    /// Counts changes of the product itself; a sale is none.
    pub version: u64,
    /// RFC 3339, UTC.
    pub created_at: Timestamp,
}

/// A product's document in Redis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Document<'a> {
    /// What everybody may see.
    #[serde(flatten)]
    pub product: &'a Product,
    /// No longer sold: reserved by nobody, found by nobody.
    pub archived: bool,
}

/// Body of a request to create a product.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateRequest {
    name: String,
    #[serde(default)]
    description: String,
    price: PriceRequest,
    stock: i64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct PriceRequest {
    amount: i64,
    currency: String,
}

/// A checked request to create a product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewProduct {
    /// 1 to [`MAX_NAME`] characters, trimmed.
    pub name: String,
    /// At most [`MAX_DESCRIPTION`] characters, trimmed.
    pub description: String,
    /// At least one minor unit, in the shop's currency.
    pub price: Money,
    /// 0 to [`MAX_STOCK`].
    pub stock: i64,
}

impl NewProduct {
    /// The product with its identity.
    pub fn with_identity(self, id: ProductId, created_at: Timestamp) -> Product {
        Product {
            id,
            name: self.name,
            description: self.description,
            price: self.price,
            in_stock: self.stock > 0,
            version: 1,
            created_at,
        }
    }
}

impl CreateRequest {
    /// Checks everything, for a shop with this currency.
    pub fn check(self, currency: Currency) -> Result<NewProduct, Vec<FieldError>> {
        let mut errors = Vec::new();
        let name = self.name.trim();
        if name.is_empty() {
            errors.push(FieldError::new("/name", "required", "A product has a name."));
        }
        check_text(&mut errors, "/name", name, MAX_NAME, false);
        let description = self.description.trim();
        check_text(&mut errors, "/description", description, MAX_DESCRIPTION, true);
        let amount = Amount::new(self.price.amount).ok().filter(|amount| !amount.is_zero());
        if amount.is_none() {
            let detail = "A price is an integer number of minor units, from 1 to 9007199254740991.";
            errors.push(FieldError::new("/price/amount", "out_of_range", detail));
        }
        if self.price.currency != currency.as_str() {
            let detail = format!("This shop sells in {currency}.");
            errors.push(FieldError::new("/price/currency", "currency_mismatch", detail));
        }
        if !(0..=MAX_STOCK).contains(&self.stock) {
            errors.push(FieldError::new(
                "/stock",
                "out_of_range",
                format!("Stock is between 0 and {MAX_STOCK}."),
            ));
        }
        match amount {
            Some(amount) if errors.is_empty() => Ok(NewProduct {
                name: name.to_owned(),
                description: description.to_owned(),
                price: Money { amount, currency },
                stock: self.stock,
            }),
            _ => Err(errors),
        }
    }
}

/// Body of a request to adjust stock.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdjustRequest {
    delta: i64,
    reason: String,
}

/// A checked request to adjust stock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAdjustment {
    /// Not zero, at most [`MAX_STOCK`] either way.
    pub delta: i64,
    /// 1 to [`MAX_REASON`] characters, trimmed.
    pub reason: String,
}

impl AdjustRequest {
    /// Checks everything.
    pub fn check(self) -> Result<NewAdjustment, Vec<FieldError>> {
        let mut errors = Vec::new();
        if self.delta == 0 || !(-MAX_STOCK..=MAX_STOCK).contains(&self.delta) {
            let detail = format!("A delta is between -{MAX_STOCK} and {MAX_STOCK} and not 0.");
            errors.push(FieldError::new("/delta", "out_of_range", detail));
        }
        let reason = self.reason.trim();
        if reason.is_empty() {
            errors.push(FieldError::new("/reason", "required", "An adjustment has a reason."));
        }
        check_text(&mut errors, "/reason", reason, MAX_REASON, false);
        if errors.is_empty() {
            Ok(NewAdjustment {
                delta: self.delta,
                reason: reason.to_owned(),
            })
        } else {
            Err(errors)
        }
    }
}

fn check_text(errors: &mut Vec<FieldError>, pointer: &str, text: &str, longest: usize, lines: bool) {
    if text.chars().count() > longest {
        errors.push(FieldError::new(
            pointer,
            "too_long",
            format!("At most {longest} characters."),
        ));
    }
    // Control characters do nothing on a page and much in a terminal that shows a log.
    if text
        .chars()
        .any(|character| character.is_control() && !(lines && matches!(character, '\n' | '\t')))
    {
        errors.push(FieldError::new(
            pointer,
            "control_character",
            "Control characters are not allowed.",
        ));
    }
}

/// A product's stock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stock {
    /// Of which product.
    pub product_id: ProductId,
    /// Pieces that are there, held ones included.
    pub on_hand: i64,
    /// Pieces that are held for orders.
    pub reserved: i64,
    /// What can still be ordered: on hand without reserved.
    pub available: i64,
}

impl Stock {
    /// From the two figures that are stored.
    pub fn new(product_id: ProductId, on_hand: i64, reserved: i64) -> Self {
        Self {
            product_id,
            on_hand,
            reserved,
            available: on_hand - reserved,
        }
    }
}

/// An adjustment that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adjustment {
    /// Names it; also the id of its event.
    pub id: String,
    /// By how much.
    pub delta: i64,
    /// Why.
    pub reason: String,
    /// When, RFC 3339, UTC.
    pub created_at: Timestamp,
    /// The stock afterwards.
    pub stock: Stock,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(json: &str) -> Vec<(String, String)> {
        let request: CreateRequest = serde_json::from_str(json).unwrap();
        let errors = request.check("EUR".parse().unwrap()).unwrap_err();
        errors
            .into_iter()
            .map(|error| (error.pointer, error.code.into_owned()))
            .collect()
    }

    #[test]
    fn every_problem_is_told_at_once() {
        let found = codes(r#"{"name":" ","description":"a\u0007b","price":{"amount":0,"currency":"USD"},"stock":-1}"#);
        let expected = [
            ("/name", "required"),
            ("/description", "control_character"),
            ("/price/amount", "out_of_range"),
            ("/price/currency", "currency_mismatch"),
            ("/stock", "out_of_range"),
        ];
        assert_eq!(
            found,
            expected.map(|(pointer, code)| (pointer.to_owned(), code.to_owned()))
        );
    }

    #[test]
    fn a_good_request_is_trimmed() {
        let request: CreateRequest =
            serde_json::from_str(r#"{"name":" Shirt ","price":{"amount":1299,"currency":"EUR"},"stock":0}"#).unwrap();
        let product = request.check("EUR".parse().unwrap()).unwrap();
        assert_eq!(
            (product.name.as_str(), product.price.amount.minor_units()),
            ("Shirt", 1299)
        );
        assert!(
            !product
                .with_identity(ProductId::generate(), Timestamp::UNIX_EPOCH)
                .in_stock
        );
    }

    #[test]
    fn an_adjustment_changes_something_and_says_why() {
        for json in [
            r#"{"delta":0,"reason":"x"}"#,
            r#"{"delta":1,"reason":" "}"#,
            r#"{"delta":9999999999,"reason":"x"}"#,
        ] {
            assert!(
                serde_json::from_str::<AdjustRequest>(json).unwrap().check().is_err(),
                "{json}"
            );
        }
    }
}
