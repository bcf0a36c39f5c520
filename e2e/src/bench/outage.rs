//! Redis away for two minutes, and Redis that lost everything.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::Row;
use crate::figures::Figures;
use crate::own_redis::PROCESS;
use crate::process::Paused;
use crate::redis::RedisLink;
use crate::replicas::Recorder;
use crate::rig::{Rig, Worker, drained, dump};
use crate::wait;

const WORKER: Worker = Worker::of(20);
/// It never has anything to do.
const ASLEEP: Worker = Worker {
    name: "asleep",
    stream: "jobs-asleep",
    ..Worker::of(20)
};
const AWAY: Duration = Duration::from_mins(2);
const LOSSES: usize = 5;

pub(super) async fn measure(rig: &Rig) -> Result<Vec<Row>> {
    // A backlog that needs two replicas and that nobody can finish during the outage.
    let slow = Worker {
        milliseconds: 600_000,
        ..WORKER
    };
    let replicas = rig.work(&slow, &json!({"maxReplicas": 6})).await?;
    rig.work(&ASLEEP, &json!({})).await?;
    dump(&rig.redis.link().await?, slow.stream, 15, None).await?;
    wait_replicas(&replicas, 2).await?;
    rig.wait_pods(&slow, 2).await?;

    rig.redis.leave().await?;
    tokio::time::sleep(AWAY).await;
    ensure!(
        replicas.last() == 2,
        "replicas changed while Redis was gone: {:?}",
        replicas.seen()
    );
    let link = rig.redis.come_back().await?;
    let gone = recovered(&link, &replicas, 25, 4).await?;
    println!(
        "gone for 120 s; the next rescale {:.2} s after it answered",
        gone.as_secs_f64()
    );

    let frozen = Paused::new(rig.redis.pod().await?, PROCESS)?;
    tokio::time::sleep(AWAY).await;
    ensure!(
        replicas.last() == 4,
        "replicas changed while Redis hung: {:?}",
        replicas.seen()
    );
    drop(frozen);
    let link = rig.redis.link().await?;
    let hung = recovered(&link, &replicas, 20, 6).await?;
    println!(
        "hung for 120 s; the next rescale {:.2} s after it answered",
        hung.as_secs_f64()
    );
    let (lost, lost_asleep) = losses(rig, &slow, &link).await?;
    let seconds = |duration: Duration| format!("{:.2} s", duration.as_secs_f64());
    Ok(vec![
        Row::new(
            "Redis gone for 120 s: replicas unchanged; from its first answer to the next rescale",
            seconds(gone),
            "2 s",
        ),
        Row::new(
            "Redis frozen for 120 s: replicas unchanged; from its first answer to the next rescale",
            seconds(hung),
            "2 s",
        ),
        Row::new(
            "FLUSHALL: until a group with replicas is there again",
            lost.to_string(),
            "2 s",
        ),
        Row::new("... a group at zero", lost_asleep.to_string(), "2 s"),
    ])
}

async fn wait_replicas(replicas: &Recorder, wanted: i32) -> Result<()> {
    wait::until(&format!("{wanted} replicas"), wait::LONG, || async move {
        ensure!(replicas.last() == wanted, "{:?}", replicas.seen());
        Ok(())
    })
    .await
}

/// Adds so many that `wanted` replicas are needed; how long until that is written.
async fn recovered(link: &RedisLink, replicas: &Recorder, count: u32, wanted: i32) -> Result<Duration> {
    let answered = Instant::now();
    dump(link, WORKER.stream, count, None).await?;
    let written = tokio::time::timeout(wait::LONG, replicas.first_since(answered, |now| now == wanted)).await;
    let written = written.with_context(|| format!("{wanted} replicas were not reached: {:?}", replicas.seen()))?;
    Ok(written - answered)
}

async fn losses(rig: &Rig, worker: &Worker, link: &RedisLink) -> Result<(Figures, Figures)> {
    let (mut awake, mut asleep) = (Vec::new(), Vec::new());
    for _ in 0..LOSSES {
        let lost = Instant::now();
        redis::cmd("FLUSHALL").query_async::<()>(&mut link.connection()).await?;
        let (first, second) = tokio::try_join!(back(link, worker, lost), back(link, &ASLEEP, lost))?;
        awake.push(first);
        asleep.push(second);
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    ensure!(rig.restarts(worker).await? == 0, "consumers were restarted");
    Ok((Figures::of(awake), Figures::of(asleep)))
}

/// How long after `lost` there was a stream again, empty and read to its end: the group is there.
async fn back(link: &RedisLink, worker: &Worker, lost: Instant) -> Result<Duration> {
    while let Err(error) = drained(link, worker.stream).await {
        if lost.elapsed() > wait::LONG {
            return Err(error).context("the group did not come back");
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(lost.elapsed())
}
