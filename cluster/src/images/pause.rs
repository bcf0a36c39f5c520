//! The image that holds a pod's namespaces open.

use super::{Built, Program, single};
use crate::toolchain::Kubernetes;
use anyhow::Context as _;

/// Writes the sandbox image beside the binaries it was built with.
pub fn pause(kubernetes: &Kubernetes) -> anyhow::Result<Built> {
    let program = Program {
        name: "pause",
        title: "Holds a pod's namespaces open",
    };
    let folder = kubernetes.bin_dir().parent().context("the binaries lie in no folder")?;
    single(program, "1", &kubernetes.program("pause"), folder)
}
