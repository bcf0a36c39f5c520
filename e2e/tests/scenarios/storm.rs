//! Everything that can be taken from a shop on Kubernetes is taken, one after the other, while it sells.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams};
use serde_json::json;
use shopwright_e2e::replicas::Recorder;
use shopwright_e2e::runner::Scenario;
use shopwright_e2e::shop::Shop;
use shopwright_e2e::{books, kubelet, wait, workload};
use shopwright_load::products::{NewProducts, Products};
use shopwright_load::report::Report;
use shopwright_load::{AdminKey, Load, ShopUrl, journal};
use shopwright_verify::Expected;
use tokio_util::sync::CancellationToken;

const SEED: u64 = 5;
const RATE: f64 = 10.0;
const MIX: &str = "browse=1,flash-sale=1,long-tail=4,cancels=1,refunds=1,twice=1";
/// The load goes on for so long at least, and until the storm is over.
const LEAST: Duration = Duration::from_secs(45);
/// Between two blows, so that each meets a shop at work.
const BREATH: Duration = Duration::from_secs(2);
const MOST_CONSUMERS: i32 = 3;
const CONSUMERS: [&str; 2] = ["inventory-consumer", "payments-consumer"];

/// Pods of every part are deleted and killed, the kubelet is killed, consumers are sent from zero to the maximum and back, all
/// under load. Then, of all orders that were accepted, none is lost, none doubled and none stuck.
pub(crate) async fn on_the_cluster(scenario: Scenario) -> Result<()> {
    let mut shop = Shop::ready(&scenario.cluster, &scenario.namespace, "demo", &changes()).await?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("journal");
    let over = CancellationToken::new();
    let api = shop.open().await?;
    let url: ShopUrl = api.address().parse()?;
    let key = AdminKey::new(api.admin_key());
    let new = NewProducts {
        count: 10,
        hot_stock: 20,
        stock: 10_000,
        currency: "EUR".parse()?,
    };
    let load = Load {
        admin_key: Some(key.clone()),
        mix: MIX.parse()?,
        rate: RATE,
        seed: SEED,
        duration: wait::LONG,
        journal: Some(path.clone()),
        // A server that is restarted is away for some seconds.
        attempts: 20,
        ..Load::new(url.clone(), Products::create(&url, &key, new).await?)
    };
    let storm = async {
        // However it ends, so does the load.
        let _over = over.clone().drop_guard();
        storm(&scenario, &mut shop).await
    };
    let (loaded, stormed) = tokio::join!(load.run(over.clone()), storm);
    stormed?;
    let loaded = loaded?;
    scenario.say(said(&loaded));

    shop.wait_ready().await?;
    shop.wait_asleep().await?;
    let expected = Expected::of_journal(&journal::read(&path)?, true);
    ensure!(
        expected.orders.len() > 100,
        "only {} orders were accepted",
        expected.orders.len()
    );
    let report = books::settled(&shop, &expected).await?;
    scenario.say(format!(
        "{} orders accepted, {} there: 0 lost, 0 doubled, 0 stuck\n{report}",
        expected.orders.len(),
        report.orders
    ));
    ensure!(loaded.violation_count() == 0, "shoppers were lied to:\n{loaded}");
    Ok(())
}

fn changes() -> serde_json::Value {
    let consumer = json!({
        "minReplicas": 0, "maxReplicas": MOST_CONSUMERS, "target": {"backlogPerReplica": 1}, "cooldownSeconds": 2,
    });
    json!({
        "payments": {"provider": {"simulated": {"latencyMilliseconds": 300}}},
        "consumers": {"inventory": consumer, "payments": consumer},
    })
}

fn said(report: &Report) -> String {
    format!(
        "{} arrivals in {:.0} s, {} orders accepted, {} violations seen by shoppers",
        report.starts.started,
        report.loaded.as_secs_f64(),
        report.orders.accepted,
        report.violation_count()
    )
}

async fn storm(scenario: &Scenario, shop: &mut Shop) -> Result<()> {
    let started = Instant::now();
    let payments = Recorder::start(&shop.cluster, &shop.namespace, &shop.child("payments-consumer")).await;
    tokio::time::sleep(BREATH).await;
    for part in ["payments", "inventory", "storefront"] {
        strike(scenario, shop, part, false).await?;
    }
    for part in CONSUMERS {
        strike(scenario, shop, part, true).await?;
    }
    strike(scenario, shop, "redis", true).await?;
    let killed = kubelet::restart(&shop.cluster).await?;
    scenario.say(if killed {
        "the kubelet was killed"
    } else {
        "left out: the kubelet is not ours"
    });
    shop.wait_ready().await?;
    for part in ["payments", "inventory"] {
        strike(scenario, shop, part, true).await?;
    }
    // By the backlog from zero to the maximum, then by whoever owns the Shop to the maximum and back.
    let most = tokio::time::timeout(wait::LONG, payments.first_since(started, |now| now == MOST_CONSUMERS));
    most.await
        .with_context(|| format!("the backlog never asked for all: {:?}", payments.seen()))?;
    scale(shop, MOST_CONSUMERS).await?;
    for part in CONSUMERS {
        shop.wait_replicas(part, MOST_CONSUMERS, wait::LONG).await?;
    }
    scenario.say("all consumers are called");
    tokio::time::sleep(BREATH).await;
    scale(shop, 0).await?;
    for part in CONSUMERS {
        strike(scenario, shop, part, false).await?;
    }
    tokio::time::sleep(LEAST.saturating_sub(started.elapsed())).await;
    scenario.say(format!(
        "the storm is over; payments' consumers were {:?}",
        payments.seen()
    ));
    Ok(())
}

async fn scale(shop: &mut Shop, least: i32) -> Result<()> {
    let consumer = json!({"minReplicas": least});
    shop.change(&json!({"consumers": {"inventory": consumer, "payments": consumer}}))
        .await
}

/// Deletes every pod of a part, asked to end or killed at once, and waits until one that is wanted is ready again.
async fn strike(scenario: &Scenario, shop: &Shop, part: &str, at_once: bool) -> Result<()> {
    let struck = pods_of(shop, part).await?;
    let pods: Api<Pod> = Api::namespaced(shop.cluster.client.clone(), &shop.namespace);
    let (how, word) = if at_once {
        (DeleteParams::default().grace_period(0), "at once")
    } else {
        (DeleteParams::default(), "in good order")
    };
    for pod in &struck {
        // It may have gone by itself.
        let _ = pods.delete(&pod.name_any(), &how).await;
    }
    scenario.say(format!("{part}: {} pods deleted {word}", struck.len()));
    if !CONSUMERS.contains(&part) {
        let uids: Vec<_> = struck.iter().filter_map(ResourceExt::uid).collect();
        let uids = &uids;
        wait::until(&format!("another pod of {part}"), wait::LONG, || async move {
            let found = pods_of(shop, part).await?;
            let mut ready = found.iter().filter(|pod| workload::is_ready(pod));
            let is_new = |pod: &Pod| pod.uid().is_some_and(|uid| !uids.contains(&uid));
            ensure!(ready.any(is_new), "none is ready");
            Ok(())
        })
        .await?;
    }
    tokio::time::sleep(BREATH).await;
    Ok(())
}

/// Pods of a part; those of `payments-consumer` are none of `payments`.
async fn pods_of(shop: &Shop, part: &str) -> Result<Vec<Pod>> {
    let prefix = format!("{}-", shop.child(part));
    let mut found = workload::pods(&shop.cluster, &shop.namespace, &prefix).await?;
    let consumer = format!("{}-consumer-", shop.child(part));
    found.retain(|pod| !pod.name_any().starts_with(&consumer));
    Ok(found)
}
