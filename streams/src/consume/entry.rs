//! A delivered entry. Pure.

use crate::entry_id::EntryId;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The fields of an entry. Names and values are any bytes to Redis; ours are text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(BTreeMap<Vec<u8>, Vec<u8>>);

impl Fields {
    /// A field's value as text; none when it is missing or not UTF-8.
    pub fn text(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.bytes(name)?).ok()
    }

    /// A field's value.
    pub fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.0.get(name.as_bytes()).map(Vec::as_slice)
    }

    /// Every field that is text in name and value, by name.
    pub fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .filter_map(|(name, value)| Some((std::str::from_utf8(name).ok()?, std::str::from_utf8(value).ok()?)))
    }

    /// The number of fields.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none; Redis stores no such entry.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(Vec<u8>, Vec<u8>)> for Fields {
    fn from_iter<I: IntoIterator<Item = (Vec<u8>, Vec<u8>)>>(fields: I) -> Self {
        Self(fields.into_iter().collect())
    }
}

/// An entry that a consumer holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The stream it is from.
    pub stream: Arc<str>,
    /// Its id, the same at each delivery.
    pub id: EntryId,
    /// How often it has been delivered, this time included; 1 for the first.
    pub delivery_count: u64,
    /// What it says.
    pub fields: Fields,
}
