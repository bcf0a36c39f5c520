//! The product's own programs: built static, one image each. Runs cargo in the workspace, with a target folder of its own.

use super::{Built, Program, VERSION, single};
use crate::paths::workspace_dir;
use anyhow::{Context as _, bail};
use std::{env, path::Path, process::Command};

const TARGET: &str = "x86_64-unknown-linux-gnu";

impl Program {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self {
            name: "shopwright-operator",
            title: "Shopwright operator",
        },
        Self {
            name: "shopwright-inventory",
            title: "Shopwright inventory service",
        },
        Self {
            name: "shopwright-payments",
            title: "Shopwright payments service",
        },
        Self {
            name: "shopwright-storefront",
            title: "Shopwright storefront",
        },
    ];
}

/// Compiles `programs` and writes an image of each to `folder`, in their order.
pub fn build(programs: &[Program], folder: &Path) -> anyhow::Result<Vec<Built>> {
    // Beside the development build, so that caches of the one are caches of the other; apart from it, because the flags differ.
    let target_dir = env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| workspace_dir().join("target"), |folder| workspace_dir().join(folder))
        .join("images");
    compile(programs, &target_dir)?;
    let release = target_dir.join(TARGET).join("release");
    programs
        .iter()
        .map(|program| single(*program, VERSION, &release.join(program.name), folder))
        .collect()
}

fn compile(programs: &[Program], target_dir: &Path) -> anyhow::Result<()> {
    let workspace = workspace_dir();
    let cargo_home = env::var("CARGO_HOME")
        .or_else(|_| env::var("HOME").map(|home| format!("{home}/.cargo")))
        .unwrap_or_default();
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .current_dir(&workspace)
        // Static, so that an image holds one file; and free of this machine's paths, so that others get the same digest.
        .env(
            "RUSTFLAGS",
            format!(
                // The workspace's own paths are relative already.
                "-C target-feature=+crt-static --remap-path-prefix={cargo_home}=/cargo",
            ),
        )
        .env("CARGO_TARGET_DIR", target_dir)
        .args(["build", "--release", "--locked", "--target", TARGET]);
    for program in programs {
        command.args(["--package", program.name, "--bin", program.name]);
    }
    let output = command.output().context("start cargo")?;
    if !output.status.success() {
        bail!(
            "cargo build of the images' programs failed:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}
