//! kube-controller-manager and kube-scheduler.

use super::Component;
use crate::paths::StateDir;

pub(super) fn manager(state: &StateDir) -> Component {
    Component::new(
        "kube-controller-manager",
        [
            format!("--kubeconfig={}", state.text("config/controller-manager.kubeconfig")),
            "--bind-address=127.0.0.1".into(),
            "--leader-elect=false".into(),
            // The identity of the whole may do little; each controller has a role of its own.
            "--use-service-account-credentials=true".into(),
            format!(
                "--service-account-private-key-file={}",
                state.text("pki/service-accounts.key")
            ),
            // Pods with a service account wait for this certificate in their namespace.
            format!("--root-ca-file={}", state.text("pki/ca.crt")),
            // One node, many tests: the defaults make a burst of pods wait seconds for no reason.
            "--kube-api-qps=200".into(),
            "--kube-api-burst=400".into(),
            "--pvclaimbinder-sync-period=3s".into(),
        ],
    )
}

pub(super) fn scheduler(state: &StateDir) -> Component {
    Component::new(
        "kube-scheduler",
        [
            format!("--kubeconfig={}", state.text("config/scheduler.kubeconfig")),
            "--bind-address=127.0.0.1".into(),
            "--leader-elect=false".into(),
        ],
    )
}
