//! The charts: lint, every value set renders, every bad value set is refused with the message it names, and the API server has
//! nothing to say against any of it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use shopwright_cluster::{Cluster, Kubernetes};

use crate::workspace;

const CHARTS: [&str; 2] = ["shop-operator", "shop"];
/// A namespace in which the API server warns of every pod that the restricted security standard would refuse.
const WARNING_NAMESPACE: &str = r#"{"apiVersion": "v1", "kind": "Namespace", "metadata": {
    "name": "dry-run", "labels": {"pod-security.kubernetes.io/warn": "restricted"}}}"#;

/// Checks both charts.
pub(crate) fn check(kubernetes: &Kubernetes) -> Result<()> {
    for chart in CHARTS {
        let chart = workspace::root()?.join("charts").join(chart);
        check_chart(kubernetes, &chart).with_context(|| format!("chart {}", chart.display()))?;
    }
    Ok(())
}

/// Sends every value set and every example through the API server's own checks; a warning is a failure. The CRDs must be installed.
pub(crate) fn dry_run(cluster: &Cluster) -> Result<()> {
    let mut apply = cluster.kubectl();
    workspace::feed(
        apply.args(["apply", "--server-side", "--filename", "-"]),
        WARNING_NAMESPACE,
    )?;
    for chart in CHARTS {
        let chart = workspace::root()?.join("charts").join(chart);
        for values in value_sets(&chart.join("ci"))? {
            let objects =
                workspace::capture(template(cluster.kubernetes(), &chart, &values).args(["--namespace", "dry-run"]))?;
            workspace::feed(dry_apply(cluster).args(["--filename", "-"]), &objects)
                .with_context(|| format!("dry run of {}", values.display()))?;
        }
    }
    let mut examples = dry_apply(cluster);
    examples
        .args(["--namespace", "dry-run", "--recursive", "--filename"])
        .arg(workspace::root()?.join("examples"));
    workspace::capture(&mut examples).context("dry run of the examples")?;
    Ok(())
}

/// Conflicts are with the release that is installed already; nothing is changed.
fn dry_apply(cluster: &Cluster) -> Command {
    let mut apply = cluster.kubectl();
    apply.args([
        "apply",
        "--server-side",
        "--force-conflicts",
        "--dry-run=server",
        "--warnings-as-errors",
    ]);
    apply
}

fn check_chart(kubernetes: &Kubernetes, chart: &Path) -> Result<()> {
    let good = value_sets(&chart.join("ci"))?;
    if good.is_empty() {
        bail!("there is no value set in ci/");
    }
    for values in good {
        workspace::capture(
            Command::new(kubernetes.program("helm"))
                .args(["lint", "--strict"])
                .arg(chart)
                .arg("--values")
                .arg(&values),
        )?;
        workspace::capture(template(kubernetes, chart, &values).arg("--include-crds"))?;
    }
    for values in value_sets(&chart.join("ci/bad"))? {
        let text = std::fs::read_to_string(&values)?;
        let expected = text.lines().next().and_then(|line| line.strip_prefix("# expect: "));
        let expected = expected.with_context(|| format!("{} does not begin with `# expect: `", values.display()))?;
        let output = template(kubernetes, chart, &values).output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() || !said.contains(expected) {
            bail!(
                "{} was to be refused with {expected:?}, but helm said:\n{said}",
                values.display()
            );
        }
    }
    Ok(())
}

fn template(kubernetes: &Kubernetes, chart: &Path, values: &Path) -> Command {
    let mut command = Command::new(kubernetes.program("helm"));
    command
        .args(["template", "check"])
        .arg(chart)
        .arg("--values")
        .arg(values);
    command
}

fn value_sets(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    Ok(files)
}
