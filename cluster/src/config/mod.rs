//! What each component is told: one file here per component, pure text. `write_all` alone touches the disk.

mod apiserver;
mod containerd;
mod controllers;
mod dns;
mod kubelet;
mod network;
mod objects;

use crate::{paths::StateDir, pki, toolchain::Kubernetes};
use std::fs;

pub(crate) use objects::volume;

/// The node's, the bridge's and the API server's address. The same in every cluster: each has a network of its own.
pub(crate) const NODE_ADDRESS: &str = "10.88.0.1";
/// Pods get addresses from here.
pub(crate) const POD_NETWORK: &str = "10.88.0.0/16";
/// Services get addresses from here.
pub(crate) const SERVICE_NETWORK: &str = "10.96.0.0/16";
/// The Service `kubernetes`: always the first address of the range.
pub(crate) const SERVICE_ADDRESS: &str = "10.96.0.1";
/// The Service `kube-dns`, as pods find it in /etc/resolv.conf.
pub(crate) const DNS_ADDRESS: &str = "10.96.0.10";
/// The one node.
pub(crate) const NODE_NAME: &str = "shopwright";
/// The bridge that pods are plugged into.
pub(crate) const BRIDGE: &str = "cni0";
/// How many `PersistentVolume`s a cluster offers.
pub(crate) const VOLUMES: usize = 32;
/// Where containerd listens: in the cluster's private /run.
pub(crate) const CONTAINERD_SOCKET: &str = "/run/containerd/containerd.sock";

/// One process of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Component {
    /// The name of its log.
    pub(crate) name: &'static str,
    /// The binary, below the cached `bin`.
    pub(crate) program: &'static str,
    pub(crate) arguments: Vec<String>,
}

impl Component {
    fn new<const N: usize>(name: &'static str, arguments: [String; N]) -> Self {
        Self {
            name,
            program: name,
            arguments: arguments.into(),
        }
    }
}

/// What needs no API server: started at once.
pub(crate) fn foundation(state: &StateDir) -> Vec<Component> {
    vec![
        containerd::component(state),
        apiserver::etcd(state),
        apiserver::component(state),
    ]
}

/// What ends, or waits long, without an API server: started once it answers.
pub(crate) fn upper_floor(state: &StateDir) -> Vec<Component> {
    vec![
        kubelet::component(state),
        controllers::manager(state),
        controllers::scheduler(state),
        network::proxy(state),
    ]
}

/// What reads the first objects' rules: started once they are there, because a refusal makes it wait longer each time.
pub(crate) fn name_server(state: &StateDir) -> Component {
    dns::component(state)
}

/// Writes every configuration file, below `config/` in the state folder. `pause` is the reference of the sandbox image.
pub(crate) fn write_all(state: &StateDir, kubernetes: &Kubernetes, pause: &str) -> anyhow::Result<()> {
    for folder in ["config/cni", "logs", "tmp", "kubelet", "etcd", "containerd"] {
        fs::create_dir_all(state.join(folder))?;
    }
    for (name, ..) in pki::CLIENTS {
        let text = kubeconfig(state, name, &format!("https://{NODE_ADDRESS}:6443"));
        pki::write_secret(&state.join(format!("config/{name}.kubeconfig")), &text)?;
    }
    let files = [
        ("audit.yaml", apiserver::AUDIT_POLICY.to_owned()),
        ("containerd.toml", containerd::config(state, kubernetes, pause)),
        ("cni/10-bridge.conflist", network::plugin(state)),
        ("proxy.yaml", network::proxy_config(state)),
        ("kubelet.yaml", kubelet::config(state)),
        ("Corefile", dns::corefile(state)),
        ("names.yaml", objects::names()),
        ("volumes.yaml", objects::volumes(state)),
    ];
    for (name, text) in files {
        fs::write(state.join("config").join(name), text)?;
    }
    Ok(())
}

/// A kubeconfig that names the client's certificate by file.
pub(crate) fn kubeconfig(state: &StateDir, client: &str, server: &str) -> String {
    let pki = state.text("pki");
    format!(
        "\
apiVersion: v1
kind: Config
clusters:
- name: shopwright
  cluster:
    server: {server}
    certificate-authority: {pki}/ca.crt
users:
- name: {client}
  user:
    client-certificate: {pki}/{client}.crt
    client-key: {pki}/{client}.key
contexts:
- name: shopwright
  context: {{cluster: shopwright, user: {client}}}
current-context: shopwright
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn all_that_is_written_lies_in_the_state_folder() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::new(&folder.path().join("a")).unwrap();
        fs::create_dir_all(state.root()).unwrap();
        pki::write(&state).unwrap();
        write_all(&state, &Kubernetes::at("/cache/bin".into()), "shopwright.local/pause:1").unwrap();
        let root = state.root().display().to_string();
        for component in foundation(&state).into_iter().chain(upper_floor(&state)) {
            for argument in component.arguments {
                let value = argument.split_once('=').map_or(argument.as_str(), |(_, value)| value);
                assert!(
                    !Path::new(value).is_absolute() || value.starts_with(&root),
                    "{}: {argument}",
                    component.name
                );
                if let Some(path) = value.strip_prefix(&root).filter(|path| path.starts_with("/config")) {
                    assert!(state.root().join(&path[1..]).exists(), "{argument} names no file");
                }
            }
        }
    }

    #[test]
    fn only_the_owner_reads_keys() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::new(folder.path()).unwrap();
        pki::write(&state).unwrap();
        for entry in fs::read_dir(state.join("pki")).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().unwrap() == "key" {
                assert_eq!(
                    path.metadata().unwrap().permissions().mode() & 0o777,
                    0o600,
                    "{}",
                    path.display()
                );
            }
        }
    }
}
