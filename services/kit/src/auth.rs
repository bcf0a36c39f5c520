//! The bearer key for admin writes.

use axum::{
    extract::{FromRef, FromRequestParts},
    http::{HeaderMap, header, request::Parts},
};
use subtle::ConstantTimeEq;

use crate::{problem::ApiError, secret::Secret};

/// The key that admin requests must carry as `Authorization: Bearer KEY`.
#[derive(Debug, Clone)]
pub struct AdminKey(Secret);

impl AdminKey {
    /// Wraps the key.
    pub fn new(key: Secret) -> Self {
        Self(key)
    }

    /// Accepts or refuses a request's headers. The time taken depends on the length of what was sent only.
    pub fn verify(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        let sent = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.as_bytes().split_at_checked(7))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "))
            .map(|(_, key)| key)
            .ok_or_else(ApiError::unauthenticated)?;
        let expected = self.0.expose().as_bytes();
        // An empty key would let everyone in, so it lets nobody in.
        if !expected.is_empty() && bool::from(expected.ct_eq(sent)) {
            Ok(())
        } else {
            Err(ApiError::unauthenticated())
        }
    }
}

/// Proof that the request carried the admin key. Put it before the body in a handler's arguments: who may not write
/// learns nothing about what is wrong with the body.
#[derive(Debug, Clone, Copy)]
pub struct AdminAuthorization(());

impl<S> FromRequestParts<S> for AdminAuthorization
where
    AdminKey: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        AdminKey::from_ref(state).verify(&parts.headers).map(|()| Self(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn verify(key: &str, header: Option<&str>) -> bool {
        let headers = header.map(|value| (header::AUTHORIZATION, HeaderValue::from_str(value).unwrap()));
        AdminKey::new(Secret::new(key))
            .verify(&headers.into_iter().collect())
            .is_ok()
    }

    #[test]
    fn only_the_exact_key_is_accepted() {
        assert!(verify("key", Some("Bearer key")));
        assert!(verify("key", Some("bearer key")));
        for wrong in [
            None,
            Some("key"),
            Some("Bearer"),
            Some("Bearer "),
            Some("Bearer ke"),
            Some("Bearer keyy"),
            Some("Basic key"),
        ] {
            assert!(!verify("key", wrong), "{wrong:?}");
        }
        assert!(!verify("", Some("Bearer ")));
    }
}
