//! The one error of this crate: a class and Redis's code word, never an address, a credential or a peer's text.

use crate::connection::is_tls_failure;
use redis::{ErrorKind, RedisError};
use std::fmt;

/// Marks, inside the client library, an address that was resolved but must not be dialled.
pub(crate) const FORBIDDEN_ADDRESS: &str = "FORBIDDENADDRESS";

/// Marks, inside the client library, a TLS session that was cut before its first answer.
pub(crate) const TLS_FAILED: &str = "TLSFAILED";

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

/// How Redis 7.2 and later, and 7.0, begin to say that a script met a missing right.
const REFUSED_IN_SCRIPT: [&str; 2] = ["ACL failure in script: ", "The user executing the script can't "];

/// What a NOPERM can be about. Only these words are looked for in Redis's sentence, which also holds the user's name.
const RIGHTS: [&str; 23] = [
    "eval",
    "eval_ro",
    "evalsha",
    "evalsha_ro",
    "select",
    "time",
    "xack",
    "xadd",
    "xautoclaim",
    "xclaim",
    "xdel",
    "xgroup|create",
    "xgroup|delconsumer",
    "xgroup|setid",
    "xinfo|consumers",
    "xinfo|groups",
    "xinfo|stream",
    "xlen",
    "xpending",
    "xrange",
    "xread",
    "xrevrange",
    "xtrim",
];

/// What can be done about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// No answer: refused, cut off, timed out, or the name does not resolve. Retry with back-off.
    /// A write may or may not have happened.
    Unreachable,
    /// The name resolves only to addresses that the caller's [`Vet`](crate::connection::Vet) refuses. Nothing was dialled.
    ForbiddenAddress,
    /// TLS could not be agreed on: a certificate that one side does not trust or does not show, or no TLS at all.
    Tls,
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
    right: Option<&'static str>,
}

impl Error {
    const fn of(class: Class, code: Option<&'static str>) -> Self {
        Self {
            class,
            code,
            right: None,
        }
    }

    /// The command that a NOPERM speaks of, or `key` for a key, if Redis says.
    pub fn right(&self) -> Option<&'static str> {
        self.right
    }

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
            Class::Tls => "TLS",
            Class::Denied => "DENIED",
            Class::NotReady => "NOTREADY",
            Class::NoGroup => "NOGROUP",
            Class::WrongType => "WRONGTYPE",
            Class::Other => "OTHER",
        })
    }

    /// No answer that can be used.
    pub(crate) fn unreachable() -> Self {
        Self::of(Class::Unreachable, None)
    }

    /// A reply of a shape that Redis does not send.
    pub(crate) fn unexpected_reply() -> Self {
        Self::of(Class::Other, None)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.class, self.code) {
            (_, Some(code)) if self.right == Some("key") => write!(formatter, "Redis answered {code} for a key"),
            (_, Some(code)) if self.right.is_some() => {
                write!(
                    formatter,
                    "Redis answered {code} for {}",
                    self.right.unwrap_or_default()
                )
            }
            (_, Some(code)) => write!(formatter, "Redis answered {code}"),
            (Class::Unreachable, None) => formatter.write_str("Redis is unreachable"),
            (Class::Tls, None) => formatter.write_str("TLS with Redis failed"),
            (Class::ForbiddenAddress, None) => formatter.write_str("the address of Redis must not be dialled"),
            (_, None) => formatter.write_str("Redis gave an unexpected answer"),
        }
    }
}

impl From<&RedisError> for Error {
    fn from(error: &RedisError) -> Self {
        if error.kind() == ErrorKind::AuthenticationFailed {
            return Self::of(Class::Denied, Some("WRONGPASS"));
        }
        if is_tls_failure(error) {
            return Self::of(Class::Tls, None);
        }
        if error.is_io_error() {
            return Self::of(Class::Unreachable, None);
        }
        let word = error.code().unwrap_or_default();
        if word == FORBIDDEN_ADDRESS {
            return Self::of(Class::ForbiddenAddress, None);
        }
        let sentence = error.detail().unwrap_or_default();
        // What a script may not do is told by another word than what the caller may not do.
        let word = if word == "ERR" && REFUSED_IN_SCRIPT.iter().any(|said| sentence.starts_with(said)) {
            "NOPERM"
        } else {
            word
        };
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
        let right = (code == Some("NOPERM")).then(|| right(sentence)).flatten();
        Self { class, code, right }
    }
}

/// The command or key that a NOPERM is about.
fn right(sentence: &str) -> Option<&'static str> {
    let named = |word: &&str| {
        let (whole, _) = word.split_once('|').unwrap_or((word, ""));
        sentence.contains(&format!("run the '{word}' command"))
            || sentence.contains(&format!("run the '{whole}' command"))
    };
    RIGHTS
        .into_iter()
        .find(named)
        .or_else(|| (sentence.contains("access a key") || sentence.contains("of the keys")).then_some("key"))
}

/// A reply of another type than was expected.
impl From<redis::ParsingError> for Error {
    fn from(error: redis::ParsingError) -> Self {
        RedisError::from(error).into()
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
    fn a_missing_right_is_named_and_nothing_else_of_the_sentence() {
        let refused = |sentence: &str| -> Error {
            redis::make_extension_error("NOPERM".to_owned(), Some(sentence.to_owned())).into()
        };
        let command = refused("User hunter2 has no permissions to run the 'xgroup|create' command");
        assert_eq!(command.to_string(), "Redis answered NOPERM for xgroup|create");
        let within = refused("ACL failure in script: User hunter2 has no permissions to run the 'xpending' command");
        assert_eq!(within.right(), Some("xpending"));
        assert_eq!(refused("No permissions to access a key").right(), Some("key"));
        let sentence = "ACL failure in script: User hunter2 has no permissions to run the 'xack' command script: 1f";
        let within: Error = redis::make_extension_error("ERR".to_owned(), Some(sentence.to_owned())).into();
        assert_eq!((within.class(), within.right()), (Class::Denied, Some("xack")));
        let unknown = refused("User hunter2 has no permissions to run the 'hunter2' command");
        assert_eq!(unknown.to_string(), "Redis answered NOPERM");
    }

    #[test]
    fn a_right_that_a_script_misses_is_one_too() {
        for (sentence, right) in [
            (
                "ACL failure in script: User x has no permissions to run the 'xtrim' command",
                Some("xtrim"),
            ),
            (
                "The user executing the script can't access at least one of the keys mentioned",
                Some("key"),
            ),
            (
                "The user executing the script can't run this command or subcommand",
                None,
            ),
        ] {
            let error: Error = redis::make_extension_error("ERR".to_owned(), Some(sentence.to_owned())).into();
            assert_eq!(
                (error.class(), error.code(), error.right()),
                (Class::Denied, Some("NOPERM"), right)
            );
        }
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
