//! Documents that make no sense are refused by the API server, with a message that names the field.

use anyhow::{Context as _, Result, bail, ensure};
use kube::api::{DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};
use shopwright_e2e::runner::Scenario;
use shopwright_e2e::{consumer_group, object};

/// Name, spec, and what the message has to name.
const INVALID_SHOPS: [(&str, &str, &str); 22] = [
    ("Demo", "{}", "metadata.name"),
    ("1demo", "{}", "metadata.name"),
    ("demo-", "{}", "metadata.name"),
    ("de.mo", "{}", "metadata.name"),
    (
        "a-name-of-more-than-forty-characters-is-too-long",
        "{}",
        "metadata.name",
    ),
    ("demo", r#"{"currency": "euro"}"#, "spec.currency"),
    (
        "demo",
        r#"{"payments": {"feePercent": 101}}"#,
        "spec.payments.feePercent",
    ),
    (
        "demo",
        r#"{"payments": {"feePercent": -1}}"#,
        "spec.payments.feePercent",
    ),
    ("demo", r#"{"payments": {"replicas": 0}}"#, "payments.replicas"),
    (
        "demo",
        r#"{"payments": {"provider": {"simulated": {"latencyMilliseconds": -5}}}}"#,
        "latencyMilliseconds",
    ),
    ("demo", r#"{"inventory": {"replicas": -1}}"#, "spec.inventory.replicas"),
    (
        "demo",
        r#"{"inventory": {"env": [{"name": "NO NAME"}]}}"#,
        "spec.inventory.env",
    ),
    (
        "demo",
        r#"{"consumers": {"inventory": {"minReplicas": 5, "maxReplicas": 2}}}"#,
        "minReplicas",
    ),
    (
        "demo",
        r#"{"consumers": {"payments": {"target": {"backlogPerReplica": 0}}}}"#,
        "backlogPerReplica",
    ),
    (
        "demo",
        r#"{"consumers": {"payments": {"cooldownSeconds": -1}}}"#,
        "cooldownSeconds",
    ),
    (
        "demo",
        r#"{"verification": {"intervalSeconds": 59}}"#,
        "spec.verification.intervalSeconds",
    ),
    (
        "demo",
        r#"{"verification": {"intervalSeconds": 86401}}"#,
        "spec.verification.intervalSeconds",
    ),
    ("demo", r#"{"redis": {}}"#, "redis.managed"),
    (
        "demo",
        r#"{"redis": {"managed": {"durability": "Sometimes"}}}"#,
        "durability",
    ),
    (
        "demo",
        r#"{"redis": {"managed": {"storage": {"size": "much"}}}}"#,
        "spec.redis.managed.storage.size",
    ),
    ("demo", r#"{"deletionPolicy": "Shred"}"#, "spec.deletionPolicy"),
    ("demo", r#"{"colour": "red"}"#, "spec.colour"),
];

/// What a Shop that is there may not become.
const FORBIDDEN_SHOP_CHANGES: [(&str, &str); 2] = [
    (r#"{"currency": "USD"}"#, "spec.currency"),
    (
        r#"{"redis": {"managed": {"storage": {"size": "1Mi"}}}}"#,
        "storage.size",
    ),
];

/// Laid over a good spec.
const INVALID_GROUPS: [(&str, &str); 7] = [
    (r#"{"streams": []}"#, "spec.streams"),
    (
        r#"{"streams": [{"key":"1"},{"key":"2"},{"key":"3"},{"key":"4"},{"key":"5"},{"key":"6"},{"key":"7"},{"key":"8"},{"key":"9"}]}"#,
        "spec.streams",
    ),
    (r#"{"scaleTargetRef": {"kind": "StatefulSet"}}"#, "scaleTargetRef"),
    (r#"{"minReplicas": 4}"#, "minReplicas"),
    (r#"{"startFrom": "yesterday"}"#, "spec.startFrom"),
    (r#"{"redis": {"port": 0}}"#, "spec.redis.port"),
    (r#"{"group": null}"#, "spec.group"),
];

/// What a group that is there may not become.
const FORBIDDEN_GROUP_CHANGES: [(&str, &str); 2] = [
    (r#"{"group": "others"}"#, "spec.group"),
    (r#"{"startFrom": "$"}"#, "spec.startFrom"),
];

/// Each invalid document by itself, at creation; then the changes that are not allowed.
pub(crate) async fn refused(scenario: Scenario) -> Result<()> {
    for (name, spec, field) in INVALID_SHOPS {
        let answer = apply_shop(&scenario, name, &parse(spec)?, true).await;
        names_field(answer, field).with_context(|| format!("a Shop {name} with {spec}"))?;
    }
    // The same door lets a good one in, or none of the above would mean anything. It is kept from starting much.
    let small = json!({"inventory": {"replicas": 0}, "storefront": {"enabled": false}, "deletionPolicy": "Delete"});
    apply_shop(&scenario, "demo", &small, false)
        .await
        .context("a good Shop")?;
    for (change, field) in FORBIDDEN_SHOP_CHANGES {
        let answer = apply_shop(&scenario, "demo", &changed(&small, change)?, true).await;
        names_field(answer, field).with_context(|| format!("change a Shop by {change}"))?;
    }

    let good = consumer_group::spec("own-redis.somewhere.svc", "worker");
    for (change, field) in INVALID_GROUPS {
        let answer = apply_group(&scenario, &changed(&good, change)?, true).await;
        names_field(answer, field).with_context(|| format!("a ConsumerGroup with {change}"))?;
    }
    apply_group(&scenario, &good, false)
        .await
        .context("a good ConsumerGroup")?;
    for (change, field) in FORBIDDEN_GROUP_CHANGES {
        let answer = apply_group(&scenario, &changed(&good, change)?, true).await;
        names_field(answer, field).with_context(|| format!("change a ConsumerGroup by {change}"))?;
    }
    Ok(())
}

fn parse(text: &str) -> Result<Value> {
    serde_json::from_str(text).with_context(|| format!("no JSON: {text}"))
}

fn changed(good: &Value, change: &str) -> Result<Value> {
    let mut spec = good.clone();
    object::merge(&mut spec, &parse(change)?);
    Ok(spec)
}

async fn apply_shop(scenario: &Scenario, name: &str, spec: &Value, dry_run: bool) -> kube::Result<DynamicObject> {
    let document =
        json!({"apiVersion": "shopwright.dev/v1alpha1", "kind": "Shop", "metadata": {"name": name}, "spec": spec});
    let parameters = PatchParams {
        dry_run,
        ..PatchParams::apply("e2e").force()
    }
    .validation_strict();
    let shops = scenario.cluster.shops(&scenario.namespace);
    shops.patch(name, &parameters, &Patch::Apply(&document)).await
}

async fn apply_group(scenario: &Scenario, spec: &Value, dry_run: bool) -> kube::Result<DynamicObject> {
    consumer_group::apply(&scenario.cluster, &scenario.namespace, "workers", spec, dry_run).await
}

fn names_field(answer: kube::Result<DynamicObject>, field: &str) -> Result<()> {
    match answer {
        Ok(_) => bail!("was taken"),
        Err(kube::Error::Api(status)) => {
            // No look at the code: the API server itself answers 500 to an unknown field in an apply.
            ensure!(
                status.message.contains(field),
                "the message names no {field}: {}",
                status.message
            );
            Ok(())
        }
        Err(other) => Err(other).context("no answer of the API server"),
    }
}
