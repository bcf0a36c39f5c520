//! What is said of many measurements of one thing.

use std::fmt;
use std::time::Duration;

/// Durations in ascending order.
#[derive(Debug, Clone)]
pub struct Figures(Vec<Duration>);

impl Figures {
    /// Takes them in any order.
    pub fn of(mut durations: Vec<Duration>) -> Self {
        durations.sort();
        Self(durations)
    }

    /// The smallest value that so many per cent of the values do not exceed; zero of nothing.
    pub fn rank(&self, per_cent: usize) -> Duration {
        let rank = (self.0.len() * per_cent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied().unwrap_or_default()
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = |per_cent| self.rank(per_cent).as_secs_f64() * 1e3;
        write!(
            f,
            "{:.0} ms median, {:.0} p99, {:.0} to {:.0} ({} trials)",
            milliseconds(50),
            milliseconds(99),
            milliseconds(0),
            milliseconds(100),
            self.0.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Figures;

    #[test]
    fn ranks_are_values_that_were_measured() {
        let figures = Figures::of((1..=20).rev().map(Duration::from_millis).collect());
        let rank = |per_cent| figures.rank(per_cent).as_millis();
        assert_eq!((rank(0), rank(50), rank(99), rank(100)), (1, 10, 20, 20));
        assert_eq!(Figures::of(Vec::new()).rank(50), Duration::ZERO);
    }
}
