//! `Ready` is true when, and only when, the shop can work.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use shopwright_e2e::object;
use shopwright_e2e::process::Paused;
use shopwright_e2e::replicas::Recorder;
use shopwright_e2e::runner::Scenario;
use shopwright_e2e::shop::Shop;
use shopwright_e2e::{wait, workload};

/// `spec: {}` is a working shop. Also the measurement of how long apply to `Ready` takes, so it runs on a quiet machine.
pub(crate) async fn empty_spec(scenario: Scenario) -> Result<()> {
    let started = Instant::now();
    let shop = Shop::apply(&scenario.cluster, &scenario.namespace, "demo", json!({})).await?;
    shop.wait_ready().await?;
    scenario.say(format!(
        "measured: apply to Ready {:.1} s",
        started.elapsed().as_secs_f64()
    ));

    // What kubectl's own wait believes is what users script against.
    let condition = ["--for=condition=Ready", "--timeout=60s", "-n", &scenario.namespace];
    scenario
        .cluster
        .kubectl(&[&["wait", "shop/demo"], &condition[..]].concat())
        .await?;
    let found = shop.get().await?;
    let url = object::text(&found.data, "/status/url")?;
    ensure!(url.contains("demo-storefront"), "status.url is {url}");
    ensure!(
        found.data["spec"]["currency"] == "EUR",
        "defaults are in the schema: {}",
        found.data["spec"]
    );
    for part in ["inventory-consumer", "payments-consumer"] {
        ensure!(shop.replicas(part).await? == 0, "a shop at rest has no {part}");
    }
    let api = shop.open().await?;
    let product = api.create_product("Lamp", 1999, 5).await?;
    let order = api.order_ends(&[(&product, 1)], "completed").await?;
    ensure!(
        object::number(&order, "/total/amount")? == 2399,
        "1999 and a fee of 20 %, half up: {order}"
    );
    Ok(())
}

/// While Redis answers nobody the Shop says so, nothing is scaled, and when it answers again all is well by itself.
pub(crate) async fn redis_paused(scenario: Scenario) -> Result<()> {
    let shop = Shop::ready(&scenario.cluster, &scenario.namespace, "demo", &json!({})).await?;
    let consumers = Recorder::start(&scenario.cluster, &scenario.namespace, "demo-inventory-consumer").await;
    let pod = workload::pods(&scenario.cluster, &scenario.namespace, "demo-redis").await?;
    let pod = pod.into_iter().next().context("no pod of Redis")?;
    let paused = Paused::new(pod, "redis-server")?;
    scenario.say("Redis is paused");
    let condition = shop.wait_condition("Ready", "False", wait::LONG).await?;
    scenario.say(format!("Ready=False/{}: {}", condition.reason, condition.message));
    shop.wait_condition("RedisReady", "False", wait::SHORT).await?;
    wait::holds("the truth about a paused Redis", Duration::from_secs(5), || async {
        object::demand(&shop.get().await?, "Ready", "False").map(|_| ())
    })
    .await?;
    drop(paused);
    let took = shop.wait_ready().await?;
    scenario.say(format!("Ready again {:.1} s after Redis was", took.as_secs_f64()));
    ensure!(
        consumers.seen() == [0],
        "unknown is no reason to scale: {:?}",
        consumers.seen()
    );
    let api = shop.open().await?;
    let product = api.create_product("Chair", 500, 1).await?;
    api.order_ends(&[(&product, 1)], "completed").await?;
    Ok(())
}
