//! From 20 replicas to 2 again and again while every one of them is at work, on a Redis that writes each command to disk before
//! it answers: what is lost, what is done twice, what has to wait for a claim.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::json;

use super::Row;
use crate::rig::{CLAIM_MIN_IDLE_SECONDS, Rig, Worker, demand_each_once, drained, dump};

/// Four messages at a time, so that a pod that is told to stop holds some; they end within the time to drain.
const DRAINING: Worker = Worker {
    concurrency: 4,
    ..Worker::of(500)
};
/// Its messages take longer than it may drain: what it holds has to be handed on.
const HANDING_ON: Worker = Worker {
    name: "hasty",
    stream: "jobs-long",
    milliseconds: 3_000,
    concurrency: 4,
    drain_seconds: 1,
    counted: true,
};
const LIMIT: Duration = Duration::from_mins(5);

pub(super) async fn measure(rig: &Rig, rounds: usize) -> Result<Vec<Row>> {
    let mut rows = rounds_of(rig, &DRAINING, 1_500, rounds).await?;
    rows.extend(rounds_of(rig, &HANDING_ON, 300, rounds).await?);
    Ok(rows)
}

async fn rounds_of(rig: &Rig, worker: &Worker, burst: u32, rounds: usize) -> Result<Vec<Row>> {
    let bounds = |maximum: i32| json!({"minReplicas": 2, "maxReplicas": maximum, "target": {"backlogPerReplica": 1}});
    rig.work(worker, &bounds(20)).await?;
    let link = rig.redis.link().await?;
    let mut added = 0_usize;
    for round in 1..=rounds {
        dump(&link, worker.stream, burst, None).await?;
        added += burst as usize;
        rig.group(worker, &bounds(20)).await?;
        rig.wait_pods(worker, 20).await?;
        let told = Instant::now();
        rig.group(worker, &bounds(2)).await?;
        rig.wait_pods(worker, 2).await?;
        println!(
            "{} round {round}: 20 to 2 took {:.1} s",
            worker.name,
            told.elapsed().as_secs_f64()
        );
    }
    rig.group(worker, &bounds(20)).await?;
    let deadline = Instant::now() + LIMIT;
    while let Err(left) = drained(&link, worker.stream).await {
        if Instant::now() > deadline {
            return Err(left).context("something waits for a claim, or is lost");
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    demand_each_once(&link, worker, added).await?;
    rig.group(
        worker,
        &json!({"minReplicas": 0, "maxReplicas": 1, "cooldownSeconds": 0}),
    )
    .await?;
    rig.wait_pods(worker, 0).await?;
    Ok(vec![Row::new(
        format!(
            "20 to 2 replicas under load {rounds} times, {} ms of work, {} s to drain: lost, doubled, left to a claim after {CLAIM_MIN_IDLE_SECONDS} s",
            worker.milliseconds, worker.drain_seconds
        ),
        format!("0, 0, 0 of {added}"),
        "0, 0, 0",
    )])
}
