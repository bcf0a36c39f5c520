//! When a group is looked at next. Pure.

use std::time::Duration;

use crate::scaling::{Cause, Decision};

/// Times between samples.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Cadence {
    /// Of a group in which something moves.
    pub(in super::super) active: Duration,
    /// Of a group with work or replicas in which nothing has moved for a while, at the most.
    pub(in super::super) steady: Duration,
    /// Of a group at rest, which is watched as well.
    pub(in super::super) at_rest: Duration,
    /// Between samples of two groups at rest, each in its turn.
    pub(in super::super) patrol: Duration,
    /// After a sample that brought nothing.
    pub(in super::super) retry: Duration,
    /// The same at the most, where people have to do something: asking again and again fills Redis's log.
    pub(in super::super) patient: Duration,
    /// Between two looks at every pending entry where they are many.
    pub(in super::super) detail: Duration,
}

impl Default for Cadence {
    fn default() -> Self {
        Self {
            active: Duration::from_secs(1),
            steady: Duration::from_secs(5),
            at_rest: Duration::from_secs(30),
            patrol: Duration::from_secs(1),
            retry: Duration::from_secs(1),
            patient: Duration::from_secs(15),
            detail: Duration::from_secs(15),
        }
    }
}

impl Cadence {
    /// Between two samples of a group with work or replicas, of which so many in a row have been the same.
    pub(in super::super) fn between(&self, same: u32, decision: Option<&Decision>) -> Duration {
        let slower = self
            .active
            .saturating_mul(same.saturating_sub(1).max(1))
            .min(self.steady);
        let soon = match decision.map(|decision| decision.cause) {
            // Its end is known.
            Some(Cause::CoolingDown { remaining_milliseconds } | Cause::RaisedByOthers { remaining_milliseconds }) => {
                Duration::from_millis(remaining_milliseconds)
            }
            // Something is about to be done.
            Some(
                Cause::Stabilizing { .. }
                | Cause::StepLimited { .. }
                | Cause::JustStarted
                | Cause::WithinTolerance { .. },
            ) => self.active * 2,
            _ => slower,
        };
        slower.min(soon.max(self.active))
    }

    /// After so many samples in a row that brought nothing.
    pub(in super::super) fn after_misses(&self, misses: u32, needs_people: bool) -> Duration {
        if !needs_people {
            return self.retry;
        }
        let doubled = self.retry.saturating_mul(1 << misses.saturating_sub(1).min(10));
        doubled.min(self.patient)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scaling::Policy;

    fn decision(cause: Cause) -> Decision {
        Decision {
            current: 1,
            desired: 1,
            proposed: 1,
            cause,
            work: None,
            exact: true,
            policy: Policy::new(0, 9, 10, Duration::from_mins(1)),
        }
    }

    #[test]
    fn what_moves_is_looked_at_each_second_and_what_does_not_ever_more_seldom() {
        let cadence = Cadence::default();
        let seconds = |same| cadence.between(same, None).as_secs();
        assert_eq!([0, 1, 2, 3, 4, 6, 99, u32::MAX].map(seconds), [1, 1, 1, 2, 3, 5, 5, 5]);
    }

    #[test]
    fn the_end_of_a_wait_is_not_slept_through() {
        let cadence = Cadence::default();
        let cooling = |remaining_milliseconds| {
            let cause = Cause::CoolingDown { remaining_milliseconds };
            cadence.between(99, Some(&decision(cause))).as_millis()
        };
        assert_eq!([60_000, 2_300, 10].map(cooling), [5_000, 2_300, 1_000]);
        let stabilizing = decision(Cause::Stabilizing { largest: 5 });
        assert_eq!(cadence.between(99, Some(&stabilizing)).as_secs(), 2);
    }

    #[test]
    fn what_people_have_to_mend_is_asked_ever_more_seldom() {
        let cadence = Cadence::default();
        let seconds = |misses| cadence.after_misses(misses, true).as_secs();
        assert_eq!([1, 2, 3, 4, 5, 6, u32::MAX].map(seconds), [1, 2, 4, 8, 15, 15, 15]);
        assert_eq!(cadence.after_misses(99, false).as_secs(), 1);
    }
}
