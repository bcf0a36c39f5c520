//! What a run found. `text` writes it for people.

use std::collections::BTreeMap;
use std::time::Duration;

use shopwright_domain::order::State;

use crate::call::Call;
use crate::machine::Machine;
use crate::mix::Mix;
use crate::violation::{Violation, ViolationKind};

pub mod latency;
mod tallies;
mod text;

pub use tallies::{Calls, Failure, Placed, Requested, Starts, Streams};

use latency::Histogram;

/// What a run found.
#[derive(Debug, Clone)]
pub struct Report {
    /// Where the shop is.
    pub url: String,
    /// What was asked for: arrivals a second.
    pub rate: f64,
    /// What was asked for.
    pub mix: Mix,
    /// What was asked for.
    pub seed: u64,
    /// Where the load came from.
    pub machine: Machine,
    /// How long arrivals were started.
    pub loaded: Duration,
    /// How long accepted orders were followed after that.
    pub followed: Duration,
    /// Arrivals.
    pub starts: Starts,
    /// Orders.
    pub orders: Placed,
    /// Cancellations.
    pub cancels: Requested,
    /// Refunds.
    pub refunds: Requested,
    /// Orders whose refunds had no end yet.
    pub refunds_unsettled: u64,
    /// Orders seen to end, by the last state seen.
    pub ended: BTreeMap<State, u64>,
    /// Accepted orders not seen to end, by the last state seen; none when they were never read.
    pub unfinished: BTreeMap<Option<State>, u64>,
    /// By the shop's clock.
    pub placed_to_terminal: Histogram,
    /// Calls, by kind.
    pub calls: BTreeMap<Call, Calls>,
    /// Attempts without a good reply.
    pub failures: BTreeMap<Failure, u64>,
    /// How many readers of live streams there were.
    pub readers: usize,
    /// What they saw.
    pub streams: Streams,
    /// Broken promises, counted.
    pub violations: BTreeMap<ViolationKind, u64>,
    /// The first of them, in full.
    pub details: Vec<Violation>,
}

impl Report {
    /// Orders accepted a second, while arrivals were started.
    pub fn accepted_per_second(&self) -> f64 {
        let count = u32::try_from(self.orders.accepted).unwrap_or(u32::MAX);
        f64::from(count) / self.loaded.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// How many broken promises there are.
    pub fn violation_count(&self) -> u64 {
        self.violations.values().sum()
    }

    /// How many of one kind.
    pub fn violations_of(&self, kind: ViolationKind) -> u64 {
        self.violations.get(&kind).copied().unwrap_or_default()
    }
}
