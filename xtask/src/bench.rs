//! Measures how well consumers follow their backlog, on the cluster that `up` runs.

use anyhow::Result;
use shopwright_cluster::Cluster;

use crate::{install, workspace};

/// What to measure, and how much of it.
#[derive(clap::Args)]
pub(crate) struct Scaling {
    /// On the cluster that `up` runs: with real pods, in real time.
    #[arg(long, required = true)]
    cluster: bool,
    /// Only these, separated by commas: wake, dump, outage, scale-in, many.
    #[arg(long)]
    only: Option<String>,
    /// Messages from zero, one after another.
    #[arg(long, default_value_t = 20)]
    trials: u32,
    /// Groups on one Redis.
    #[arg(long, default_value_t = 500)]
    groups: u32,
    /// Times from 20 replicas to 2 under load.
    #[arg(long, default_value_t = 10)]
    rounds: u32,
}

/// Prints one table, with what KEDA was measured to do beside it.
pub(crate) fn scaling(what: &Scaling) -> Result<()> {
    let cluster = Cluster::open(&workspace::cluster_state()?)?;
    let worker = install::build_worker()?;
    cluster.import_images(std::slice::from_ref(&worker.archive))?;
    let mut bench = workspace::cargo()?;
    bench.args([
        "run",
        "--quiet",
        "--package",
        "shopwright-e2e",
        "--bin",
        "e2e-bench",
        "--",
    ]);
    bench.arg("scaling");
    for (flag, number) in [
        ("--trials", what.trials),
        ("--groups", what.groups),
        ("--rounds", what.rounds),
    ] {
        bench.arg(flag).arg(number.to_string());
    }
    if let Some(only) = &what.only {
        bench.arg("--only").arg(only);
    }
    bench.envs(install::environment(&cluster, &worker)?);
    workspace::run(&mut bench)
}
