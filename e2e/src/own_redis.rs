//! A Redis that belongs to no Shop: one Deployment on a volume of its own, every write on disk before it is answered. It can go
//! and come back with its data, and knows three users.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Secret, Service};
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::cluster::Cluster;
use crate::operator::Operator;
use crate::redis::RedisLink;
use crate::{wait, workload};

/// Its process, as the kernel names it.
pub const PROCESS: &str = "redis-server";

/// The Secret of the user that may everything: what the tests and the workers sign in as.
pub const EVERYTHING: &str = "own-redis";

/// The Secret of the user that a ConsumerGroup signs in as: only keys that begin with `jobs`, and nothing dangerous.
pub const SCALER: &str = "own-redis-scaler";

const PASSWORD: &str = "a-password-of-a-test";
const SCALER_PASSWORD: &str = "another-password-of-a-test";
const PORT: i32 = 6379;

/// The image of Redis that the operator was told to use: it is in the cluster, so it is the stranger's as well.
pub async fn image(cluster: &Cluster) -> Result<String> {
    let deployment = Operator::of(cluster).deployment().await?;
    let spec = deployment.spec.template.spec.context("no pod spec")?;
    let mut variables = spec.containers.into_iter().filter_map(|one| one.env).flatten();
    variables
        .find(|variable| variable.name == "IMAGE_REDIS")
        .and_then(|variable| variable.value)
        .context("the operator's Deployment names no IMAGE_REDIS")
}

/// A running Redis of a namespace.
#[derive(Clone)]
pub struct OwnRedis {
    cluster: Cluster,
    namespace: String,
    name: String,
}

impl OwnRedis {
    /// Runs one called `name` in the namespace, and waits until it answers.
    pub async fn start(cluster: &Cluster, namespace: &str, name: &str) -> Result<Self> {
        let redis = Self {
            cluster: cluster.clone(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        redis.make_secrets().await?;
        redis.make_workload().await?;
        redis.link().await?;
        Ok(redis)
    }

    /// The host that pods of any namespace reach it at.
    pub fn host(&self) -> String {
        format!("{}.{}.svc", self.name, self.namespace)
    }

    async fn make_secrets(&self) -> Result<()> {
        let configuration = format!(
            "user default on >{PASSWORD} ~* &* +@all\n\
             user scaler on >{SCALER_PASSWORD} ~jobs* +@all -@dangerous\n\
             save \"\"\nappendonly yes\nappendfsync always\ndir /data\n"
        );
        let contents = [
            (EVERYTHING, json!({"username": "default", "password": PASSWORD})),
            (SCALER, json!({"username": "scaler", "password": SCALER_PASSWORD})),
            ("own-redis-configuration", json!({"redis.conf": configuration})),
        ];
        let secrets: Api<Secret> = Api::namespaced(self.cluster.client.clone(), &self.namespace);
        for (name, content) in contents {
            let document =
                json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": content});
            let apply = PatchParams::apply("e2e").force();
            secrets.patch(name, &apply, &Patch::Apply(&document)).await?;
        }
        Ok(())
    }

    async fn make_workload(&self) -> Result<()> {
        let (name, post) = (&self.name, PostParams::default());
        let claim: PersistentVolumeClaim = serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        }))?;
        let service: Service = serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {"selector": {"app": name}, "ports": [{"port": PORT, "targetPort": PORT}]},
        }))?;
        let deployment: Deployment = serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {
                "replicas": 1, "strategy": {"type": "Recreate"}, "selector": {"matchLabels": {"app": name}},
                "template": {"metadata": {"labels": {"app": name}}, "spec": pod_spec(&image(&self.cluster).await?, name)},
            },
        }))?;
        let client = &self.cluster.client;
        Api::namespaced(client.clone(), &self.namespace)
            .create(&post, &claim)
            .await?;
        Api::namespaced(client.clone(), &self.namespace)
            .create(&post, &service)
            .await?;
        self.deployments().create(&post, &deployment).await?;
        Ok(())
    }

    fn deployments(&self) -> Api<Deployment> {
        Api::namespaced(self.cluster.client.clone(), &self.namespace)
    }

    /// Waits until it answers; a connection that may do everything.
    pub async fn link(&self) -> Result<RedisLink> {
        wait::until("the stranger's Redis to answer", wait::LONG, || async move {
            self.pod().await?;
            let link = RedisLink::open(&self.cluster, &self.namespace, &self.name, EVERYTHING).await?;
            let _: String = redis::cmd("PING").query_async(&mut link.connection()).await?;
            Ok(link)
        })
        .await
    }

    /// Its pod, once that is ready.
    pub async fn pod(&self) -> Result<Pod> {
        let pods = workload::pods(&self.cluster, &self.namespace, &format!("{}-", self.name)).await?;
        pods.into_iter()
            .find(workload::is_ready)
            .context("no pod of Redis is ready")
    }

    /// Takes it away: nobody listens at its address any more.
    pub async fn leave(&self) -> Result<()> {
        self.scale(0).await?;
        wait::until("the stranger's Redis to be gone", wait::LONG, || async move {
            let left = workload::pods(&self.cluster, &self.namespace, &format!("{}-", self.name)).await?;
            ensure!(left.is_empty(), "{} pods left", left.len());
            Ok(())
        })
        .await
    }

    /// Brings it back with its data, and waits until it answers.
    pub async fn come_back(&self) -> Result<RedisLink> {
        self.scale(1).await?;
        self.link().await
    }

    async fn scale(&self, replicas: i32) -> Result<()> {
        let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
        self.deployments()
            .patch_scale(&self.name, &PatchParams::default(), &patch)
            .await?;
        Ok(())
    }
}

fn pod_spec(image: &str, name: &str) -> serde_json::Value {
    json!({
        "automountServiceAccountToken": false,
        "terminationGracePeriodSeconds": 5,
        "securityContext": {"runAsNonRoot": true, "runAsUser": 1000, "fsGroup": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{
            "name": "redis", "image": image, "workingDir": "/data",
            "command": ["/opt/redis-stack/bin/redis-server", "/etc/redis/redis.conf"],
            "env": [{"name": "LD_LIBRARY_PATH", "value": "/opt/redis-stack/lib"}],
            "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
            "resources": {"requests": {"cpu": "5m", "memory": "16Mi"}, "limits": {"memory": "512Mi"}},
            "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "configuration", "mountPath": "/etc/redis", "readOnly": true}],
        }],
        "volumes": [
            {"name": "data", "persistentVolumeClaim": {"claimName": name}},
            {"name": "configuration", "secret": {"secretName": "own-redis-configuration"}},
        ],
    })
}
