//! etcd and kube-apiserver.

use super::{Component, NODE_ADDRESS, SERVICE_NETWORK};
use crate::paths::StateDir;

/// Who did what to which object, without bodies. Health checks and each component's own leases would drown the rest.
pub(super) const AUDIT_POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  nonResourceURLs: ['/readyz*', '/livez*', '/healthz*', '/version', '/openapi*']
- level: None
  users: ['system:apiserver', 'system:kube-scheduler', 'system:kube-controller-manager', 'system:kube-proxy', 'system:coredns']
- level: None
  userGroups: ['system:nodes', 'system:serviceaccounts:kube-system']
- level: Metadata
";

pub(super) fn etcd(state: &StateDir) -> Component {
    Component::new(
        "etcd",
        [
            format!("--data-dir={}", state.text("etcd")),
            "--listen-client-urls=http://127.0.0.1:2379".into(),
            "--advertise-client-urls=http://127.0.0.1:2379".into(),
            "--listen-peer-urls=http://127.0.0.1:2380".into(),
            // The store is deleted with the cluster: nothing here has to outlive a power cut.
            "--unsafe-no-fsync".into(),
            "--log-level=warn".into(),
        ],
    )
}

pub(super) fn component(state: &StateDir) -> Component {
    let pki = |name: &str| state.text(&format!("pki/{name}"));
    Component::new(
        "kube-apiserver",
        [
            "--etcd-servers=http://127.0.0.1:2379".into(),
            "--bind-address=0.0.0.0".into(),
            "--secure-port=6443".into(),
            // Endpoints on loopback are refused, so pods would never find the API.
            format!("--advertise-address={NODE_ADDRESS}"),
            format!("--service-cluster-ip-range={SERVICE_NETWORK}"),
            "--authorization-mode=Node,RBAC".into(),
            "--enable-admission-plugins=NodeRestriction".into(),
            "--allow-privileged=true".into(),
            format!("--client-ca-file={}", pki("ca.crt")),
            format!("--tls-cert-file={}", pki("apiserver.crt")),
            format!("--tls-private-key-file={}", pki("apiserver.key")),
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local".into(),
            format!("--service-account-signing-key-file={}", pki("service-accounts.key")),
            format!("--service-account-key-file={}", pki("service-accounts.pub")),
            // Logs and exec: the node's name resolves nowhere, its address does.
            "--kubelet-preferred-address-types=InternalIP".into(),
            format!("--kubelet-client-certificate={}", pki("apiserver-kubelet.crt")),
            format!("--kubelet-client-key={}", pki("apiserver-kubelet.key")),
            // Aggregated APIs (metrics adapters).
            format!("--requestheader-client-ca-file={}", pki("ca.crt")),
            "--requestheader-allowed-names=front-proxy-client".into(),
            "--requestheader-username-headers=X-Remote-User".into(),
            "--requestheader-group-headers=X-Remote-Group".into(),
            "--requestheader-extra-headers-prefix=X-Remote-Extra-".into(),
            format!("--proxy-client-cert-file={}", pki("front-proxy.crt")),
            format!("--proxy-client-key-file={}", pki("front-proxy.key")),
            format!("--audit-policy-file={}", state.text("config/audit.yaml")),
            format!("--audit-log-path={}", state.audit_log().display()),
            // Tests read the whole log, so it is never rotated.
            "--audit-log-maxsize=4096".into(),
        ],
    )
}
