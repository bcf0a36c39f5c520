//! The lines of an order: 1 to 50, one per product, quantities within bounds.

use serde::{Deserialize, Serialize};

use crate::ids::ProductId;
use crate::money::{Amount, MoneyError};

/// The most lines of one order: it bounds every script's loop.
pub const MAX_LINES: usize = 50;
/// The most pieces of one product in one order.
pub const MAX_QUANTITY: u32 = 10_000;

/// Why lines are none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinesError {
    /// None at all.
    #[error("an order has at least one line")]
    Empty,
    /// More than [`MAX_LINES`].
    #[error("an order has at most {MAX_LINES} lines")]
    TooMany,
    /// Zero, or more than [`MAX_QUANTITY`], where the same product is counted together.
    #[error("line {line}: a quantity is between 1 and {MAX_QUANTITY}, the same product counted together")]
    Quantity {
        /// Index of the offending line as given, from 0.
        line: usize,
    },
    /// The same product twice, with different expected prices.
    #[error("line {line}: the same product was given with another expected price")]
    ExpectedPrice {
        /// Index of the offending line as given, from 0.
        line: usize,
    },
}

/// One product of a placed order. Prices are minor units of the order's currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Which product.
    pub product_id: ProductId,
    /// How many, 1 to [`MAX_QUANTITY`].
    pub quantity: u32,
    /// What the shopper saw for one piece; inventory rejects the order when it no longer holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_unit_price: Option<Amount>,
}

/// One product of a reserved order, with the price that was taken together with the stock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PricedLine {
    /// Which product.
    pub product_id: ProductId,
    /// How many.
    pub quantity: u32,
    /// For one piece, in minor units of the order's currency.
    pub unit_price: Amount,
}

/// Checked lines of an order: 1 to [`MAX_LINES`], each product once, in the order of first mention.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Line>", into = "Vec<Line>")]
pub struct Lines(Vec<Line>);

impl Lines {
    /// Checks and merges.
    pub fn new(given: &[Line]) -> Result<Self, LinesError> {
        if given.is_empty() {
            return Err(LinesError::Empty);
        }
        if given.len() > MAX_LINES {
            return Err(LinesError::TooMany);
        }
        let mut merged: Vec<Line> = Vec::with_capacity(given.len());
        for (index, line) in given.iter().enumerate() {
            check_quantity(line.quantity, index)?;
            if let Some(earlier) = merged.iter_mut().find(|earlier| earlier.product_id == line.product_id) {
                if earlier.expected_unit_price != line.expected_unit_price {
                    return Err(LinesError::ExpectedPrice { line: index });
                }
                earlier.quantity += line.quantity;
                check_quantity(earlier.quantity, index)?;
            } else {
                merged.push(*line);
            }
        }
        Ok(Self(merged))
    }

    /// The lines, one per product.
    pub fn as_slice(&self) -> &[Line] {
        &self.0
    }
}

fn check_quantity(quantity: u32, line: usize) -> Result<(), LinesError> {
    if (1..=MAX_QUANTITY).contains(&quantity) {
        Ok(())
    } else {
        Err(LinesError::Quantity { line })
    }
}

impl TryFrom<Vec<Line>> for Lines {
    type Error = LinesError;
    fn try_from(lines: Vec<Line>) -> Result<Self, LinesError> {
        Self::new(&lines)
    }
}

impl From<Lines> for Vec<Line> {
    fn from(lines: Lines) -> Self {
        lines.0
    }
}

/// What the lines cost together.
pub fn subtotal(lines: &[PricedLine]) -> Result<Amount, MoneyError> {
    lines.iter().try_fold(Amount::ZERO, |sum, line| {
        sum.plus(line.unit_price.times(line.quantity)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn product(number: u8) -> ProductId {
        ProductId::from_parts(1, [number; 10])
    }

    fn line(number: u8, quantity: u32) -> Line {
        Line {
            product_id: product(number),
            quantity,
            expected_unit_price: None,
        }
    }

    #[test]
    fn the_same_product_is_merged() {
        let lines = Lines::new(&[line(1, 2), line(2, 1), line(1, 3)]).unwrap();
        assert_eq!(lines.as_slice(), [line(1, 5), line(2, 1)]);
    }

    #[test]
    fn bounds() {
        assert_eq!(Lines::new(&[]), Err(LinesError::Empty));
        assert_eq!(Lines::new(&[line(1, 1); MAX_LINES + 1]), Err(LinesError::TooMany));
        assert_eq!(Lines::new(&[line(1, 0)]), Err(LinesError::Quantity { line: 0 }));
        assert_eq!(
            Lines::new(&[line(1, MAX_QUANTITY), line(1, 1)]),
            Err(LinesError::Quantity { line: 1 })
        );
        assert_eq!(
            Lines::new(&[line(1, u32::MAX), line(1, u32::MAX)]),
            Err(LinesError::Quantity { line: 0 })
        );
        assert!(Lines::new(&[line(1, MAX_QUANTITY)]).is_ok());
        let dearer = Line {
            expected_unit_price: Some(Amount::new(5).unwrap()),
            ..line(1, 1)
        };
        assert_eq!(
            Lines::new(&[line(1, 1), dearer]),
            Err(LinesError::ExpectedPrice { line: 1 })
        );
        assert!(serde_json::from_str::<Lines>("[]").is_err());
    }

    #[test]
    fn subtotal_is_exact_or_refused() {
        let priced = |price, quantity| PricedLine {
            product_id: product(1),
            quantity,
            unit_price: Amount::new(price).unwrap(),
        };
        assert_eq!(subtotal(&[priced(199, 3), priced(1, 1)]).unwrap().minor_units(), 598);
        assert!(subtotal(&[priced(crate::money::MAX_MINOR_UNITS, 2)]).is_err());
    }
}
