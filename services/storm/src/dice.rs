//! Chances that are drawn while a storm runs: names of pods, and which new process is to crash where. Pure, seeded.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::role::Role;

/// What Kubernetes writes random names with: no vowels, so that no word comes out, and no 0, 1 and 3.
const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
/// A process is armed with this probability when it starts.
const ARMED: f64 = 0.6;
/// The latest pass at which an armed process crashes. Some are passed fifty times a second, some once in a while.
const LATEST_PASS: u64 = 40;

/// Where a process is to end, and at which pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arm {
    /// The crash point.
    pub point: &'static str,
    /// Counted from one.
    pub nth: u64,
}

impl Arm {
    /// As `CRASH_AT` wants it.
    pub fn variable(&self) -> String {
        format!("{}:{}", self.point, self.nth)
    }
}

/// A source of chances.
pub struct Dice {
    random: StdRng,
    arming: bool,
}

impl Dice {
    /// The same seed draws the same chances in the same order. Nobody is armed until [`arming`](Self::arming) says so.
    pub fn new(seed: u64) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
            arming: false,
        }
    }

    /// From now on new processes are armed, or are not.
    pub fn arming(&mut self, arming: bool) {
        self.arming = arming;
    }

    /// Whether and where the next process of this role is to crash.
    pub fn arm(&mut self, role: Role) -> Option<Arm> {
        let points = role.crash_points();
        if !self.arming || points.is_empty() || !self.random.random_bool(ARMED) {
            return None;
        }
        Some(Arm {
            point: points[self.random.random_range(0..points.len())],
            nth: self.random.random_range(1..=LATEST_PASS),
        })
    }

    /// The name of a new pod: nobody had it before.
    pub fn pod(&mut self, role: Role, generation: u64) -> String {
        let suffix: String = (0..5)
            .map(|_| char::from(LETTERS[self.random.random_range(0..LETTERS.len())]))
            .collect();
        format!("{}-{generation}-{suffix}", role.name())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use shopwright_kit::crash::POINTS;

    use super::*;

    #[test]
    fn in_the_long_run_every_point_is_drawn_and_only_for_its_role() {
        let mut dice = Dice::new(1);
        assert_eq!(dice.arm(Role::Payments), None, "not yet");
        dice.arming(true);
        let mut drawn = BTreeSet::new();
        for _ in 0..500 {
            for role in Role::ALL {
                if let Some(arm) = dice.arm(role) {
                    assert_eq!(Role::of_crash_point(arm.point), Some(role));
                    assert!(arm.variable().starts_with(arm.point) && arm.nth >= 1);
                    drawn.insert(arm.point);
                }
            }
        }
        assert_eq!(drawn.len(), POINTS.len());
    }

    #[test]
    fn the_same_seed_draws_the_same() {
        let drawn = |seed| {
            let mut dice = Dice::new(seed);
            dice.arming(true);
            (0..20)
                .map(|n| (dice.pod(Role::Payments, n), dice.arm(Role::Payments)))
                .collect::<Vec<_>>()
        };
        assert_eq!(drawn(7), drawn(7));
        assert_ne!(drawn(7), drawn(8));
    }
}
