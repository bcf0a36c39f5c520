//! Calls to the shop, each with its own time-out. A POST goes on under its key until there is a definite reply or its
//! attempts are used up; a GET is asked once and its caller knows what to do next.

use std::time::Duration;

use reqwest::{Client as HttpClient, Method, RequestBuilder, Response};
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::address::ShopUrl;
use crate::admin_key::AdminKey;
use crate::call::Call;
use crate::journal::{self, When};
use crate::recorder::Recorder;
use crate::report::Failure;

mod exchange;
mod verdict;

#[cfg(test)]
mod tests;

use exchange::{Lost, exchange};
use verdict::{Verdict, judge};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Caller<'a> {
    Anybody,
    /// Whoever placed the order.
    Shopper(&'a str),
    Staff,
}

/// A POST, with everything that stays the same when it is repeated.
#[derive(Debug)]
pub(crate) struct Post<'a> {
    pub(crate) call: Call,
    pub(crate) path: &'a str,
    pub(crate) caller: Caller<'a>,
    pub(crate) key: Uuid,
    pub(crate) body: Vec<u8>,
}

/// A GET.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Get<'a> {
    pub(crate) call: Call,
    pub(crate) path: &'a str,
    pub(crate) caller: Caller<'a>,
}

/// A good reply.
#[derive(Debug)]
pub(crate) struct Accepted<T> {
    pub(crate) body: T,
    pub(crate) status: u16,
    pub(crate) is_replayed: bool,
}

/// How a POST ended.
#[derive(Debug)]
pub(crate) enum Outcome<T> {
    Accepted(Accepted<T>, When),
    /// A definite no, with its status and code.
    Refused(u16, String),
    /// Every attempt was turned away before it could take effect.
    Unavailable,
    /// At least one attempt may have taken effect, and no definite reply came.
    Unknown,
}

/// How a GET ended.
#[derive(Debug)]
pub(crate) enum Read<T> {
    Found(T),
    Missing,
    /// Anything else, with what the shop said about when to ask again.
    Failed(Option<Duration>),
}

#[derive(Debug)]
pub(crate) struct Client {
    http: HttpClient,
    url: ShopUrl,
    admin_key: Option<AdminKey>,
    timeout: Duration,
    attempts: u32,
}

impl Client {
    pub(crate) fn new(
        url: ShopUrl,
        admin_key: Option<AdminKey>,
        timeout: Duration,
        attempts: u32,
    ) -> reqwest::Result<Self> {
        let http = HttpClient::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT.min(timeout))
            .tcp_nodelay(true)
            .build()?;
        Ok(Self {
            http,
            url,
            admin_key,
            timeout,
            attempts,
        })
    }

    /// Posts until there is a definite reply, the attempts are used up, or the run is `over`.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        post: &Post<'_>,
        intended: Instant,
        recorder: &Recorder,
        over: &CancellationToken,
    ) -> Outcome<T> {
        let outcome = self.repeat(post, recorder, over).await;
        let is_answered = matches!(outcome, Outcome::Accepted(..) | Outcome::Refused(..));
        recorder.finished(post.call, intended.elapsed(), is_answered);
        outcome
    }

    async fn repeat<T: DeserializeOwned>(
        &self,
        post: &Post<'_>,
        recorder: &Recorder,
        over: &CancellationToken,
    ) -> Outcome<T> {
        let mut wait = FIRST_WAIT;
        let (mut may_have_happened, began_at) = (false, journal::now());
        for attempt in 1..=self.attempts {
            if over.is_cancelled() {
                break;
            }
            let request = self
                .request(Method::POST, post.path, post.caller)
                .timeout(self.timeout)
                .header("idempotency-key", post.key.hyphenated().to_string())
                .header(reqwest::header::CONTENT_TYPE, "application/json")
                .body(post.body.clone());
            let sent_at = journal::now();
            let reply = tokio::select! {
                reply = exchange(request) => reply,
                () = over.cancelled() => Err(Lost::ABANDONED),
            };
            let (verdict, failure) = judge(reply);
            note(recorder, post.call, failure);
            let retry_after = match verdict {
                Verdict::Good(accepted) => {
                    // What is replayed was done by an earlier attempt.
                    let asked_at = if accepted.is_replayed { began_at } else { sent_at };
                    return Outcome::Accepted(accepted, When::since(asked_at));
                }
                Verdict::No(status, code) => return Outcome::Refused(status, code),
                Verdict::NotNow(retry_after) => retry_after,
                Verdict::Uncertain(retry_after) => {
                    may_have_happened = true;
                    retry_after
                }
            };
            if attempt < self.attempts {
                let asked = retry_after.unwrap_or_default();
                tokio::select! {
                    () = tokio::time::sleep(jittered(wait).max(asked)) => {}
                    () = over.cancelled() => {}
                }
                wait = (wait * 2).min(LONGEST_WAIT);
            }
        }
        if may_have_happened {
            Outcome::Unknown
        } else {
            Outcome::Unavailable
        }
    }

    /// Asks once.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        get: Get<'_>,
        intended: Instant,
        recorder: &Recorder,
    ) -> Read<T> {
        let request = self.request(Method::GET, get.path, get.caller).timeout(self.timeout);
        let (verdict, failure) = judge(exchange(request).await);
        note(recorder, get.call, failure);
        let is_answered = matches!(verdict, Verdict::Good(_) | Verdict::No(..));
        recorder.finished(get.call, intended.elapsed(), is_answered);
        match verdict {
            Verdict::Good(accepted) => Read::Found(accepted.body),
            Verdict::No(404, _) => Read::Missing,
            Verdict::No(..) => Read::Failed(None),
            Verdict::NotNow(retry_after) | Verdict::Uncertain(retry_after) => Read::Failed(retry_after),
        }
    }

    /// Opens a stream of events: its head comes within the time-out, its body when it likes.
    pub(crate) async fn open(&self, get: Get<'_>, last_event_id: Option<u64>, recorder: &Recorder) -> Read<Response> {
        let mut request = self
            .request(Method::GET, get.path, get.caller)
            .header(reqwest::header::ACCEPT, "text/event-stream");
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let head = match tokio::time::timeout(self.timeout, request.send()).await {
            Ok(Ok(response)) if response.status() == 200 => return Read::Found(response),
            Ok(Ok(response)) => tokio::time::timeout(self.timeout, exchange::read(response))
                .await
                .unwrap_or(Err(Lost::SILENT)),
            Ok(Err(error)) => Err(Lost::from(&error)),
            Err(_) => Err(Lost::SILENT),
        };
        let (verdict, failure) = judge::<serde::de::IgnoredAny>(head);
        note(recorder, get.call, failure);
        match verdict {
            Verdict::No(404, _) => Read::Missing,
            Verdict::NotNow(retry_after) | Verdict::Uncertain(retry_after) => Read::Failed(retry_after),
            Verdict::Good(_) | Verdict::No(..) => Read::Failed(None),
        }
    }

    fn request(&self, method: Method, path: &str, caller: Caller<'_>) -> RequestBuilder {
        let request = self.http.request(method, self.url.api(path));
        match (caller, &self.admin_key) {
            (Caller::Shopper(token), _) => request.header("order-token", token),
            (Caller::Staff, Some(key)) => request.bearer_auth(key.expose()),
            (Caller::Anybody | Caller::Staff, _) => request,
        }
    }
}

fn note(recorder: &Recorder, call: Call, failure: Option<(Option<u16>, String)>) {
    if let Some((status, code)) = failure {
        recorder.failure(Failure { call, status, code });
    }
}

/// Between half and all of it, so that those who failed together do not come back together.
pub(crate) fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(rand::random_range(0.5..=1.0))
}
