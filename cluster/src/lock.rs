//! One start or end at a time per cluster: a file lock beside the cache, which the kernel frees however the holder ends.

use crate::paths::{StateDir, cache_dir};
use anyhow::Context as _;
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File};

/// Held until the file is dropped.
pub(crate) fn hold(state: &StateDir) -> anyhow::Result<File> {
    let folder = cache_dir()?.join("locks");
    fs::create_dir_all(&folder)?;
    let file = File::create(folder.join(state.cgroup()))?;
    flock(&file, FlockOperation::LockExclusive).context("wait for another start or end of this cluster")?;
    Ok(file)
}
