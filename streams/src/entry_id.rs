//! The id of a stream entry. Pure.

use std::fmt;
use std::str::FromStr;

/// The id of a stream entry: milliseconds and a sequence number, ordered as Redis orders them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId {
    /// Milliseconds since the epoch when Redis made the id; anything when a producer did.
    pub milliseconds: u64,
    /// Tells entries of the same millisecond apart.
    pub sequence: u64,
}

impl EntryId {
    /// Before every entry.
    pub const ZERO: Self = Self {
        milliseconds: 0,
        sequence: 0,
    };
}

impl fmt::Display for EntryId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.milliseconds, self.sequence)
    }
}

/// A text that is no entry id of the form `MILLISECONDS-SEQUENCE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an entry id of the form MILLISECONDS-SEQUENCE")]
pub struct InvalidEntryId;

impl FromStr for EntryId {
    type Err = InvalidEntryId;

    fn from_str(text: &str) -> Result<Self, InvalidEntryId> {
        let (milliseconds, sequence) = text.split_once('-').ok_or(InvalidEntryId)?;
        Ok(Self {
            milliseconds: milliseconds.parse().map_err(|_| InvalidEntryId)?,
            sequence: sequence.parse().map_err(|_| InvalidEntryId)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_prints_and_orders() {
        let id: EntryId = "1700000000000-3".parse().unwrap();
        assert_eq!(
            id,
            EntryId {
                milliseconds: 1_700_000_000_000,
                sequence: 3
            }
        );
        assert_eq!(id.to_string(), "1700000000000-3");
        assert!("9-9".parse::<EntryId>().unwrap() < "10-0".parse().unwrap());
        assert!("10-2".parse::<EntryId>().unwrap() < "10-10".parse().unwrap());
        for wrong in ["", "1", "1-", "-1", "a-1", "1-1-1", "18446744073709551616-0"] {
            assert_eq!(wrong.parse::<EntryId>(), Err(InvalidEntryId), "{wrong}");
        }
    }
}
