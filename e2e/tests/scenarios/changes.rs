//! What a change of the document does, and what it leaves alone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use shopwright_e2e::replicas::Recorder;
use shopwright_e2e::runner::Scenario;
use shopwright_e2e::shop::Shop;
use shopwright_e2e::{object, wait, workload};

/// A change rolls the pods that it concerns, and no others.
pub(crate) async fn only_what_it_concerns(scenario: Scenario) -> Result<()> {
    let mut shop = Shop::ready(&scenario.cluster, &scenario.namespace, "demo", &json!({})).await?;
    let steps: [(&str, Value, &[&str]); 4] = [
        (
            "a consumer's maximum",
            json!({"consumers": {"payments": {"maxReplicas": 4}}}),
            &[],
        ),
        (
            "the fee",
            json!({"payments": {"feePercent": 10}}),
            &["Deployment/demo-payments", "Deployment/demo-payments-consumer"],
        ),
        (
            "inventory's environment",
            json!({"inventory": {"env": [{"name": "LOG", "value": "debug"}]}}),
            &["Deployment/demo-inventory", "Deployment/demo-inventory-consumer"],
        ),
        ("the policy for data", json!({"deletionPolicy": "Retain"}), &[]),
    ];
    for (what, change, concerned) in steps {
        let (templates, pods) = seen(&scenario).await?;
        shop.change(&change).await?;
        shop.wait_ready().await?;
        let (templates_after, pods_after) = seen(&scenario).await?;
        let changed = differing(&templates, &templates_after);
        let concerned: BTreeSet<&str> = concerned.iter().copied().collect();
        ensure!(
            changed == concerned,
            "{what} changed the pods of {changed:?} instead of {concerned:?}"
        );
        // The very same pods go on in every other workload.
        for (pod, uid) in &pods {
            let rolled = concerned.iter().any(|workload| belongs(pod, workload));
            ensure!(
                rolled || pods_after.get(pod) == Some(uid),
                "{what} cost the pod {pod} its life"
            );
        }
        scenario.say(format!("{what}: rolled {changed:?}"));
    }
    shop.change(&json!({"deletionPolicy": "Delete"})).await?;
    let group = scenario
        .cluster
        .consumer_groups(&scenario.namespace)
        .get("demo-payments-consumer")
        .await?;
    ensure!(
        object::number(&group.data, "/spec/maxReplicas")? == 4,
        "{}",
        group.data["spec"]
    );
    let api = shop.open().await?;
    let product = api.create_product("Rug", 1005, 1).await?;
    let order = api.order_ends(&[(&product, 1)], "completed").await?;
    ensure!(
        object::number(&order, "/fee/amount")? == 101,
        "10 % of 1005, half up: {order}"
    );
    Ok(())
}

async fn seen(scenario: &Scenario) -> Result<(BTreeMap<String, String>, BTreeMap<String, String>)> {
    let templates = workload::templates(&scenario.cluster, &scenario.namespace).await?;
    let pods = workload::pod_uids(&scenario.cluster, &scenario.namespace).await?;
    Ok((templates, pods))
}

fn differing<'a>(before: &BTreeMap<String, String>, after: &'a BTreeMap<String, String>) -> BTreeSet<&'a str> {
    after
        .iter()
        .filter(|(name, template)| before.get(*name) != Some(*template))
        .map(|(name, _)| name.as_str())
        .collect()
}

// `demo-payments-5d9-x` belongs to Deployment/demo-payments; consumers have names of their own that begin alike.
fn belongs(pod: &str, workload: &str) -> bool {
    let name = workload.rsplit('/').next().unwrap_or_default();
    pod.strip_prefix(name)
        .is_some_and(|rest| rest.starts_with('-') && !rest.starts_with("-consumer"))
        || (name.ends_with("-consumer") && pod.starts_with(name))
}

/// Documents applied again and again, while a backlog holds a consumer at its maximum, change no replicas.
pub(crate) async fn ten_reapplies(scenario: Scenario) -> Result<()> {
    let mut shop = Shop::ready(&scenario.cluster, &scenario.namespace, "demo", &stuck_later()).await?;
    let orders = stick(&mut shop, 3).await?;
    let inventory = Recorder::start(&scenario.cluster, &scenario.namespace, "demo-inventory-consumer").await;
    let payments = Recorder::start(&scenario.cluster, &scenario.namespace, "demo-payments-consumer").await;
    for round in 0..10 {
        // Every round changes the consumer's Deployment, so that the operator has to write it.
        shop.change(&json!({"inventory": {"env": [{"name": "ROUND", "value": format!("{round}")}]}}))
            .await?;
        wait::until("the operator to have seen the change", wait::SHORT, || async {
            let found = shop.get().await?;
            let observed = object::number(&found.data, "/status/observedGeneration")?;
            ensure!(Some(observed) == found.metadata.generation, "it has seen {observed}");
            Ok(())
        })
        .await?;
        shop.write().await?;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    ensure!(inventory.seen() == [3], "replicas were touched: {:?}", inventory.seen());
    ensure!(
        payments.seen() == [0],
        "replicas at zero were touched: {:?}",
        payments.seen()
    );
    scenario.say("ten changes and ten repeats: 3 stayed 3, 0 stayed 0");
    unstick(&mut shop, &orders).await
}

/// A Shop for [`stick`].
pub(crate) fn stuck_later() -> Value {
    json!({"consumers": {"inventory": {"maxReplicas": 3, "target": {"backlogPerReplica": 5}}}})
}

/// Makes a backlog that stands still: inventory's new pods have an image that does not exist, so that its consumers never run,
/// while its old pod goes on serving and payments takes orders.
pub(crate) async fn stick(shop: &mut Shop, peak: i32) -> Result<Vec<String>> {
    let api = shop.open().await?;
    let product = api.create_product("Desk", 300, 100).await?;
    shop.change(&json!({"inventory": {"image": "shopwright.invalid/no-such-image:0"}}))
        .await?;
    shop.wait_condition("Ready", "False", wait::LONG).await?;
    let orders = api.place_many(&product, 30).await?;
    shop.wait_replicas("inventory-consumer", peak, wait::SHORT).await?;
    Ok(orders)
}

/// Gives inventory its image back: every accepted order ends, and the consumers go to rest.
pub(crate) async fn unstick(shop: &mut Shop, orders: &[String]) -> Result<()> {
    shop.change(&json!({"inventory": {"image": null}})).await?;
    let api = shop.open().await?;
    for order in orders {
        let order = api
            .ended(order, wait::LONG)
            .await
            .context("an order of the standing backlog")?;
        ensure!(order["state"] == "completed", "{order}");
    }
    shop.wait_asleep().await?;
    shop.wait_ready().await?;
    Ok(())
}
