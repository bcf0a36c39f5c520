//! The operator on a cluster, as `up` and `test` install it: images built and imported, the chart installed with exactly those.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::json;
use shopwright_cluster::Cluster;
use shopwright_cluster::images::{self, Built, Program};

use crate::workspace;

/// The release name and the namespace of the operator.
pub(crate) const RELEASE: &str = "shopwright";
pub(crate) const NAMESPACE: &str = "shopwright-system";

/// The images of one Shopwright, as built from this checkout.
pub(crate) struct Images {
    /// Name and archive of each of the product's own programs.
    pub(crate) programs: Vec<(&'static str, Built)>,
    /// Redis Stack, for the local cluster only.
    redis: Built,
}

impl Images {
    /// Builds what is not there yet.
    pub(crate) fn build() -> Result<Self> {
        let folder = workspace::target()?.join("images");
        let built = images::build(&Program::ALL, &folder)?;
        let redis = images::redis(&shopwright_redis_stack::install()?.root, &folder)?;
        Ok(Self {
            programs: Program::ALL.iter().map(|program| program.name).zip(built).collect(),
            redis,
        })
    }

    /// Every archive, to be imported into a cluster.
    pub(crate) fn archives(&self) -> Vec<PathBuf> {
        self.programs
            .iter()
            .map(|(_, built)| built)
            .chain([&self.redis])
            .map(|built| built.archive.clone())
            .collect()
    }

    /// The full reference of a service's image.
    pub(crate) fn reference(&self, service: &str) -> Result<&str> {
        let image = self
            .programs
            .iter()
            .find(|(name, _)| name.strip_prefix("shopwright-") == Some(service));
        let (_, built) = image.with_context(|| format!("there is no image of {service}"))?;
        Ok(&built.reference)
    }

    /// Writes the chart values that name exactly these images; returns the file.
    pub(crate) fn write_values(&self, folder: &Path) -> Result<PathBuf> {
        let mut images = serde_json::Map::new();
        for (name, built) in &self.programs {
            let short = name.strip_prefix("shopwright-").unwrap_or(name);
            images.insert(short.to_owned(), json!({"full": built.reference}));
        }
        images.insert("redis".to_owned(), json!({"full": self.redis.reference}));
        let path = folder.join("values.json");
        std::fs::write(&path, serde_json::to_vec_pretty(&json!({"images": images}))?)?;
        Ok(path)
    }
}

/// Builds the example's worker, a consumer of known service time for scenarios and measurements.
pub(crate) fn build_worker() -> Result<Built> {
    images::example_worker(&workspace::target()?.join("images"))
}

/// What scenarios and measurements read of their environment.
pub(crate) fn environment(cluster: &Cluster, worker: &Built) -> Result<Vec<(&'static str, String)>> {
    let path = |path: PathBuf| path.display().to_string();
    Ok(vec![
        ("SHOPWRIGHT_KUBECONFIG", path(cluster.kubeconfig())),
        ("SHOPWRIGHT_KUBECTL", path(cluster.kubernetes().program("kubectl"))),
        ("SHOPWRIGHT_HELM", path(cluster.kubernetes().program("helm"))),
        ("SHOPWRIGHT_CHARTS", path(workspace::root()?.join("charts"))),
        (
            "SHOPWRIGHT_CLUSTER_STATE",
            path(cluster.state_dir().root().to_path_buf()),
        ),
        ("SHOPWRIGHT_AUDIT_LOG", path(cluster.audit_log())),
        ("SHOPWRIGHT_WORKER_IMAGE", worker.reference.clone()),
    ])
}

/// Installs or upgrades the operator and waits until it is available.
pub(crate) fn install_operator(cluster: &Cluster, values: &Path) -> Result<()> {
    let chart = workspace::root()?.join("charts/shop-operator");
    let mut helm = cluster.helm();
    helm.args(["upgrade", "--install", RELEASE])
        .arg(chart)
        .arg("--values")
        .arg(values);
    // Somebody who scaled the operator by hand owns its `replicas`; running `up` again takes it back.
    helm.args([
        "--namespace",
        NAMESPACE,
        "--create-namespace",
        "--force-conflicts",
        "--wait",
        "--timeout",
        "180s",
    ]);
    workspace::capture(&mut helm)?;
    Ok(())
}
