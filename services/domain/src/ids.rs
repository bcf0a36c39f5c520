//! Identifiers: UUIDs of version 7 as lower-case hyphenated text, one type per thing, so that they cannot be mixed up.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Why a text is no identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} is a UUID of version 7 in lower case with hyphens, like 01890a5d-ac96-774b-bcce-b302099a8057")]
pub struct IdError {
    what: &'static str,
}

fn parse(text: &str, what: &'static str) -> Result<Uuid, IdError> {
    let uuid = Uuid::try_parse(text).map_err(|_| IdError { what })?;
    // `Uuid` also reads upper case, braces and URNs; two spellings of one id would be two Redis keys.
    if uuid.get_version_num() == 7 && uuid.hyphenated().to_string() == text {
        Ok(uuid)
    } else {
        Err(IdError { what })
    }
}

macro_rules! id {
    ($(#[$documentation:meta])* $name:ident, $what:literal) => {
        $(#[$documentation])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Uuid);

        impl $name {
            /// A new one, from the clock and randomness of this process: for the edges, never inside a decision.
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }

            /// A new one from a given time (milliseconds since the Unix epoch) and ten random bytes.
            pub fn from_parts(milliseconds: u64, random: [u8; 10]) -> Self {
                Self(uuid::Builder::from_unix_timestamp_millis(milliseconds, &random).into_uuid())
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                parse(text, $what).map(Self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(formatter)
            }
        }
    };
}

id!(
    /// Names an order; also the key under which the provider is asked to charge it.
    OrderId,
    "an order id"
);
id!(
    /// Names a product.
    ProductId,
    "a product id"
);
id!(
    /// Names a refund; also the key under which the provider is asked for it.
    RefundId,
    "a refund id"
);

impl RefundId {
    /// The refund of all that is left of an order, as decided from this version of it. Two deciders at once name the same
    /// refund and can never open two; one that follows a refused refund has another id, because a provider's refusal
    /// stands for its key for ever.
    pub fn of_whole(order: OrderId, version: u64) -> Self {
        let mut bytes = *order.0.as_bytes();
        // The last six bytes of a UUID of version 7 are random, and stay so.
        for (byte, change) in bytes[10..].iter_mut().zip(&version.to_be_bytes()[2..]) {
            *byte ^= change;
        }
        Self(Uuid::from_bytes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_only() {
        let id = OrderId::generate();
        assert_eq!(id.to_string().parse(), Ok(id));
        let text = id.to_string();
        for wrong in [
            text.to_uppercase(),
            format!("{{{text}}}"),
            text.replace('-', ""),
            format!("urn:uuid:{text}"),
            format!("{text} "),
            String::new(),
            "9f8b3c52-7d0e-4a55-8a39-0d3c1a2b4c5d".to_owned(),
        ] {
            let error = wrong.parse::<OrderId>().unwrap_err();
            assert!(error.to_string().starts_with("an order id is a UUID"), "{wrong}");
        }
    }

    #[test]
    fn refunds_of_a_whole_order_are_ids_of_their_own() {
        let order = OrderId::generate();
        let ids: Vec<_> = [1, 2, 3, 70_000]
            .map(|version| RefundId::of_whole(order, version))
            .into();
        for (index, id) in ids.iter().enumerate() {
            assert_eq!(id.to_string().parse(), Ok(*id));
            assert!(!ids[..index].contains(id));
        }
        assert_eq!(RefundId::of_whole(order, 2), ids[1]);
    }

    #[test]
    fn parts_keep_the_time() {
        let id = ProductId::from_parts(1_700_000_000_000, [7; 10]);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!(id < ProductId::from_parts(1_700_000_000_001, [0; 10]));
    }
}
