//! `CoreDNS`, as a process on the node: no image, and there before the first pod.

use super::Component;
use crate::paths::StateDir;

pub(super) fn component(state: &StateDir) -> Component {
    Component::new("coredns", ["-conf".into(), state.text("config/Corefile")])
}

/// Answers are not cached: a Service made a moment ago resolves now. Names outside the cluster are refused, there is no way out.
pub(super) fn corefile(state: &StateDir) -> String {
    let kubeconfig = state.text("config/coredns.kubeconfig");
    format!(
        "\
.:53 {{
    errors
    health 127.0.0.1:8053
    ready 127.0.0.1:8054
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {kubeconfig}
        ttl 5
    }}
}}
"
    )
}
