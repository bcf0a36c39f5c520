//! Measures how fast a consumer at zero is woken, on the cluster that `up` runs.

use anyhow::Result;
use shopwright_cluster::Cluster;

use crate::workspace;

/// Prints minimum, median, p99 and maximum over `trials` messages.
pub(crate) fn run(trials: u32) -> Result<()> {
    let cluster = Cluster::open(&workspace::cluster_state()?)?;
    let mut bench = workspace::cargo()?;
    bench.args([
        "run",
        "--quiet",
        "--package",
        "shopwright-e2e",
        "--bin",
        "e2e-bench",
        "--",
        "wake",
    ]);
    bench.arg("--trials").arg(trials.to_string());
    bench.env("SHOPWRIGHT_KUBECONFIG", cluster.kubeconfig());
    bench.env("SHOPWRIGHT_KUBECTL", cluster.kubernetes().program("kubectl"));
    bench.env("SHOPWRIGHT_HELM", cluster.kubernetes().program("helm"));
    workspace::run(&mut bench)
}
