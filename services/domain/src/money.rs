//! Money as integer minor units with its currency. No floats, no rounding but the fee's, no sum that leaves the range.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The largest amount, in minor units: 2^53 - 1. Lua, JSON readers and the search index hold numbers as doubles, and
/// above this a double loses the last cent.
pub const MAX_MINOR_UNITS: i64 = (1 << 53) - 1;

/// Why an amount or a currency is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Negative, or above [`MAX_MINOR_UNITS`].
    #[error("an amount is between 0 and {MAX_MINOR_UNITS} minor units")]
    AmountOutOfRange,
    /// Not three upper-case letters.
    #[error("a currency is three upper-case letters, like EUR")]
    Currency,
    /// A fee above the whole.
    #[error("a fee is between 0 and 100 percent")]
    FeePercent,
}

/// A number of minor units (cents of EUR, yen of JPY), 0 to [`MAX_MINOR_UNITS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct Amount(i64);

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// From minor units.
    pub fn new(minor_units: i64) -> Result<Self, MoneyError> {
        if (0..=MAX_MINOR_UNITS).contains(&minor_units) {
            Ok(Self(minor_units))
        } else {
            Err(MoneyError::AmountOutOfRange)
        }
    }

    /// Minor units.
    pub const fn minor_units(self) -> i64 {
        self.0
    }

    /// Is it nothing?
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The sum.
    pub fn plus(self, other: Self) -> Result<Self, MoneyError> {
        self.0
            .checked_add(other.0)
            .ok_or(MoneyError::AmountOutOfRange)
            .and_then(Self::new)
    }

    /// The difference; an error when it is negative.
    pub fn minus(self, other: Self) -> Result<Self, MoneyError> {
        self.0
            .checked_sub(other.0)
            .ok_or(MoneyError::AmountOutOfRange)
            .and_then(Self::new)
    }

    /// So many of it.
    pub fn times(self, count: u32) -> Result<Self, MoneyError> {
        self.0
            .checked_mul(i64::from(count))
            .ok_or(MoneyError::AmountOutOfRange)
            .and_then(Self::new)
    }

    /// The fee on it, half up to the minor unit.
    #[must_use]
    pub fn fee(self, percent: FeePercent) -> Self {
        // At most (2^53 - 1) * 100 + 50, which an i64 holds; at most 100 %, so that the result is in range again.
        Self((self.0 * i64::from(percent.0) + 50) / 100)
    }
}

impl TryFrom<i64> for Amount {
    type Error = MoneyError;
    fn try_from(minor_units: i64) -> Result<Self, MoneyError> {
        Self::new(minor_units)
    }
}

impl From<Amount> for i64 {
    fn from(amount: Amount) -> Self {
        amount.0
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// An ISO 4217 code by its form: three upper-case letters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency([u8; 3]);

impl Currency {
    /// The three letters.
    pub fn as_str(&self) -> &str {
        // The constructor lets only ASCII letters in.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl FromStr for Currency {
    type Err = MoneyError;
    fn from_str(text: &str) -> Result<Self, MoneyError> {
        match <[u8; 3]>::try_from(text.as_bytes()) {
            Ok(letters) if letters.iter().all(u8::is_ascii_uppercase) => Ok(Self(letters)),
            _ => Err(MoneyError::Currency),
        }
    }
}

impl TryFrom<String> for Currency {
    type Error = MoneyError;
    fn try_from(text: String) -> Result<Self, MoneyError> {
        text.parse()
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.as_str().to_owned()
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// An amount with its currency, as the API writes it: `{"amount": 1299, "currency": "EUR"}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Money {
    /// Minor units.
    pub amount: Amount,
    /// Of which currency.
    pub currency: Currency,
}

/// The shop's fee as a whole percentage of an order's subtotal, 0 to 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct FeePercent(u8);

impl FeePercent {
    /// From a percentage.
    pub fn new(percent: u8) -> Result<Self, MoneyError> {
        if percent <= 100 {
            Ok(Self(percent))
        } else {
            Err(MoneyError::FeePercent)
        }
    }
}

impl TryFrom<u8> for FeePercent {
    type Error = MoneyError;
    fn try_from(percent: u8) -> Result<Self, MoneyError> {
        Self::new(percent)
    }
}

impl From<FeePercent> for u8 {
    fn from(percent: FeePercent) -> Self {
        percent.0
    }
}

impl FromStr for FeePercent {
    type Err = MoneyError;
    fn from_str(text: &str) -> Result<Self, MoneyError> {
        text.parse().map_err(|_| MoneyError::FeePercent).and_then(Self::new)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fee_is_half_up_in_minor_units() {
        let fee = |amount, percent| {
            Amount::new(amount)
                .unwrap()
                .fee(FeePercent::new(percent).unwrap())
                .minor_units()
        };
        assert_eq!(fee(0, 20), 0);
        assert_eq!(fee(2, 20), 0);
        assert_eq!(fee(3, 20), 1);
        assert_eq!(fee(1, 50), 1);
        assert_eq!(fee(1250, 20), 250);
        assert_eq!(fee(MAX_MINOR_UNITS, 100), MAX_MINOR_UNITS);
    }

    #[test]
    fn amounts_refuse_what_a_double_cannot_hold() {
        assert!(Amount::new(-1).is_err());
        assert!(Amount::new(MAX_MINOR_UNITS + 1).is_err());
        assert!(
            Amount::new(MAX_MINOR_UNITS)
                .unwrap()
                .plus(Amount::new(1).unwrap())
                .is_err()
        );
        assert!(Amount::new(MAX_MINOR_UNITS / 2 + 1).unwrap().times(2).is_err());
        assert!(Amount::ZERO.minus(Amount::new(1).unwrap()).is_err());
        assert!(serde_json::from_str::<Amount>("1.5").is_err());
        assert!(serde_json::from_str::<Amount>("-1").is_err());
    }

    #[test]
    fn currencies_are_three_capitals() {
        for wrong in ["", "EU", "eur", "EURO", "E1R", "€"] {
            assert!(wrong.parse::<Currency>().is_err(), "{wrong}");
        }
        assert_eq!(
            serde_json::to_string(&"JPY".parse::<Currency>().unwrap()).unwrap(),
            "\"JPY\""
        );
    }

    /// Small, near the limit, and anywhere.
    fn amounts() -> impl Strategy<Value = i64> {
        prop_oneof![
            0..=1_000i64,
            MAX_MINOR_UNITS - 1_000..=MAX_MINOR_UNITS,
            0..=MAX_MINOR_UNITS
        ]
    }

    proptest! {
        /// No other whole number is as near to the exact fee, and of two as near it is the upper. What is paid is the sum of
        /// both, or refused.
        #[test]
        fn the_fee_is_the_exact_one_half_up_for_every_percent(minor_units in amounts()) {
            let amount = Amount::new(minor_units).unwrap();
            for percent in 0..=u8::MAX {
                let Ok(fee_percent) = FeePercent::new(percent) else {
                    prop_assert!(percent > 100);
                    continue;
                };
                prop_assert!(percent <= 100);
                let exact_hundredfold = i128::from(minor_units) * i128::from(percent);
                let fee = amount.fee(fee_percent);
                let above = i128::from(fee.minor_units()) * 100 - exact_hundredfold;
                prop_assert!(-50 < above && above <= 50, "{minor_units} at {percent} %: {fee}");
                let total = i128::from(minor_units) + i128::from(fee.minor_units());
                let told = amount.plus(fee).map(|total| i128::from(total.minor_units()));
                let limit = i128::from(MAX_MINOR_UNITS);
                let expected = if total <= limit { Ok(total) } else { Err(MoneyError::AmountOutOfRange) };
                prop_assert_eq!(told, expected);
            }
        }

        #[test]
        fn amounts_are_those_up_to_the_limit(minor_units in prop_oneof![any::<i64>(), amounts(), -1_000..0i64]) {
            let is_one = minor_units >= 0 && i128::from(minor_units) < 1i128 << 53;
            let expected = if is_one { Ok(minor_units) } else { Err(MoneyError::AmountOutOfRange) };
            prop_assert_eq!(Amount::new(minor_units).map(Amount::minor_units), expected);
        }

        #[test]
        fn sums_are_exact_or_refused(left in 0..=MAX_MINOR_UNITS, right in 0..=MAX_MINOR_UNITS, count in 0u32..=u32::MAX) {
            let (a, b) = (Amount::new(left).unwrap(), Amount::new(right).unwrap());
            match a.plus(b) {
                Ok(sum) => prop_assert_eq!(i128::from(sum.minor_units()), i128::from(left) + i128::from(right)),
                Err(_) => prop_assert!(i128::from(left) + i128::from(right) > i128::from(MAX_MINOR_UNITS)),
            }
            match a.times(count) {
                Ok(product) => prop_assert_eq!(i128::from(product.minor_units()), i128::from(left) * i128::from(count)),
                Err(_) => prop_assert!(i128::from(left) * i128::from(count) > i128::from(MAX_MINOR_UNITS)),
            }
        }
    }
}
