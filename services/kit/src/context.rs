//! Who asked: the request id and the W3C trace context, accepted or made, for logs, problems and events.

use std::convert::Infallible;

use axum::{
    extract::{FromRequestParts, Request},
    http::{HeaderMap, HeaderName, HeaderValue, request::Parts},
    middleware::Next,
    response::Response,
};
use tracing::Instrument;
use uuid::Uuid;

/// Header that carries the request id in both directions.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Header of the W3C trace context.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

tokio::task_local! {
    static CURRENT: RequestContext;
}

/// Identity of one request. An extractor, and `current()` wherever the request's task is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestContext {
    /// Accepted from the caller if it is 1 to 64 of `[A-Za-z0-9._-]`, else made.
    pub request_id: String,
    /// `00-<trace id>-<span id>-<flags>`: the caller's trace with a span id of ours, or a new trace.
    pub traceparent: String,
    /// The request's path, for `instance` of a problem.
    pub path: String,
}

impl RequestContext {
    /// A context for work that no request started.
    pub fn new() -> Self {
        Self::from_headers(&HeaderMap::new(), "")
    }

    /// Takes what the caller sent, if it is well formed; anything else is replaced, never echoed.
    pub fn from_headers(headers: &HeaderMap, path: &str) -> Self {
        let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let request_id = text(&REQUEST_ID)
            .filter(|id| is_request_id(id))
            .map_or_else(|| Uuid::now_v7().to_string(), str::to_owned);
        let (trace, flags) = text(&TRACEPARENT)
            .and_then(parse_traceparent)
            .unwrap_or_else(|| (Uuid::new_v4().simple().to_string(), "01".to_owned()));
        Self {
            request_id,
            traceparent: format!("00-{trace}-{}-{flags}", new_span_id()),
            path: path.to_owned(),
        }
    }

    /// The context of the request this task is serving; a new one outside of any.
    pub fn current() -> Self {
        Self::try_current().unwrap_or_default()
    }

    /// The context of the request this task is serving.
    pub fn try_current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// The trace's own id, 32 hex digits.
    pub fn trace_id(&self) -> &str {
        self.traceparent.get(3..35).unwrap_or_default()
    }
}

impl Default for RequestContext {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for RequestContext {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let known = parts.extensions.get::<Self>().cloned();
        Ok(known.unwrap_or_else(|| Self::from_headers(&parts.headers, parts.uri.path())))
    }
}

/// Outermost middleware: puts the context into the request, its task, its log span, and the reply's header.
pub async fn middleware(mut request: Request, next: Next) -> Response {
    let context = RequestContext::from_headers(request.headers(), request.uri().path());
    let span = tracing::info_span!("request", request_id = %context.request_id, trace_id = %context.trace_id());
    request.extensions_mut().insert(context.clone());
    let header = HeaderValue::from_str(&context.request_id);
    let mut response = CURRENT.scope(context, next.run(request)).instrument(span).await;
    if let Ok(value) = header {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

fn is_request_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

/// Trace id and flags of a version 00 header (W3C Trace Context, section 3.2); all-zero ids are invalid there.
fn parse_traceparent(text: &str) -> Option<(String, String)> {
    let is_hex = |part: &str, length: usize| {
        part.len() == length
            && part
                .bytes()
                .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    let is_zero = |part: &str| part.bytes().all(|byte| byte == b'0');
    let mut parts = text.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let valid = version == "00"
        && parts.next().is_none()
        && is_hex(trace, 32)
        && is_hex(span, 16)
        && is_hex(flags, 2)
        && !is_zero(trace)
        && !is_zero(span);
    valid.then(|| (trace.to_owned(), flags.to_owned()))
}

fn new_span_id() -> String {
    // Twelve random digits; the fixed tail keeps the id from ever being all zero, which the standard forbids.
    Uuid::new_v4()
        .simple()
        .to_string()
        .chars()
        .take(12)
        .chain("0001".chars())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    #[test]
    fn well_formed_ids_are_kept() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let sent = format!("00-{trace}-00f067aa0ba902b7-01");
        let context = RequestContext::from_headers(&headers(&[(REQUEST_ID, "abc.1"), (TRACEPARENT, &sent)]), "/x");
        assert_eq!(context.request_id, "abc.1");
        assert_eq!(context.trace_id(), trace);
        assert_ne!(context.traceparent, sent, "the span is ours");
        assert!(parse_traceparent(&context.traceparent).is_some());
    }

    #[test]
    fn anything_else_is_replaced() {
        let zero = format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32));
        let long = "a".repeat(65);
        for (id, trace) in [("a b", "00-1-2-3"), ("", ""), (&*long, &*zero), ("x\"y", "01-x")] {
            let context = RequestContext::from_headers(&headers(&[(REQUEST_ID, id), (TRACEPARENT, trace)]), "/");
            assert_ne!(context.request_id, id);
            assert!(is_request_id(&context.request_id));
            assert!(
                parse_traceparent(&context.traceparent).is_some(),
                "{}",
                context.traceparent
            );
        }
    }
}
