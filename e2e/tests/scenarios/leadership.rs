//! The operator itself comes and goes.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams};
use serde_json::json;
use shopwright_e2e::operator::Operator;
use shopwright_e2e::replicas::Recorder;
use shopwright_e2e::runner::Scenario;
use shopwright_e2e::shop::Shop;
use shopwright_e2e::{object, wait};

use crate::changes::{stick, stuck_later, unstick};

/// The leader is killed without a chance to hand over: another takes the Lease, and work goes on.
pub(crate) async fn leader_killed(scenario: Scenario) -> Result<()> {
    let operator = Operator::of(&scenario.cluster);
    let replicas = operator.replicas().await?;
    operator.scale(2).await?;
    let shop = Shop::ready(&scenario.cluster, &scenario.namespace, "demo", &json!({})).await?;
    let api = shop.open().await?;
    let product = api.create_product("Stool", 900, 10).await?;
    api.order_ends(&[(&product, 1)], "completed").await?;
    shop.wait_asleep().await?;

    let leader = operator.leader().await?;
    let killed = Instant::now();
    operator.kill(&leader).await?;
    // Placed while nobody leads: it waits in its stream.
    let order = api.place(&[(&product, 1)]).await?;
    let successor = operator.wait_leader_other_than(&leader, wait::LONG).await?;
    scenario.say(format!(
        "{successor} leads {:.1} s after {leader} was killed",
        killed.elapsed().as_secs_f64()
    ));
    let order = api.ended(&order, wait::LONG).await?;
    ensure!(order["state"] == "completed", "{order}");
    scenario.say(format!(
        "an order placed meanwhile completed {:.1} s after the kill",
        killed.elapsed().as_secs_f64()
    ));
    shop.wait_asleep().await?;
    shop.wait_ready().await?;
    operator.wait_ready(2).await?;
    operator.scale(replicas).await
}

/// The operator is away and back in the middle of a backlog: nobody is sent home because it knows nothing yet.
pub(crate) async fn restart_mid_backlog(scenario: Scenario) -> Result<()> {
    let operator = Operator::of(&scenario.cluster);
    let mut shop = Shop::ready(&scenario.cluster, &scenario.namespace, "demo", &stuck_later()).await?;
    let orders = stick(&mut shop, 3).await?;
    let consumers = Recorder::start(&scenario.cluster, &scenario.namespace, "demo-inventory-consumer").await;
    let replicas = operator.replicas().await?;
    operator.scale(0).await?;
    scenario.say("no operator");
    tokio::time::sleep(Duration::from_secs(3)).await;
    operator.scale(replicas).await?;
    scenario.say("the operator is back");
    // Longer than the cool-down, which counts from what the new process has seen itself.
    wait::holds("no scale-down after a restart", Duration::from_secs(15), || async {
        ensure!(consumers.seen() == [3], "{:?}", consumers.seen());
        Ok(())
    })
    .await?;
    unstick(&mut shop, &orders).await?;
    scenario.say(format!(
        "{} orders completed, replicas over time {:?}",
        orders.len(),
        consumers.seen()
    ));
    Ok(())
}

/// Secrets are not watched, so that the operator needs no right to list them: lost ones return when they are next read, at
/// the latest with the next leader, and whoever uses them is rolled.
pub(crate) async fn lost_secrets_return(scenario: Scenario) -> Result<()> {
    let operator = Operator::of(&scenario.cluster);
    let shop = Shop::ready(&scenario.cluster, &scenario.namespace, "demo", &json!({})).await?;
    let api = shop.open().await?;
    let product = api.create_product("Mat", 300, 3).await?;
    let replicas = operator.replicas().await?;
    operator.scale(0).await?;
    let secrets: Api<Secret> = Api::namespaced(scenario.cluster.client.clone(), &scenario.namespace);
    for secret in ["demo-admin", "demo-redis-inventory"] {
        secrets.delete(secret, &DeleteParams::default()).await?;
    }
    operator.scale(replicas).await?;
    let (shop, product) = (&shop, product.as_str());
    let api = wait::until("the shop to work with new Secrets", wait::LONG, || async move {
        object::demand(&shop.get().await?, "Ready", "True")?;
        // Opened anew: the keeper's key is another one.
        let api = shop.open().await?;
        api.product(product).await?;
        Ok(api)
    })
    .await?;
    api.create_product("Carpet", 900, 1).await?;
    api.order_ends(&[(product, 1)], "completed").await?;
    shop.wait_asleep().await
}
