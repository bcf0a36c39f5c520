//! The tests that need a real Kubernetes: boots one for this run, installs the operator, runs the scenarios, and proves that
//! nothing is left behind, also when a step fails.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use shopwright_cluster::{Cluster, Options};

use crate::install::Images;
use crate::report::Tally;
use crate::steps::{self, Steps};
use crate::{charts, install, interrupt, test, workspace};

/// How many steps [`run`] takes.
pub(crate) const STEPS: usize = 7;

/// Runs all of it in a state folder of its own.
pub(crate) fn run(steps: &mut Steps, tally: &mut Tally) -> Result<()> {
    let (images, worker) = steps.run("build the images", || Ok((Images::build()?, install::build_worker()?)))?;
    let state = OwnCluster(workspace::test_state()?);
    let pairs = workspace::test_folder()?;
    let (folder, interrupted_pairs) = (state.0.clone(), pairs.clone());
    interrupt::clean_up_with(move || {
        report_failed_down(&folder);
        down_below(&interrupted_pairs);
    })?;
    let cluster = steps.run("boot a cluster", || {
        let options = Options {
            state_dir: Some(state.0.clone()),
            images: [images.archives(), vec![worker.archive.clone()]].concat(),
            helper: None,
        };
        Cluster::up(&options, &mut steps::detail)
    })?;
    let values = images.write_values(&state.0)?;
    steps.run("install the operator", || install::install_operator(&cluster, &values))?;
    steps.run("charts and examples on the API server", || charts::dry_run(&cluster))?;
    // Of the whole workspace, here and below: asked for one package, cargo chooses features anew and compiles again.
    steps.run("scenarios", || {
        let environment = install::environment(&cluster, &worker)?;
        test::cargo_test(
            tally,
            &["--workspace", "--test", "scenarios", "--", "--test-threads=3"],
            &environment,
        )
    })?;
    steps.run("cluster down, nothing left", || state.down())?;
    steps.run("two clusters side by side", || {
        let environment = [
            ("SHOPWRIGHT_CLUSTER_TESTS", "1".to_owned()),
            ("SHOPWRIGHT_CLUSTER_FOLDER", pairs.display().to_string()),
        ];
        let outcome = test::cargo_test(tally, &["--workspace", "--test", "cluster"], &environment);
        down_below(&pairs);
        outcome
    })
}

/// Ends the clusters that tests made in folders of their own below `folder`: none is left unless a test was killed.
fn down_below(folder: &Path) {
    let inside = |folder: &Path| {
        std::fs::read_dir(folder)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
    };
    for state in inside(folder).flat_map(|test| inside(&test).collect::<Vec<_>>()) {
        report_failed_down(&state);
    }
    // It is there only when such a test ran.
    let _ = std::fs::remove_dir_all(folder);
}

/// Takes the cluster down when it goes out of scope, so that a failed scenario leaves nothing behind either.
struct OwnCluster(PathBuf);

impl OwnCluster {
    fn down(&self) -> Result<()> {
        shopwright_cluster::down(&self.0)?;
        let residue = shopwright_cluster::residue(&self.0)?;
        if !residue.is_empty() {
            bail!("left behind:\n  {}", residue.join("\n  "));
        }
        Ok(())
    }
}

impl Drop for OwnCluster {
    fn drop(&mut self) {
        report_failed_down(&self.0);
    }
}

/// For places that cannot return an error.
fn report_failed_down(state: &Path) {
    if let Err(error) = shopwright_cluster::down(state) {
        eprintln!("cannot take the cluster down: {error:?}");
    }
}
