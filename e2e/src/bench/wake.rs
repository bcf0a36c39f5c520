//! One message to a consumer at zero: to the write of its replicas, and to the acknowledgement. Both figures include the way
//! from here into the cluster and back.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::json;

use super::Row;
use crate::figures::Figures;
use crate::redis::RedisLink;
use crate::replicas::Recorder;
use crate::rig::{Rig, Worker, drained, dump};
use crate::wait;

const WORKER: Worker = Worker::of(0);

pub(super) async fn measure(rig: &Rig, trials: usize) -> Result<Vec<Row>> {
    let replicas = rig.work(&WORKER, &json!({"cooldownSeconds": 1})).await?;
    let link = rig.redis.link().await?;
    let (mut scaled, mut acknowledged) = (Vec::new(), Vec::new());
    for number in 1..=trials {
        rig.wait_pods(&WORKER, 0).await?;
        // The watcher of groups at zero begins anew after the last scale-down: give it the time that a group at rest has.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let (write, ack) = once(&link, &replicas).await?;
        println!(
            "{number:>3}: scaled after {:.1} ms, acknowledged after {:.1} ms",
            write.as_secs_f64() * 1e3,
            ack.as_secs_f64() * 1e3
        );
        scaled.push(write);
        acknowledged.push(ack);
    }
    Ok(vec![
        Row::new(
            "one message from zero, to the scale write",
            Figures::of(scaled).to_string(),
            "p99 250 ms",
        )
        .beside("16.5, 17.3, 23.3, 27.0 s", "0.3, 0.6, 0.9, 5.6 s"),
        Row::new(
            "one message from zero, to the acknowledgement",
            Figures::of(acknowledged).to_string(),
            "",
        ),
    ])
}

async fn once(link: &RedisLink, replicas: &Recorder) -> Result<(Duration, Duration)> {
    let started = Instant::now();
    dump(link, WORKER.stream, 1, None).await?;
    let scaled = tokio::time::timeout(wait::SHORT, replicas.first_since(started, |now| now > 0));
    let acknowledged = tokio::time::timeout(wait::LONG, acknowledged(link));
    let (scaled, acknowledged) = tokio::join!(scaled, acknowledged);
    let scaled = scaled.context("the consumer was not woken")? - started;
    Ok((
        scaled,
        acknowledged.context("the message was not acknowledged")? - started,
    ))
}

async fn acknowledged(link: &RedisLink) -> Instant {
    while drained(link, WORKER.stream).await.is_err() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Instant::now()
}
