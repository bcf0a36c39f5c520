//! Random hostile histories: after each step the sample is compared with a full listing of stream and pending entries.

use crate::support::{command, redis};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use shopwright_streams::sample::{Known, Sample, Source, Target, sample_all};
use shopwright_streams::{EntryId, Shared};
use std::collections::{BTreeMap, BTreeSet};

const GROUPS: [&str; 2] = ["g", "h"];
const CONSUMERS: [&str; 3] = ["a", "b", "c"];
/// Enough to find every looser rule that was tried; `STREAMS_FUZZ_HISTORIES` asks for more.
const HISTORIES: u64 = 60;
const STEPS: usize = 40;

struct History {
    random: StdRng,
    shared: Shared,
    next_id: EntryId,
}

impl History {
    fn new(seed: u64, shared: Shared) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        // Ids of different lengths: text order is not id order.
        let milliseconds = [1, 8, 95, 999_990, 1_700_000_000_000][random.random_range(0..5)];
        Self {
            random,
            shared,
            next_id: EntryId {
                milliseconds,
                sequence: 1,
            },
        }
    }

    fn pick<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.random.random_range(0..choices.len())]
    }

    /// Any id from before the first entry to behind the last, in the stream or not.
    async fn any_id(&mut self) -> String {
        let ids = ids(&self.shared).await;
        match self.random.random_range(0..10) {
            0 => "0-0".to_owned(),
            1 => "0-1".to_owned(),
            2 => format!("{}-{}", self.next_id.milliseconds, self.next_id.sequence),
            _ if ids.is_empty() => "0-0".to_owned(),
            _ => ids[self.random.random_range(0..ids.len())].to_string(),
        }
    }

    async fn step(&mut self) {
        let (group, consumer) = (self.pick(&GROUPS), self.pick(&CONSUMERS));
        let number = self.random.random_range(1..6);
        let words = match self.random.random_range(0..100) {
            0..30 => return self.add("").await,
            30..36 => return self.add(&format!("MAXLEN = {}", number * 2)).await,
            36..58 => format!("XREADGROUP GROUP {group} {consumer} COUNT {number} STREAMS s >"),
            58..61 => format!("XREADGROUP GROUP {group} {consumer} COUNT {number} NOACK STREAMS s >"),
            61..72 => format!("XACK s {group} {}", self.any_id().await),
            72..81 => format!("XDEL s {}", self.any_id().await),
            81..84 => format!("XTRIM s MAXLEN = {}", number * 3),
            84..86 => format!("XTRIM s MINID = {}", self.any_id().await),
            86..89 => format!("XCLAIM s {group} {consumer} 0 {}", self.any_id().await),
            89..92 => format!("XAUTOCLAIM s {group} {consumer} 0 0 COUNT {number}"),
            92..95 => format!("XGROUP SETID s {group} {}", self.any_id().await),
            95 => format!("XGROUP SETID s {group} $"),
            96 => format!("XGROUP SETID s {group} {} ENTRIESREAD {number}", self.any_id().await),
            97 => format!("XGROUP DELCONSUMER s {group} {consumer}"),
            98 => format!("XCLAIM s {group} {consumer} 0 {} FORCE", self.any_id().await),
            _ => {
                let _ = command::<redis::Value>(&self.shared, &format!("XGROUP DESTROY s {group}")).await;
                format!("XGROUP CREATE s {group} {}", self.any_id().await)
            }
        };
        // Some steps make no sense in some states, and Redis says so; that is part of a hostile history.
        let _ = command::<redis::Value>(&self.shared, &words).await;
    }

    async fn add(&mut self, trim: &str) {
        for _ in 0..self.random.random_range(1..5) {
            let id = self.next_id;
            command::<redis::Value>(&self.shared, &format!("XADD s {trim} {id} f v"))
                .await
                .unwrap();
            if self.random.random_bool(0.4) {
                self.next_id.sequence += self.random.random_range(1..12);
            } else {
                self.next_id.milliseconds += self.random.random_range(1..8);
                self.next_id.sequence = self.random.random_range(0..3);
            }
        }
    }
}

async fn ids(shared: &Shared) -> Vec<EntryId> {
    let entries: Vec<(String, redis::Value)> = command(shared, "XRANGE s - +").await.unwrap();
    entries.iter().map(|(id, _)| id.parse().unwrap()).collect()
}

/// The figures, from listings alone.
struct Truth {
    undelivered: u64,
    pending: u64,
    ghosts: u64,
    overlap: u64,
    backlog: u64,
}

fn size<T>(items: impl Iterator<Item = T>) -> u64 {
    items.count() as u64
}

async fn truth(shared: &Shared, group: &str) -> Truth {
    let present: BTreeSet<EntryId> = ids(shared).await.into_iter().collect();
    let groups: Vec<BTreeMap<String, redis::Value>> = command(shared, "XINFO GROUPS s").await.unwrap();
    let text = |value: &redis::Value| redis::from_redis_value_ref::<String>(value).unwrap();
    let found = groups.iter().find(|map| text(&map["name"]) == group).unwrap();
    let last: EntryId = text(&found["last-delivered-id"]).parse().unwrap();
    let listed: Vec<(String, String, u64, u64)> = command(shared, &format!("XPENDING s {group} - + 100000"))
        .await
        .unwrap();
    let pending: BTreeSet<EntryId> = listed.iter().map(|entry| entry.0.parse().unwrap()).collect();
    let undelivered: BTreeSet<EntryId> = present.iter().copied().filter(|id| *id > last).collect();
    let workable: BTreeSet<EntryId> = pending.intersection(&present).copied().collect();
    Truth {
        undelivered: size(undelivered.iter()),
        pending: size(pending.iter()),
        ghosts: size(pending.difference(&present)),
        overlap: size(workable.intersection(&undelivered)),
        backlog: size(workable.union(&undelivered)),
    }
}

#[derive(Default)]
struct Tally {
    samples: u64,
    exact: u64,
    lag_nil: u64,
    lag_wrong: u64,
    ghosts: u64,
    overlap: u64,
    by_source: BTreeMap<String, u64>,
}

fn check(known: &Known, truth: &Truth, cap: u64, tally: &mut Tally) {
    assert_eq!(known.pending, truth.pending);
    if known.undelivered.source == Source::Estimated {
        assert!(truth.undelivered > cap && known.undelivered.count > cap);
        assert!(known.undelivered.count < known.length);
    } else {
        assert_eq!(known.undelivered.count, truth.undelivered);
    }
    if known.corrections_exact {
        assert_eq!((known.ghosts, known.overlap), (truth.ghosts, truth.overlap));
    } else {
        assert!(known.ghosts <= truth.ghosts && known.overlap <= truth.overlap);
        assert!(truth.pending > cap);
    }
    if known.is_exact() {
        assert_eq!(known.backlog(), truth.backlog);
        tally.exact += 1;
    }
    if known.undelivered.is_exact() {
        assert!(known.backlog() >= truth.backlog, "work is hidden");
    }
    tally.samples += 1;
    tally.lag_nil += u64::from(known.reported_lag.is_none());
    tally.lag_wrong += u64::from(known.reported_lag.is_some_and(|lag| lag != truth.undelivered));
    tally.ghosts += u64::from(truth.ghosts > 0);
    tally.overlap += u64::from(truth.overlap > 0);
    *tally
        .by_source
        .entry(format!("{:?}", known.undelivered.source))
        .or_default() += 1;
}

#[tokio::test]
async fn no_exact_sample_is_wrong_in_hostile_histories() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    let mut tally = Tally::default();
    let histories = std::env::var("STREAMS_FUZZ_HISTORIES").map_or(HISTORIES, |number| number.parse().unwrap());
    for seed in 0..histories {
        command::<redis::Value>(&shared, "DEL s").await.unwrap();
        let mut history = History::new(seed, shared.clone());
        history.add("").await;
        for group in GROUPS {
            let start = history.any_id().await;
            command::<redis::Value>(&shared, &format!("XGROUP CREATE s {group} {start}"))
                .await
                .unwrap();
        }
        for step in 0..STEPS {
            history.step().await;
            let cap = [0, 2, 5, 1000, 1000, 1000][history.random.random_range(0..6)];
            let samples = sample_all(&shared, &GROUPS.map(|group| Target { key: "s", group, cap }))
                .await
                .unwrap();
            for (group, sample) in GROUPS.into_iter().zip(samples) {
                let sample = sample.unwrap();
                if matches!(sample, Sample::NoGroup { .. }) {
                    continue;
                }
                let Sample::Known(known) = sample else {
                    panic!("seed {seed} step {step}: {sample:?}")
                };
                println!("seed {seed} step {step} group {group} cap {cap}: {known:?}");
                check(&known, &truth(&shared, group).await, u64::from(cap), &mut tally);
            }
        }
    }
    println!(
        "{} samples, {} exact; reported lag nil in {}, wrong in {}; ghosts in {}, overlap in {}; {:?}",
        tally.samples, tally.exact, tally.lag_nil, tally.lag_wrong, tally.ghosts, tally.overlap, tally.by_source
    );
    // The histories must reach what they are meant to try.
    assert!(tally.samples > 3000 && tally.exact > tally.samples / 2);
    assert!(tally.lag_nil > 100 && tally.lag_wrong > 100 && tally.ghosts > 100 && tally.overlap > 50);
    assert_eq!(tally.by_source.len(), 5, "{:?}", tally.by_source);
}
