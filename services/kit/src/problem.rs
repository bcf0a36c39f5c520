//! Errors as `application/problem+json` (RFC 9457). One type, mapped to a reply once; a 5xx never tells internals.

use std::{borrow::Cow, error::Error, time::Duration};

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use shopwright_streams::Class;

use crate::{connection::classify, context::RequestContext};

/// Seconds after which a caller may try again when a dependency is away.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// One thing wrong with one part of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// JSON pointer (RFC 6901) to the part; empty for the whole document.
    pub pointer: String,
    /// Stable word for programs.
    pub code: Cow<'static, str>,
    /// Sentence for people.
    pub detail: String,
}

impl FieldError {
    /// Names a part, what is wrong with it for programs, and for people.
    pub fn new(pointer: impl Into<String>, code: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            code: code.into(),
            detail: detail.into(),
        }
    }
}

/// Every failure a handler can answer with. `code` is stable; `detail` may change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{status} {code}: {detail}")]
pub struct ApiError {
    status: StatusCode,
    code: Cow<'static, str>,
    detail: String,
    errors: Vec<FieldError>,
    retry_after: Option<Duration>,
}

impl ApiError {
    /// Any status and code. Prefer the named ones.
    pub fn new(status: StatusCode, code: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        Self {
            status,
            code: code.into(),
            detail: detail.into(),
            errors: Vec::new(),
            retry_after: None,
        }
    }

    /// 400 `malformed_json`.
    pub fn malformed_json(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed_json", detail)
    }

    /// 400 `query_invalid`: a query parameter or a search text.
    pub fn query_invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "query_invalid", detail)
    }

    /// 401 `unauthenticated`, with its challenge.
    pub fn unauthenticated() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthenticated",
            "A valid bearer key is required.",
        )
    }

    /// 404 `not_found`. `what` names the kind of thing, never the id that was asked for.
    pub fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("No such {what}."))
    }

    /// 405 `method_not_allowed`.
    pub fn method_not_allowed() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "This resource does not support the method.",
        )
    }

    /// 409 with the given code.
    pub fn conflict(code: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }

    /// 413 `payload_too_large`.
    pub fn payload_too_large() -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "payload_too_large",
            "The request's body is too large.",
        )
    }

    /// 415 `unsupported_media_type`.
    pub fn unsupported_media_type() -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "The request's content type must be application/json.",
        )
    }

    /// 422 `validation_failed` with every problem found.
    pub fn validation(errors: Vec<FieldError>) -> Self {
        let mut error = Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "validation_failed",
            "The request is well formed but not acceptable; see errors.",
        );
        error.errors = errors;
        error
    }

    /// 500 `internal`. The cause is logged here, once, and never sent.
    pub fn internal(cause: &(dyn Error + 'static)) -> Self {
        tracing::error!(error = cause, "request failed");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "Something went wrong on our side.",
        )
    }

    /// 502 `bad_gateway`: an upstream answered with something that is no HTTP.
    pub fn bad_gateway() -> Self {
        Self::new(
            StatusCode::BAD_GATEWAY,
            "bad_gateway",
            "A service behind this one gave no usable answer.",
        )
    }

    /// 503 `dependency_unavailable` with Retry-After.
    pub fn dependency_unavailable() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "dependency_unavailable",
            "Something this service depends on does not answer. Try again.",
        )
        .with_retry_after(RETRY_AFTER)
    }

    /// 503 `capacity` with Retry-After: Redis is full, or nearly.
    pub fn capacity() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "capacity",
            "The shop is at its capacity. Try again later.",
        )
        .with_retry_after(Duration::from_secs(30))
    }

    /// 504 `timeout`. What was asked may have happened or not.
    pub fn timeout() -> Self {
        Self::new(
            StatusCode::GATEWAY_TIMEOUT,
            "timeout",
            "The request took too long; its outcome is unknown.",
        )
    }

    /// A write that Redis did not answer, but may have been sent: 504, because 503 says that nothing happened. Repeated
    /// under the same key, it tells whether it did. Every other failure of Redis is told as of a read.
    pub fn of_write(error: redis::RedisError) -> Self {
        if error.is_io_error() && !error.is_connection_refusal() {
            tracing::warn!(kind = ?error.kind(), code = error.code(), "the outcome of a write is unknown");
            return Self::timeout();
        }
        error.into()
    }

    /// As [`ApiError::of_write`], of a write made by the client library. Its error does not say whether the call was sent,
    /// so that any without an answer may have been.
    pub fn of_stream_write(error: shopwright_streams::Error) -> Self {
        if error.class() == Class::Unreachable {
            tracing::warn!(word = error.word(), "the outcome of a write is unknown");
            return Self::timeout();
        }
        error.into()
    }

    /// Adds a Retry-After header, in whole seconds.
    #[must_use]
    pub fn with_retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    /// Adds what is wrong with the parts of the request.
    #[must_use]
    pub fn with_errors(mut self, errors: Vec<FieldError>) -> Self {
        self.errors = errors;
        self
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The stable code.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// What is wrong with the parts of the request.
    pub fn errors(&self) -> &[FieldError] {
        &self.errors
    }
}

/// What Redis said, as the caller may know it: full is 503 `capacity`; gone, loading, read-only, busy, without its primary,
/// unable to write its file or keeping us out is 503 `dependency_unavailable`; everything else is ours, and 500.
impl From<redis::RedisError> for ApiError {
    fn from(error: redis::RedisError) -> Self {
        Self::from(classify(&error))
    }
}

/// As of the client library's error.
impl From<shopwright_streams::Error> for ApiError {
    fn from(error: shopwright_streams::Error) -> Self {
        // The text of a server's error may quote arguments, so only its code word is logged.
        let word = error.word();
        if word == "OOM" {
            tracing::warn!(word, "Redis is full");
            return Self::capacity();
        }
        match error.class() {
            Class::Unreachable | Class::NotReady | Class::Denied | Class::Tls | Class::ForbiddenAddress => {
                tracing::warn!(word, "Redis is unavailable");
                Self::dependency_unavailable()
            }
            Class::NoGroup | Class::WrongType | Class::Other => {
                tracing::error!(word, "Redis refused a command");
                Self::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "internal",
                    "Something went wrong on our side.",
                )
            }
        }
    }
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: &'static str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    instance: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    request_id: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let context = RequestContext::try_current();
        let body = Body {
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            code: &self.code,
            instance: context.as_ref().map_or("", |context| &context.path),
            request_id: context.as_ref().map_or("", |context| &context.request_id),
            errors: &self.errors,
        };
        let text = serde_json::to_string(&body).unwrap_or_else(|_| format!(r#"{{"code":"{}"}}"#, self.code));
        let mut response = (self.status, text).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(delay) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(delay.as_secs().max(1)));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"shopwright\""),
            );
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Error as IoError, ErrorKind};

    use super::*;

    #[test]
    fn only_of_a_write_that_was_never_sent_it_is_said_that_nothing_happened() {
        let status = |kind| ApiError::of_write(IoError::from(kind).into()).status().as_u16();
        assert_eq!(status(ErrorKind::ConnectionRefused), 503);
        for sent in [ErrorKind::TimedOut, ErrorKind::BrokenPipe, ErrorKind::ConnectionReset] {
            assert_eq!(status(sent), 504, "{sent}");
        }
        let full = redis::make_extension_error("OOM".to_owned(), None);
        assert_eq!(ApiError::of_write(full).code(), "capacity");
    }
}
