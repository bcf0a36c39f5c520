//! What a sample costs Redis, told by Redis itself. Prints microseconds; what must hold is that an anchor saves.

use crate::support::{command, execute, redis};
use shopwright_streams::Shared;
use shopwright_streams::sample::{Sample, Sampler, Source, Target};

const ROUNDS: usize = 30;

/// The source, and the median of Redis's microseconds for a sample.
async fn cost(shared: &Shared, sampler: &mut Sampler, positions: [u32; 2], remember: bool) -> (Source, u64) {
    let target = Target {
        detail: false,
        ..Target::new("s", "g")
    };
    let mut times = Vec::new();
    let mut source = None;
    for round in 0..ROUNDS {
        if !remember {
            sampler.forget("s", "g");
        }
        let position = positions[round % 2];
        execute(shared, &format!("XGROUP SETID s g {position}-0")).await;
        execute(shared, "CONFIG RESETSTAT").await;
        let sample = sampler.sample_all(&[target]).await.unwrap().pop().unwrap().unwrap();
        let Sample::Known(known) = sample else {
            panic!("{sample:?}")
        };
        source = Some(known.undelivered.source);
        let stats: String = command(shared, "INFO commandstats").await.unwrap();
        let spent = stats
            .split_once("cmdstat_evalsha_ro:")
            .and_then(|(_, rest)| rest.split_once("usec="))
            .and_then(|(_, rest)| rest.split(',').next()?.parse().ok());
        times.push(spent.unwrap());
    }
    times.sort_unstable();
    (source.unwrap(), times[ROUNDS / 2])
}

/// Adds entries of 300 bytes with a pipeline.
async fn fill(shared: &Shared, ids: std::ops::Range<u32>) {
    let value = "x".repeat(280);
    let ids: Vec<u32> = ids.collect();
    for ids in ids.chunks(1000) {
        let mut pipeline = redis::pipe();
        for id in ids {
            pipeline
                .cmd("XADD")
                .arg("s")
                .arg(format!("{id}-0"))
                .arg("field")
                .arg(&value);
        }
        let _: redis::Value = pipeline.query_async(&mut shared.clone()).await.unwrap();
    }
}

/// Prints what a sample costs with the group at one position and the other in turn.
async fn row(
    shared: &Shared,
    sampler: &mut Sampler,
    what: &str,
    positions: [u32; 2],
    (remember, expected): (bool, Source),
) -> u64 {
    let (source, microseconds) = cost(shared, sampler, positions, remember).await;
    println!("{what:<32} {microseconds:>6} us  {}", source.as_str());
    assert_eq!(source, expected);
    microseconds
}

#[tokio::test]
async fn an_anchor_costs_a_fraction_of_counting() {
    let (_stack, client) = redis().await;
    let shared = client.shared();
    let mut sampler = Sampler::new(shared.clone());
    let sampler = &mut sampler;
    execute(&shared, "XGROUP CREATE s g 0 MKSTREAM").await;
    fill(&shared, 1..200_001).await;
    sampler.sample_all(&[Target::new("s", "g")]).await.unwrap();
    let (blind, anchored) = (false, (true, Source::Anchor));
    println!("200,000 entries of 300 bytes");
    row(&shared, sampler, "at the tail", [200_000; 2], (blind, Source::Tail)).await;
    row(
        &shared,
        sampler,
        "1,000 undelivered, counted",
        [199_000; 2],
        (blind, Source::CountedRight),
    )
    .await;
    // An anchor is made where counting is cheap, and follows.
    for position in (100_000..=199_000).rev().step_by(1000) {
        execute(&shared, &format!("XGROUP SETID s g {position}-0")).await;
        sampler.sample_all(&[Target::new("s", "g")]).await.unwrap();
    }
    let with = row(&shared, sampler, "100,000 undelivered, anchor", [100_000; 2], anchored).await;
    row(
        &shared,
        sampler,
        "the same, 100 read in between",
        [100_000, 100_100],
        anchored,
    )
    .await;
    row(
        &shared,
        sampler,
        "the same, 1,000 read in between",
        [100_000, 101_000],
        anchored,
    )
    .await;
    let without = row(
        &shared,
        sampler,
        "the same, no anchor",
        [100_000; 2],
        (blind, Source::Estimated),
    )
    .await;
    println!("an anchor costs 1/{} of the two counts", without / with.max(1));
    assert!(with * 4 < without, "{with} against {without}");
}
