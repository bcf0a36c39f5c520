//! Workloads that are somebody else's.

use std::time::{Duration, Instant};

use crate::reached;
use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, DeleteParams};
use redis::AsyncCommands as _;
use redis::streams::{StreamReadOptions, StreamReadReply};
use shopwright_e2e::own_redis::OwnRedis;
use shopwright_e2e::redis::RedisLink;
use shopwright_e2e::replicas::Recorder;
use shopwright_e2e::runner::Scenario;
use shopwright_e2e::shop::{Shop, quick};
use shopwright_e2e::{consumer_group, idle, object, wait, workload};

/// A name that a stranger's Deployment has is left alone, and the Shop says so; once it is free, the Shop goes on.
pub(crate) async fn name_taken(scenario: Scenario) -> Result<()> {
    let deployments: Api<Deployment> = Api::namespaced(scenario.cluster.client.clone(), &scenario.namespace);
    let before = idle::deploy(&scenario.cluster, &scenario.namespace, "demo-inventory", 1).await?;
    let shop = Shop::apply(&scenario.cluster, &scenario.namespace, "demo", quick()).await?;
    let shop_seen = &shop;
    let said = wait::until("the Shop to say NameConflict", wait::SHORT, || async move {
        let found = object::demand(&shop_seen.get().await?, "Ready", "False")?;
        ensure!(
            found.reason == "NameConflict",
            "it says {}: {}",
            found.reason,
            found.message
        );
        Ok(found)
    })
    .await?;
    ensure!(
        said.message.contains("demo-inventory"),
        "the message names it: {}",
        said.message
    );
    scenario.say(format!("NameConflict: {}", said.message));
    wait::holds("a stranger's peace", Duration::from_secs(5), || async {
        let now = deployments.get("demo-inventory").await?;
        ensure!(now.spec == before.spec, "its spec was changed");
        ensure!(now.metadata.labels == before.metadata.labels, "its labels were changed");
        ensure!(now.metadata.owner_references.is_none(), "it was taken over");
        Ok(())
    })
    .await?;
    deployments.delete("demo-inventory", &DeleteParams::default()).await?;
    let deployments = &deployments;
    wait::until("the name to be free", wait::SHORT, || async move {
        let now = deployments.get_opt("demo-inventory").await?;
        let ours = now.as_ref().is_none_or(|now| now.metadata.owner_references.is_some());
        ensure!(ours, "still the stranger's");
        Ok(())
    })
    .await?;
    let took = shop.wait_ready().await?;
    scenario.say(format!("Ready {:.1} s after the name was free", took.as_secs_f64()));
    Ok(())
}

/// A ConsumerGroup alone, on a Redis and a Deployment that no Shop knows. The test itself is the consumer, so that every
/// number is known: 0 -> 1 on one message, the maximum on 25 and more, held while work is in hand, 0 after the last ack.
pub(crate) async fn own_workload(scenario: Scenario) -> Result<()> {
    let (cluster, namespace) = (&scenario.cluster, &scenario.namespace);
    let own_redis = OwnRedis::start(cluster, namespace, "own-redis").await?;
    let redis = own_redis.link().await?;
    idle::deploy(cluster, namespace, "worker", 0).await?;
    let spec = consumer_group::spec(&own_redis.host(), "worker");
    consumer_group::apply(cluster, namespace, "workers", &spec, false)
        .await
        .context("apply the ConsumerGroup")?;
    let groups = cluster.consumer_groups(namespace);
    let groups = &groups;
    wait::until("the ConsumerGroup to be Ready", wait::LONG, || async move {
        object::demand(&groups.get("workers").await?, "Ready", "True")
    })
    .await?;
    let mut connection = redis.connection();
    let replicas = Recorder::start(cluster, namespace, "worker").await;
    ensure!(
        replicas.seen() == [0],
        "nothing to do, nobody at work: {:?}",
        replicas.seen()
    );

    let added = Instant::now();
    let _: String = connection.xadd("jobs", "*", &[("n", "0")]).await?;
    reached(&replicas, added, 1).await?;
    let added = Instant::now();
    for n in 1..26 {
        let _: String = connection.xadd("jobs", "*", &[("n", n.to_string())]).await?;
    }
    reached(&replicas, added, 3).await?;
    scenario.say(format!("26 messages: {:?}", replicas.seen()));

    held_until_acknowledged(&scenario, &redis, &replicas).await?;

    // Deleting the resource leaves the workload and the group as they are.
    let added = Instant::now();
    let _: String = connection.xadd("jobs", "*", &[("n", "26")]).await?;
    reached(&replicas, added, 1).await?;
    groups.delete("workers", &DeleteParams::default()).await?;
    wait::holds(
        "what a deleted ConsumerGroup leaves",
        Duration::from_secs(8),
        || async {
            ensure!(
                workload::replicas(cluster, namespace, "worker").await? == 1,
                "replicas were touched"
            );
            Ok(())
        },
    )
    .await?;
    ensure!(take(&redis, 5).await?.len() == 1, "the Redis group is as it was");
    Ok(())
}

// Taken but not acknowledged is work in hand: nobody is sent home, however long it takes. After the last ack, the cool-down.
async fn held_until_acknowledged(scenario: &Scenario, redis: &RedisLink, replicas: &Recorder) -> Result<()> {
    let groups = scenario.cluster.consumer_groups(&scenario.namespace);
    let groups = &groups;
    let taken = take(redis, 26).await?;
    ensure!(
        taken.len() == 26,
        "the group was made at the stream's beginning: {} of 26",
        taken.len()
    );
    let status = || async move {
        let found = groups.get("workers").await?;
        ensure!(
            object::number(&found.data, "/status/pending")? == 26,
            "{}",
            found.data["status"]
        );
        ensure!(
            object::number(&found.data, "/status/undelivered")? == 0,
            "{}",
            found.data["status"]
        );
        Ok(())
    };
    wait::until("status to count what is pending", wait::SHORT, status).await?;
    wait::holds("work in hand keeps its workers", Duration::from_secs(8), || async {
        ensure!(replicas.last() == 3, "{:?}", replicas.seen());
        Ok(())
    })
    .await?;
    let acknowledged = Instant::now();
    let _: i64 = redis.connection().xack("jobs", "workers", &taken).await?;
    reached(replicas, acknowledged, 0).await?;
    scenario.say(format!(
        "zero {:.1} s after the last ack, cool-down 5 s",
        acknowledged.elapsed().as_secs_f64()
    ));
    ensure!(
        acknowledged.elapsed() >= Duration::from_secs(5),
        "zero before the cool-down was over"
    );
    Ok(())
}

async fn take(redis: &RedisLink, count: usize) -> Result<Vec<String>> {
    let options = StreamReadOptions::default().group("workers", "the-test").count(count);
    let reply: Option<StreamReadReply> = redis.connection().xread_options(&["jobs"], &[">"], &options).await?;
    let keys = reply.map(|reply| reply.keys).unwrap_or_default();
    Ok(keys.into_iter().flat_map(|key| key.ids).map(|entry| entry.id).collect())
}
