//! The shop's admin key. It comes from the environment or from code, never from an argument, which the process list shows.

use std::fmt;

/// What admin calls carry as `Authorization: Bearer KEY`. It prints as a placeholder.
#[derive(Clone, PartialEq, Eq)]
pub struct AdminKey(String);

impl AdminKey {
    /// Wraps the key.
    pub fn new(key: impl Into<String>) -> Self {
        Self(key.into())
    }

    /// From the environment variable `ADMIN_KEY`; none when it is unset or empty.
    pub fn from_environment() -> Option<Self> {
        std::env::var("ADMIN_KEY").ok().filter(|key| !key.is_empty()).map(Self)
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for AdminKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("AdminKey(redacted)")
    }
}
