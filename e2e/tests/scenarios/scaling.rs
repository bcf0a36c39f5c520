//! Consumers follow their backlog.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use shopwright_e2e::orders::ShopApi;
use shopwright_e2e::replicas::Recorder;
use shopwright_e2e::runner::Scenario;
use shopwright_e2e::shop::Shop;
use shopwright_e2e::wait;

/// From zero to one on a single message; to the maximum on a backlog; back to zero, and not below or above on the way.
pub(crate) async fn wake_peak_rest(scenario: Scenario) -> Result<()> {
    let changes = json!({
        // Slow enough for a backlog to stand while the operator looks.
        "payments": {"provider": {"simulated": {"latencyMilliseconds": 1500}}},
        "consumers": {"payments": {"maxReplicas": 3, "target": {"backlogPerReplica": 5}}},
    });
    let shop = Shop::ready(&scenario.cluster, &scenario.namespace, "demo", &changes).await?;
    let inventory = Recorder::start(&scenario.cluster, &scenario.namespace, "demo-inventory-consumer").await;
    let payments = Recorder::start(&scenario.cluster, &scenario.namespace, "demo-payments-consumer").await;
    let api = shop.open().await?;
    let product = api.create_product("Book", 1200, 1000).await?;
    // Products are read by nobody: making one wakes nobody.
    wait::holds("the consumers' rest", Duration::from_secs(3), || async {
        ensure!(
            inventory.seen() == [0] && payments.seen() == [0],
            "a product woke a consumer"
        );
        Ok(())
    })
    .await?;

    wake(&scenario, &api, &product, &inventory).await?;
    shop.wait_asleep().await?;
    scenario.say("both asleep again");

    let pushed = Instant::now();
    let orders = api.place_many(&product, 60).await?;
    let peak = payments.first_since(pushed, |replicas| replicas == 3);
    tokio::time::timeout(wait::SHORT, peak)
        .await
        .context("a backlog scales to the maximum")?;
    for order in &orders {
        let order = api.ended(order, wait::LONG).await?;
        ensure!(order["state"] == "completed", "{order}");
    }
    scenario.say(format!(
        "60 orders completed in {:.1} s",
        pushed.elapsed().as_secs_f64()
    ));
    shop.wait_asleep().await?;
    scenario.say(format!(
        "replicas of payments-consumer over time: {:?}",
        payments.seen()
    ));
    ensure!(
        payments.seen().iter().all(|replicas| (0..=3).contains(replicas)),
        "never above the maximum"
    );
    shop.wait_ready().await?;
    Ok(())
}

async fn wake(scenario: &Scenario, api: &ShopApi, product: &str, inventory: &Recorder) -> Result<()> {
    let placed = Instant::now();
    let order = api.place(&[(product, 1)]).await?;
    let woken = inventory.first_since(placed, |replicas| replicas > 0);
    let woken = tokio::time::timeout(wait::SHORT, woken)
        .await
        .context("one message wakes the consumer")?;
    let milliseconds = (woken - placed).as_secs_f64() * 1e3;
    scenario.say(format!("one message: scaled {milliseconds:.0} ms after POST began"));
    let order = api.ended(&order, wait::LONG).await?;
    ensure!(order["state"] == "completed", "{order}");
    scenario.say(format!(
        "completed {:.1} s after POST began",
        placed.elapsed().as_secs_f64()
    ));
    // It may have been at rest while payments' pod took long to start.
    ensure!(
        inventory.seen().iter().all(|replicas| (0..=1).contains(replicas)),
        "one message needs one replica: {:?}",
        inventory.seen()
    );
    Ok(())
}
