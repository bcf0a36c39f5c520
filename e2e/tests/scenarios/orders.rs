//! What a shopper meets.

use anyhow::{Result, ensure};
use serde_json::json;
use shopwright_domain::ids::ProductId;
use shopwright_e2e::object;
use shopwright_e2e::runner::Scenario;
use shopwright_e2e::shop::Shop;

/// One order completed, one declined, and rejected ones of both kinds; stock and money are right afterwards.
pub(crate) async fn every_ending(scenario: Scenario) -> Result<()> {
    let changes = json!({"payments": {"provider": {"simulated": {"declineAboveMinor": 10_000}}}});
    let shop = Shop::ready(&scenario.cluster, &scenario.namespace, "demo", &changes).await?;
    let api = shop.open().await?;
    ensure!(api.page("/").await?.contains("<html"), "the storefront has a page");
    let cheap = api.create_product("Cup", 250, 3).await?;
    let dear = api.create_product("Piano", 9_000, 2).await?;

    let completed = api.order_ends(&[(&cheap, 2)], "completed").await?;
    ensure!(
        object::number(&completed, "/total/amount")? == 600,
        "2 x 250 and 20 %: {completed}"
    );
    ensure!(
        object::number(&completed, "/captured/amount")? == 600,
        "what was charged: {completed}"
    );

    // 9000 and 20 % are above what the provider lets pass.
    let declined = api.order_ends(&[(&dear, 1)], "declined").await?;
    ensure!(
        declined
            .pointer("/captured/amount")
            .is_none_or(|captured| *captured == json!(0)),
        "{declined}"
    );

    let scarce = api.order_ends(&[(&cheap, 2)], "rejected").await?;
    ensure!(scarce["reason"] == "insufficient_stock", "{scarce}");
    let nothing = ProductId::generate().to_string();
    let unknown = api.order_ends(&[(&cheap, 1), (&nothing, 1)], "rejected").await?;
    ensure!(unknown["reason"] == "unknown_product", "{unknown}");

    // The declined order's piece is free again, and the rejected ones hold nothing.
    ensure!(api.on_hand_settled(&dear).await? == 2, "pieces that are left");
    ensure!(api.on_hand_settled(&cheap).await? == 1, "pieces that are left");
    api.order_ends(&[(&cheap, 1)], "completed").await?;
    ensure!(api.on_hand_settled(&cheap).await? == 0, "pieces that are left");
    ensure!(api.product(&cheap).await?["in_stock"] == false, "the last one is sold");
    shop.wait_asleep().await
}
