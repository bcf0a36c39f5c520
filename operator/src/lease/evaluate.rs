//! What to do about a Lease. Pure.

use std::time::Duration;

/// A Lease as far as an election is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Who holds it; `None` when released.
    pub(super) holder: Option<String>,
    /// How long the holder asked to be left alone after each renewal.
    pub(super) ttl: Duration,
    /// How often it has changed hands.
    pub(super) transitions: i32,
}

/// The next request to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// There is none: create it.
    Create,
    /// Free or expired: take it over, and count `transitions`.
    Take {
        /// The new count.
        transitions: i32,
    },
    /// Ours: renew it.
    Renew,
    /// Someone else's.
    Wait,
}

/// Decides the next step of the candidate `me`.
///
/// `unchanged_for` is the time, by the candidate's own clock, since it first saw the record as it is now. The wall
/// clock times inside a Lease are for people: clocks of two nodes may differ by more than a lease lasts.
pub(super) fn evaluate(record: Option<&Record>, unchanged_for: Duration, me: &str) -> Step {
    let Some(record) = record else { return Step::Create };
    let transitions = record.transitions.saturating_add(1);
    match record.holder.as_deref() {
        Some(holder) if holder == me => Step::Renew,
        None | Some("") => Step::Take { transitions },
        Some(_) if unchanged_for >= record.ttl => Step::Take { transitions },
        Some(_) => Step::Wait,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(15);

    fn held_by(holder: Option<&str>) -> Record {
        Record {
            holder: holder.map(str::to_owned),
            ttl: TTL,
            transitions: 4,
        }
    }

    fn step(holder: Option<&str>, unchanged_for: Duration) -> Step {
        evaluate(Some(&held_by(holder)), unchanged_for, "me")
    }

    #[test]
    fn every_case() {
        let (fresh, almost) = (Duration::ZERO, TTL.saturating_sub(Duration::from_millis(1)));
        assert_eq!(evaluate(None, fresh, "me"), Step::Create);
        assert_eq!(step(Some("me"), fresh), Step::Renew);
        assert_eq!(step(Some("me"), TTL * 9), Step::Renew, "nobody took it meanwhile");
        assert_eq!(
            step(Some("other"), fresh),
            Step::Wait,
            "a first sight proves nothing about its age"
        );
        assert_eq!(step(Some("other"), almost), Step::Wait);
        assert_eq!(step(Some("other"), TTL), Step::Take { transitions: 5 });
        assert_eq!(step(None, fresh), Step::Take { transitions: 5 }, "released: at once");
        assert_eq!(step(Some(""), fresh), Step::Take { transitions: 5 });
    }

    #[test]
    fn the_holders_own_duration_counts() {
        let patient = Record {
            ttl: TTL * 4,
            ..held_by(Some("other"))
        };
        assert_eq!(evaluate(Some(&patient), TTL * 2, "me"), Step::Wait);
        let full = Record {
            transitions: i32::MAX,
            ..held_by(None)
        };
        assert_eq!(evaluate(Some(&full), TTL, "me"), Step::Take { transitions: i32::MAX });
    }
}
