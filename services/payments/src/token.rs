//! Order tokens: whoever placed an order proves it by one. HMAC-SHA256 of the order's id; nothing is stored, so a token is
//! good for as long as its key is.
//!
//! To rotate, in three steps: append the new key, so that every pod verifies by it before any signs by it; when the pods
//! have been rolled, move it to the front, so that it signs; take the old one off when the tokens of its time need no longer
//! be good. A new key that stood in front at once would sign tokens that the pods still to be rolled answer with 404.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde::Serialize;
use sha2::Sha256;
use shopwright_domain::ids::OrderId;
use shopwright_kit::Secret;
use shopwright_kit::secret::SecretError;

/// Where the keys are configured.
pub const ORDER_TOKEN_KEYS: &str = "ORDER_TOKEN_KEYS";

const LONGEST_ID: usize = 16;
const KEY_BYTES: usize = 32;

/// Why a list of keys is none. Entries are counted from one; no part of a key is told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenKeysError {
    /// The variable.
    #[error(transparent)]
    Environment(#[from] SecretError),
    /// Nothing in it.
    #[error("{ORDER_TOKEN_KEYS} holds at least one key: id:64 hex digits, separated by commas")]
    Empty,
    /// No `id:key`.
    #[error("{ORDER_TOKEN_KEYS}, entry {0}: an entry is id:key, as in k1:64 hex digits")]
    Shape(usize),
    /// A wrong id.
    #[error("{ORDER_TOKEN_KEYS}, entry {0}: an id is 1 to {LONGEST_ID} of a-z and 0-9")]
    Id(usize),
    /// A wrong key.
    #[error("{ORDER_TOKEN_KEYS}, entry {0}: a key is 64 hex digits (32 random bytes)")]
    Key(usize),
    /// An id that is taken.
    #[error("{ORDER_TOKEN_KEYS}, entry {0}: its id is already that of an earlier entry")]
    Repeated(usize),
}

/// A token as it is handed out. It prints nowhere but in the reply.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct OrderToken(String);

impl OrderToken {
    /// The token itself. Give it to whoever placed the order, never to a log or an error.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for OrderToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("OrderToken(redacted)")
    }
}

#[derive(Clone)]
struct TokenKey {
    id: String,
    // Holds the key's two padded blocks, already hashed.
    keyed: Hmac<Sha256>,
}

impl TokenKey {
    fn mac(&self, order: OrderId) -> Hmac<Sha256> {
        self.keyed.clone().chain_update(order.to_string())
    }
}

/// The keys of a shop's tokens: the first signs, all verify.
#[derive(Clone)]
pub struct TokenKeys {
    signing: TokenKey,
    older: Vec<TokenKey>,
}

impl fmt::Debug for TokenKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids = self.all().map(|key| &key.id);
        formatter.debug_list().entries(ids).finish()
    }
}

impl TokenKeys {
    /// From `id:key,id:key,...`.
    pub fn parse(text: &str) -> Result<Self, TokenKeysError> {
        if text.is_empty() {
            return Err(TokenKeysError::Empty);
        }
        let mut keys: Vec<TokenKey> = Vec::new();
        for (index, entry) in text.split(',').enumerate() {
            let number = index + 1;
            let (id, digits) = entry.split_once(':').ok_or(TokenKeysError::Shape(number))?;
            let is_id = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
            if !(1..=LONGEST_ID).contains(&id.len()) || !id.bytes().all(is_id) {
                return Err(TokenKeysError::Id(number));
            }
            if keys.iter().any(|key| key.id == id) {
                return Err(TokenKeysError::Repeated(number));
            }
            let key = bytes(digits).ok_or(TokenKeysError::Key(number))?;
            let keyed = Hmac::new_from_slice(&key).map_err(|_| TokenKeysError::Key(number))?;
            keys.push(TokenKey {
                id: id.to_owned(),
                keyed,
            });
        }
        let older = keys.split_off(1);
        let signing = keys.pop().ok_or(TokenKeysError::Empty)?;
        Ok(Self { signing, older })
    }

    /// From the environment variable [`ORDER_TOKEN_KEYS`].
    pub fn from_environment() -> Result<Self, TokenKeysError> {
        Self::parse(Secret::from_environment(ORDER_TOKEN_KEYS)?.expose())
    }

    /// The id of the key that signs.
    pub fn signing_id(&self) -> &str {
        &self.signing.id
    }

    /// The order's token.
    pub fn sign(&self, order: OrderId) -> OrderToken {
        Self::sign_by(&self.signing, order)
    }

    /// The order's token by the key of this id, as it was handed out before; by the one that signs if that key is gone.
    pub fn sign_as(&self, id: &str, order: OrderId) -> OrderToken {
        let key = self.all().find(|key| key.id == id).unwrap_or(&self.signing);
        Self::sign_by(key, order)
    }

    /// Is this the order's token, by any of the keys? The time taken tells nothing about how much of it is right.
    pub fn verify(&self, order: OrderId, token: &str) -> bool {
        let Some((id, mac)) = token.split_once('.') else {
            return false;
        };
        let Ok(mac) = BASE64_URL_SAFE_NO_PAD.decode(mac) else {
            return false;
        };
        let mut keys = self.all().filter(|key| key.id == id);
        keys.next().is_some_and(|key| key.mac(order).verify_slice(&mac).is_ok())
    }

    fn sign_by(key: &TokenKey, order: OrderId) -> OrderToken {
        let mac = key.mac(order).finalize().into_bytes();
        OrderToken(format!("{}.{}", key.id, BASE64_URL_SAFE_NO_PAD.encode(mac)))
    }

    fn all(&self) -> impl Iterator<Item = &TokenKey> {
        std::iter::once(&self.signing).chain(&self.older)
    }
}

/// 64 hex digits.
fn bytes(digits: &str) -> Option<[u8; KEY_BYTES]> {
    let digits = digits.as_bytes();
    if digits.len() != 2 * KEY_BYTES {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut key = [0; KEY_BYTES];
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? * 16 + digit(pair[1])?;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(digit: &str) -> String {
        digit.repeat(64)
    }

    fn keys(text: &str) -> TokenKeys {
        TokenKeys::parse(text).unwrap()
    }

    #[test]
    fn a_token_is_hmac_sha256_of_the_id() {
        let order: OrderId = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
        let token = keys(&format!("k1:{}", "0b".repeat(32))).sign(order);
        // By another implementation: Python's hmac and base64.urlsafe_b64encode.
        assert_eq!(token.expose(), "k1.M_AgpjukvFH81MpQdbOlaYNxTFK5w6MhQNJiPQsWWzs");
    }

    #[test]
    fn only_the_orders_own_token_is_accepted() {
        let keys = keys(&format!("a:{},b:{}", key("1"), key("2")));
        let (order, other) = (OrderId::generate(), OrderId::generate());
        let token = keys.sign(order).expose().to_owned();
        assert!(keys.verify(order, &token));
        assert!(!keys.verify(other, &token));
        let (id, mac) = token.split_once('.').unwrap();
        assert_eq!((id, mac.len()), ("a", 43));
        let flipped = format!("{}{}", if mac.starts_with('A') { 'B' } else { 'A' }, &mac[1..]);
        for wrong in [
            String::new(),
            ".".into(),
            "a.".into(),
            mac.into(),
            format!("b.{mac}"),
            format!("c.{mac}"),
            format!("A.{mac}"),
            format!("a.{flipped}"),
            format!("a.{}", &mac[..42]),
            format!("a.{mac}A"),
            format!("a.{mac}="),
            format!("a.{mac}.{mac}"),
            format!(" a.{mac}"),
        ] {
            assert!(!keys.verify(order, &wrong), "{wrong}");
        }
    }

    /// 32 bytes are 43 digits of six bits, with two to spare: another last digit must not be another spelling.
    #[test]
    fn a_token_has_one_spelling() {
        let keys = keys(&format!("a:{}", key("1")));
        let order = OrderId::generate();
        let token = keys.sign(order).expose().to_owned();
        let accepted = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
            .chars()
            .filter(|last| keys.verify(order, &format!("{}{last}", &token[..token.len() - 1])))
            .count();
        assert_eq!(accepted, 1);
    }

    #[test]
    fn rotated_keys_verify_until_they_are_gone() {
        let order = OrderId::generate();
        let old = keys(&format!("old:{}", key("1")));
        let both = keys(&format!("new:{},old:{}", key("2"), key("1")));
        let new = keys(&format!("new:{}", key("2")));
        let (first, second) = (old.sign(order), both.sign(order));
        assert!(both.verify(order, first.expose()) && both.verify(order, second.expose()));
        assert!(!new.verify(order, first.expose()) && new.verify(order, second.expose()));
        assert!(!old.verify(order, second.expose()));
        assert_eq!(both.sign_as("old", order), first);
        assert_eq!(new.sign_as("old", order), second);
        assert_eq!(both.signing_id(), "new");
    }

    /// At each step of a rotation, pods of the step before are still there: both sides know each other's tokens.
    #[test]
    fn pods_before_and_after_each_step_of_a_rotation_agree() {
        let (old, new) = (format!("old:{}", key("1")), format!("new:{}", key("2")));
        let steps = [old.clone(), format!("{old},{new}"), format!("{new},{old}"), new].map(|text| keys(&text));
        let order = OrderId::generate();
        let agree = |one: &TokenKeys, other: &TokenKeys| other.verify(order, one.sign(order).expose());
        for pair in steps.windows(2).take(2) {
            assert!(agree(&pair[0], &pair[1]) && agree(&pair[1], &pair[0]), "{pair:?}");
        }
        // The last step is for when nobody needs the old tokens any more.
        assert!(agree(&steps[3], &steps[2]) && agree(&steps[2], &steps[3]));
        assert!(
            !agree(&steps[2], &steps[0]),
            "why the new key is not put in front at once"
        );
    }

    #[test]
    fn a_wrong_list_says_which_entry_and_no_key() {
        let good = key("c");
        for (text, expected) in [
            (String::new(), TokenKeysError::Empty),
            (good.clone(), TokenKeysError::Shape(1)),
            (format!("k1:{good},"), TokenKeysError::Shape(2)),
            (format!(":{good}"), TokenKeysError::Id(1)),
            (format!("K1:{good}"), TokenKeysError::Id(1)),
            (format!("k.1:{good}"), TokenKeysError::Id(1)),
            (format!("{}:{good}", "k".repeat(17)), TokenKeysError::Id(1)),
            (format!("k1:{good}, k2:{good}"), TokenKeysError::Id(2)),
            (format!("k1:{good},k2:{}", &good[..63]), TokenKeysError::Key(2)),
            (format!("k1:{good}0"), TokenKeysError::Key(1)),
            (format!("k1:{}\n", &good[..63]), TokenKeysError::Key(1)),
            (format!("k1:{good},k2:{good},k1:{good}"), TokenKeysError::Repeated(3)),
        ] {
            let error = TokenKeys::parse(&text).unwrap_err();
            assert_eq!(error, expected, "{text}");
            assert!(!error.to_string().contains("cccc"));
        }
        assert!(TokenKeys::parse(&format!("{}:{}", "k".repeat(16), key("F"))).is_ok());
    }

    #[test]
    fn nothing_secret_is_printed() {
        let keys = keys(&format!("k1:{},k2:{}", key("a"), key("b")));
        let text = format!("{keys:?} {:?}", keys.sign(OrderId::generate()));
        assert_eq!(text, r#"["k1", "k2"] OrderToken(redacted)"#);
    }
}
