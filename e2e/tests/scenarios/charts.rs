//! The charts' life cycle, on the one release that the cluster has: two operators would fight over the same Shops.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use shopwright_e2e::operator::Operator;
use shopwright_e2e::runner::Scenario;
use shopwright_e2e::shop::Shop;
use shopwright_e2e::{wait, workload};

use crate::grants::demand_none_refused;

/// Upgrade, uninstall, install again: no pod of a shop notices, resources and definitions stay.
pub(crate) async fn life_cycle(scenario: Scenario) -> Result<()> {
    let cluster = &scenario.cluster;
    let operator = Operator::of(cluster);
    let before = operator.pods().await?;
    let shop = Shop::ready(cluster, &scenario.namespace, "demo", &json!({})).await?;
    let pods = workload::pod_uids(cluster, &scenario.namespace).await?;
    let unharmed = || async {
        let now = workload::pod_uids(cluster, &scenario.namespace).await?;
        ensure!(now == pods, "pods before {pods:?} and after {now:?}");
        anyhow::Ok(())
    };

    let release = Release::of(&scenario).await?;
    release
        .helm("upgrade", &["--set", "podAnnotations.upgraded-by=e2e"])
        .await?;
    let replicas = operator.replicas().await?;
    operator.wait_ready(replicas).await?;
    ensure!(
        before.len() == operator.pods().await?.len(),
        "an upgrade keeps the number of pods"
    );
    shop.wait_ready().await?;
    unharmed().await.context("helm upgrade")?;
    scenario.say("upgraded");

    // Looked at now, for what came before: the release's grants may go before its pods.
    demand_none_refused(&scenario).await?;
    let system = &cluster.environment.operator_namespace;
    cluster
        .helm(&["uninstall", &release.name, "-n", system, "--wait"])
        .await?;
    wait::until("the operator to go", wait::LONG, || async {
        let left = operator.pods().await?.len();
        ensure!(left == 0, "{left} pods left");
        Ok(())
    })
    .await?;
    let definitions = cluster.kubectl(&["get", "crd", "-o", "name"]).await?;
    for kind in ["shops.shopwright.dev", "consumergroups.shopwright.dev"] {
        ensure!(
            definitions.contains(kind),
            "{kind} went with the operator: {definitions}"
        );
    }
    shop.get().await.context("the Shop stays")?;
    unharmed().await.context("helm uninstall")?;
    let api = shop.open().await?;
    let product = api.create_product("Bench", 100, 5).await?;
    // Taken by a shop without an operator, ended once there is one again.
    let order = api.place(&[(&product, 1)]).await?;
    scenario.say("uninstalled; the shop goes on taking orders");

    release.helm("install", &[]).await?;
    operator.wait_ready(operator.replicas().await?).await?;
    let order = api.ended(&order, wait::LONG).await?;
    ensure!(order["state"] == "completed", "{order}");
    shop.wait_asleep().await?;
    shop.wait_ready().await?;
    scenario.say("installed again; the order that waited completed");
    Ok(())
}

/// The release that is installed, and the values that it was installed with.
struct Release<'a> {
    scenario: &'a Scenario,
    name: String,
    values: tempfile::NamedTempFile,
}

impl<'a> Release<'a> {
    async fn of(scenario: &'a Scenario) -> Result<Self> {
        let name = Operator::of(&scenario.cluster).release().await?;
        let system = &scenario.cluster.environment.operator_namespace;
        let given = scenario
            .cluster
            .helm(&["get", "values", &name, "-n", system, "-o", "yaml"])
            .await?;
        let values = tempfile::NamedTempFile::new()?;
        std::fs::write(values.path(), given)?;
        Ok(Self { scenario, name, values })
    }

    async fn helm(&self, verb: &str, further: &[&str]) -> Result<String> {
        let environment = &self.scenario.cluster.environment;
        let chart = environment.charts.join("shop-operator");
        let (chart, values) = (chart.to_string_lossy(), self.values.path().to_string_lossy());
        let system = &environment.operator_namespace;
        let mut arguments = vec![
            verb,
            &self.name,
            &chart,
            "-n",
            system,
            "-f",
            &values,
            "--wait",
            "--timeout",
            "4m",
        ];
        arguments.extend(further);
        self.scenario.cluster.helm(&arguments).await
    }
}
