//! Measures on a running cluster: `e2e-bench wake [--trials N]`. `cargo xtask bench wake` runs it with the right environment.

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use shopwright_e2e::bench;
use shopwright_e2e::cluster::Cluster;
use shopwright_e2e::environment::Environment;

const TRIALS: usize = 20;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let trials = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["wake"] => TRIALS,
        ["wake", "--trials", count] => count.parse().context("--trials takes a number")?,
        _ => bail!("usage: e2e-bench wake [--trials N]"),
    };
    let environment = Environment::read()?.context("SHOPWRIGHT_KUBECONFIG names no cluster")?;
    let cluster = Cluster::open(environment).await?;
    println!("{}", bench::wake(&cluster, trials).await?);
    Ok(())
}
