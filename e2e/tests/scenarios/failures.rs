//! What is accepted ends, whatever dies meanwhile.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use redis::{AsyncCommands as _, SetExpiry, SetOptions};
use serde_json::json;
use shopwright_e2e::process::{self, Deed};
use shopwright_e2e::runner::Scenario;
use shopwright_e2e::shop::Shop;
use shopwright_e2e::{wait, workload};

/// Redis is killed while orders are under way: every one that was accepted is still known and ends.
pub(crate) async fn redis_killed(scenario: Scenario) -> Result<()> {
    let changes = json!({"payments": {"provider": {"simulated": {"latencyMilliseconds": 1000}}}});
    let shop = Shop::ready(&scenario.cluster, &scenario.namespace, "demo", &changes).await?;
    let api = shop.open().await?;
    let product = api.create_product("Kettle", 2500, 1000).await?;
    let mut accepted = api.place_many(&product, 20).await?;
    wait::until("some order to be with the provider", wait::LONG, || async {
        for id in &accepted {
            if api.order(id).await?["state"] == "charging" {
                return Ok(());
            }
        }
        anyhow::bail!("none is charging");
    })
    .await?;
    let pods = workload::pods(&scenario.cluster, &scenario.namespace, "demo-redis").await?;
    let pod = pods.into_iter().next().context("no pod of Redis")?;
    process::signal(&pod, "redis-server", Deed::Kill)?;
    scenario.say("Redis is killed, 20 orders under way");
    // Some are refused while it is down: only what was answered 202 counts.
    let mut refused: i64 = 0;
    for _ in 0..20 {
        match api.place_once(&[(&product, 1)]).await {
            Ok(id) => accepted.push(id),
            Err(_) => refused += 1,
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    for id in &accepted {
        let order = api.ended(id, wait::LONG).await?;
        ensure!(order["state"] == "completed", "{order}");
    }
    scenario.say(format!(
        "{} accepted orders completed, {refused} were refused",
        accepted.len()
    ));
    shop.wait_ready().await?;
    shop.wait_asleep().await
}

/// The provider gives no answer for longer than the cool-down. Consumers go to zero with the order unfinished, and when the
/// provider answers again the order ends, charged once.
pub(crate) async fn provider_down(scenario: Scenario) -> Result<()> {
    let shop = Shop::ready(&scenario.cluster, &scenario.namespace, "demo", &json!({})).await?;
    let (api, keys) = (shop.open().await?, shop.keys());
    let provider = shop.redis("provider").await?;
    let _: () = provider.connection().set(keys.provider_down(), 1).await?;
    let product = api.create_product("Clock", 4000, 1).await?;
    let id = api.place(&[(&product, 1)]).await?;
    let (shop, api, id) = (&shop, &api, id.as_str());
    wait::until(
        "consumers at zero while the order waits for the provider",
        wait::LONG,
        || async move {
            let order = api.order(id).await?;
            ensure!(order["state"] == "charging", "{order}");
            for part in ["inventory-consumer", "payments-consumer"] {
                let replicas = shop.replicas(part).await?;
                ensure!(replicas == 0, "{part} is at {replicas}");
            }
            Ok(())
        },
    )
    .await?;
    scenario.say("consumers are at zero, the order is charging");
    // The provider's user may write its keys but not delete them: the word expires.
    let at_once = SetOptions::default().with_expiration(SetExpiry::PX(1));
    let _: () = provider
        .connection()
        .set_options(keys.provider_down(), 1, at_once)
        .await?;
    let order = api.ended(id, wait::LONG).await?;
    ensure!(order["state"] == "completed", "{order}");
    let captured: i64 = provider
        .connection()
        .hget(keys.provider_charge(id.parse()?), "captured")
        .await?;
    ensure!(
        captured == 4800,
        "the provider's book says that {captured} were taken: {order}"
    );
    scenario.say("the order completed after the provider came back");
    shop.wait_asleep().await
}
