//! Long runs of the fuzz tests. Starts cargo, which starts a Redis of its own.

use anyhow::Result;

use crate::workspace;

/// The test of the exact backlog, with more samples than the few seconds it has among the others. Optimized, because
/// half of the time goes into reading full listings.
pub(crate) fn backlog(samples: u64, seed: u64) -> Result<()> {
    let mut test = workspace::cargo()?;
    test.args([
        "test",
        "--quiet",
        "--release",
        "--package",
        "shopwright-streams",
        "--lib",
    ])
    .args(["--", "--exact", "--nocapture"])
    .arg("sample::fuzz::no_exact_sample_is_wrong_in_hostile_histories")
    .env("SHOPWRIGHT_FUZZ_SAMPLES", samples.to_string())
    .env("SHOPWRIGHT_FUZZ_SEED", seed.to_string());
    workspace::run(&mut test)
}
