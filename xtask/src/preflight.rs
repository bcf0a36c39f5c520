//! What the machine must have before a cluster can run: every problem at once, each with its fix. Installs packages after a yes.

use std::io::{BufRead, IsTerminal, Write};

use anyhow::{Result, bail};
use shopwright_cluster::preflight::{self, Problem};

/// Checks the machine; missing Debian packages are installed after a yes (`--yes`, or CI, is one).
pub(crate) fn ensure(yes: bool) -> Result<()> {
    ensure_none(yes, preflight::check)
}

/// The same, and what only the tests need.
pub(crate) fn ensure_for_tests(yes: bool) -> Result<()> {
    ensure_none(yes, || {
        let mut problems = preflight::check();
        problems.extend(preflight::program(
            "strace",
            Some("strace"),
            "makes the disk slow in a storm",
        ));
        problems
    })
}

fn ensure_none(yes: bool, check: impl Fn() -> Vec<Problem>) -> Result<()> {
    let problems = check();
    let packages: Vec<&str> = problems.iter().filter_map(|problem| problem.package).collect();
    if !packages.is_empty() && rustix::process::geteuid().is_root() {
        eprintln!("missing Debian packages: {}", packages.join(" "));
        if yes || in_ci() || confirmed()? {
            preflight::install_packages(&problems)?;
        }
    }
    let problems = check();
    if !problems.is_empty() {
        let lines: Vec<String> = problems.iter().map(|problem| format!("  - {problem}")).collect();
        bail!("this machine lacks what is needed:\n{}", lines.join("\n"));
    }
    Ok(())
}

fn in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| !value.is_empty())
}

fn confirmed() -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        return Ok(false);
    }
    eprint!("install them now with apt-get? [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
