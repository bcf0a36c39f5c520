//! A value that never prints. Secrets come from the environment only: an argument would show in the process list.

use std::fmt;

/// A password or key. `Debug` and `Display` print a placeholder, and there is no `Serialize`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// The environment holds no usable value for a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// The variable is not set, or set to nothing.
    #[error("the environment variable {0} must be set")]
    Missing(String),
    /// The variable holds bytes that are no UTF-8.
    #[error("the environment variable {0} is not valid UTF-8")]
    NotText(String),
}

impl Secret {
    /// Wraps a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// Reads a secret that must be there.
    pub fn from_environment(variable: &str) -> Result<Self, SecretError> {
        Self::optional_from_environment(variable)?.ok_or_else(|| SecretError::Missing(variable.to_owned()))
    }

    /// Reads a secret that may be missing. An empty variable counts as missing.
    pub fn optional_from_environment(variable: &str) -> Result<Option<Self>, SecretError> {
        match std::env::var(variable) {
            Ok(value) if value.is_empty() => Ok(None),
            Ok(value) => Ok(Some(Self(value))),
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(std::env::VarError::NotUnicode(_)) => Err(SecretError::NotText(variable.to_owned())),
        }
    }

    /// The value itself. Give it to what needs it, never to a log or an error.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(redacted)")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_way_of_printing_shows_the_value() {
        let secret = Secret::new("hunter2");
        assert!(!format!("{secret} {secret:?} {:?}", Some(&secret)).contains("hunter2"));
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn a_missing_variable_is_named() {
        let error = Secret::from_environment("SHOPWRIGHT_TEST_NO_SUCH_VARIABLE").unwrap_err();
        assert!(error.to_string().contains("SHOPWRIGHT_TEST_NO_SUCH_VARIABLE"));
    }
}
