//! A ConsumerGroup on somebody else's workload: what wakes it, what keeps it at work, what lets it go.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use shopwright_e2e::consumer_group::{wait_condition, wait_numbers};
use shopwright_e2e::redis::RedisLink;
use shopwright_e2e::replicas::Recorder;
use shopwright_e2e::rig::{Rig, Worker, demand_each_once, drained, dump, effects};
use shopwright_e2e::runner::Scenario;
use shopwright_e2e::{object, wait};

use crate::reached;

/// A group made at the end of a stream that has entries already wakes on the first new one, and does only that: Redis's own
/// lag is nil for such a group. And a stream that forgot entries before its group read them comes back to zero: there
/// Redis's own lag stays above zero for ever.
pub(crate) async fn at_the_end_and_capped(scenario: Scenario) -> Result<()> {
    let Some(rig) = Rig::start(&scenario.cluster, &scenario.namespace).await? else {
        return Ok(());
    };
    let link = rig.redis.link().await?;
    let at_end = Worker {
        name: "at-end",
        stream: "jobs-old",
        ..Worker::of(5)
    };
    let capped = Worker {
        name: "capped",
        stream: "jobs-capped",
        ..Worker::of(5)
    };
    dump(&link, at_end.stream, 5, None).await?;
    let at_end_replicas = rig.work(&at_end, &json!({"startFrom": "$"})).await?;
    let capped_replicas = rig.work(&capped, &json!({})).await?;
    wait::holds("the rest of a group at the end", Duration::from_secs(3), || async {
        ensure!(
            at_end_replicas.seen() == [0],
            "old entries woke it: {:?}",
            at_end_replicas.seen()
        );
        Ok(())
    })
    .await?;

    let added = Instant::now();
    dump(&link, at_end.stream, 1, None).await?;
    dump(&link, capped.stream, 1000, Some(40)).await?;
    reached(&at_end_replicas, added, 1).await?;
    reached(&capped_replicas, added, 3).await?;
    let both_done = || async {
        drained(&link, at_end.stream).await?;
        drained(&link, capped.stream).await
    };
    wait::until("both streams to be read to their end", wait::LONG, both_done).await?;
    ensure!(
        effects(&link, &at_end).await?.len() == 1,
        "only what came after the group"
    );
    demand_each_once(&link, &capped, 40).await?;
    reached(&at_end_replicas, added, 0).await?;
    reached(&capped_replicas, added, 0).await?;
    scenario.say(format!(
        "at the end {:?}, capped {:?}",
        at_end_replicas.seen(),
        capped_replicas.seen()
    ));
    wait_numbers(&rig.cluster, &rig.namespace, capped.name, &[("/backlog", 0)]).await
}

/// A message that takes ten times the cool-down keeps its consumer. When that consumer's pod dies in the middle of the next
/// one, with no message coming in, somebody else does it at once: the claim time is ten minutes.
pub(crate) async fn long_job_and_dead_pod(scenario: Scenario) -> Result<()> {
    let Some(rig) = Rig::start(&scenario.cluster, &scenario.namespace).await? else {
        return Ok(());
    };
    let link = rig.redis.link().await?;
    let worker = Worker::of(20_000);
    let replicas = rig.work(&worker, &json!({"cooldownSeconds": 2})).await?;

    let added = Instant::now();
    dump(&link, worker.stream, 1, None).await?;
    reached(&replicas, added, 1).await?;
    let zero = reached(&replicas, added, 0).await? - added;
    scenario.say(format!(
        "zero again after {:.1} s, 20 s of these at work",
        zero.as_secs_f64()
    ));
    drained(&link, worker.stream)
        .await
        .context("sent home in the middle of a message")?;
    ensure!(zero >= Duration::from_secs(20), "sent home after {zero:?}");
    rig.wait_pods(&worker, 0).await?;

    let added = Instant::now();
    dump(&link, worker.stream, 1, None).await?;
    reached(&replicas, added, 1).await?;
    let pods = rig.wait_pods(&worker, 1).await?;
    let link_seen = &link;
    wait::until("the message to be taken", wait::SHORT, || async move {
        ensure!(
            link_seen.pending(worker.stream, "workers").await? == 1,
            "nothing is pending"
        );
        Ok(())
    })
    .await?;
    let killed = Instant::now();
    rig.kill(pods.first().context("no pod")?).await?;
    wait_drained(&link, &worker).await?;
    scenario.say(format!(
        "its heir was done {:.1} s after the kill, 20 s of these at work",
        killed.elapsed().as_secs_f64()
    ));
    demand_each_once(&link, &worker, 2).await?;
    reached(&replicas, added, 0).await?;
    Ok(())
}

/// Whoever is paused sees what would be done and touches nothing; unpaused, it is done.
pub(crate) async fn paused(scenario: Scenario) -> Result<()> {
    let Some(rig) = Rig::start(&scenario.cluster, &scenario.namespace).await? else {
        return Ok(());
    };
    let link = rig.redis.link().await?;
    let worker = Worker::of(20);
    rig.deploy(&worker).await?;
    let replicas = Recorder::start(&rig.cluster, &rig.namespace, worker.name).await;
    rig.group(&worker, &json!({"paused": true})).await?;
    wait_condition(&rig.cluster, &rig.namespace, worker.name, "Paused", "True").await?;
    dump(&link, worker.stream, 25, None).await?;
    let wanted = [("/backlog", 25), ("/decision/desired", 3), ("/decision/replicas", 0)];
    wait_numbers(&rig.cluster, &rig.namespace, worker.name, &wanted).await?;
    let found = rig.cluster.consumer_groups(&rig.namespace).get(worker.name).await?;
    scenario.say(object::text(&found.data, "/status/decision/message")?);
    wait::holds("a paused group's rest", Duration::from_secs(3), || async {
        ensure!(replicas.seen() == [0], "{:?}", replicas.seen());
        Ok(())
    })
    .await?;
    let unpaused = Instant::now();
    rig.group(&worker, &json!({})).await?;
    reached(&replicas, unpaused, 3).await?;
    wait_drained(&link, &worker).await?;
    demand_each_once(&link, &worker, 25).await
}

pub(crate) async fn wait_drained(link: &RedisLink, worker: &Worker) -> Result<()> {
    wait::until("the stream to be worked off", wait::LONG, || {
        drained(link, worker.stream)
    })
    .await
}
