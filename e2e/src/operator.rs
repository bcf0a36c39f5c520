//! The operator's own pods, its Lease and its log.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, ListParams, LogParams, Patch, PatchParams};
use serde_json::json;

use crate::cluster::Cluster;
use crate::process::{self, Deed};
use crate::{wait, workload};

/// The operator's process as the kernel names it: the first 15 letters.
pub const PROCESS: &str = "shopwright-oper";

/// The installed operator.
pub struct Operator<'a> {
    cluster: &'a Cluster,
    namespace: &'a str,
}

impl<'a> Operator<'a> {
    /// The operator of the release under test.
    pub fn of(cluster: &'a Cluster) -> Self {
        Self {
            cluster,
            namespace: &cluster.environment.operator_namespace,
        }
    }

    fn deployments(&self) -> Api<Deployment> {
        Api::namespaced(self.cluster.client.clone(), self.namespace)
    }

    fn pods_api(&self) -> Api<Pod> {
        Api::namespaced(self.cluster.client.clone(), self.namespace)
    }

    /// Its one Deployment.
    pub async fn deployment(&self) -> Result<Deployment> {
        let found = self.deployments().list(&ListParams::default()).await?.items;
        ensure!(
            found.len() == 1,
            "one Deployment expected in {}, found {}",
            self.namespace,
            found.len()
        );
        found.into_iter().next().context("no Deployment")
    }

    async fn name(&self) -> Result<String> {
        self.deployment()
            .await?
            .metadata
            .name
            .context("a Deployment without name")
    }

    /// The Helm release that it was installed by.
    pub async fn release(&self) -> Result<String> {
        let labels = self.deployment().await?.metadata.labels.unwrap_or_default();
        let release = labels.get("app.kubernetes.io/instance");
        release
            .cloned()
            .context("the operator's Deployment does not say which release it is of")
    }

    /// How many replicas it is asked to have.
    pub async fn replicas(&self) -> Result<i32> {
        workload::replicas(self.cluster, self.namespace, &self.name().await?).await
    }

    /// Scales it and waits until exactly so many pods are there and ready.
    pub async fn scale(&self, replicas: i32) -> Result<()> {
        let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
        let name = self.name().await?;
        self.deployments()
            .patch_scale(&name, &PatchParams::default(), &patch)
            .await?;
        self.wait_ready(replicas).await
    }

    /// Waits until exactly so many pods are there and ready.
    pub async fn wait_ready(&self, replicas: i32) -> Result<()> {
        wait::until(&format!("{replicas} ready operator pods"), wait::LONG, || async move {
            let pods = self.pods().await?;
            let ready = pods.iter().filter(|pod| workload::is_ready(pod)).count();
            ensure!(
                pods.len() == ready && i32::try_from(ready).ok() == Some(replicas),
                "{ready} of {} are ready",
                pods.len()
            );
            Ok(())
        })
        .await
    }

    /// Its pods, those on their way out included.
    pub async fn pods(&self) -> Result<Vec<Pod>> {
        Ok(self.pods_api().list(&ListParams::default()).await?.items)
    }

    /// The pod that holds the Lease. Its identity begins with the pod's name.
    pub async fn leader(&self) -> Result<String> {
        let leases: Api<Lease> = Api::namespaced(self.cluster.client.clone(), self.namespace);
        let pods = self.pods().await?;
        let holders: Vec<String> = leases
            .list(&ListParams::default())
            .await?
            .into_iter()
            .filter_map(|lease| lease.spec?.holder_identity)
            .collect();
        pods.into_iter()
            .filter_map(|pod| pod.metadata.name)
            .find(|pod| holders.iter().any(|holder| holder.starts_with(pod.as_str())))
            .with_context(|| format!("no pod holds the Lease; holders: {holders:?}"))
    }

    /// Waits until some pod other than `former` leads.
    pub async fn wait_leader_other_than(&self, former: &str, deadline: Duration) -> Result<String> {
        wait::until("another leader", deadline, || async move {
            let now = self.leader().await?;
            ensure!(now != former, "{now} still holds the Lease");
            Ok(now)
        })
        .await
    }

    /// Kills a pod's process and then the pod: it gets no chance to hand the Lease back, nor to come back under its name.
    /// On a cluster elsewhere only the pod is deleted, which leaves its process a second to end in good order.
    pub async fn kill(&self, pod: &str) -> Result<()> {
        let found = self.pods_api().get(pod).await?;
        if let Err(error) = process::signal(&found, PROCESS, Deed::Kill) {
            println!("{pod} is deleted, not killed: {error:#}");
        }
        self.pods_api()
            .delete(pod, &DeleteParams::default().grace_period(0))
            .await?;
        Ok(())
    }

    /// The last lines of the log of each of its pods.
    pub async fn log_tail(&self, lines: i64) -> Result<String> {
        let parameters = LogParams {
            tail_lines: Some(lines),
            ..LogParams::default()
        };
        let mut all = String::new();
        for pod in self.pods().await? {
            let name = pod.metadata.name.unwrap_or_default();
            let log = self
                .pods_api()
                .logs(&name, &parameters)
                .await
                .unwrap_or_else(|error| error.to_string());
            let _ = writeln!(all, "--- {name}\n{log}");
        }
        Ok(all)
    }
}
