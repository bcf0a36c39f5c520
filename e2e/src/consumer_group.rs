//! `ConsumerGroup`s that no Shop made: their documents, and what their status says.

use anyhow::{Context as _, Result, ensure};
use kube::api::{DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::{object, own_redis, wait};

/// A valid spec for a group `workers` on the stream `jobs` of the Redis at `host`, and a Deployment to scale.
pub fn spec(host: &str, deployment: &str) -> Value {
    json!({
        "redis": {"host": host, "secretRef": {"name": own_redis::SCALER}},
        "streams": [{"key": "jobs"}],
        "group": "workers",
        "scaleTargetRef": {"name": deployment},
        "maxReplicas": 3,
        "target": {"backlogPerReplica": 10},
        "cooldownSeconds": 5,
    })
}

/// Applies a ConsumerGroup, or only asks whether it would be taken (`dry_run`).
pub async fn apply(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
    spec: &Value,
    dry_run: bool,
) -> kube::Result<DynamicObject> {
    let document = json!({
        "apiVersion": "shopwright.dev/v1alpha1", "kind": "ConsumerGroup",
        "metadata": {"name": name, "namespace": namespace}, "spec": spec,
    });
    let parameters = PatchParams {
        dry_run,
        ..PatchParams::apply("e2e").force()
    };
    cluster
        .consumer_groups(namespace)
        .patch(name, &parameters, &Patch::Apply(&document))
        .await
}

/// Waits until the ConsumerGroup has this condition at its present generation.
pub async fn wait_condition(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
    type_: &str,
    status: &str,
) -> Result<object::Condition> {
    let groups = cluster.consumer_groups(namespace);
    let groups = &groups;
    wait::until(
        &format!("{type_}={status} of ConsumerGroup {name}"),
        wait::LONG,
        || async move { object::demand(&groups.get(name).await?, type_, status) },
    )
    .await
}

/// Waits until numbers of its status, each named by a JSON pointer below `/status`, are these. A status that was written a few
/// times already waits for the next minute.
pub async fn wait_numbers(cluster: &Cluster, namespace: &str, name: &str, wanted: &[(&str, i64)]) -> Result<()> {
    let groups = cluster.consumer_groups(namespace);
    let groups = &groups;
    wait::until(
        &format!("the status of ConsumerGroup {name}"),
        wait::LONG,
        || async move {
            let found = groups.get(name).await?;
            let status = found.data.get("status").context("no status")?;
            for (pointer, number) in wanted {
                let now = object::number(status, pointer)?;
                ensure!(now == *number, "{pointer} is {now}, not {number}: {status}");
            }
            Ok(())
        },
    )
    .await
}
