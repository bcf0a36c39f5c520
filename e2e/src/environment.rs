//! Where the cluster and its tools are: read once from the process environment.

use std::env;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

/// What `cargo xtask test` exports for the scenarios.
#[derive(Debug, Clone)]
pub struct Environment {
    /// `SHOPWRIGHT_KUBECONFIG`: the cluster, reachable from here.
    pub kubeconfig: PathBuf,
    /// `SHOPWRIGHT_KUBECTL`: the kubectl to run, from `PATH` when unset.
    pub kubectl: PathBuf,
    /// `SHOPWRIGHT_HELM`: the helm to run, from `PATH` when unset.
    pub helm: PathBuf,
    /// `SHOPWRIGHT_CHARTS`: the folder that holds `shop-operator` and `shop`.
    pub charts: PathBuf,
    /// `SHOPWRIGHT_AUDIT_LOG`: the API server's audit log, one JSON event a line; none on a cluster that is not ours.
    pub audit_log: Option<PathBuf>,
    /// `SHOPWRIGHT_CLUSTER_STATE`: the state folder of a local cluster; without it its node is left alone.
    pub cluster_state: Option<PathBuf>,
    /// `SHOPWRIGHT_WORKER_IMAGE`: the example worker's image, on the nodes already; without it what needs it is left out.
    pub worker_image: Option<String>,
    /// `SHOPWRIGHT_OPERATOR_NAMESPACE`, by default `shopwright-system`.
    pub operator_namespace: String,
    /// `SHOPWRIGHT_KEEP`: leave the namespaces of scenarios that failed, to look into them.
    pub keep_failed: bool,
}

impl Environment {
    /// Reads the environment; `None` when no cluster is named.
    pub fn read() -> Result<Option<Self>> {
        let Some(kubeconfig) = path("SHOPWRIGHT_KUBECONFIG") else {
            return Ok(None);
        };
        let repository = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let repository = repository.parent().context("the crate lies in the repository")?;
        Ok(Some(Self {
            kubeconfig,
            kubectl: path("SHOPWRIGHT_KUBECTL").unwrap_or_else(|| PathBuf::from("kubectl")),
            helm: path("SHOPWRIGHT_HELM").unwrap_or_else(|| PathBuf::from("helm")),
            charts: path("SHOPWRIGHT_CHARTS").unwrap_or_else(|| repository.join("charts")),
            audit_log: path("SHOPWRIGHT_AUDIT_LOG"),
            cluster_state: path("SHOPWRIGHT_CLUSTER_STATE"),
            worker_image: text("SHOPWRIGHT_WORKER_IMAGE"),
            operator_namespace: text("SHOPWRIGHT_OPERATOR_NAMESPACE").unwrap_or_else(|| "shopwright-system".into()),
            keep_failed: text("SHOPWRIGHT_KEEP").is_some(),
        }))
    }
}

fn text(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn path(name: &str) -> Option<PathBuf> {
    text(name).map(PathBuf::from)
}
