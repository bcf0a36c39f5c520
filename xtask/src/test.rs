//! Proves everything, cheapest first: formatting, lints, generated files, tests on real Redis, charts, and a real Kubernetes that
//! it boots for this run alone. Ends with a line that counts the tests.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use shopwright_storm::plan::Durability;

use crate::report::Tally;
use crate::steps::{self, Steps};
use crate::{charts, cluster_tests, dev, generate, preflight, storm, workspace};

/// The steps that need neither root nor a cluster.
const QUICK_STEPS: usize = 9;
/// Before the cluster's own: the machine, Kubernetes, the charts.
const SLOW_STEPS: usize = 3;
const STORM: Duration = Duration::from_secs(60);
const STORM_SEED: u64 = 1;
/// With more than one loss of power.
const LOSSY_STORM_SEED: u64 = 2;
/// Orders a second. Other numbers of them are up to `cargo xtask storm`.
const STORM_RATE: f64 = 50.0;

/// Runs every test; with `quick` only what needs neither root nor a cluster.
pub(crate) fn run(quick: bool, yes: bool) -> Result<()> {
    let total = if quick {
        QUICK_STEPS
    } else {
        QUICK_STEPS + SLOW_STEPS + cluster_tests::STEPS
    };
    let mut steps = Steps::new(total);
    let mut tally = Tally::default();
    if !quick {
        steps.run("look at the machine", || preflight::ensure_for_tests(yes))?;
    }
    steps.run("formatting", || {
        workspace::run(workspace::cargo()?.args(["fmt", "--all", "--check"]))
    })?;
    steps.run("lints", lint)?;
    steps.run("generated files", generate::check)?;
    steps.run("tests on this machine", || {
        cargo_test(&mut tally, &["--workspace", "--lib", "--bins", "--tests"], &[])
    })?;
    steps.run("the shop on loopback", || workspace::block_on(dev::run(true))?)?;
    let binaries = steps.run("build the services with their crash points", storm::binaries)?;
    steps.run("die at each crash point", || storm::die_at_each_crash_point(&binaries))?;
    steps.run("a storm", || {
        storm::blow(&binaries, STORM, STORM_SEED, Durability::Always, STORM_RATE)
    })?;
    steps.run("a storm that may lose a second", || {
        storm::blow(&binaries, STORM, LOSSY_STORM_SEED, Durability::EverySecond, STORM_RATE)
    })?;
    if quick {
        eprintln!("left out by --quick: the charts and everything on a real Kubernetes");
    } else {
        let kubernetes = steps.run("build Kubernetes", || {
            shopwright_cluster::Kubernetes::build(&mut steps::detail)
        })?;
        steps.run("charts", || charts::check(&kubernetes))?;
        cluster_tests::run(&mut steps, &mut tally)?;
    }
    eprintln!("all of it took {:.0} s", steps.elapsed_seconds());
    println!("{} passed, {} failed", tally.passed, tally.failed);
    Ok(())
}

fn lint() -> Result<()> {
    let mut clippy = workspace::cargo()?;
    workspace::run(clippy.args([
        "clippy",
        "--quiet",
        "--workspace",
        "--all-targets",
        "--",
        "--deny",
        "warnings",
    ]))
}

/// Runs `cargo test` with its output echoed, and adds its counts to `tally`.
pub(crate) fn cargo_test(tally: &mut Tally, arguments: &[&str], environment: &[(&str, String)]) -> Result<()> {
    let mut command: Command = workspace::cargo()?;
    command.args(["test", "--no-fail-fast"]).args(arguments);
    command.envs(environment.iter().map(|(key, value)| (*key, value)));
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start cargo test")?;
    let output = child.stdout.take().context("cargo test has no output")?;
    tally.follow(output, &mut std::io::stdout())?;
    let status = child.wait()?;
    if !status.success() {
        println!("{} passed, {} failed", tally.passed, tally.failed);
        bail!("cargo test ended with {status}");
    }
    Ok(())
}
