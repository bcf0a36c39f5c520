//! The model check, optimized. Starts cargo.

use anyhow::Result;

use crate::workspace;

/// Goes through every reachable state of the shop, and prints how many there are. Fails when an invariant is broken.
pub(crate) fn run(scopes: &[String]) -> Result<()> {
    let mut check = workspace::cargo()?;
    check
        .args(["run", "--quiet", "--release", "--package", "shopwright-model", "--"])
        .args(scopes);
    workspace::run(&mut check)
}
