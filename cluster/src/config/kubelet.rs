//! kubelet.

use super::{CONTAINERD_SOCKET, Component, DNS_ADDRESS, NODE_ADDRESS, NODE_NAME};
use crate::paths::StateDir;

pub(super) fn component(state: &StateDir) -> Component {
    Component::new(
        "kubelet",
        [
            format!("--config={}", state.text("config/kubelet.yaml")),
            format!("--kubeconfig={}", state.text("config/kubelet.kubeconfig")),
            format!("--root-dir={}", state.text("kubelet")),
            format!("--cert-dir={}", state.text("kubelet/pki")),
            format!("--hostname-override={NODE_NAME}"),
            // Without it the address is guessed from a network that has no way out, and logs say "no preferred addresses".
            format!("--node-ip={NODE_ADDRESS}"),
        ],
    )
}

pub(super) fn config(state: &StateDir) -> String {
    let authority = state.text("pki/ca.crt");
    let plugins = state.text("kubelet/volume-plugins");
    let cgroup = state.cgroup();
    format!(
        r#"apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix://{CONTAINERD_SOCKET}
cgroupRoot: /{cgroup}
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
enforceNodeAllocatable: [none]
authentication:
  anonymous: {{enabled: false}}
  webhook: {{enabled: true}}
  x509: {{clientCAFile: {authority}}}
authorization: {{mode: Webhook}}
clusterDomain: cluster.local
clusterDNS: [{DNS_ADDRESS}]
# The host's own list would lead to servers that this network does not reach.
resolvConf: ""
volumePluginDir: {plugins}
# Nothing is evicted, and no image deleted, because the disk that the developer shares with the cluster is full.
evictionHard: {{memory.available: 20Mi, nodefs.available: "0.1%", nodefs.inodesFree: "0.1%", imagefs.available: "0.1%"}}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
serializeImagePulls: false
kubeAPIQPS: 200
kubeAPIBurst: 400
eventRecordQPS: 0
syncFrequency: 10s
nodeStatusUpdateFrequency: 5s
maxPods: 200
"#
    )
}
