//! A Shop under test: its document, its status, and the ways into it.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};
use shopwright_domain::keys::ShopKeys;

use crate::cluster::Cluster;
use crate::orders::ShopApi;
use crate::redis::{RedisLink, secret_text};
use crate::{object, wait, workload};

const FIELD_MANAGER: &str = "e2e";

/// A Shop in a namespace of the scenario.
#[derive(Clone)]
pub struct Shop {
    /// The cluster that it is in.
    pub cluster: Cluster,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    spec: Value,
}

/// What makes a shop quick enough to be watched: seconds where a real one takes minutes.
pub fn quick() -> Value {
    let environment = json!([
        {"name": "CLAIM_MIN_IDLE_MILLISECONDS", "value": "5000"},
        {"name": "CHARGE_RETRY_SECONDS", "value": "2"},
        {"name": "RELEASE_RETRY_SECONDS", "value": "5"},
        {"name": "DRAIN_SECONDS", "value": "5"},
    ]);
    json!({
        "deletionPolicy": "Delete",
        "inventory": {"env": environment},
        "payments": {"env": environment, "provider": {"simulated": {"latencyMilliseconds": 50}}},
        "consumers": {"inventory": {"cooldownSeconds": 5}, "payments": {"cooldownSeconds": 5}},
    })
}

impl Shop {
    /// Applies a Shop whose spec is exactly this.
    pub async fn apply(cluster: &Cluster, namespace: &str, name: &str, spec: Value) -> Result<Self> {
        let shop = Self {
            cluster: cluster.clone(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            spec,
        };
        shop.write().await?;
        Ok(shop)
    }

    /// Applies a quick Shop with `changes` over it.
    pub async fn apply_quick(cluster: &Cluster, namespace: &str, name: &str, changes: &Value) -> Result<Self> {
        let mut spec = quick();
        object::merge(&mut spec, changes);
        Self::apply(cluster, namespace, name, spec).await
    }

    /// Applies a quick Shop and waits until it is ready.
    pub async fn ready(cluster: &Cluster, namespace: &str, name: &str, changes: &Value) -> Result<Self> {
        let shop = Self::apply_quick(cluster, namespace, name, changes).await?;
        shop.wait_ready().await?;
        Ok(shop)
    }

    /// Lays `changes` over the spec and applies it again.
    pub async fn change(&mut self, changes: &Value) -> Result<()> {
        object::merge(&mut self.spec, changes);
        self.write().await
    }

    /// Applies the same document once more, as a user or a pipeline would.
    pub async fn write(&self) -> Result<()> {
        let document = json!({
            "apiVersion": "shopwright.dev/v1alpha1", "kind": "Shop",
            "metadata": {"name": self.name, "namespace": self.namespace},
            "spec": self.spec,
        });
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        self.api()
            .patch(&self.name, &parameters, &Patch::Apply(&document))
            .await?;
        Ok(())
    }

    /// Shops of the namespace.
    pub fn api(&self) -> Api<DynamicObject> {
        self.cluster.shops(&self.namespace)
    }

    /// The Shop as it is now.
    pub async fn get(&self) -> Result<DynamicObject> {
        Ok(self.api().get(&self.name).await?)
    }

    /// Waits for `Ready=True` at the present generation; how long that took.
    pub async fn wait_ready(&self) -> Result<Duration> {
        let started = Instant::now();
        self.wait_condition("Ready", "True", wait::LONG).await?;
        Ok(started.elapsed())
    }

    /// Waits for a condition at the present generation.
    pub async fn wait_condition(&self, type_: &str, status: &str, deadline: Duration) -> Result<object::Condition> {
        wait::until(
            &format!("{type_}={status} of Shop {}", self.name),
            deadline,
            || async move { object::demand(&self.get().await?, type_, status) },
        )
        .await
    }

    /// Deletes the Shop and waits until its pods are gone.
    pub async fn delete(&self) -> Result<()> {
        self.api().delete(&self.name, &DeleteParams::default()).await?;
        let prefix = format!("{}-", self.name);
        let prefix = &prefix;
        wait::until("the pods of a deleted Shop to go", wait::LONG, || async move {
            ensure!(
                self.api().get_opt(&self.name).await?.is_none(),
                "the Shop is still there"
            );
            let left = workload::pods(&self.cluster, &self.namespace, prefix).await?.len();
            ensure!(left == 0, "{left} pods left");
            Ok(())
        })
        .await
    }

    /// The name of one of its children.
    pub fn child(&self, part: &str) -> String {
        format!("{}-{part}", self.name)
    }

    /// `spec.replicas` of one of its Deployments.
    pub async fn replicas(&self, part: &str) -> Result<i32> {
        workload::replicas(&self.cluster, &self.namespace, &self.child(part)).await
    }

    /// Waits until one of its Deployments is asked to have so many replicas.
    pub async fn wait_replicas(&self, part: &str, wanted: i32, deadline: Duration) -> Result<()> {
        wait::until(&format!("{part} to be at {wanted} replicas"), deadline, || async move {
            let now = self.replicas(part).await?;
            ensure!(now == wanted, "at {now}");
            Ok(())
        })
        .await
    }

    /// Waits until both consumers are at zero.
    pub async fn wait_asleep(&self) -> Result<()> {
        self.wait_replicas("inventory-consumer", 0, wait::LONG).await?;
        self.wait_replicas("payments-consumer", 0, wait::LONG).await
    }

    /// Names of its keys in Redis.
    pub fn keys(&self) -> ShopKeys {
        ShopKeys::new(self.name.as_str())
    }

    /// A way to its HTTP API.
    pub async fn open(&self) -> Result<ShopApi> {
        let secrets: Api<Secret> = Api::namespaced(self.cluster.client.clone(), &self.namespace);
        let admin_key = secret_text(&secrets.get(&self.child("admin")).await?, "admin-key")?;
        ShopApi::open(&self.cluster, &self.namespace, &self.child("storefront"), admin_key).await
    }

    /// A connection to its Redis as one of the users of its access list.
    pub async fn redis(&self, user: &str) -> Result<RedisLink> {
        let secret = self.child(&format!("redis-{user}"));
        RedisLink::open(&self.cluster, &self.namespace, &self.child("redis"), &secret).await
    }
}
