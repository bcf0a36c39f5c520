//! 20,000 messages of 20 ms at once, for a consumer at zero that may have 20 replicas, with default knobs: how long until
//! nothing is left, what it costs until zero again, and whether the number of replicas ever turned back.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::json;

use super::Row;
use crate::redis::RedisLink;
use crate::replicas::{Recorder, flaps, replica_seconds};
use crate::rig::{Rig, Worker, drained, dump};

/// The work is the 20 ms and the acknowledgement, nothing else.
const fn worker(name: &'static str, stream: &'static str) -> Worker {
    Worker {
        name,
        stream,
        counted: false,
        ..Worker::of(20)
    }
}

const MESSAGES: u32 = 20_000;
const MAXIMUM: i32 = 20;
const LIMIT: Duration = Duration::from_mins(10);

/// What Redis waits for before it answers a write, the words for the table, and a group that has no past: one that let its
/// replicas go early and was wrong about it waits longer the next time.
const RUNS: [(&str, &str, Worker); 2] = [
    ("always", "every write on disk", worker("always", "jobs-always")),
    ("everysec", "disk once a second", worker("everysec", "jobs-everysec")),
];

pub(super) async fn measure(rig: &Rig) -> Result<Vec<Row>> {
    // Null takes the quick values of the other scenarios away: what is left are the defaults.
    let defaults = json!({"maxReplicas": MAXIMUM, "target": null, "cooldownSeconds": null, "pending": null});
    let link = rig.redis.link().await?;
    let mut rows = Vec::new();
    for (sync, words, worker) in &RUNS {
        redis::cmd("CONFIG")
            .arg(&["SET", "appendfsync", sync])
            .query_async::<()>(&mut link.connection())
            .await?;
        let replicas = rig.work(worker, &defaults).await?;
        rows.extend(once(&link, worker, &replicas, words).await?);
    }
    Ok(rows)
}

async fn once(link: &RedisLink, worker: &Worker, replicas: &Recorder, words: &str) -> Result<Vec<Row>> {
    let started = Instant::now();
    dump(link, worker.stream, MESSAGES, None).await?;
    let deadline = started + LIMIT;
    while let Err(left) = drained(link, worker.stream).await {
        if Instant::now() > deadline {
            return Err(left).context("the dump was not drained");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let drained_after = started.elapsed();
    println!("{words}: drained after {:.1} s", drained_after.as_secs_f64());
    let zero = tokio::time::timeout(LIMIT, replicas.first_since(started + drained_after, |now| now == 0));
    let zero = zero.await.context("not at zero again")?;
    let history = replicas.history();
    for (at, now) in &history {
        println!("{:>8.2} s: {now}", at.saturating_duration_since(started).as_secs_f64());
    }
    let highest = history.iter().find(|(_, now)| *now == MAXIMUM);
    let highest = highest.map_or_else(
        || "never".to_owned(),
        |(at, _)| format!("{:.2} s", (*at - started).as_secs_f64()),
    );
    let numbers: Vec<i32> = history.iter().map(|(_, now)| *now).collect();
    let seconds = |duration: Duration| format!("{:.1} s", duration.as_secs_f64());
    Ok(vec![
        Row::new(
            format!("20,000 messages of 20 ms at zero, at most 20 replicas ({words}): asked for 20"),
            highest,
            "",
        )
        .beside("25 s to the first pod, then 4, 8, 16, 20", "11 s to 20 pods"),
        Row::new("... drained", seconds(drained_after), "27 s").beside("74.7 s", "36.1 s"),
        Row::new(
            "... replica-seconds until zero (400 of them work)",
            format!("{:.0}", replica_seconds(&history, started, zero)),
            "1,000",
        )
        .beside("6,078", "1,518"),
        Row::new("... zero again", seconds(zero - started), "").beside("356 s", "96 s"),
        Row::new(
            "... times that replicas rose after they had fallen",
            flaps(&numbers).to_string(),
            "0",
        ),
    ])
}
