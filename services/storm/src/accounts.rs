//! Passwords of a shop's Redis users, made for one run. Pure but for randomness.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};
use shopwright_domain::access::{self, User};

/// One random password for each Redis user.
pub struct Passwords(Vec<(User, String)>);

impl Passwords {
    /// New ones.
    pub fn random() -> Self {
        Self(User::ALL.iter().map(|user| (*user, random_word())).collect())
    }

    /// The lines of `users.acl` that let these users, and nobody without a name, into the Redis of `shop`.
    pub fn acl(&self, shop: &str) -> Vec<String> {
        let mut lines = vec![access::DEFAULT_OFF.to_owned()];
        lines.extend(
            self.0
                .iter()
                .map(|(user, password)| access::acl_line(*user, shop, &hexadecimal(&Sha256::digest(password)))),
        );
        lines
    }

    /// The password of one user.
    pub fn of(&self, wanted: User) -> String {
        self.0
            .iter()
            .find(|(user, _)| *user == wanted)
            .map(|(_, password)| password.clone())
            .unwrap_or_default()
    }
}

/// 192 random bits as 48 hex digits.
pub fn random_word() -> String {
    let mut bytes = [0_u8; 24];
    rand::fill(&mut bytes);
    hexadecimal(&bytes)
}

/// Two digits a byte.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
