//! Ends a cluster and removes what it made, in whatever state it is found.

use crate::{cgroup, lock, paths::StateDir};
use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    io::ErrorKind,
    path::Path,
    thread,
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(30);

/// Ends the cluster in `state_dir`: every process, and with them its namespaces, mounts, interfaces and rules; then its control
/// groups and the folder. Works on a cluster that is running, half started, crashed or gone already.
pub fn down(state_dir: &Path) -> anyhow::Result<()> {
    let state = StateDir::new(state_dir)?;
    let _lock = lock::hold(&state)?;
    clear(&state)
}

/// As [`down`], for a caller that holds the lock.
pub(crate) fn clear(state: &StateDir) -> anyhow::Result<()> {
    kill_all(state)?;
    cgroup::remove(state, PATIENCE)?;
    remove_folder(state)
}

/// The supervisor and all that came from it live in the cluster's control group, and nobody else does.
fn kill_all(state: &StateDir) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let processes = cgroup::processes(state)?;
        if processes.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("processes {processes:?} of the cluster do not end");
        }
        for pid in processes.into_iter().filter_map(Pid::from_raw) {
            match kill_process(pid, Signal::KILL) {
                Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                Err(error) => return Err(error).with_context(|| format!("end process {pid:?}")),
            }
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn remove_folder(state: &StateDir) -> anyhow::Result<()> {
    let root = state.root();
    if !root.exists() {
        return Ok(());
    }
    let empty = fs::read_dir(root)?.next().is_none();
    if !empty && !state.marker().exists() {
        bail!("{} was not made by a cluster: it is left alone", root.display());
    }
    // The marker goes last, so that an interrupted removal can be taken up again.
    for entry in fs::read_dir(root)?
        .flatten()
        .filter(|entry| entry.path() != state.marker())
    {
        let path = entry.path();
        let removed = if entry.file_type()?.is_dir() {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        removed.with_context(|| format!("remove {}", path.display()))?;
    }
    match fs::remove_dir_all(root) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error).with_context(|| root.display().to_string()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_no_cluster_made_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::new(folder.path()).unwrap();
        fs::write(folder.path().join("thesis.txt"), "years of work").unwrap();
        assert!(remove_folder(&state).is_err());
        assert!(folder.path().join("thesis.txt").exists());
        fs::write(state.marker(), "").unwrap();
        remove_folder(&state).unwrap();
        assert!(!folder.path().exists());
        remove_folder(&state).unwrap();
    }
}
