//! Compute resources in Kubernetes's own shape, and the arithmetic on quantities that the operator needs.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};

/// Requests and limits of one container.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[schemars(inline)]
pub struct Resources {
    /// What the scheduler sets aside, by resource name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub requests: BTreeMap<String, Quantity>,
    /// The most that may be used, by resource name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<String, Quantity>,
}

impl Resources {
    /// Requests of CPU and memory, and a limit of memory. CPU is left without a limit: throttling makes latency, not safety.
    pub fn of(cpu: &str, memory: &str, memory_limit: &str) -> Self {
        Self {
            requests: BTreeMap::from([
                ("cpu".into(), Quantity::new(cpu)),
                ("memory".into(), Quantity::new(memory)),
            ]),
            limits: BTreeMap::from([("memory".into(), Quantity::new(memory_limit))]),
        }
    }
}

/// A Kubernetes quantity such as `100m`, `1Gi` or `2`. In YAML it may also be a bare integer.
#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
pub struct Quantity(String);

impl Quantity {
    /// Takes the text as it is; [`Quantity::bytes`] judges it.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The value in whole units (bytes for memory and storage), rounded down; `None` when it is no quantity, negative, or above `u64::MAX`.
    /// Grammar: Kubernetes `resource.Quantity` (decimal and binary suffixes, milli and micro, exponents).
    pub fn bytes(&self) -> Option<u64> {
        let milli = self.milli()? / 1000;
        u64::try_from(milli).ok()
    }

    /// The value in thousandths, rounded down; `None` as for [`Quantity::bytes`].
    pub fn milli(&self) -> Option<u128> {
        let text = self.0.trim_start_matches('+');
        let digits = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let (number, suffix) = text.split_at(digits);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
            return None;
        }
        // numerator / denominator * 1000, all in integers
        let (numerator, denominator) = suffix_factor(suffix)?;
        let scale = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        let value = format!("{whole}{fraction}").parse::<u128>().ok()?;
        value
            .checked_mul(numerator)?
            .checked_mul(1000)?
            .checked_div(denominator.checked_mul(scale)?)
    }
}

fn suffix_factor(suffix: &str) -> Option<(u128, u128)> {
    let binary = |power: u32| Some((1024_u128.pow(power), 1));
    let decimal = |power: u32| Some((1000_u128.pow(power), 1));
    match suffix {
        "" => Some((1, 1)),
        "n" => Some((1, 1_000_000_000)),
        "u" => Some((1, 1_000_000)),
        "m" => Some((1, 1000)),
        "k" => decimal(1),
        "M" => decimal(2),
        "G" => decimal(3),
        "T" => decimal(4),
        "P" => decimal(5),
        "E" => decimal(6),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        exponent => {
            let power = exponent.strip_prefix(['e', 'E'])?.parse::<i32>().ok()?;
            let factor = 10_u128.checked_pow(power.unsigned_abs())?;
            Some(if power < 0 { (1, factor) } else { (factor, 1) })
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Text(String),
            Number(i64),
        }
        Ok(match Either::deserialize(deserializer)? {
            Either::Text(text) => Self(text),
            Either::Number(number) => Self(number.to_string()),
        })
    }
}

/// Kubernetes's own pattern for a quantity.
const PATTERN: &str = r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$";

impl JsonSchema for Quantity {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "pattern": PATTERN,
            "maxLength": 32,
            "x-kubernetes-int-or-string": true
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Quantity;

    #[test]
    fn quantities_are_read_like_kubernetes_reads_them() {
        let bytes = |text: &str| Quantity::new(text).bytes();
        assert_eq!(bytes("1Gi"), Some(1 << 30));
        assert_eq!(bytes("1.5Gi"), Some(3 << 29));
        assert_eq!(bytes("128M"), Some(128_000_000));
        assert_eq!(bytes("1e3"), Some(1000));
        assert_eq!(bytes("2"), Some(2));
        assert_eq!(bytes(".5k"), Some(500));
        assert_eq!(Quantity::new("100m").milli(), Some(100));
        for bad in [
            "",
            "-1",
            "1GiB",
            "Gi",
            "1..2",
            "one",
            "1e",
            "99999999999999999999999999999999999999999Ei",
        ] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_bare_number_is_a_quantity() {
        let quantity: Quantity = serde_json::from_str("2").unwrap();
        assert_eq!(quantity.as_str(), "2");
    }
}
