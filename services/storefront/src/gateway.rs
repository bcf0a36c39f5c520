//! The gateway: `/api/v1/products...` and `/api/v1/inventory...` to inventory, `/api/v1/orders...` and
//! `/api/v1/payments...` to payments. It passes requests and replies on and adds nothing but the request's identity.

use std::{str::FromStr, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header},
    response::Response,
    routing::any,
};
use futures::StreamExt as _;
use reqwest::{Client, Url};
use shopwright_kit::{
    ApiError, Raw, RequestContext,
    context::{REQUEST_ID, TRACEPARENT},
};
use tokio_util::sync::CancellationToken;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// To the head of the reply. Above the services' own limit of 10 s, so that their answer about it gets through.
const HEAD_TIMEOUT: Duration = Duration::from_secs(12);
/// Between two pieces of a reply's body. It bounds the wait for the head too, hence the larger one; and it is below the
/// outer limit of 14 s.
const READ_TIMEOUT: Duration = Duration::from_secs(13);
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Unanswered bytes for this long end a connection whose pod vanished without a word (node loss).
const USER_TIMEOUT: Duration = Duration::from_secs(5);

/// What our paths begin with and the services' do not.
const PREFIX: &str = "/api";

/// Headers of one connection, not of the message (RFC 9110, section 7.6.1).
const NOT_PASSED_ON: [HeaderName; 8] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
];

/// Address of a service: scheme http, host, port, no path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream(String);

/// Why a text is no address of a service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must look like http://HOST:PORT, without a path, a query or credentials")]
pub struct UpstreamError;

impl FromStr for Upstream {
    type Err = UpstreamError;

    fn from_str(text: &str) -> Result<Self, UpstreamError> {
        let url = Url::parse(text).map_err(|_| UpstreamError)?;
        let plain = url.scheme() == "http"
            && url.host_str().is_some_and(|host| !host.is_empty())
            && url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        if plain {
            Ok(Self(url.as_str().trim_end_matches('/').to_owned()))
        } else {
            Err(UpstreamError)
        }
    }
}

#[derive(Debug, Clone)]
struct Route {
    client: Client,
    upstream: Upstream,
    shutdown: CancellationToken,
}

/// The routes of the gateway. Live events that are passed on end with `shutdown`: by themselves they never would.
pub fn router(inventory: Upstream, payments: Upstream, shutdown: CancellationToken) -> reqwest::Result<Router> {
    let client = Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .tcp_nodelay(true)
        .tcp_user_timeout(USER_TIMEOUT)
        .build()?;
    let products = Route {
        client: client.clone(),
        upstream: inventory,
        shutdown: shutdown.clone(),
    };
    let orders = Route {
        client,
        upstream: payments,
        shutdown,
    };
    Ok(Router::new()
        .route("/api/v1/products", any(forward).with_state(products.clone()))
        .route("/api/v1/products/{*rest}", any(forward).with_state(products.clone()))
        .route("/api/v1/inventory/{*rest}", any(forward).with_state(products))
        .route("/api/v1/payments/{*rest}", any(forward).with_state(orders.clone()))
        .route("/api/v1/orders", any(forward).with_state(orders.clone()))
        .route("/api/v1/orders/{*rest}", any(forward).with_state(orders)))
}

async fn forward(
    State(route): State<Route>,
    context: RequestContext,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    Raw(body): Raw,
) -> Result<Response, ApiError> {
    let url = target(&route.upstream, &uri).ok_or_else(|| ApiError::not_found("resource"))?;
    let mut outgoing = route
        .client
        .request(method.clone(), url)
        .headers(request_headers(&headers, &context));
    // A GET with an empty body would get a content-length of 0, which some servers refuse.
    if !body.is_empty() || matches!(method, Method::POST | Method::PUT | Method::PATCH) {
        outgoing = outgoing.body(body);
    }
    let reply = match tokio::time::timeout(HEAD_TIMEOUT, outgoing.send()).await {
        Ok(Ok(reply)) => reply,
        Ok(Err(error)) => return Err(failure(&error)),
        Err(_) => return Err(ApiError::timeout()),
    };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = reply.status();
    *response.headers_mut() = response_headers(reply.headers());
    let pieces = reply.bytes_stream();
    *response.body_mut() = if is_event_stream(response.headers()) {
        Body::from_stream(pieces.take_until(route.shutdown.cancelled_owned()))
    } else {
        Body::from_stream(pieces)
    };
    Ok(response)
}

/// The same path without the prefix. None for a path with dot segments, plain or encoded: resolved, it could leave the
/// part of the service that this route stands for.
fn target(upstream: &Upstream, uri: &Uri) -> Option<Url> {
    let path = uri.path().strip_prefix(PREFIX)?;
    let has_dots = path.split(['/', '\\']).any(|segment| {
        let segment = segment.to_ascii_lowercase().replace("%2e", ".");
        segment == "." || segment == ".."
    });
    if has_dots {
        return None;
    }
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    Url::parse(&format!("{}{path}{query}", upstream.0)).ok()
}

fn request_headers(received: &HeaderMap, context: &RequestContext) -> HeaderMap {
    let mut headers = end_to_end(received);
    // The client library sets both, for its own peer and for the body as it sends it.
    headers.remove(header::HOST);
    headers.remove(header::CONTENT_LENGTH);
    for (name, value) in [(REQUEST_ID, &context.request_id), (TRACEPARENT, &context.traceparent)] {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    headers
}

fn response_headers(received: &HeaderMap) -> HeaderMap {
    let mut headers = end_to_end(received);
    let location = received.get(header::LOCATION).and_then(|value| value.to_str().ok());
    // A service names its things by its own paths; ours have a prefix.
    if let Some(value) = location
        .filter(|path| path.starts_with("/v1/"))
        .and_then(|path| HeaderValue::from_str(&format!("{PREFIX}{path}")).ok())
    {
        headers.insert(header::LOCATION, value);
    }
    headers
}

/// What belongs to the message, and not to the connection it came over.
fn end_to_end(received: &HeaderMap) -> HeaderMap {
    let named: Vec<String> = received
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    received
        .iter()
        .filter(|(name, _)| !NOT_PASSED_ON.contains(name) && !named.iter().any(|other| other == name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    kind.is_some_and(|kind| kind.starts_with(b"text/event-stream"))
}

fn failure(error: &reqwest::Error) -> ApiError {
    // The error's text holds the upstream's address, which is ours to know.
    tracing::warn!(
        error = error as &dyn std::error::Error,
        "no answer from the service behind"
    );
    if error.is_timeout() {
        ApiError::timeout()
    } else if error.is_connect() {
        ApiError::dependency_unavailable()
    } else {
        ApiError::bad_gateway()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_is_a_plain_address() {
        assert_eq!(
            "http://demo-inventory:8080/".parse(),
            Ok(Upstream("http://demo-inventory:8080".to_owned()))
        );
        for wrong in [
            "demo:80",
            "https://demo",
            "http://demo/path",
            "http://u:p@demo",
            "http://demo?x",
            "http://",
            "",
        ] {
            assert!(wrong.parse::<Upstream>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn targets_stay_where_they_belong() {
        let upstream: Upstream = "http://demo:8080".parse().unwrap();
        let target = |path: &str| target(&upstream, &path.parse().unwrap()).map(String::from);
        assert_eq!(
            target("/api/v1/products?q=a%20b&limit=1").as_deref(),
            Some("http://demo:8080/v1/products?q=a%20b&limit=1")
        );
        for wrong in [
            "/api/v1/products/../orders",
            "/api/v1/products/%2e%2E/orders",
            "/api/v1/products/.%2e/x",
            "/api/v1/products/./x",
            "/v1/products",
        ] {
            assert_eq!(target(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn headers_of_the_connection_stay_behind() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONNECTION, HeaderValue::from_static("close, X-Secret-Hop"));
        headers.insert("x-secret-hop", HeaderValue::from_static("1"));
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        headers.insert(header::AUTHORIZATION, HeaderValue::from_static("Bearer k"));
        let passed = end_to_end(&headers);
        assert_eq!(passed.keys().collect::<Vec<_>>(), [header::AUTHORIZATION]);
    }

    #[test]
    fn a_location_is_moved_under_the_prefix() {
        let located = |path: &'static str| {
            let headers = [(header::LOCATION, HeaderValue::from_static(path))]
                .into_iter()
                .collect();
            response_headers(&headers)[header::LOCATION].clone()
        };
        assert_eq!(located("/v1/orders/1"), "/api/v1/orders/1");
        assert_eq!(located("https://elsewhere/"), "https://elsewhere/");
    }
}
