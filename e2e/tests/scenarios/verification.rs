//! The operator compares the books of a shop and says what it finds.

use anyhow::{Result, ensure};
use serde_json::json;
use shopwright_e2e::runner::Scenario;
use shopwright_e2e::shop::Shop;
use shopwright_e2e::{object, wait};

/// Two books are changed by hand: it is told which, about what, and that the shop is open all the same. Put right again, it is
/// told that all is well; not wanted any more, nothing is told.
pub(crate) async fn changed_by_hand(scenario: Scenario) -> Result<()> {
    let enabled = json!({"verification": {"enabled": true, "intervalSeconds": 60}});
    let mut shop = Shop::ready(&scenario.cluster, &scenario.namespace, "demo", &enabled).await?;
    let api = shop.open().await?;
    let product = api.create_product("Vase", 1500, 5).await?;
    let order = object::text(&api.order_ends(&[(&product, 2)], "completed").await?, "/id")?;
    let sound = shop.wait_condition("Consistent", "True", wait::LONG).await?;
    ensure!(sound.reason == "Verified", "{sound:?}");
    scenario.say("the books agree");

    let (stock, charge) = (
        shop.keys().stock(product.parse()?),
        shop.keys().provider_charge(order.parse()?),
    );
    // Both services' users may write these keys: this is what a service gone wrong could do.
    let shift = |user: &'static str, key: String, field: &'static str, by: i64| {
        let shop = shop.clone();
        async move {
            let link = shop.redis(user).await?;
            let mut command = redis::cmd("HINCRBY");
            command.arg(key).arg(field).arg(by);
            anyhow::Ok(command.exec_async(&mut link.connection()).await?)
        }
    };
    shift("inventory", stock.clone(), "on_hand", -1).await?;
    shift("provider", charge.clone(), "captured", 100).await?;
    let violated = shop.wait_condition("Consistent", "False", wait::LONG).await?;
    scenario.say(format!("{}: {}", violated.reason, violated.message));
    ensure!(violated.reason == "InvariantViolated", "{violated:?}");
    for part in ["stock-conservation: 1", "provider: ", &product, &order] {
        ensure!(
            violated.message.contains(part),
            "{part} is not in: {}",
            violated.message
        );
    }
    object::demand(&shop.get().await?, "Ready", "True")?;
    let cluster = &scenario.cluster;
    wait::until("an Event that says so", wait::SHORT, || async {
        let reasons = cluster.event_reasons(&scenario.namespace).await?;
        ensure!(reasons.contains("InvariantViolated"), "there are {reasons:?}");
        Ok(())
    })
    .await?;

    shift("inventory", stock, "on_hand", 1).await?;
    shift("provider", charge, "captured", -100).await?;
    shop.wait_condition("Consistent", "True", wait::LONG).await?;
    scenario.say("put right, the books agree again");

    shop.change(&json!({"verification": {"enabled": false}})).await?;
    let shop = &shop;
    wait::until("the condition to go", wait::SHORT, || async move {
        let left = object::condition(&shop.get().await?, "Consistent");
        ensure!(left.is_none(), "it is still there: {left:?}");
        Ok(())
    })
    .await
}
