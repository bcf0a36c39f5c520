//! Durations as a histogram with three significant digits (`HdrHistogram`), 1 microsecond to an hour.

use std::time::Duration;

use hdrhistogram::Histogram as HdrHistogram;

const LONGEST_MICROSECONDS: u64 = 3_600_000_000;
const SIGNIFICANT_DIGITS: u8 = 3;

/// Durations as they were recorded.
#[derive(Debug, Clone, Default)]
pub struct Histogram(Option<HdrHistogram<u64>>);

impl Histogram {
    /// Adds one; what is longer than an hour counts as an hour.
    pub(crate) fn record(&mut self, duration: Duration) {
        if self.0.is_none() {
            self.0 = HdrHistogram::new_with_bounds(1, LONGEST_MICROSECONDS, SIGNIFICANT_DIGITS).ok();
        }
        if let Some(histogram) = &mut self.0 {
            histogram.saturating_record(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
        }
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.0.as_ref().map_or(0, HdrHistogram::len)
    }

    /// The duration that so many percent do not exceed.
    pub fn percentile(&self, percent: f64) -> Duration {
        self.read(|histogram| histogram.value_at_percentile(percent))
    }

    /// The longest.
    pub fn max(&self) -> Duration {
        self.read(HdrHistogram::max)
    }

    fn read(&self, value: impl Fn(&HdrHistogram<u64>) -> u64) -> Duration {
        Duration::from_micros(self.0.as_ref().map_or(0, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_exact_to_three_digits() {
        let mut histogram = Histogram::default();
        assert_eq!((histogram.count(), histogram.max()), (0, Duration::ZERO));
        for milliseconds in 1..=1000 {
            histogram.record(Duration::from_millis(milliseconds));
        }
        for (percent, milliseconds) in [(50.0, 500.0), (99.0, 990.0), (99.9, 999.0)] {
            let value = histogram.percentile(percent).as_secs_f64() * 1e3;
            assert!(
                (value - milliseconds).abs() < 0.002 * milliseconds,
                "{percent}: {value}"
            );
        }
        histogram.record(Duration::from_secs(9_999_999));
        assert!(histogram.max() > Duration::from_secs(3_500));
    }
}
