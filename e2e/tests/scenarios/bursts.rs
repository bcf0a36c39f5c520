//! Many messages at once, and fewer replicas while there still are many.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use jiff::Timestamp;
use serde_json::json;
use shopwright_e2e::audit;
use shopwright_e2e::consumer_group::wait_numbers;
use shopwright_e2e::replicas::{flaps, replica_seconds};
use shopwright_e2e::rig::{Rig, Worker, demand_each_once, dump};
use shopwright_e2e::runner::Scenario;
use shopwright_e2e::wait;

use crate::groups::wait_drained;
use crate::reached;

/// Longer than the budget of a minute silences somebody who always has something to say: 34 s at most.
const QUIET: Duration = Duration::from_secs(40);

/// A leader writes four. One that could not renew its Lease on a stalled machine leads anew, and knows of none of the four.
const BUSIEST_MINUTE: usize = 8;

/// 2,000 messages of 20 ms at zero: straight to the maximum in one write, worked off, and home again without ever turning back.
/// The status is written a few times a minute however much happens, and not at all at rest.
pub(crate) async fn dump_and_rest(scenario: Scenario) -> Result<()> {
    let Some(rig) = Rig::start(&scenario.cluster, &scenario.namespace).await? else {
        return Ok(());
    };
    let link = rig.redis.link().await?;
    let worker = Worker::of(20);
    let replicas = rig
        .work(
            &worker,
            &json!({"maxReplicas": 5, "target": {"backlogPerReplica": 100}}),
        )
        .await?;
    let (since, added) = (Timestamp::now(), Instant::now());
    dump(&link, worker.stream, 2_000, None).await?;
    wait_drained(&link, &worker).await?;
    let drained = added.elapsed();
    let zero = reached(&replicas, added, 0).await?;
    let history = replicas.history();
    scenario.say(format!(
        "drained in {:.1} s, zero after {:.1} s, {:.0} replica-seconds of which 40 are work, replicas {:?}",
        drained.as_secs_f64(),
        (zero - added).as_secs_f64(),
        replica_seconds(&history, added, zero),
        replicas.seen()
    ));
    demand_each_once(&link, &worker, 2_000).await?;
    ensure!(
        replicas.seen().starts_with(&[0, 5]),
        "not straight to the maximum: {:?}",
        replicas.seen()
    );
    ensure!(flaps(&replicas.seen()) == 0, "it turned back: {:?}", replicas.seen());
    let Some(log) = &rig.cluster.environment.audit_log else {
        scenario.say("status writes are not counted: SHOPWRIGHT_AUDIT_LOG names no log");
        return Ok(());
    };
    // What did not fit into the minute's writes comes with the next one; from then on there is nothing to say.
    wait_numbers(
        &rig.cluster,
        &rig.namespace,
        worker.name,
        &[("/backlog", 0), ("/replicas", 0)],
    )
    .await?;
    let resting = Instant::now();
    let written = loop {
        let from = Timestamp::now();
        tokio::time::sleep(QUIET).await;
        let mut written = audit::status_writes(log, &rig.namespace, since)?;
        let written = written.remove(worker.name).unwrap_or_default();
        ensure!(!written.is_empty(), "the audit log knows of no status write");
        if written.iter().all(|time| *time < from) {
            break written;
        }
        ensure!(resting.elapsed() < wait::LONG, "written at rest: {written:?}");
    };
    let busiest = audit::busiest_minute(&written);
    scenario.say(format!("{} status writes, {busiest} in one minute", written.len()));
    ensure!(
        busiest <= BUSIEST_MINUTE,
        "{busiest} status writes in one minute: {written:?}"
    );
    Ok(())
}

/// From six replicas to two, twice, while all six hold messages that take longer than they may drain: what they cannot finish
/// is handed on at once (the claim time is ten minutes), nothing is lost and nothing done twice.
pub(crate) async fn six_to_two_twice(scenario: Scenario) -> Result<()> {
    let Some(rig) = Rig::start(&scenario.cluster, &scenario.namespace).await? else {
        return Ok(());
    };
    let link = rig.redis.link().await?;
    let worker = Worker {
        concurrency: 4,
        drain_seconds: 1,
        ..Worker::of(3_000)
    };
    // Both bounds are the same: however slowly pods start, all six are there before the first message is.
    let bounds =
        |replicas: i32| json!({"minReplicas": replicas, "maxReplicas": replicas, "target": {"backlogPerReplica": 1}});
    rig.work(&worker, &bounds(6)).await?;
    let mut added = 0_usize;
    for round in 1..=2 {
        rig.group(&worker, &bounds(6)).await?;
        rig.wait_pods(&worker, 6).await?;
        dump(&link, worker.stream, 150, None).await?;
        added += 150;
        let link = &link;
        wait::until("more to be in hand than two can hold", wait::SHORT, || async move {
            let pending = link.pending(worker.stream, "workers").await?;
            ensure!(pending > 8, "{pending} in hand");
            Ok(())
        })
        .await?;
        let told = Instant::now();
        rig.group(&worker, &bounds(2)).await?;
        rig.wait_pods(&worker, 2).await?;
        scenario.say(format!(
            "round {round}: two left after {:.1} s",
            told.elapsed().as_secs_f64()
        ));
    }
    rig.group(&worker, &bounds(6)).await?;
    wait_drained(&link, &worker).await?;
    demand_each_once(&link, &worker, added).await
}
