//! Where things are: the checkout, the state folder, the binaries cargo builds. Runs cargo; touches nothing else.

use std::io::{Seek, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use shopwright_storm::accounts::hexadecimal;

/// The checkout that this `xtask` was built from.
pub(crate) fn root() -> Result<PathBuf> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest
        .parent()
        .map(Path::to_path_buf)
        .context("xtask lies in a folder of the checkout")
}

/// Where build products go: cargo's own target folder.
pub(crate) fn target() -> Result<PathBuf> {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => Ok(root()?.join(folder)),
        None => Ok(root()?.join("target")),
    }
}

/// The state of the cluster that `up` runs for this checkout: short, because sockets below it have at most 108 bytes of path.
pub(crate) fn cluster_state() -> Result<PathBuf> {
    let digest = Sha256::digest(root()?.as_os_str().as_encoded_bytes());
    Ok(state_home()?.join(format!("up-{}", hexadecimal(&digest[..4]))))
}

/// A state folder for one test run: named by this process, so that two runs at once have two.
pub(crate) fn test_state() -> Result<PathBuf> {
    Ok(state_home()?.join(format!("test-{}", std::process::id())))
}

/// A folder for the clusters of cargo's tests of one test run, each of which makes folders of its own in it.
pub(crate) fn test_folder() -> Result<PathBuf> {
    Ok(state_home()?.join(format!("pairs-{}", std::process::id())))
}

fn state_home() -> Result<PathBuf> {
    if let Some(home) = std::env::var_os("XDG_STATE_HOME") {
        return Ok(PathBuf::from(home).join("shopwright"));
    }
    let home = std::env::var_os("HOME").context("HOME is not set: cannot tell where state belongs")?;
    Ok(PathBuf::from(home).join(".local/state/shopwright"))
}

/// `cargo` in the checkout, with the toolchain that built this `xtask`.
pub(crate) fn cargo() -> Result<Command> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()?);
    Ok(command)
}

/// Runs a command with its output on the terminal; a non-zero exit is an error that names the command.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {command:?}"))?;
    if !status.success() {
        bail!("{command:?} ended with {status}");
    }
    Ok(())
}

/// Runs a command and returns what it printed; on failure the error holds what it said.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    if !output.status.success() {
        bail!(
            "{command:?} ended with {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a command with `input` on its standard input; on failure the error holds what it said.
pub(crate) fn feed(command: &mut Command, input: &str) -> Result<()> {
    let mut file = tempfile::tempfile()?;
    file.write_all(input.as_bytes())?;
    file.rewind()?;
    capture(command.stdin(file)).map(|_| ())
}

/// Builds the named binaries in the development profile and returns their paths, in the order asked for.
pub(crate) fn build_binaries(names: &[&str]) -> Result<Vec<PathBuf>> {
    build_binaries_with(names, &[])
}

/// The same, with more arguments for cargo.
pub(crate) fn build_binaries_with(names: &[&str], arguments: &[&str]) -> Result<Vec<PathBuf>> {
    let mut command = cargo()?;
    command.args(["build", "--quiet", "--message-format=json-render-diagnostics"]);
    command.args(arguments);
    for name in names {
        command.args(["--package", name]);
    }
    command.stdout(Stdio::piped()).stderr(Stdio::inherit());
    let output = command.output().context("cannot start cargo")?;
    if !output.status.success() {
        bail!("cargo build ended with {}", output.status);
    }
    let mut built = std::collections::HashMap::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let message: serde_json::Value = serde_json::from_str(line).context("cargo printed a line that is no JSON")?;
        if let (Some(name), Some(path)) = (message["target"]["name"].as_str(), message["executable"].as_str()) {
            built.insert(name.to_owned(), PathBuf::from(path));
        }
    }
    names
        .iter()
        .map(|name| {
            built
                .remove(*name)
                .with_context(|| format!("cargo built no binary {name}"))
        })
        .collect()
}

/// Runs async work to its end on this thread.
pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> Result<T> {
    Ok(tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(work))
}
