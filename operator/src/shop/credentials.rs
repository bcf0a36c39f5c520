//! Passwords of the Redis users, the admin key and the keys of order tokens: their types, and which Secret holds what. Pure.

use std::collections::BTreeMap;
use std::fmt;

use shopwright_api::names;
use shopwright_domain::access::{self, User};

use crate::shop::hash::sha256_hex;

/// A secret text. `Debug` prints a placeholder and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(String);

impl Hidden {
    /// Wraps a secret text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden(..)")
    }
}

/// Who needs a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Holder {
    /// A user of Redis.
    Redis(User),
    /// Whoever writes products.
    Admin,
    /// Payments, which signs order tokens.
    OrderTokens,
}

impl Holder {
    /// Everybody, in the order in which Secrets are made.
    pub fn all() -> impl Iterator<Item = Self> {
        User::ALL
            .into_iter()
            .map(Self::Redis)
            .chain([Self::Admin, Self::OrderTokens])
    }

    /// Name of the Secret.
    pub fn secret_name(self, shop: &str) -> String {
        match self {
            Self::Redis(user) => names::redis_user_secret(shop, user.name()),
            Self::Admin => names::admin_secret(shop),
            Self::OrderTokens => names::order_tokens_secret(shop),
        }
    }

    /// Key under which the secret text stands.
    pub fn key(self) -> &'static str {
        match self {
            Self::Redis(_) => "password",
            Self::Admin => names::ADMIN_KEY,
            Self::OrderTokens => "keys",
        }
    }

    /// What is stored, made of fresh random hexadecimal digits. Signing keys carry their id, so that another can be put
    /// before it: the first signs, all are accepted.
    pub fn text(self, random: &str) -> Hidden {
        match self {
            Self::Redis(_) | Self::Admin => Hidden::new(random),
            Self::OrderTokens => Hidden::new(format!("1:{random}")),
        }
    }

    /// What else stands in the Secret.
    pub fn plain(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Redis(user) => Some(("username", user.name())),
            Self::Admin | Self::OrderTokens => None,
        }
    }
}

/// All secrets of one shop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    passwords: BTreeMap<&'static str, Hidden>,
    admin_key: Hidden,
    order_token_keys: Hidden,
}

impl Credentials {
    /// Complete credentials, or `None` when one is missing.
    pub fn complete(found: &[(Holder, Hidden)]) -> Option<Self> {
        let text = |wanted: Holder| {
            found
                .iter()
                .find(|(holder, _)| *holder == wanted)
                .map(|(_, text)| text.clone())
        };
        let passwords = User::ALL
            .into_iter()
            .map(|user| Some((user.name(), text(Holder::Redis(user))?)));
        Some(Self {
            passwords: passwords.collect::<Option<_>>()?,
            admin_key: text(Holder::Admin)?,
            order_token_keys: text(Holder::OrderTokens)?,
        })
    }

    /// Password of a Redis user.
    pub fn password(&self, user: User) -> &str {
        self.passwords.get(user.name()).map_or("", Hidden::expose)
    }

    /// The bearer key for admin writes.
    pub fn admin_key(&self) -> &str {
        self.admin_key.expose()
    }

    /// The keys that sign order tokens, each with its id.
    pub fn order_token_keys(&self) -> &str {
        self.order_token_keys.expose()
    }

    /// Content of Redis's `users.acl`: hashes only.
    pub fn users_acl(&self, shop: &str) -> String {
        let lines = User::ALL
            .into_iter()
            .map(|user| access::acl_line(user, shop, &sha256_hex(self.password(user))));
        std::iter::once(access::DEFAULT_OFF.to_owned())
            .chain(lines)
            .fold(String::new(), |file, line| file + &line + "\n")
    }
}

/// Credentials that look alike in every test.
#[cfg(test)]
pub(crate) fn for_tests() -> Credentials {
    let found: Vec<_> = Holder::all()
        .map(|holder| (holder, Hidden::new(format!("secret of {}", holder.secret_name("demo")))))
        .collect();
    Credentials::complete(&found).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_missing_secret_makes_them_incomplete() {
        let mut found: Vec<_> = Holder::all().map(|holder| (holder, Hidden::new("x"))).collect();
        assert!(Credentials::complete(&found).is_some());
        found.pop();
        assert!(Credentials::complete(&found).is_none());
    }

    #[test]
    fn the_acl_file_holds_every_user_and_no_password() {
        let credentials = for_tests();
        let file = credentials.users_acl("demo");
        assert!(file.starts_with("user default off"));
        assert_eq!(file.lines().count(), User::ALL.len() + 1);
        assert!(!file.contains("secret of"));
        assert!(!format!("{credentials:?}").contains("secret of"));
    }
}
