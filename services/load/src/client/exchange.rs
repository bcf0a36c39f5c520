//! One request and its whole reply, or what came instead.

use std::error::Error as _;
use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{RequestBuilder, Response};

/// The most bytes of a reply: more is no reply of this API.
const LONGEST_REPLY: usize = 1 << 20;
/// A shop that asks for more patience than this is asked again after it anyway.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60);

/// A whole reply.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) retry_after: Option<Duration>,
    pub(super) is_replayed: bool,
    pub(super) body: Vec<u8>,
}

/// No whole reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lost {
    /// Whether the request may have reached the shop.
    pub(super) may_have_arrived: bool,
    pub(super) what: &'static str,
}

impl Lost {
    /// The run ended first.
    pub(super) const ABANDONED: Self = Self::after_sending("(abandoned)");
    /// Nothing, for too long.
    pub(super) const SILENT: Self = Self::after_sending("(no reply in time)");

    const fn after_sending(what: &'static str) -> Self {
        Self {
            may_have_arrived: true,
            what,
        }
    }
}

impl From<&reqwest::Error> for Lost {
    fn from(error: &reqwest::Error) -> Self {
        // Without a connection nothing was sent; in every other case some or all of it may have been.
        if error.is_connect() {
            Self {
                may_have_arrived: false,
                what: "(no connection)",
            }
        } else if error.is_timeout() {
            Self::SILENT
        } else if is_reset(error) {
            Self::after_sending("(connection lost)")
        } else {
            Self::after_sending("(broken reply)")
        }
    }
}

fn is_reset(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.is::<std::io::Error>() || error.to_string().contains("connection closed") {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Sends a request, whose time-out covers the body too, and reads the whole reply.
pub(super) async fn exchange(request: RequestBuilder) -> Result<Reply, Lost> {
    let response = request.send().await.map_err(|error| Lost::from(&error))?;
    read(response).await
}

/// Reads a reply whose head is there.
pub(super) async fn read(mut response: Response) -> Result<Reply, Lost> {
    let mut reply = Reply {
        status: response.status().as_u16(),
        retry_after: retry_after(response.headers()),
        is_replayed: response
            .headers()
            .get("idempotent-replayed")
            .is_some_and(|value| value == "true"),
        body: Vec::new(),
    };
    while let Some(chunk) = response.chunk().await.map_err(|error| Lost::from(&error))? {
        if reply.body.len() + chunk.len() > LONGEST_REPLY {
            return Err(Lost::after_sending("(endless reply)"));
        }
        reply.body.extend_from_slice(&chunk);
    }
    Ok(reply)
}

/// Retry-After in seconds; its form as a date is not used by this API.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_is_bounded() {
        let asked = |text: &'static str| retry_after(&[(RETRY_AFTER, text.parse().unwrap())].into_iter().collect());
        assert_eq!(asked("2"), Some(Duration::from_secs(2)));
        assert_eq!(asked("18446744073709551615"), Some(LONGEST_RETRY_AFTER));
        assert_eq!(asked("-1"), None);
        assert_eq!(asked("Wed, 21 Oct 2015 07:28:00 GMT"), None);
    }
}
