//! The one error of this crate: a class and Redis's code word, never an address, a credential or a peer's text.

use redis::{ErrorKind, RedisError};
use std::fmt;

/// Marks, inside the client library, an address that was resolved but must not be dialled.
pub(crate) const FORBIDDEN_ADDRESS: &str = "FORBIDDENADDRESS";

/// The code words that are passed on. A peer can answer anything, and whatever is passed on ends in status and logs.
const CODES: [&str; 21] = [
    "BUSY",
    "BUSYGROUP",
    "CLUSTERDOWN",
    "CROSSSLOT",
    "ERR",
    "EXECABORT",
    "LOADING",
    "MASTERDOWN",
    "MISCONF",
    "MOVED",
    "NOAUTH",
    "NOGROUP",
    "NOPERM",
    "NOREPLICAS",
    "NOSCRIPT",
    "OOM",
    "READONLY",
    "TRYAGAIN",
    "UNBLOCKED",
    "WRONGPASS",
    "WRONGTYPE",
];

/// What can be done about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// No answer: refused, cut off, timed out, or the name does not resolve. Retry with back-off.
    /// A write may or may not have happened.
    Unreachable,
    /// The name resolves only to addresses that the caller's [`Vet`](crate::connection::Vet) refuses. Nothing was dialled.
    ForbiddenAddress,
    /// Wrong credentials, or no permission for the command or key.
    Denied,
    /// The server answers but cannot serve this now: loading, out of memory, read-only, busy. Retry with back-off.
    NotReady,
    /// The stream or the group does not exist.
    NoGroup,
    /// The key holds something that is not a stream.
    WrongType,
    /// Anything else, including replies that make no sense.
    Other,
}

/// A failed Redis operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Error {
    class: Class,
    code: Option<&'static str>,
}

impl Error {
    /// What can be done about it.
    pub fn class(&self) -> Class {
        self.class
    }

    /// Redis's own code word, such as `NOPERM`, when it is one of the known ones.
    pub fn code(&self) -> Option<&'static str> {
        self.code
    }

    /// A fixed word for metrics and conditions: the code, or else the class.
    pub fn word(&self) -> &'static str {
        self.code.unwrap_or(match self.class {
            Class::Unreachable => "UNREACHABLE",
            Class::ForbiddenAddress => FORBIDDEN_ADDRESS,
            Class::Denied => "DENIED",
            Class::NotReady => "NOTREADY",
            Class::NoGroup => "NOGROUP",
            Class::WrongType => "WRONGTYPE",
            Class::Other => "OTHER",
        })
    }

    /// A reply of a shape that Redis does not send.
    pub(crate) fn unexpected_reply() -> Self {
        Self {
            class: Class::Other,
            code: None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.class, self.code) {
            (_, Some(code)) => write!(formatter, "Redis answered {code}"),
            (Class::Unreachable, None) => formatter.write_str("Redis is unreachable"),
            (Class::ForbiddenAddress, None) => formatter.write_str("the address of Redis must not be dialled"),
            (_, None) => formatter.write_str("Redis gave an unexpected answer"),
        }
    }
}

impl From<&RedisError> for Error {
    fn from(error: &RedisError) -> Self {
        if error.kind() == ErrorKind::AuthenticationFailed {
            return Self {
                class: Class::Denied,
                code: Some("WRONGPASS"),
            };
        }
        if error.is_io_error() {
            return Self {
                class: Class::Unreachable,
                code: None,
            };
        }
        let word = error.code().unwrap_or_default();
        if word == FORBIDDEN_ADDRESS {
            return Self {
                class: Class::ForbiddenAddress,
                code: None,
            };
        }
        let code = CODES.into_iter().find(|known| *known == word);
        let class = match code {
            Some("NOAUTH" | "NOPERM" | "WRONGPASS") => Class::Denied,
            Some("NOGROUP") => Class::NoGroup,
            Some("WRONGTYPE") => Class::WrongType,
            Some(
                "BUSY" | "CLUSTERDOWN" | "LOADING" | "MASTERDOWN" | "MISCONF" | "NOREPLICAS" | "OOM" | "READONLY"
                | "TRYAGAIN",
            ) => Class::NotReady,
            // The library reports a name that resolves to nothing as a wrong configuration.
            None if error.kind() == ErrorKind::InvalidClientConfig => Class::Unreachable,
            _ => Class::Other,
        };
        Self { class, code }
    }
}

impl From<RedisError> for Error {
    fn from(error: RedisError) -> Self {
        Self::from(&error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server_error(code: &str) -> Error {
        redis::make_extension_error(code.to_owned(), Some("peer text with password=hunter2".to_owned())).into()
    }

    #[test]
    fn known_codes_keep_their_word_and_get_a_class() {
        assert_eq!(server_error("NOPERM").class(), Class::Denied);
        assert_eq!(server_error("NOGROUP").class(), Class::NoGroup);
        assert_eq!(server_error("WRONGTYPE").to_string(), "Redis answered WRONGTYPE");
        assert_eq!(server_error("LOADING").class(), Class::NotReady);
    }

    #[test]
    fn a_peers_words_are_never_passed_on() {
        let error = server_error("HUNTER2");
        assert_eq!(error.class(), Class::Other);
        for text in [error.to_string(), format!("{error:?}"), error.word().to_owned()] {
            assert!(!text.to_lowercase().contains("hunter2"), "{text}");
        }
    }
}
