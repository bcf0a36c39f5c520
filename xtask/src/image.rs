//! The images as OCI archives in a folder, for a cluster of one's own.

use std::path::Path;

use anyhow::{Context, Result};

use crate::install::Images;

/// Builds the images of the product's own programs and writes one archive each to `output`.
pub(crate) fn run(output: &Path) -> Result<()> {
    std::fs::create_dir_all(output)?;
    for (name, built) in Images::build()?.programs {
        let target = output.join(format!("{name}.tar"));
        std::fs::copy(&built.archive, &target).with_context(|| format!("cannot write {}", target.display()))?;
        let size = std::fs::metadata(&target)?.len();
        println!("{}  {:.1} MB  {}", target.display(), megabytes(size), built.reference);
    }
    Ok(())
}

#[allow(clippy::cast_precision_loss, reason = "a size for people, with one decimal")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1_000_000.0
}
