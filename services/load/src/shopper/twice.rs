//! A POST made once or twice under its key, and whether both replies are one.

use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::client::{Outcome, Post};
use crate::journal::{self, When};
use crate::plan::Repeat;
use crate::run::Run;
use crate::violation::ViolationKind;

/// What one key brought.
#[derive(Debug)]
pub(super) struct Answers<T> {
    /// What was accepted, and when: one, unless the shop doubled it.
    pub(super) accepted: Vec<(T, When)>,
    /// A definite no came.
    pub(super) is_refused: bool,
    /// No definite reply came to one of the calls, which may have taken effect.
    pub(super) is_unknown: bool,
}

/// Posts, and posts again as `repeat` says; `name` tells what was made. Violations are recorded here.
pub(super) async fn post<T: DeserializeOwned, N: PartialEq + ToString>(
    run: &Run,
    post: &Post<'_>,
    repeat: Repeat,
    intended: Instant,
    name: impl Fn(&T) -> N,
) -> Answers<T> {
    let began_at = journal::now();
    let call = |intended| run.client.post(post, intended, &run.recorder, &run.over);
    let outcomes = match repeat {
        Repeat::No => vec![call(intended).await],
        Repeat::AtOnce => {
            let (one, other) = tokio::join!(call(intended), call(intended));
            vec![one, other]
        }
        Repeat::After => {
            let first = call(intended).await;
            vec![first, call(Instant::now()).await]
        }
    };
    if let [first, second] = &outcomes[..]
        && let Some((kind, detail)) = fault(first, second, repeat, &name)
    {
        let subject = format!("{} {}", post.call, post.key);
        run.recorder.violation(kind, &subject, detail);
    }
    answers(outcomes, began_at, name)
}

fn answers<T, N: PartialEq>(outcomes: Vec<Outcome<T>>, began_at: i64, name: impl Fn(&T) -> N) -> Answers<T> {
    let mut answers = Answers {
        accepted: Vec::<(T, When)>::new(),
        is_refused: false,
        is_unknown: false,
    };
    for outcome in outcomes {
        match outcome {
            Outcome::Accepted(reply, mut when) => {
                if reply.is_replayed {
                    // Perhaps by the other call.
                    when.asked_at = when.asked_at.min(began_at);
                }
                let known = answers
                    .accepted
                    .iter_mut()
                    .find(|(known, _)| name(known) == name(&reply.body));
                match known {
                    Some((_, known)) => *known = known.joined(when),
                    None => answers.accepted.push((reply.body, when)),
                }
            }
            Outcome::Refused(..) => answers.is_refused = true,
            Outcome::Unknown => answers.is_unknown = true,
            Outcome::Unavailable => {}
        }
    }
    answers
}

/// What is wrong with the two replies to one key. A reply that never came proves nothing.
fn fault<T, N: PartialEq + ToString>(
    first: &Outcome<T>,
    second: &Outcome<T>,
    repeat: Repeat,
    name: impl Fn(&T) -> N,
) -> Option<(ViolationKind, String)> {
    match (first, second) {
        (Outcome::Accepted(first, _), Outcome::Accepted(second, _)) => {
            let (one, other) = (name(&first.body), name(&second.body));
            let is_replayed = second.is_replayed || (repeat == Repeat::AtOnce && first.is_replayed);
            if one != other {
                let detail = format!("{} and {} under one key", one.to_string(), other.to_string());
                Some((ViolationKind::Doubled, detail))
            } else if !is_replayed {
                Some((ViolationKind::NotReplayed, "no Idempotent-Replayed: true".to_owned()))
            } else if first.status != second.status {
                let detail = format!("{}, then {}", first.status, second.status);
                Some((ViolationKind::NotReplayed, detail))
            } else {
                None
            }
        }
        (Outcome::Accepted(..), Outcome::Refused(status, code)) => {
            Some((ViolationKind::RepeatRefused, format!("accepted, then {status} {code}")))
        }
        (Outcome::Refused(status, code), Outcome::Accepted(..)) if repeat == Repeat::AtOnce => Some((
            ViolationKind::RepeatRefused,
            format!("accepted, and at once {status} {code}"),
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Accepted;

    fn accepted_between(body: u8, is_replayed: bool, (asked_at, known_at): (i64, i64)) -> Outcome<u8> {
        let accepted = Accepted {
            body,
            status: 202,
            is_replayed,
        };
        Outcome::Accepted(accepted, When { asked_at, known_at })
    }

    fn accepted(body: u8, is_replayed: bool) -> Outcome<u8> {
        accepted_between(body, is_replayed, (0, 0))
    }

    fn kind(first: &Outcome<u8>, second: &Outcome<u8>, repeat: Repeat) -> Option<ViolationKind> {
        fault(first, second, repeat, |body| *body).map(|(kind, _)| kind)
    }

    #[test]
    fn two_replies_to_one_key_are_one() {
        let (new, replayed) = (accepted(1, false), accepted(1, true));
        for repeat in [Repeat::After, Repeat::AtOnce] {
            assert_eq!(kind(&new, &replayed, repeat), None);
            // The first call was itself repeated after a lost reply.
            assert_eq!(kind(&replayed, &replayed, repeat), None);
            assert_eq!(kind(&new, &accepted(2, true), repeat), Some(ViolationKind::Doubled));
            assert_eq!(kind(&new, &new, repeat), Some(ViolationKind::NotReplayed));
            assert_eq!(kind(&new, &Outcome::Unknown, repeat), None);
            let refused = Outcome::Refused(409, "order_state_conflict".to_owned());
            assert_eq!(kind(&new, &refused, repeat), Some(ViolationKind::RepeatRefused));
        }
        // Which of two at once came first is the shop's to say.
        assert_eq!(kind(&replayed, &new, Repeat::AtOnce), None);
        assert_eq!(kind(&replayed, &new, Repeat::After), Some(ViolationKind::NotReplayed));
    }

    /// Whatever the shop did and undid in between, it stored the answer within these times.
    #[test]
    fn what_was_accepted_lies_between_the_first_request_and_the_last_reply() {
        let between = |outcomes| {
            let accepted = answers(outcomes, 10, |body: &u8| *body).accepted.into_iter();
            let times = |(body, when): (u8, When)| (body, when.asked_at, when.known_at);
            accepted.map(times).collect::<Vec<_>>()
        };
        let (new, replayed) = (
            accepted_between(1, false, (20, 30)),
            accepted_between(1, true, (40, 50)),
        );
        assert_eq!(between(vec![new, replayed]), [(1, 10, 50)]);
        // Stored by a call whose reply never came.
        let replayed = accepted_between(1, true, (40, 50));
        assert_eq!(between(vec![Outcome::Unknown, replayed]), [(1, 10, 50)]);
        // Lost with a crash of Redis, and done anew.
        let (first, anew) = (
            accepted_between(1, false, (20, 30)),
            accepted_between(1, false, (40, 50)),
        );
        assert_eq!(between(vec![first, anew]), [(1, 20, 50)]);
        let (one, other) = (
            accepted_between(1, false, (20, 30)),
            accepted_between(2, false, (40, 50)),
        );
        assert_eq!(between(vec![one, other]), [(1, 20, 30), (2, 40, 50)]);
    }
}
