//! What becomes of the data with the Shop.

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::Api;
use serde_json::json;
use shopwright_e2e::object;
use shopwright_e2e::runner::Scenario;
use shopwright_e2e::shop::Shop;
use shopwright_e2e::wait;

/// Retain: the Shop goes, its data stays, a Shop of the same name finds it. Delete: the data goes with the Shop.
pub(crate) async fn retained_and_found(scenario: Scenario) -> Result<()> {
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(scenario.cluster.client.clone(), &scenario.namespace);
    let first = Shop::ready(
        &scenario.cluster,
        &scenario.namespace,
        "demo",
        &json!({"deletionPolicy": "Retain"}),
    )
    .await?;
    let api = first.open().await?;
    let product = api.create_product("Mirror", 800, 2).await?;
    let order = api.order_ends(&[(&product, 1)], "completed").await?;
    let order = object::text(&order, "/id")?;
    let claim = claims.get("demo-redis-data").await?.metadata.uid;
    drop(api);
    first.delete().await?;
    ensure!(
        claims.get("demo-redis-data").await?.metadata.uid == claim,
        "the claim stays"
    );
    scenario.say("the Shop is gone, its claim is not");

    let mut second = Shop::ready(
        &scenario.cluster,
        &scenario.namespace,
        "demo",
        &json!({"deletionPolicy": "Retain"}),
    )
    .await?;
    let api = second.open().await?;
    let api_seen = &api;
    let order = wait::until("the order to be found again", wait::SHORT, || api_seen.order(&order)).await?;
    ensure!(order["state"] == "completed", "{order}");
    ensure!(api.product(&product).await?["in_stock"] == true, "the product is there");
    api.order_ends(&[(&product, 1)], "completed").await?;
    let cluster = &scenario.cluster;
    wait::until("an Event that says that data was adopted", wait::SHORT, || async {
        let reasons = cluster.event_reasons(&scenario.namespace).await?;
        ensure!(reasons.contains("DataAdopted"), "there are {reasons:?}");
        Ok(())
    })
    .await?;

    second.change(&json!({"deletionPolicy": "Delete"})).await?;
    let shop = &second;
    wait::until("status to show the new policy", wait::SHORT, || async move {
        let policy = object::text(&shop.get().await?.data, "/status/deletionPolicy")?;
        ensure!(policy == "Delete", "it shows {policy}");
        Ok(())
    })
    .await?;
    second.delete().await?;
    let claims = &claims;
    wait::until("the claim to go with its Shop", wait::SHORT, || async move {
        ensure!(claims.get_opt("demo-redis-data").await?.is_none(), "it is still there");
        Ok(())
    })
    .await
}
