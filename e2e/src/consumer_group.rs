//! A workload that knows nothing of Shops: its own Redis, its own Deployment, and a ConsumerGroup that scales it.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Secret, Service};
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::operator::Operator;
use crate::redis::RedisLink;
use crate::{wait, workload};

/// Name of the Redis, its Service and its Secret.
pub const REDIS: &str = "own-redis";

/// The image of Redis that the operator was told to use: it is in the cluster, so it is the stranger's as well.
pub async fn redis_image(cluster: &Cluster) -> Result<String> {
    let deployment = Operator::of(cluster).deployment().await?;
    let spec = deployment.spec.template.spec.context("no pod spec")?;
    let mut variables = spec.containers.into_iter().filter_map(|one| one.env).flatten();
    variables
        .find(|variable| variable.name == "IMAGE_REDIS")
        .and_then(|variable| variable.value)
        .context("the operator's Deployment names no IMAGE_REDIS")
}

fn pod_spec(image: &str, arguments: &[&str], mounted_secret: Option<&str>) -> Value {
    let mut command = vec!["/opt/redis-stack/bin/redis-server"];
    command.extend(arguments);
    let mut spec = json!({
        "automountServiceAccountToken": false,
        "terminationGracePeriodSeconds": 1,
        "securityContext": {"runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{
            "name": "main", "image": image, "command": command, "workingDir": "/tmp",
            "env": [{"name": "LD_LIBRARY_PATH", "value": "/opt/redis-stack/lib"}],
            "resources": {"requests": {"cpu": "5m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
            "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            "volumeMounts": [{"name": "scratch", "mountPath": "/tmp"}],
        }],
        "volumes": [{"name": "scratch", "emptyDir": {}}],
    });
    if let Some(secret) = mounted_secret {
        let volume = json!({"name": "configuration", "secret": {"secretName": secret, "items": [{"key": "redis.conf", "path": "redis.conf"}]}});
        let mount = json!({"name": "configuration", "mountPath": "/etc/redis", "readOnly": true});
        for (pointer, value) in [("/volumes", volume), ("/containers/0/volumeMounts", mount)] {
            if let Some(list) = spec.pointer_mut(pointer).and_then(Value::as_array_mut) {
                list.push(value);
            }
        }
    }
    spec
}

/// Runs a Redis of its own in the namespace, and waits until it is ready.
pub async fn run_redis(cluster: &Cluster, namespace: &str) -> Result<RedisLink> {
    let password = "a-password-of-a-test";
    let image = redis_image(cluster).await?;
    let secret: Secret = serde_json::from_value(json!({
        "metadata": {"name": REDIS},
        "stringData": {"username": "default", "password": password,
            "redis.conf": format!("requirepass {password}\nsave \"\"\ndir /tmp\n")},
    }))?;
    let service: Service = serde_json::from_value(json!({
        "metadata": {"name": REDIS},
        "spec": {"selector": {"app": REDIS}, "ports": [{"port": 6379, "targetPort": 6379}]},
    }))?;
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": REDIS, "labels": {"app": REDIS}},
        "spec": pod_spec(&image, &["/etc/redis/redis.conf"], Some(REDIS)),
    }))?;
    let post = PostParams::default();
    Api::namespaced(cluster.client.clone(), namespace)
        .create(&post, &secret)
        .await?;
    Api::namespaced(cluster.client.clone(), namespace)
        .create(&post, &service)
        .await?;
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), namespace);
    pods.create(&post, &pod).await?;
    let pods = &pods;
    wait::until("the stranger's Redis to run", wait::LONG, || async move {
        ensure!(workload::is_ready(&pods.get(REDIS).await?), "not ready");
        RedisLink::open(cluster, namespace, REDIS, REDIS).await
    })
    .await
}

/// Makes a Deployment of somebody else's: it idles, and carries no label of ours.
pub async fn run_worker(cluster: &Cluster, namespace: &str, name: &str, replicas: i32) -> Result<Deployment> {
    let image = redis_image(cluster).await?;
    let labels = json!({"app": name});
    let deployment: Deployment = serde_json::from_value(json!({
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod_spec(&image, &["--port", "0", "--save", ""], None)},
        },
    }))?;
    let deployments = Api::namespaced(cluster.client.clone(), namespace);
    Ok(deployments.create(&PostParams::default(), &deployment).await?)
}

/// A valid spec for a group `workers` on the stream `jobs` of that Redis, and a Deployment to scale.
pub fn spec(namespace: &str, deployment: &str) -> Value {
    json!({
        "redis": {"host": format!("{REDIS}.{namespace}.svc"), "secretRef": {"name": REDIS}},
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
