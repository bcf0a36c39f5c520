//! A workload of known service time: a Redis of its own, an ordinary consumer in another language, and a ConsumerGroup that
//! scales it. Each message takes as long as it is told to; executions are counted by entry id, so that none can be lost or
//! done twice unseen.

use std::collections::HashMap;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, PostParams};
use redis::streams::{StreamInfoGroupsReply, StreamInfoStreamReply};
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::own_redis::{self, OwnRedis};
use crate::process::{self, Deed};
use crate::redis::RedisLink;
use crate::replicas::Recorder;
use crate::{consumer_group, object, wait, workload};

/// The example worker's process, as the kernel names it.
const PROCESS: &str = "example-worker";

/// So long that waiting for it fails a scenario: what is done sooner was handed over.
pub const CLAIM_MIN_IDLE_SECONDS: u32 = 600;

/// A Deployment of the example worker, and what its ConsumerGroup is called.
#[derive(Debug, Clone, Copy)]
pub struct Worker {
    /// Name of the Deployment and of its ConsumerGroup.
    pub name: &'static str,
    /// The stream; its group is `workers`.
    pub stream: &'static str,
    /// How long one message takes.
    pub milliseconds: u32,
    /// Messages at a time.
    pub concurrency: u32,
    /// How long it works on after SIGTERM before it hands on what it holds.
    pub drain_seconds: u32,
    /// Whether each execution is counted in Redis, by one write more.
    pub counted: bool,
}

impl Worker {
    /// One message at a time from the stream `jobs`.
    pub const fn of(milliseconds: u32) -> Self {
        Self {
            name: "worker",
            stream: "jobs",
            milliseconds,
            concurrency: 1,
            drain_seconds: 20,
            counted: true,
        }
    }

    /// The hash that counts executions by entry id.
    pub fn effects(&self) -> String {
        format!("{}-effects", self.stream)
    }
}

/// Everything of one namespace.
pub struct Rig {
    /// The cluster.
    pub cluster: Cluster,
    /// The namespace.
    pub namespace: String,
    /// The Redis.
    pub redis: OwnRedis,
    image: String,
}

impl Rig {
    /// Runs the Redis. Without the worker's image there is none: that is said, and the caller is done.
    pub async fn start(cluster: &Cluster, namespace: &str) -> Result<Option<Self>> {
        let Some(image) = cluster.environment.worker_image.clone() else {
            println!("{namespace}: left out, because SHOPWRIGHT_WORKER_IMAGE names no image of the example worker");
            return Ok(None);
        };
        Ok(Some(Self {
            cluster: cluster.clone(),
            namespace: namespace.to_owned(),
            redis: OwnRedis::start(cluster, namespace, "own-redis").await?,
            image,
        }))
    }

    /// Makes the Deployment, asleep, and the ConsumerGroup with `changes` over a quick spec; waits until it is Ready.
    pub async fn work(&self, worker: &Worker, changes: &Value) -> Result<Recorder> {
        self.deploy(worker).await?;
        self.group(worker, changes).await?;
        consumer_group::wait_condition(&self.cluster, &self.namespace, worker.name, "Ready", "True").await?;
        Ok(Recorder::start(&self.cluster, &self.namespace, worker.name).await)
    }

    /// Applies the ConsumerGroup of `worker` with `changes` over a quick spec.
    pub async fn group(&self, worker: &Worker, changes: &Value) -> Result<()> {
        let mut spec = consumer_group::spec(&self.redis.host(), worker.name);
        let known = json!({
            "streams": [{"key": worker.stream}], "consumerNames": "PodName",
            "pending": {"claimMinIdleSeconds": CLAIM_MIN_IDLE_SECONDS},
        });
        object::merge(&mut spec, &known);
        object::merge(&mut spec, changes);
        consumer_group::apply(&self.cluster, &self.namespace, worker.name, &spec, false)
            .await
            .with_context(|| format!("apply ConsumerGroup {}", worker.name))?;
        Ok(())
    }

    /// Makes the Deployment of `worker` with no replicas and no label of ours.
    pub async fn deploy(&self, worker: &Worker) -> Result<()> {
        let labels = json!({"app": worker.name});
        let deployment: Deployment = serde_json::from_value(json!({
            "metadata": {"name": worker.name, "labels": labels},
            "spec": {
                "replicas": 0, "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": self.pod_spec(worker)},
            },
        }))?;
        let deployments = Api::namespaced(self.cluster.client.clone(), &self.namespace);
        deployments.create(&PostParams::default(), &deployment).await?;
        Ok(())
    }

    fn pod_spec(&self, worker: &Worker) -> Value {
        let text = |name: &str, value: String| json!({"name": name, "value": value});
        let secret = |name: &str, key: &str| json!({"name": name, "valueFrom": {"secretKeyRef": {"name": own_redis::EVERYTHING, "key": key}}});
        json!({
            "automountServiceAccountToken": false,
            // A stalled disk may hold up the last words. Killed before them, it would leave work to be done twice.
            "terminationGracePeriodSeconds": worker.drain_seconds + 60,
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "worker", "image": self.image,
                "env": [
                    text("REDIS_HOST", self.redis.host()),
                    secret("REDIS_USERNAME", "username"),
                    secret("REDIS_PASSWORD", "password"),
                    text("STREAM", worker.stream.to_owned()),
                    text("GROUP", "workers".to_owned()),
                    json!({"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}),
                    text("WORK_MILLISECONDS", worker.milliseconds.to_string()),
                    text("CONCURRENCY", worker.concurrency.to_string()),
                    text("CLAIM_MIN_IDLE_SECONDS", CLAIM_MIN_IDLE_SECONDS.to_string()),
                    text("DRAIN_SECONDS", worker.drain_seconds.to_string()),
                    text("EFFECTS_KEY", if worker.counted { worker.effects() } else { String::new() }),
                ],
                "resources": {"requests": {"cpu": "5m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
                "securityContext": {
                    "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
                },
            }],
        })
    }

    /// Pods of `worker` that are not gone yet.
    pub async fn pods(&self, worker: &Worker) -> Result<Vec<Pod>> {
        workload::pods(&self.cluster, &self.namespace, &format!("{}-", worker.name)).await
    }

    /// Waits until exactly so many pods of `worker` are ready and no other is left.
    pub async fn wait_pods(&self, worker: &Worker, wanted: usize) -> Result<Vec<Pod>> {
        wait::until(
            &format!("{wanted} pods of {}", worker.name),
            wait::LONG,
            || async move {
                let pods = self.pods(worker).await?;
                let ready = pods.iter().filter(|pod| workload::is_ready(pod)).count();
                ensure!(
                    ready == wanted && pods.len() == wanted,
                    "{ready} of {} are ready",
                    pods.len()
                );
                Ok(pods)
            },
        )
        .await
    }

    /// Kills the worker's process in this pod and then deletes the pod: it gets no chance to hand anything on. On a cluster
    /// elsewhere the pod is only deleted, with no time to end in good order.
    pub async fn kill(&self, pod: &Pod) -> Result<()> {
        let name = pod.metadata.name.as_deref().context("a pod without name")?;
        if let Err(error) = process::signal(pod, PROCESS, Deed::Kill) {
            println!("{name} is deleted, not killed: {error:#}");
        }
        let pods: Api<Pod> = Api::namespaced(self.cluster.client.clone(), &self.namespace);
        pods.delete(name, &DeleteParams::default().grace_period(0)).await?;
        Ok(())
    }

    /// How often containers of `worker` were restarted in place.
    pub async fn restarts(&self, worker: &Worker) -> Result<i32> {
        let pods = self.pods(worker).await?;
        let states = pods.into_iter().filter_map(|pod| pod.status?.container_statuses);
        Ok(states.flatten().map(|container| container.restart_count).sum())
    }
}

/// Adds `count` entries in one script, so that they are there at the same moment; the id of the last. With a cap, each XADD
/// carries `MAXLEN cap`.
pub async fn dump(link: &RedisLink, stream: &str, count: u32, cap: Option<u32>) -> Result<String> {
    const SCRIPT: &str = "local id
for number = 1, tonumber(ARGV[1]) do
  if ARGV[2] == '' then id = redis.call('XADD', KEYS[1], '*', 'number', number)
  else id = redis.call('XADD', KEYS[1], 'MAXLEN', ARGV[2], '*', 'number', number) end
end
return id";
    Ok(redis::cmd("EVAL")
        .arg(SCRIPT)
        .arg(1)
        .arg(stream)
        .arg(count)
        .arg(cap.map(|cap| cap.to_string()).unwrap_or_default())
        .query_async(&mut link.connection())
        .await?)
}

/// Fails until the group `workers` has read the stream to its end and nothing is pending.
pub async fn drained(link: &RedisLink, stream: &str) -> Result<()> {
    let mut pipeline = redis::pipe();
    pipeline.cmd("XINFO").arg("STREAM").arg(stream);
    pipeline.cmd("XINFO").arg("GROUPS").arg(stream);
    let (info, groups): (StreamInfoStreamReply, StreamInfoGroupsReply) =
        pipeline.query_async(&mut link.connection()).await?;
    let group = groups.groups.into_iter().find(|group| group.name == "workers");
    let group = group.context("there is no group workers")?;
    ensure!(
        group.last_delivered_id == info.last_generated_id,
        "read to {} of {}",
        group.last_delivered_id,
        info.last_generated_id
    );
    ensure!(group.pending == 0, "{} pending", group.pending);
    Ok(())
}

/// How often each entry was worked on to its end, by id.
pub async fn effects(link: &RedisLink, worker: &Worker) -> Result<HashMap<String, u32>> {
    Ok(redis::cmd("HGETALL")
        .arg(worker.effects())
        .query_async(&mut link.connection())
        .await?)
}

/// Demands that each of `added` entries had its effect, and had it once.
pub async fn demand_each_once(link: &RedisLink, worker: &Worker, added: usize) -> Result<()> {
    let effects = effects(link, worker).await?;
    let doubled = effects.values().filter(|times| **times > 1).count();
    ensure!(
        effects.len() == added && doubled == 0,
        "of {added} entries {} had their effect, {doubled} of these more than once",
        effects.len()
    );
    Ok(())
}
