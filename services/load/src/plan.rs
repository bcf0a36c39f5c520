//! Who comes when and for what, from a seed. Pure: the same settings make the same sequence, whatever the shop answers.
//!
//! Idempotency keys are no part of it: a shop remembers them, so the keys of an earlier run with this seed would only
//! bring back that run's orders.

use std::time::Duration;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt as _, SeedableRng as _};

use crate::mix::{Mix, Part};

/// How intended starts lie in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Arrivals {
    /// Independent shoppers: exponential gaps.
    Poisson,
    /// Equal gaps.
    Uniform,
}

/// Everything a plan depends on.
#[derive(Debug, Clone)]
pub(crate) struct PlanSettings {
    pub(crate) seed: u64,
    /// Arrivals a second.
    pub(crate) rate: f64,
    pub(crate) arrivals: Arrivals,
    pub(crate) duration: Duration,
    pub(crate) count: u64,
    pub(crate) mix: Mix,
    /// How many products there are; the first is the hot one.
    pub(crate) products: usize,
    /// Whether refunds can be asked for.
    pub(crate) has_staff: bool,
}

/// One arrival.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Planned {
    /// Intended start, from the beginning of the load.
    pub(crate) at: Duration,
    pub(crate) action: Action,
}

/// What somebody does. Products are indices.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action {
    ListProducts,
    ReadProduct(usize),
    ReadStock(usize),
    Order(PlannedOrder),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PlannedOrder {
    pub(crate) lines: Vec<PlannedLine>,
    pub(crate) repeat: Repeat,
    pub(crate) then: Then,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PlannedLine {
    pub(crate) product: usize,
    pub(crate) quantity: u32,
    /// Whether the order says what price the shopper saw.
    pub(crate) names_price: bool,
}

/// Whether each POST is made a second time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    No,
    /// Once the first has its reply.
    After,
    /// While the first is under way.
    AtOnce,
}

/// What becomes of an accepted order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Then {
    Nothing,
    /// Called off so long after it was accepted.
    Cancel(Duration),
    /// Refunded once completed, one part after another.
    Refund(Vec<Share>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Share {
    /// All that is left.
    Rest,
    Percent(u8),
}

/// The sequence of arrivals, ending with the duration or the count.
pub(crate) struct Plan {
    settings: PlanSettings,
    random: Xoshiro256PlusPlus,
    at: f64,
    made: u64,
    /// Sums of 1, 1/2, 1/3...: the nth most popular product sells an nth of what the first does.
    popularity: Vec<f64>,
}

impl Plan {
    pub(crate) fn new(settings: PlanSettings) -> Self {
        let mut sum = 0.0;
        let ranks = 1..=u32::try_from(settings.products).unwrap_or(u32::MAX);
        let popularity = ranks.map(|rank| {
            sum += 1.0 / f64::from(rank);
            sum
        });
        Self {
            random: Xoshiro256PlusPlus::seed_from_u64(settings.seed),
            at: 0.0,
            made: 0,
            popularity: popularity.collect(),
            settings,
        }
    }

    fn gap(&mut self) -> f64 {
        match self.settings.arrivals {
            Arrivals::Uniform => 1.0 / self.settings.rate,
            // `random` is below 1, so the logarithm is finite.
            Arrivals::Poisson => -(1.0 - self.random.random::<f64>()).ln() / self.settings.rate,
        }
    }

    fn product(&mut self) -> usize {
        let last = self.popularity.last().copied().unwrap_or(1.0);
        let point = self.random.random::<f64>() * last;
        let index = self.popularity.partition_point(|sum| *sum <= point);
        index.min(self.settings.products.saturating_sub(1))
    }

    fn action(&mut self) -> Action {
        let part = self
            .settings
            .mix
            .at(self.random.random_range(0..self.settings.mix.total()));
        let order = |lines, then| {
            Action::Order(PlannedOrder {
                lines,
                repeat: Repeat::No,
                then,
            })
        };
        match part {
            Part::Browse => match self.random.random_range(0..4) {
                0 => Action::ListProducts,
                1 => Action::ReadStock(self.product()),
                _ => Action::ReadProduct(self.product()),
            },
            Part::FlashSale => order(vec![self.line(0, 1)], Then::Nothing),
            Part::LongTail => order(self.lines(), Then::Nothing),
            Part::Refunds => order(self.lines(), self.refund()),
            Part::Cancels => order(self.lines(), self.cancel()),
            Part::Twice => {
                let lines = self.lines();
                let then = match self.random.random_range(0..4) {
                    0 => self.cancel(),
                    1 if self.settings.has_staff => self.refund(),
                    _ => Then::Nothing,
                };
                let repeat = if self.random.random() {
                    Repeat::After
                } else {
                    Repeat::AtOnce
                };
                Action::Order(PlannedOrder { lines, repeat, then })
            }
        }
    }

    fn line(&mut self, product: usize, quantity: u32) -> PlannedLine {
        PlannedLine {
            product,
            quantity,
            names_price: self.random.random_bool(0.2),
        }
    }

    /// One to three different products, one to three pieces of each.
    fn lines(&mut self) -> Vec<PlannedLine> {
        let mut lines: Vec<PlannedLine> = Vec::new();
        for _ in 0..self.random.random_range(1..=3) {
            let (product, quantity) = (self.product(), self.random.random_range(1..=3));
            let line = self.line(product, quantity);
            if lines.iter().all(|other| other.product != product) {
                lines.push(line);
            }
        }
        lines
    }

    fn cancel(&mut self) -> Then {
        Then::Cancel(Duration::from_millis(self.random.random_range(0..2000)))
    }

    fn refund(&mut self) -> Then {
        let part = Share::Percent(self.random.random_range(1..100));
        Then::Refund(match self.random.random_range(0..4) {
            0 | 1 => vec![Share::Rest],
            2 => vec![part],
            _ => vec![part, Share::Rest],
        })
    }
}

impl Iterator for Plan {
    type Item = Planned;

    fn next(&mut self) -> Option<Planned> {
        if self.made >= self.settings.count {
            return None;
        }
        self.at += self.gap();
        let at = Duration::try_from_secs_f64(self.at).ok()?;
        if at >= self.settings.duration {
            self.made = self.settings.count;
            return None;
        }
        self.made += 1;
        let action = self.action();
        Some(Planned { at, action })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(seed: u64, mix: &str, arrivals: Arrivals) -> PlanSettings {
        PlanSettings {
            seed,
            rate: 100.0,
            arrivals,
            duration: Duration::from_secs(100),
            count: u64::MAX,
            mix: mix.parse().unwrap(),
            products: 20,
            has_staff: true,
        }
    }

    fn plan(seed: u64, mix: &str, arrivals: Arrivals) -> Vec<Planned> {
        Plan::new(settings(seed, mix, arrivals)).collect()
    }

    #[test]
    fn a_seed_is_a_sequence() {
        let mix = "browse,flash-sale,long-tail,refunds,cancels,twice";
        let one = plan(7, mix, Arrivals::Poisson);
        assert_eq!(one, plan(7, mix, Arrivals::Poisson));
        assert_ne!(one, plan(8, mix, Arrivals::Poisson));
        assert!(one.iter().is_sorted_by_key(|planned| planned.at));
        for planned in one {
            if let Action::Order(order) = planned.action {
                let mut products: Vec<_> = order.lines.iter().map(|line| line.product).collect();
                products.sort_unstable();
                products.dedup();
                assert!(products.len() == order.lines.len() && (1..=3).contains(&products.len()));
                assert!(products.iter().all(|product| *product < 20));
            }
        }
    }

    #[test]
    fn arrivals_keep_their_rate() {
        let uniform = plan(1, "flash-sale", Arrivals::Uniform);
        assert!((9_998..=10_000).contains(&uniform.len()), "{}", uniform.len());
        // 10,000 expected, deviation 100: five of them either way.
        let poisson = plan(1, "flash-sale", Arrivals::Poisson);
        assert!((9_500..=10_500).contains(&poisson.len()), "{}", poisson.len());
        let short = poisson
            .windows(2)
            .filter(|pair| pair[1].at < pair[0].at + Duration::from_millis(10));
        // 1 - 1/e of exponential gaps are below their mean; of uniform ones none, or all.
        assert!((6_000..=6_700).contains(&short.count()));
    }

    #[test]
    fn counts_and_weights_are_kept() {
        let bounded = PlanSettings {
            count: 5,
            ..settings(1, "browse", Arrivals::Poisson)
        };
        assert_eq!(Plan::new(bounded).count(), 5);
        let all = plan(3, "browse=3,flash-sale=1", Arrivals::Uniform);
        let orders = all.iter().filter(|planned| matches!(planned.action, Action::Order(_)));
        assert!((2_250..=2_750).contains(&orders.count()));
    }

    #[test]
    fn the_hot_product_and_the_tail() {
        for planned in plan(5, "flash-sale", Arrivals::Uniform) {
            assert!(matches!(planned.action, Action::Order(order) if order.lines[0].product == 0));
        }
        let mut sold = [0; 20];
        for planned in plan(5, "long-tail", Arrivals::Uniform) {
            if let Action::Order(order) = planned.action {
                order.lines.iter().for_each(|line| sold[line.product] += 1);
            }
        }
        assert!(sold.iter().all(|count| *count > 100) && sold[0] > 3 * sold[9]);
    }

    #[test]
    fn without_staff_nobody_asks_for_refunds() {
        let alone = PlanSettings {
            has_staff: false,
            ..settings(1, "twice", Arrivals::Uniform)
        };
        let refunds = |settings| {
            Plan::new(settings)
                .filter(
                    |planned| matches!(&planned.action, Action::Order(order) if matches!(order.then, Then::Refund(_))),
                )
                .count()
        };
        assert_eq!(refunds(alone), 0);
        assert!(refunds(settings(1, "twice", Arrivals::Uniform)) > 0);
    }
}
