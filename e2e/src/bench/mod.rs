//! How well consumers follow their backlog, measured on a running cluster with a consumer of known service time, beside what
//! KEDA 2.21 was measured to do on the same kind of machine.

mod dump;
mod many;
mod outage;
mod scale_in;
mod wake;

use std::fmt;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};

use crate::cluster::Cluster;
use crate::rig::Rig;

/// What to measure, and how much of it.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Names of [`ITEMS`]; all of them when empty.
    pub only: Vec<String>,
    /// Messages from zero, one after another.
    pub trials: usize,
    /// Groups on one Redis.
    pub groups: usize,
    /// Times that a loaded group goes from 20 replicas to 2.
    pub rounds: usize,
}

/// What can be measured, in order.
pub const ITEMS: [&str; 5] = ["wake", "dump", "outage", "scale-in", "many"];

/// One line of the table.
#[derive(Debug, Clone)]
pub struct Row {
    what: String,
    measured: String,
    goal: &'static str,
    keda: &'static str,
    keda_tuned: &'static str,
}

impl Row {
    fn new(what: impl Into<String>, measured: impl Into<String>, goal: &'static str) -> Self {
        Self {
            what: what.into(),
            measured: measured.into(),
            goal,
            keda: "",
            keda_tuned: "",
        }
    }

    /// What KEDA 2.21 did on the same kind of machine and Kubernetes 1.37: as shipped, and with polling every second, a
    /// cool-down of 60 s, scale-up without limits and a down window of 60 s.
    fn beside(mut self, keda: &'static str, keda_tuned: &'static str) -> Self {
        (self.keda, self.keda_tuned) = (keda, keda_tuned);
        self
    }
}

/// All lines, as a Markdown table.
#[derive(Debug)]
pub struct Table(Vec<Row>);

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| What | Shopwright | Goal | KEDA 2.21 as shipped | KEDA 2.21 tuned |"
        )?;
        writeln!(f, "|---|---|---|---|---|")?;
        for row in &self.0 {
            writeln!(
                f,
                "| {} | {} | {} | {} | {} |",
                row.what, row.measured, row.goal, row.keda, row.keda_tuned
            )?;
        }
        Ok(())
    }
}

/// Measures what the plan says, each item in a namespace of its own, which is gone afterwards.
pub async fn scaling(cluster: &Cluster, plan: &Plan) -> Result<Table> {
    if let Some(unknown) = plan.only.iter().find(|name| !ITEMS.contains(&name.as_str())) {
        bail!("nothing is called {unknown}; there are {}", ITEMS.join(", "));
    }
    let mut rows = Vec::new();
    for item in ITEMS {
        if !plan.only.is_empty() && !plan.only.iter().any(|name| name == item) {
            continue;
        }
        let started = Instant::now();
        println!("{item} ...");
        rows.extend(one(cluster, plan, item).await.with_context(|| item.to_owned())?);
        println!("{item} took {:.0} s", started.elapsed().as_secs_f64());
    }
    Ok(Table(rows))
}

async fn one(cluster: &Cluster, plan: &Plan, item: &str) -> Result<Vec<Row>> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    let namespace = format!("e2e-bench-{item}-{:x}", now & 0xffff_ffff);
    cluster.create_namespace(&namespace).await?;
    let measured = measure(cluster, plan, item, &namespace).await;
    if measured.is_err() && cluster.environment.keep_failed {
        println!("kept for inspection: namespace {namespace}");
        return measured;
    }
    cluster.delete_namespace(&namespace).await?;
    cluster.namespaces_gone(&[namespace]).await?;
    measured
}

async fn measure(cluster: &Cluster, plan: &Plan, item: &str, namespace: &str) -> Result<Vec<Row>> {
    let rig = Rig::start(cluster, namespace)
        .await?
        .context("no image of the worker")?;
    match item {
        "wake" => wake::measure(&rig, plan.trials).await,
        "dump" => dump::measure(&rig).await,
        "outage" => outage::measure(&rig).await,
        "scale-in" => scale_in::measure(&rig, plan.rounds).await,
        _ => many::measure(&rig, plan.groups).await,
    }
}
