//! The objects that a fresh cluster is given: DNS, the default StorageClass and its volumes.

use super::{DNS_ADDRESS, NODE_ADDRESS, NODE_NAME, VOLUMES};
use crate::paths::StateDir;
use std::fmt::Write as _;

const STORAGE_CLASS: &str = "\
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata:
  name: local
  annotations: {storageclass.kubernetes.io/is-default-class: 'true'}
provisioner: kubernetes.io/no-provisioner
volumeBindingMode: WaitForFirstConsumer
";

/// What makes names resolve.
pub(super) fn names() -> String {
    format!(
        r#"apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {{name: "system:coredns"}}
rules:
- apiGroups: [""]
  resources: [services, pods, namespaces]
  verbs: [list, watch]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list, watch]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{name: "system:coredns"}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:coredns"}}
subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: "system:coredns"}}]
---
apiVersion: v1
kind: Service
metadata: {{name: kube-dns, namespace: kube-system, labels: {{k8s-app: kube-dns}}}}
spec:
  clusterIP: {DNS_ADDRESS}
  ports:
  - {{name: dns, port: 53, protocol: UDP}}
  - {{name: dns-tcp, port: 53, protocol: TCP}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: kube-dns
  namespace: kube-system
  labels: {{kubernetes.io/service-name: kube-dns, endpointslice.kubernetes.io/managed-by: shopwright}}
addressType: IPv4
ports:
- {{name: dns, port: 53, protocol: UDP}}
- {{name: dns-tcp, port: 53, protocol: TCP}}
endpoints:
- {{addresses: [{NODE_ADDRESS}], conditions: {{ready: true}}}}
"#
    )
}

/// The default StorageClass and its pool of volumes.
pub(super) fn volumes(state: &StateDir) -> String {
    let mut text = STORAGE_CLASS.to_owned();
    for number in 1..=VOLUMES {
        let _ = write!(text, "---\n{}", volume(state, &format!("local-{number:02}")));
    }
    text
}

/// One volume of the pool: a folder that the kubelet binds into the pod, so that `fsGroup` is obeyed.
pub(crate) fn volume(state: &StateDir, name: &str) -> String {
    let path = state.text(&format!("volumes/{name}"));
    format!(
        r"apiVersion: v1
kind: PersistentVolume
metadata: {{name: {name}, labels: {{shopwright.dev/pool: local}}}}
spec:
  capacity: {{storage: 2Gi}}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Retain
  storageClassName: local
  local: {{path: {path}}}
  nodeAffinity:
    required:
      nodeSelectorTerms:
      - matchExpressions:
        - {{key: kubernetes.io/hostname, operator: In, values: [{NODE_NAME}]}}
"
    )
}
