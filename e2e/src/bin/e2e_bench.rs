//! Measures on a running cluster. `cargo xtask bench scaling --cluster` runs it with the right environment.

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use shopwright_e2e::bench::{self, Plan};
use shopwright_e2e::cluster::Cluster;
use shopwright_e2e::environment::Environment;

const USAGE: &str = "usage: e2e-bench scaling [--only ITEM,...] [--trials N] [--groups N] [--rounds N]";

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
    let plan = plan(std::env::args().skip(1))?;
    let environment = Environment::read()?.context("SHOPWRIGHT_KUBECONFIG names no cluster")?;
    let cluster = Cluster::open(environment).await?;
    println!("\n{}", bench::scaling(&cluster, &plan).await?);
    Ok(())
}

fn plan(mut arguments: impl Iterator<Item = String>) -> Result<Plan> {
    if arguments.next().as_deref() != Some("scaling") {
        bail!(USAGE);
    }
    let mut plan = Plan {
        only: Vec::new(),
        trials: 20,
        groups: 500,
        rounds: 10,
    };
    while let Some(flag) = arguments.next() {
        let value = arguments.next().context(USAGE)?;
        let number = || value.parse::<usize>().with_context(|| format!("{flag} takes a number"));
        match flag.as_str() {
            "--only" => plan.only = value.split(',').map(str::to_owned).collect(),
            "--trials" => plan.trials = number()?,
            "--groups" => plan.groups = number()?,
            "--rounds" => plan.rounds = number()?,
            _ => bail!(USAGE),
        }
    }
    Ok(plan)
}
