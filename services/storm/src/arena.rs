//! Where a storm takes place: a runtime, a private folder, and an end in every case. Touches the folder it makes.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tokio::signal::unix::{SignalKind, signal};

/// Ctrl-C or SIGTERM came first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// Runs `work` with a folder of its own. The folder goes, unless the work failed or its outcome is not `good`: then it is
/// returned, or named by the error. An interrupt ends the work as if it was dropped.
pub(crate) fn within<T>(
    work: impl AsyncFnOnce(&Path) -> Result<T>,
    good: impl FnOnce(&T) -> bool,
) -> Result<(T, Option<PathBuf>)> {
    let folder = tempfile::Builder::new()
        .prefix("shopwright-storm-")
        // Passwords and orders are in it.
        .permissions(Permissions::from_mode(0o700))
        .tempdir()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            outcome = work(folder.path()) => outcome,
            _ = interrupt.recv() => Err(Interrupted.into()),
            _ = terminate.recv() => Err(Interrupted.into()),
        }
    });
    // Waits for a Redis that is just being restarted, so that it has ended before its folder goes.
    drop(runtime);
    match outcome {
        Ok(outcome) if good(&outcome) => Ok((outcome, None)),
        Ok(outcome) => Ok((outcome, Some(folder.keep()))),
        Err(error) if error.is::<Interrupted>() => Err(error),
        Err(error) => Err(error).with_context(|| format!("data and logs are in {}", folder.keep().display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_stays_only_when_something_is_wrong() {
        let path = async |folder: &Path| Ok(folder.to_owned());
        let (folder, kept) = within(path, |_| true).unwrap();
        assert!(!folder.exists() && kept.is_none());
        let (folder, kept) = within(path, |_| false).unwrap();
        assert!(folder.is_dir());
        assert_eq!(kept, Some(folder.clone()));
        std::fs::remove_dir(folder).unwrap();
    }

    #[test]
    fn a_failure_names_the_folder() {
        let mut made = PathBuf::new();
        let failing = async |folder: &Path| {
            made = folder.to_owned();
            anyhow::bail!("no Redis")
        };
        let error = within::<()>(failing, |()| true).unwrap_err();
        assert!(error.to_string().contains(&made.display().to_string()));
        assert!(format!("{error:#}").contains("no Redis"));
        std::fs::remove_dir(made).unwrap();
    }
}
