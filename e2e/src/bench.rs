//! How long one message takes to wake a consumer that is at zero: to the write of its replicas, and to the acknowledgement.
//!
//! The message is an event that asks inventory for nothing, added by the payments user of a real shop, so that the second
//! figure is start-up and delivery, not work. Both figures include the way from here into the cluster and back.

use std::fmt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use redis::streams::StreamInfoGroupsReply;
use serde_json::json;
use shopwright_domain::events::{Meta, OrderEvent, encode};
use shopwright_domain::ids::OrderId;
use shopwright_domain::keys::GROUP_INVENTORY;

use crate::cluster::Cluster;
use crate::redis::RedisLink;
use crate::replicas::Recorder;
use crate::shop::Shop;
use crate::{wait, workload};

const CONSUMER: &str = "inventory-consumer";

/// One message from zero.
#[derive(Debug, Clone, Copy)]
pub struct Trial {
    /// From just before XADD to the watch event that shows `spec.replicas` above zero.
    pub scaled: Duration,
    /// From just before XADD to the group having read the entry with nothing pending.
    pub acknowledged: Duration,
}

/// All trials of a run.
#[derive(Debug)]
pub struct Report(Vec<Trial>);

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "one message from zero, {} trials, milliseconds:", self.0.len())?;
        writeln!(f, "{:<24}{:>9}{:>9}{:>9}{:>9}", "", "min", "median", "p99", "max")?;
        line(
            f,
            "to the scale write",
            self.0.iter().map(|trial| trial.scaled).collect(),
        )?;
        line(
            f,
            "to the acknowledgement",
            self.0.iter().map(|trial| trial.acknowledged).collect(),
        )
    }
}

fn line(f: &mut fmt::Formatter<'_>, name: &str, mut durations: Vec<Duration>) -> fmt::Result {
    durations.sort();
    write!(f, "{name:<24}")?;
    for per_cent in [0, 50, 99, 100] {
        write!(f, "{:>9.1}", nearest_rank(&durations, per_cent).as_secs_f64() * 1e3)?;
    }
    writeln!(f)
}

/// The smallest value that so many per cent of the sorted values do not exceed; zero of nothing.
fn nearest_rank(sorted: &[Duration], per_cent: usize) -> Duration {
    let rank = (sorted.len() * per_cent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

/// Runs so many trials on a Shop in a namespace of its own, which is gone afterwards.
pub async fn wake(cluster: &Cluster, trials: usize) -> Result<Report> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    let namespace = format!("e2e-bench-{:x}", now & 0xffff_ffff);
    cluster.create_namespace(&namespace).await?;
    let report = measure(cluster, &namespace, trials).await;
    cluster.delete_namespace(&namespace).await?;
    cluster.namespaces_gone(&[namespace]).await?;
    report
}

async fn measure(cluster: &Cluster, namespace: &str, trials: usize) -> Result<Report> {
    let quickly = json!({"consumers": {"inventory": {"cooldownSeconds": 1}}});
    let shop = Shop::ready(cluster, namespace, "bench", &quickly).await?;
    let consumers = Recorder::start(cluster, namespace, &shop.child(CONSUMER)).await;
    let (writer, watcher) = (shop.redis("payments").await?, shop.redis("operator").await?);
    let mut report = Report(Vec::new());
    for number in 1..=trials {
        at_rest(&shop).await?;
        let trial = once(&shop, &consumers, &writer, &watcher).await?;
        println!(
            "{number:>3}: scaled after {:.1} ms, acknowledged after {:.1} ms",
            trial.scaled.as_secs_f64() * 1e3,
            trial.acknowledged.as_secs_f64() * 1e3
        );
        report.0.push(trial);
    }
    Ok(report)
}

async fn at_rest(shop: &Shop) -> Result<()> {
    shop.wait_asleep().await?;
    let consumer = shop.child(CONSUMER);
    let consumer = &consumer;
    wait::until("the last trial's consumer to be gone", wait::LONG, || async move {
        let left = workload::pods(&shop.cluster, &shop.namespace, consumer).await?.len();
        ensure!(left == 0, "{left} left");
        Ok(())
    })
    .await?;
    // The watcher of groups at zero begins anew after the last scale-down: give it the time that a shop at rest has.
    tokio::time::sleep(Duration::from_secs(2)).await;
    Ok(())
}

async fn once(shop: &Shop, consumers: &Recorder, writer: &RedisLink, watcher: &RedisLink) -> Result<Trial> {
    let stream = shop.keys().payments_events();
    let order = OrderId::generate();
    let meta = Meta {
        id: format!("bench-{order}"),
        time: jiff::Timestamp::now().to_string(),
        traceparent: String::new(),
        request_id: "bench".into(),
    };
    let fields = encode(&OrderEvent::Completed(order), &meta);
    let mut connection = writer.connection();
    let started = Instant::now();
    let id: String = redis::cmd("XADD")
        .arg(&stream)
        .arg("*")
        .arg(&fields)
        .query_async(&mut connection)
        .await?;
    let scaled = tokio::time::timeout(wait::SHORT, consumers.first_since(started, |replicas| replicas > 0));
    let acknowledged = tokio::time::timeout(wait::LONG, acknowledged(watcher, &stream, &id));
    let (scaled, acknowledged) = tokio::join!(scaled, acknowledged);
    Ok(Trial {
        scaled: scaled.context("the consumer was not woken")? - started,
        acknowledged: acknowledged.context("the message was not acknowledged")?? - started,
    })
}

async fn acknowledged(watcher: &RedisLink, stream: &str, id: &str) -> Result<Instant> {
    let mut connection = watcher.connection();
    loop {
        let reply: StreamInfoGroupsReply = redis::cmd("XINFO")
            .arg("GROUPS")
            .arg(stream)
            .query_async(&mut connection)
            .await?;
        let group = reply
            .groups
            .into_iter()
            .find(|group| group.name == GROUP_INVENTORY)
            .context("no group")?;
        if group.pending == 0 && group.last_delivered_id == id {
            return Ok(Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::nearest_rank;

    #[test]
    fn ranks_are_values_that_were_measured() {
        let sorted: Vec<Duration> = (1..=20).map(Duration::from_millis).collect();
        let rank = |per_cent| nearest_rank(&sorted, per_cent).as_millis();
        assert_eq!((rank(0), rank(50), rank(99), rank(100)), (1, 10, 20, 20));
        assert_eq!(nearest_rank(&[], 50), Duration::ZERO);
    }
}
