//! `Idempotency-Key`: what a repeated request is known by, and what is told of it. Pure, but for the extractor.
//!
//! A service stores a [`Record`] under [`Idempotency::id`] in the very script that has the effect, for [`RETENTION`]; a
//! script that finds one there changes nothing and answers it, and [`Idempotency::judge`] says whether it is of the same
//! request. So there is no lock, and no time between effect and record in which a repetition could run.
//!
//! Within its limits: a repetition after the retention, or after Redis lost the record (durability `EverySecond`), is a
//! new request. Whoever knows an anonymous caller's key gets that caller's reply, hence [`RequestKey::require_unguessable`].

use std::{fmt::Write, time::Duration};

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{
    context::RequestContext,
    extract::{self, Raw},
    problem::ApiError,
};

/// Header of the key.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Header of a reply that repeats an earlier one.
pub const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// How long a record is kept, unless configured otherwise.
pub const RETENTION: Duration = Duration::from_hours(48);

/// The longest key, in characters.
const LONGEST_KEY: usize = 255;
/// 22 characters of 64 kinds hold 132 bits, and of 62 kinds 130.
const SHORTEST_UNGUESSABLE: usize = 22;
/// 24 characters of 36 kinds hold 124 bits; 22 of them would hold 113.
const SHORTEST_UNGUESSABLE_OF_ONE_CASE: usize = 24;
/// 31 characters of 16 kinds hold 124 bits.
const SHORTEST_UNGUESSABLE_HEX: usize = 31;
/// 37 characters of 10 kinds hold 122 bits; 31 of them would hold 103.
const SHORTEST_UNGUESSABLE_DECIMAL: usize = 37;
/// What a request without a body says.
const NOTHING: &[u8] = b"{}";

/// A JSON body with the `Idempotency-Key` it came with: the body follows the rules of [`Json`](crate::Json), and an empty
/// one counts as `{}` and needs no content type.
///
/// The key is looked at before the body: 400 `idempotency_key_missing` or `idempotency_key_invalid`.
#[derive(Debug, Clone)]
pub struct Keyed<T> {
    /// What the request is known by.
    pub key: RequestKey,
    /// What it says.
    pub body: T,
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Keyed<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let key = from_headers(request.headers())?;
        let method = request.method().as_str().to_owned();
        // The context's path is the whole one; the request's own lacks what a nested router took off.
        let context = request.extensions().get::<RequestContext>();
        let path = context.map_or_else(|| request.uri().path().to_owned(), |context| context.path.clone());
        let is_json = extract::is_json(request.headers());
        let Raw(bytes) = Raw::from_request(request, state).await?;
        let bytes = if bytes.is_empty() {
            Bytes::from_static(NOTHING)
        } else if is_json {
            bytes
        } else {
            return Err(ApiError::unsupported_media_type());
        };
        Ok(Self {
            body: extract::parse(&bytes)?,
            key: RequestKey::new(key, method, path, &bytes),
        })
    }
}

/// A caller's key, and the request that it was sent with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestKey {
    key: String,
    method: String,
    path: String,
    fingerprint: String,
}

impl RequestKey {
    /// The parts as they are: the key without quotes, the service's own path, the body's bytes.
    pub fn new(key: impl Into<String>, method: impl Into<String>, path: impl Into<String>, body: &[u8]) -> Self {
        Self {
            key: key.into(),
            method: method.into(),
            path: path.into(),
            fingerprint: hex(&Sha256::digest(body)),
        }
    }

    /// The same key of another caller, to another path or with another method, is another request.
    ///
    /// `caller` is a fixed word for a role, or an id that has been verified: never what was merely claimed.
    pub fn scoped(&self, caller: &str) -> Idempotency {
        let mut id = Sha256::new();
        // Each part with its length before it: no two lists of parts are the same bytes.
        for part in [caller, &self.method, &self.path, &self.key] {
            id.update((part.len() as u64).to_be_bytes());
            id.update(part);
        }
        Idempotency {
            id: hex(&id.finalize()),
            fingerprint: self.fingerprint.clone(),
        }
    }

    /// 400 `idempotency_key_weak` unless the key can hold 122 random bits, for callers whom only their key tells apart.
    ///
    /// Allowed are a UUID of version 4 with its hyphens, and 22 or more of `A-Za-z0-9_-` that are no UUID of another
    /// version and no ULID. Of fewer kinds of characters it takes more: 24 when all letters are of one case, 31 hex digits,
    /// 37 decimal ones, and then `_` and `-` do not count. That the key *is* random, nobody can see.
    pub fn require_unguessable(&self) -> Result<(), ApiError> {
        if is_unguessable(&self.key) {
            return Ok(());
        }
        Err(bad_request(
            "idempotency_key_weak",
            "Without credentials, the Idempotency-Key must hold at least 122 random bits: a random UUID (version 4), or \
             at least 22 random characters of A-Z, a-z, 0-9, '_' and '-' (24 when all letters are of one case, 31 hex \
             digits, 37 decimal digits), and no UUID of another version and no ULID.",
        ))
    }
}

/// What one request is known by where its effect is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// For the record's key in Redis: SHA-256 of caller, method, path and key, 64 hex digits.
    pub id: String,
    /// SHA-256 of the body, 64 hex digits.
    pub fingerprint: String,
}

impl Idempotency {
    /// The record to store with the effect.
    pub fn record(&self, status: StatusCode, id: impl Into<String>, result: Option<Value>) -> Record {
        Record {
            fingerprint: self.fingerprint.clone(),
            status: status.as_u16(),
            id: id.into(),
            result,
        }
    }

    /// What was stored under this id: the record to rebuild the reply from, or 422 `idempotency_key_reused` when it is of
    /// another body. 500 when it is no record.
    pub fn judge(&self, record_text: &str) -> Result<Record, ApiError> {
        let record: Record = serde_json::from_str(record_text).map_err(|error| ApiError::internal(&error))?;
        if record.fingerprint == self.fingerprint {
            return Ok(record);
        }
        Err(ApiError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "idempotency_key_reused",
            "This Idempotency-Key was used for a request with another body.",
        ))
    }
}

/// What is kept of a request that had its effect. The first reply is rebuilt from it, but for a cancellation's, which shows
/// the order as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Of the body.
    pub fingerprint: String,
    /// The first reply's HTTP status.
    pub status: u16,
    /// Id of what was made or changed.
    pub id: String,
    /// What of the first reply cannot be read again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
}

impl Record {
    /// The first reply's status; 200 if it was none.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::OK)
    }

    /// As it is stored.
    pub fn to_json(&self) -> String {
        // Texts, a number and JSON: there is nothing in it that cannot be written.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Marks a reply as the repetition of an earlier one.
pub fn replayed(reply: impl IntoResponse) -> Response {
    let mut response = reply.into_response();
    let headers = response.headers_mut();
    headers.insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
    response
}

fn from_headers(headers: &HeaderMap) -> Result<String, ApiError> {
    let mut values = headers.get_all(&IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else {
        return Err(bad_request(
            "idempotency_key_missing",
            "This request needs an Idempotency-Key header.",
        ));
    };
    // Of two keys, a proxy or a caller's library may hand on either.
    let key = if values.next().is_none() {
        value.to_str().ok().and_then(parse)
    } else {
        None
    };
    key.ok_or_else(|| {
        bad_request(
            "idempotency_key_invalid",
            "The Idempotency-Key must be one header of 1 to 255 visible ASCII characters, bare or in double quotes.",
        )
    })
}

fn bad_request(code: &'static str, detail: &'static str) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, code, detail)
}

/// A key as callers write it, or as the IETF draft does: a string of RFC 8941, in which `"` and `\` stand behind a `\`.
fn parse(text: &str) -> Option<String> {
    let key = match text.strip_prefix('"') {
        Some(rest) => unescape(rest.strip_suffix('"')?)?,
        None => text.to_owned(),
    };
    let valid = (1..=LONGEST_KEY).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    valid.then_some(key)
}

fn unescape(quoted: &str) -> Option<String> {
    let mut plain = String::with_capacity(quoted.len());
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        plain.push(match character {
            '"' => return None,
            '\\' => characters.next().filter(|escaped| matches!(escaped, '"' | '\\'))?,
            character => character,
        });
    }
    Some(plain)
}

fn is_unguessable(key: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if !key.bytes().all(allowed) {
        return false;
    }
    // Without hyphens a UUID cannot be told from 32 random hex digits, one in four of which has its variant.
    if key.len() == 36
        && let Ok(uuid) = Uuid::try_parse(key)
    {
        return uuid.get_version_num() == 4 && uuid.get_variant() == uuid::Variant::RFC4122;
    }
    is_long_enough(key) && !is_ulid(key)
}

/// Which characters a key could have had is seen only from those it has. One in some three million random UUIDs without
/// hyphens has no letter, and is refused.
fn is_long_enough(key: &str) -> bool {
    let has = |kind: fn(&u8) -> bool| key.bytes().any(|byte| kind(&byte));
    let counted = key.bytes().filter(u8::is_ascii_alphanumeric);
    let length = counted.clone().count();
    if !has(u8::is_ascii_alphabetic) {
        return length >= SHORTEST_UNGUESSABLE_DECIMAL;
    }
    if counted.clone().all(|byte| byte.is_ascii_hexdigit()) {
        return length >= SHORTEST_UNGUESSABLE_HEX;
    }
    if has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase) {
        return key.len() >= SHORTEST_UNGUESSABLE;
    }
    length >= SHORTEST_UNGUESSABLE_OF_ONE_CASE
}

/// A ULID has 80 random bits. The first character is of its time, and will be `0` for a thousand years; base 32 as most
/// write it (RFC 4648) has no `0`, so that random keys of that kind are not taken for one.
fn is_ulid(key: &str) -> bool {
    let is_crockford = |byte: u8| byte.is_ascii_alphanumeric() && !b"ILOU".contains(&byte.to_ascii_uppercase());
    key.len() == 26 && key.starts_with('0') && key.bytes().all(is_crockford)
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
#[path = "idempotency_tests.rs"]
mod tests;
