//! How many writes an object may have in a while. Pure; the time is passed in.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// The writes of one object within a sliding window.
#[derive(Debug, Default)]
pub(super) struct Budget {
    writes: VecDeque<Instant>,
}

impl Budget {
    /// How long until a write is allowed of which there may be `limit` in any `window`; zero when it is now.
    pub(super) fn wait(&mut self, limit: usize, window: Duration, now: Instant) -> Duration {
        let Some(excess) = (self.spent(window, now) + 1)
            .checked_sub(limit.max(1))
            .filter(|excess| *excess > 0)
        else {
            return Duration::ZERO;
        };
        let frees = self.writes.get(excess - 1);
        frees.map_or(Duration::ZERO, |written| {
            window.saturating_sub(now.duration_since(*written))
        })
    }

    /// How many writes the last `window` has had.
    pub(super) fn spent(&mut self, window: Duration, now: Instant) -> usize {
        while self
            .writes
            .front()
            .is_some_and(|written| now.duration_since(*written) >= window)
        {
            self.writes.pop_front();
        }
        self.writes.len()
    }

    /// How long ago the newest write was.
    pub(super) fn since_last(&self, now: Instant) -> Option<Duration> {
        self.writes.back().map(|written| now.duration_since(*written))
    }

    /// A write was started.
    pub(super) fn spend(&mut self, now: Instant) {
        self.writes.push_back(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_more_than_the_limit_in_any_window() {
        let start = Instant::now();
        let window = Duration::from_mins(1);
        let mut budget = Budget::default();
        let mut written: Vec<u64> = Vec::new();
        for second in 0..600 {
            let now = start + Duration::from_secs(second);
            if budget.wait(4, window, now).is_zero() {
                budget.spend(now);
                written.push(second);
            }
        }
        assert!(written.windows(5).all(|five| five[4] - five[0] >= 60), "{written:?}");
        assert_eq!(written.len(), 40, "and no fewer");
        assert_eq!(&written[..5], [0, 1, 2, 3, 60]);
    }

    #[test]
    fn a_smaller_limit_leaves_room_for_what_is_urgent() {
        let start = Instant::now();
        let window = Duration::from_mins(1);
        let mut budget = Budget::default();
        for _ in 0..3 {
            assert!(budget.wait(3, window, start).is_zero());
            budget.spend(start);
        }
        assert_eq!(budget.wait(3, window, start), window);
        assert!(budget.wait(4, window, start).is_zero());
    }
}
