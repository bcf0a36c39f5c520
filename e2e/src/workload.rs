//! Deployment, StatefulSet and their pods, read only as far as the scenarios ask.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};

use crate::cluster::Cluster;

/// Ready, and not on its way out.
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    pod.metadata.deletion_timestamp.is_none()
        && conditions
            .into_iter()
            .flatten()
            .any(|one| one.type_ == "Ready" && one.status == "True")
}

/// Its containers run, ready or not, and it is not on its way out.
pub fn is_running(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none()
        && pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running")
}

/// `spec.replicas` of a Deployment.
pub async fn replicas(cluster: &Cluster, namespace: &str, name: &str) -> Result<i32> {
    let deployments: Api<Deployment> = Api::namespaced(cluster.client.clone(), namespace);
    let found = deployments.get(name).await?;
    found.spec.replicas.context("a Deployment without replicas")
}

/// The pods whose names start with `prefix`, gone ones left out.
pub async fn pods(cluster: &Cluster, namespace: &str, prefix: &str) -> Result<Vec<Pod>> {
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), namespace);
    let mut found = pods.list(&ListParams::default()).await?.items;
    found.retain(|pod| {
        pod.metadata
            .name
            .as_deref()
            .is_some_and(|name| name.starts_with(prefix))
    });
    Ok(found)
}

/// Pod templates of every Deployment and StatefulSet of a namespace, as text, by kind and name: equal text, equal pods.
pub async fn templates(cluster: &Cluster, namespace: &str) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    let deployments: Api<Deployment> = Api::namespaced(cluster.client.clone(), namespace);
    for one in deployments.list(&ListParams::default()).await? {
        let name = one.metadata.name.unwrap_or_default();
        found.insert(format!("Deployment/{name}"), serde_json::to_string(&one.spec.template)?);
    }
    let sets: Api<StatefulSet> = Api::namespaced(cluster.client.clone(), namespace);
    for one in sets.list(&ListParams::default()).await? {
        let name = one.metadata.name.unwrap_or_default();
        found.insert(
            format!("StatefulSet/{name}"),
            serde_json::to_string(&one.spec.template)?,
        );
    }
    Ok(found)
}

/// The uids of the pods of a namespace that are not on their way out, by name.
pub async fn pod_uids(cluster: &Cluster, namespace: &str) -> Result<BTreeMap<String, String>> {
    let found = pods(cluster, namespace, "").await?.into_iter();
    Ok(found
        .filter(|pod| pod.metadata.deletion_timestamp.is_none())
        .map(|pod| {
            (
                pod.metadata.name.unwrap_or_default(),
                pod.metadata.uid.unwrap_or_default(),
            )
        })
        .collect())
}
