//! Ends what `up` started for this checkout, and says what is left if anything is.

use anyhow::{Result, bail};

use crate::workspace;

/// Idempotent: without a cluster there is nothing to do.
pub(crate) fn run() -> Result<()> {
    let state = workspace::cluster_state()?;
    shopwright_cluster::down(&state)?;
    let residue = shopwright_cluster::residue(&state)?;
    if !residue.is_empty() {
        bail!("the cluster is down, but this is left:\n  {}", residue.join("\n  "));
    }
    println!("down: nothing is left");
    Ok(())
}
