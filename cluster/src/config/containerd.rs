//! containerd: its own root, state and socket, the pinned sandbox image, the network plugins of the cache.

use super::{CONTAINERD_SOCKET, Component};
use crate::{paths::StateDir, toolchain::Kubernetes};

pub(super) fn component(state: &StateDir) -> Component {
    Component::new("containerd", ["--config".into(), state.text("config/containerd.toml")])
}

pub(super) fn config(state: &StateDir, kubernetes: &Kubernetes, pause: &str) -> String {
    let root = state.text("containerd");
    let temporary = state.text("tmp");
    let plugins = kubernetes.bin_dir().display();
    let network = state.text("config/cni");
    format!(
        r#"version = 3
root = "{root}"
state = "/run/containerd"
temp = "{temporary}"
# Plugins for other snapshotters, tracing and node resource interfaces: nothing here uses them, and some write outside the root.
disabled_plugins = [
  "io.containerd.internal.v1.opt",
  "io.containerd.internal.v1.tracing",
  "io.containerd.nri.v1.nri",
  "io.containerd.snapshotter.v1.blockfile",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.erofs",
  "io.containerd.snapshotter.v1.zfs",
  "io.containerd.tracing.processor.v1.otlp",
]

[grpc]
address = "{CONTAINERD_SOCKET}"

[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{pause}"

[plugins."io.containerd.cri.v1.runtime"]
# Where the capability SYS_RESOURCE is missing, lowering oom_score_adj kills every sandbox at its start.
restrict_oom_score_adj = true

[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["{plugins}"]
conf_dir = "{network}"

[plugins."io.containerd.cri.v1.runtime".containerd]
default_runtime_name = "runc"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
SystemdCgroup = false
"#
    )
}
