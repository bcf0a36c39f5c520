//! The kubelet of a local cluster, killed as by a fault of the machine. On a cluster elsewhere it is left alone.

use anyhow::{Context as _, Result};

use crate::cluster::Cluster;

/// Kills it and waits until its successor is started; whether there was one to kill.
pub async fn restart(cluster: &Cluster) -> Result<bool> {
    let Some(state) = cluster.environment.cluster_state.clone() else {
        return Ok(false);
    };
    let killed = tokio::task::spawn_blocking(move || shopwright_cluster::Cluster::open(&state)?.restart_kubelet());
    killed.await?.context("restart the kubelet")?;
    Ok(true)
}
