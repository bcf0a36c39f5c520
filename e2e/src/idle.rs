//! Deployments of somebody else's that only exist: what a scaler may touch, and what it must leave alone.

use anyhow::Result;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, PostParams};
use serde_json::json;

use crate::cluster::Cluster;
use crate::own_redis;

/// Makes a Deployment whose pods idle, and which carries no label of ours.
pub async fn deploy(cluster: &Cluster, namespace: &str, name: &str, replicas: i32) -> Result<Deployment> {
    let image = own_redis::image(cluster).await?;
    make(cluster, namespace, name, replicas, &image, false).await
}

/// Makes a Deployment that never has pods, however many it is asked for: it is paused before its first roll-out.
pub async fn deploy_without_pods(cluster: &Cluster, namespace: &str, name: &str) -> Result<Deployment> {
    make(cluster, namespace, name, 0, "shopwright.invalid/never-pulled:0", true).await
}

async fn make(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
    replicas: i32,
    image: &str,
    paused: bool,
) -> Result<Deployment> {
    let labels = json!({"app": name});
    let deployment: Deployment = serde_json::from_value(json!({
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": replicas, "paused": paused, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {
                "automountServiceAccountToken": false,
                "terminationGracePeriodSeconds": 1,
                "securityContext": {"runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
                "containers": [{
                    "name": "idle", "image": image,
                    "command": ["/opt/redis-stack/bin/redis-server", "--port", "0", "--save", ""],
                    "env": [{"name": "LD_LIBRARY_PATH", "value": "/opt/redis-stack/lib"}],
                    "resources": {"requests": {"cpu": "5m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
                    "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
                }],
            }},
        },
    }))?;
    let deployments = Api::namespaced(cluster.client.clone(), namespace);
    Ok(deployments.create(&PostParams::default(), &deployment).await?)
}
