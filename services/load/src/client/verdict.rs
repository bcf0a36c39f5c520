//! What a reply, or its absence, means for the call. Pure.

use std::time::Duration;

use serde::de::DeserializeOwned;

use super::Accepted;
use super::exchange::{Lost, Reply};
use crate::api::Problem;

/// Longer ones are no codes of this API.
const LONGEST_CODE: usize = 40;

#[derive(Debug)]
pub(super) enum Verdict<T> {
    Good(Accepted<T>),
    /// A definite no, with its status and code.
    No(u16, String),
    /// Turned away before it could take effect: may be repeated at leisure.
    NotNow(Option<Duration>),
    /// It may have taken effect: to be repeated under the same key.
    Uncertain(Option<Duration>),
}

/// Status and code of an attempt that was not good.
type Failure = Option<(Option<u16>, String)>;

/// Judges one attempt.
pub(super) fn judge<T: DeserializeOwned>(reply: Result<Reply, Lost>) -> (Verdict<T>, Failure) {
    let reply = match reply {
        Ok(reply) => reply,
        Err(lost) => {
            let verdict = if lost.may_have_arrived {
                Verdict::Uncertain(None)
            } else {
                Verdict::NotNow(None)
            };
            return (verdict, Some((None, lost.what.to_owned())));
        }
    };
    let status = reply.status;
    if (200..300).contains(&status) {
        return match serde_json::from_slice(&reply.body) {
            Ok(body) => {
                let is_replayed = reply.is_replayed;
                let accepted = Accepted {
                    body,
                    status,
                    is_replayed,
                };
                (Verdict::Good(accepted), None)
            }
            Err(_) => (Verdict::Uncertain(None), Some((Some(status), "(garbage)".to_owned()))),
        };
    }
    let code = code(&reply.body);
    let shown = code.clone().unwrap_or_else(|| "(no code)".to_owned());
    let verdict = match (status, code) {
        // A 503 of the API itself is an answer; one from anything between us and it says nothing.
        (503, Some(_)) | (408 | 425 | 429, _) => Verdict::NotNow(reply.retry_after),
        (500.., _) => Verdict::Uncertain(reply.retry_after),
        _ => Verdict::No(status, shown.clone()),
    };
    (verdict, Some((Some(status), shown)))
}

fn code(body: &[u8]) -> Option<String> {
    let problem: Problem = serde_json::from_slice(body).ok()?;
    let is_word = |code: &str| {
        (1..=LONGEST_CODE).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    };
    is_word(&problem.code).then_some(problem.code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, body: &str) -> &'static str {
        let reply = Reply {
            status,
            retry_after: Some(Duration::from_secs(2)),
            is_replayed: false,
            body: body.into(),
        };
        named(&judge::<Vec<u8>>(Ok(reply)).0)
    }

    fn named(verdict: &Verdict<Vec<u8>>) -> &'static str {
        match verdict {
            Verdict::Good(_) => "good",
            Verdict::No(..) => "no",
            Verdict::NotNow(_) => "not now",
            Verdict::Uncertain(_) => "uncertain",
        }
    }

    #[test]
    fn only_a_definite_reply_is_one() {
        assert_eq!(judged(202, "[1]"), "good");
        assert_eq!(judged(202, "<html>"), "uncertain");
        assert_eq!(judged(503, r#"{"code":"capacity"}"#), "not now");
        assert_eq!(judged(503, "upstream"), "uncertain");
        assert_eq!(judged(429, ""), "not now");
        for status in [500, 502, 504] {
            assert_eq!(judged(status, r#"{"code":"timeout"}"#), "uncertain");
        }
        for status in [302, 400, 404, 409, 422] {
            assert_eq!(judged(status, r#"{"code":"not_found"}"#), "no");
        }
        let lost = |may_have_arrived| Lost {
            may_have_arrived,
            what: "",
        };
        assert_eq!(named(&judge(Err(lost(true))).0), "uncertain");
        assert_eq!(named(&judge(Err(lost(false))).0), "not now");
    }

    #[test]
    fn made_up_codes_are_not_kept() {
        assert_eq!(
            code(br#"{"code":"order_state_conflict"}"#).as_deref(),
            Some("order_state_conflict")
        );
        for body in [
            &br#"{"code":"A B"}"#[..],
            b"{}",
            b"\xff",
            &format!(r#"{{"code":"{}"}}"#, "a".repeat(41)).into_bytes(),
        ] {
            assert_eq!(code(body), None);
        }
    }
}
