//! Random hostile histories against a real Redis: each sample is compared with a full listing of stream and pending
//! entries. Every loosening of the rule that is listed here must be found.
#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests fail as tests do")]

mod arena;
mod history;
mod loosened;
mod step;
mod truth;

use super::sampler::{Rule, SOURCE};
use super::{Known, Source};
use arena::Arena;
use shopwright_redis_stack::Append;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

const GROUPS: [&str; 2] = ["g", "h"];
const CONSUMERS: [&str; 3] = ["a", "b", "c"];
/// A few seconds' worth. `SHOPWRIGHT_FUZZ_SAMPLES` and `SHOPWRIGHT_FUZZ_SEED` ask for another run.
const SAMPLES: u64 = 4_000;

/// What the histories reached.
#[derive(Debug, Default)]
struct Tally {
    server: String,
    samples: u64,
    exact: u64,
    lag_nil: u64,
    lag_wrong: u64,
    ghosts: u64,
    overlap: u64,
    poison: u64,
    stalled: u64,
    many_pending: u64,
    restarts: u64,
    by_source: BTreeMap<Source, u64>,
}

impl Tally {
    fn note(&mut self, known: &Known, undelivered: u64) {
        let pending = known.pending;
        self.samples += 1;
        self.exact += u64::from(known.is_exact());
        self.lag_nil += u64::from(known.reported_lag.is_none());
        self.lag_wrong += u64::from(known.reported_lag.is_some_and(|lag| lag != undelivered));
        self.ghosts += u64::from(pending.ghosts > 0);
        self.overlap += u64::from(pending.overlap > 0);
        self.poison += u64::from(pending.detail.is_some_and(|detail| detail.poison > 0));
        self.stalled += u64::from(pending.detail.is_some_and(|detail| detail.stalled > 0));
        self.many_pending += u64::from(pending.total > 128);
        *self.by_source.entry(known.undelivered.source).or_default() += 1;
    }

    fn of(&self, source: Source) -> u64 {
        self.by_source.get(&source).copied().unwrap_or(0)
    }

    fn print(&self, seed: u64, since: Instant) {
        let line = |name: &str, number: u64| {
            let share = (number * 1000).checked_div(self.samples).unwrap_or(0);
            println!("{name:<22} {number:>9}  {:>3}.{} %", share / 10, share % 10);
        };
        println!("{}, seed {seed}, {} s", self.server, since.elapsed().as_secs());
        line("samples", self.samples);
        line("exact", self.exact);
        // The first wrong one ends the run.
        line("wrong", 0);
        for source in Source::ALL {
            line(source.as_str(), self.of(source));
        }
        line("Redis's lag nil, < 0", self.lag_nil);
        line("Redis's lag wrong", self.lag_wrong);
        line("with ghosts", self.ghosts);
        line("with overlap", self.overlap);
        line("with poison", self.poison);
        line("with stalled", self.stalled);
        line("with > 128 pending", self.many_pending);
        println!("{:<22} {:>9}", "restarts", self.restarts);
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// Plays histories until there are enough samples, or one is wrong.
async fn play(script: &str, first_seed: u64, samples: u64, tally: &mut Tally) -> Result<(), arena::Failure> {
    let rule = Arc::new(Rule::new(script));
    let mut arenas = [
        Arena::new(Append::Off, Arc::clone(&rule)).await,
        Arena::new(Append::EverySecond, rule).await,
    ];
    tally.server = arenas[0].server().await;
    let mut seed = first_seed;
    while tally.samples < samples {
        arenas[usize::from(seed.is_multiple_of(4))].play(seed, tally).await?;
        seed += 1;
    }
    Ok(())
}

#[tokio::test]
async fn no_exact_sample_is_wrong_in_hostile_histories() {
    let since = Instant::now();
    let (seed, samples) = (
        setting("SHOPWRIGHT_FUZZ_SEED", 0),
        setting("SHOPWRIGHT_FUZZ_SAMPLES", SAMPLES),
    );
    let mut tally = Tally::default();
    let outcome = play(SOURCE, seed, samples, &mut tally).await;
    tally.print(seed, since);
    if let Err(failure) = outcome {
        panic!("after {} samples: {failure}", tally.samples);
    }
    // The histories must reach what they are meant to try.
    if samples >= SAMPLES {
        assert!(tally.exact > tally.samples / 2);
        let reached = [
            tally.ghosts,
            tally.overlap,
            tally.poison,
            tally.stalled,
            tally.many_pending,
        ];
        assert!(reached.iter().all(|number| *number > 10), "{tally:?}");
        assert!(tally.restarts > 0);
        assert!(Source::ALL.iter().all(|source| tally.of(*source) > 10), "{tally:?}");
    }
}
