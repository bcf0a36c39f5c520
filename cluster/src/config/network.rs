//! The network plugin's configuration, and kube-proxy.

use super::{BRIDGE, Component, NODE_NAME, POD_NETWORK};
use crate::paths::StateDir;

/// A bridge in the cluster's network namespace. There is no way out of it, so nothing is masqueraded.
pub(super) fn plugin(state: &StateDir) -> String {
    let addresses = state.text("addresses");
    format!(
        r#"{{
  "cniVersion": "1.0.0",
  "name": "shopwright",
  "plugins": [
    {{
      "type": "bridge",
      "bridge": "{BRIDGE}",
      "isDefaultGateway": true,
      "hairpinMode": true,
      "ipam": {{
        "type": "host-local",
        "dataDir": "{addresses}",
        "ranges": [[{{"subnet": "{POD_NETWORK}", "rangeStart": "10.88.0.10"}}]]
      }}
    }}
  ]
}}
"#
    )
}

pub(super) fn proxy(state: &StateDir) -> Component {
    Component::new("kube-proxy", [format!("--config={}", state.text("config/proxy.yaml"))])
}

pub(super) fn proxy_config(state: &StateDir) -> String {
    let kubeconfig = state.text("config/proxy.kubeconfig");
    format!(
        r"apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {{kubeconfig: {kubeconfig}}}
mode: nftables
clusterCIDR: {POD_NETWORK}
hostnameOverride: {NODE_NAME}
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
# Anything above zero is a write to a sysctl that belongs to the whole machine.
conntrack: {{maxPerCore: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}}
# A new endpoint is usable at once; there are never so many here that bundling pays.
nftables: {{minSyncPeriod: 100ms}}
"
    )
}
