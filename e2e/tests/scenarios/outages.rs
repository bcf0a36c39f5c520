//! What a ConsumerGroup does when its Redis is away, has lost everything, or is shared with broken neighbours.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use redis::AsyncCommands as _;
use serde_json::json;
use shopwright_e2e::consumer_group::{self, wait_condition};
use shopwright_e2e::own_redis::{OwnRedis, PROCESS, SCALER};
use shopwright_e2e::process::Paused;
use shopwright_e2e::rig::{Rig, Worker, demand_each_once, drained, dump};
use shopwright_e2e::runner::Scenario;
use shopwright_e2e::{idle, wait};

use crate::groups::wait_drained;
use crate::reached;

const AWAY: Duration = Duration::from_secs(15);

/// Redis is gone for longer than the cool-down, with and without a backlog: nobody is sent home and nobody is called. When it
/// is back, so is everything else.
pub(crate) async fn redis_gone(scenario: Scenario) -> Result<()> {
    let Some(rig) = Rig::start(&scenario.cluster, &scenario.namespace).await? else {
        return Ok(());
    };
    let worker = Worker::of(20);
    let busy = Worker {
        name: "busy",
        stream: "jobs-busy",
        ..Worker::of(600_000)
    };
    let replicas = rig.work(&worker, &json!({"cooldownSeconds": 1})).await?;
    let busy_replicas = rig.work(&busy, &json!({"cooldownSeconds": 1})).await?;
    let added = Instant::now();
    dump(&rig.redis.link().await?, busy.stream, 15, None).await?;
    reached(&busy_replicas, added, 2).await?;

    rig.redis.leave().await?;
    wait_condition(&rig.cluster, &rig.namespace, busy.name, "BacklogKnown", "False").await?;
    tokio::time::sleep(AWAY).await;
    let (at_rest, at_work) = (replicas.seen(), busy_replicas.seen());
    ensure!(
        at_rest == [0] && at_work == [0, 2],
        "replicas changed while Redis was gone: {at_rest:?}, {at_work:?}"
    );
    let link = rig.redis.come_back().await?;
    let back = Instant::now();
    dump(&link, worker.stream, 1, None).await?;
    dump(&link, busy.stream, 10, None).await?;
    let woken = reached(&replicas, back, 1).await?;
    let grown = reached(&busy_replicas, back, 3).await?;
    scenario.say(format!(
        "back: woken after {:.2} s, more replicas after {:.2} s",
        (woken - back).as_secs_f64(),
        (grown - back).as_secs_f64()
    ));
    wait_drained(&link, &worker).await?;
    wait_condition(&rig.cluster, &rig.namespace, busy.name, "BacklogKnown", "True").await?;
    Ok(())
}

/// Everything in Redis is lost. The groups come back by themselves, it is said that data was lost, nobody is sent home for it,
/// and consumers go on without a restart.
pub(crate) async fn flushed(scenario: Scenario) -> Result<()> {
    let Some(rig) = Rig::start(&scenario.cluster, &scenario.namespace).await? else {
        return Ok(());
    };
    let link = rig.redis.link().await?;
    let quiet = Worker {
        name: "quiet",
        stream: "jobs-quiet",
        ..Worker::of(5)
    };
    let awake = Worker {
        name: "awake",
        stream: "jobs-awake",
        ..Worker::of(5)
    };
    let quiet_replicas = rig.work(&quiet, &json!({})).await?;
    let awake_replicas = rig.work(&awake, &json!({"minReplicas": 2})).await?;
    rig.wait_pods(&awake, 2).await?;
    let added = Instant::now();
    for worker in [&quiet, &awake] {
        dump(&link, worker.stream, 3, None).await?;
        wait_drained(&link, worker).await?;
    }
    reached(&quiet_replicas, added, 0).await?;
    rig.wait_pods(&quiet, 0).await?;

    let lost = Instant::now();
    redis::cmd("FLUSHALL").query_async::<()>(&mut link.connection()).await?;
    for worker in [&awake, &quiet] {
        // Both the stream and the group, so that a reader is answered.
        wait::until("the group to be back", wait::SHORT, || drained(&link, worker.stream)).await?;
        scenario.say(format!(
            "{}: back {:.2} s after the loss",
            worker.name,
            lost.elapsed().as_secs_f64()
        ));
        wait_condition(&rig.cluster, &rig.namespace, worker.name, "DataLoss", "True").await?;
    }
    let added = Instant::now();
    for worker in [&quiet, &awake] {
        dump(&link, worker.stream, 3, None).await?;
        wait_drained(&link, worker).await?;
        demand_each_once(&link, worker, 3).await?;
    }
    reached(&quiet_replicas, added, 1).await?;
    ensure!(
        awake_replicas.last() == 2,
        "nobody is sent home for a loss: {:?}",
        awake_replicas.seen()
    );
    ensure!(
        rig.restarts(&awake).await? + rig.restarts(&quiet).await? == 0,
        "consumers were restarted"
    );
    Ok(())
}

/// Three bad neighbours in one namespace: a key of another type and a key that the user may not read, both on the very
/// connection of the good group, and another Redis that takes connections and answers nobody. The good group wakes at once.
pub(crate) async fn bad_neighbours(scenario: Scenario) -> Result<()> {
    let Some(rig) = Rig::start(&scenario.cluster, &scenario.namespace).await? else {
        return Ok(());
    };
    let (cluster, namespace) = (&rig.cluster, rig.namespace.as_str());
    let link = rig.redis.link().await?;
    let frozen = OwnRedis::start(cluster, namespace, "frozen-redis").await?;
    let _: () = link.connection().set("jobs-text", "no stream").await?;
    for (name, host, key) in [
        ("text", rig.redis.host(), "jobs-text"),
        ("forbidden", rig.redis.host(), "secret-jobs"),
        ("frozen", frozen.host(), "jobs"),
    ] {
        idle::deploy_without_pods(cluster, namespace, name).await?;
        let mut spec = consumer_group::spec(&host, name);
        shopwright_e2e::object::merge(&mut spec, &json!({"streams": [{"key": key}]}));
        consumer_group::apply(cluster, namespace, name, &spec, false).await?;
    }
    wait_condition(cluster, namespace, "frozen", "Ready", "True").await?;
    let pod = wait::until("the pod of a Redis to freeze", wait::SHORT, || frozen.pod()).await?;
    let _frozen = Paused::new(pod, PROCESS)?;
    for name in ["text", "forbidden", "frozen"] {
        let said = wait_condition(cluster, namespace, name, "Ready", "False").await?;
        scenario.say(format!("{name}: {}: {}", said.reason, said.message));
        ensure!(
            !said.message.contains(SCALER),
            "a Secret's name is no reason: {}",
            said.message
        );
    }

    let worker = Worker::of(5);
    let replicas = rig.work(&worker, &json!({"cooldownSeconds": 0})).await?;
    let mut took: Vec<Duration> = Vec::new();
    // Two quick ones are enough, and a disk that stalls proves nothing. A neighbour's time-out takes seconds each time.
    while took.len() < 5 && quick(&took) < 2 {
        rig.wait_pods(&worker, 0).await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let added = Instant::now();
        dump(&link, worker.stream, 1, None).await?;
        took.push(reached(&replicas, added, 1).await? - added);
        wait_drained(&link, &worker).await?;
        reached(&replicas, added, 0).await?;
    }
    scenario.say(format!("woken after {took:?}"));
    ensure!(quick(&took) == 2, "a neighbour delays it: {took:?}");
    demand_each_once(&link, &worker, took.len()).await
}

fn quick(took: &[Duration]) -> usize {
    took.iter().filter(|one| **one < Duration::from_secs(1)).count()
}
