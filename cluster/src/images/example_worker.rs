//! The worker of `examples/consumer-group`, built from its Go module into the cache, once per content of its folder.

use super::{Built, Program, VERSION, single};
use crate::{
    paths::{cache_dir, workspace_dir},
    toolchain,
};
use anyhow::Context as _;
use rustix::fs::{FlockOperation, flock};
use std::{
    fs,
    path::{Path, PathBuf},
};

const NAME: &str = "example-worker";

/// Writes the image of the example's worker to `folder`. Needs Go only when the cache does not hold this source.
pub fn example_worker(folder: &Path) -> anyhow::Result<Built> {
    let program = Program {
        name: NAME,
        title: "A worker that a ConsumerGroup scales",
    };
    single(program, VERSION, &example_worker_binary()?, folder)
}

/// The example's worker as a static binary. Two callers at once build once.
pub fn example_worker_binary() -> anyhow::Result<PathBuf> {
    let module = workspace_dir().join("examples/consumer-group/worker");
    let home = cache_dir()?.join(NAME);
    fs::create_dir_all(&home)?;
    let key = toolchain::key_of(&module)?;
    let binary = home.join(&key).join(NAME);
    let lock = fs::File::create(home.join("lock"))?;
    flock(&lock, FlockOperation::LockExclusive).context("wait for another build of the example's worker")?;
    if !binary.exists() {
        let unfinished = tempfile::Builder::new().prefix("unfinished-").tempdir_in(&home)?;
        toolchain::run_go(&module, "", &unfinished.path().join(NAME), &["."])?;
        // Only a whole binary ever gets the name that others look for.
        fs::rename(unfinished.keep(), home.join(&key)).context("move the finished binary to its place")?;
    }
    Ok(binary)
}
