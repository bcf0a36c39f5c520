//! The largest need of the recent past. Plain data.

use std::collections::VecDeque;

use super::Moment;

/// Needs of the recent past, kept as a falling sequence: a need that a later, larger one outlives can never be the
/// largest again, so it is dropped, and memory stays at one entry per fall.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Window {
    needs: VecDeque<(Moment, u32)>,
}

impl Window {
    /// Adds a need and returns the largest of the last `milliseconds`.
    pub(super) fn record(&mut self, now: Moment, need: u32, milliseconds: u64) -> u32 {
        while self.needs.back().is_some_and(|(_, older)| *older <= need) {
            self.needs.pop_back();
        }
        self.needs.push_back((now, need));
        while self
            .needs
            .front()
            .is_some_and(|(at, _)| now.milliseconds_since(*at) >= milliseconds)
        {
            self.needs.pop_front();
        }
        self.needs.front().map_or(need, |(_, largest)| *largest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_a_need_for_the_window_and_no_longer() {
        let mut window = Window::default();
        let at = Moment::from_milliseconds;
        assert_eq!(window.record(at(0), 9, 60_000), 9);
        assert_eq!(window.record(at(10_000), 4, 60_000), 9);
        assert_eq!(window.record(at(59_999), 1, 60_000), 9);
        assert_eq!(window.record(at(60_000), 1, 60_000), 4);
        assert_eq!(window.record(at(70_000), 1, 60_000), 1);
    }

    #[test]
    fn a_window_of_nothing_remembers_nothing() {
        let mut window = Window::default();
        assert_eq!(window.record(Moment::default(), 9, 0), 9);
        assert_eq!(window.record(Moment::default(), 2, 0), 2);
    }

    #[test]
    fn memory_is_bounded_by_the_number_of_falls() {
        let mut window = Window::default();
        for second in 0..10_000 {
            window.record(Moment::from_milliseconds(second * 1000), 7, 60_000);
        }
        assert_eq!(window.needs.len(), 1);
    }
}
