//! Where things are: the state folder of one cluster, and the cache that clusters share. Pure but for reading the environment.

use anyhow::{Context as _, bail};
use sha2::{Digest as _, Sha256};
use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// Folders over which the cluster mounts something private: state kept there would vanish from its sight.
const HIDDEN_INSIDE: [&str; 4] = ["/run", "/var/run", "/var/log", "/var/lib"];

/// The state folder of one cluster and the paths in it. Everything a cluster writes to the disk is in this folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateDir {
    root: PathBuf,
}

impl StateDir {
    /// Takes an absolute or relative path, which need not exist yet.
    ///
    /// Fails on a path that the cluster would not see from inside its mount namespace.
    pub fn new(path: &Path) -> anyhow::Result<Self> {
        let root = resolve(path)?;
        if HIDDEN_INSIDE.iter().any(|hidden| root.starts_with(hidden)) || root.parent().is_none() {
            bail!(
                "{} cannot hold a cluster: choose a folder outside {}",
                root.display(),
                HIDDEN_INSIDE.join(", ")
            );
        }
        Ok(Self { root })
    }

    /// `~/.local/state/shopwright/cluster`, or below `XDG_STATE_HOME`.
    pub fn default_path() -> anyhow::Result<PathBuf> {
        Ok(base("XDG_STATE_HOME", ".local/state")?.join("shopwright/cluster"))
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A path in the folder.
    pub fn join(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root.join(path)
    }

    /// A path in the folder as text, for command lines and configuration files.
    pub fn text(&self, path: &str) -> String {
        self.root.join(path).display().to_string()
    }

    /// Twelve hexadecimal digits that tell this cluster from others on the machine.
    pub fn id(&self) -> String {
        let mut id = hex(&Sha256::digest(self.root.as_os_str().as_encoded_bytes()));
        id.truncate(12);
        id
    }

    /// Name of the cluster's own control group, the same in every hierarchy.
    pub fn cgroup(&self) -> String {
        format!("shopwright-{}", self.id())
    }

    /// The kubeconfig that works from the host, through a forwarder on loopback.
    pub fn kubeconfig(&self) -> PathBuf {
        self.join("kubeconfig")
    }

    /// One line per request that the API server answered, as JSON.
    pub fn audit_log(&self) -> PathBuf {
        self.join("logs/audit.log")
    }

    /// The log of one component (`kubelet`, `kube-apiserver`, `supervisor`, ...).
    pub fn log(&self, component: &str) -> PathBuf {
        self.join(format!("logs/{component}.log"))
    }

    /// The number that a component's process has inside the cluster, written whenever it is started.
    pub(crate) fn process(&self, component: &str) -> PathBuf {
        self.join(format!("tmp/{component}.pid"))
    }

    /// The steps of the boot so far, one a line.
    pub(crate) fn steps(&self) -> PathBuf {
        self.join("logs/boot.log")
    }

    /// Exists once the cluster answered everything that `up` promises.
    pub(crate) fn ready(&self) -> PathBuf {
        self.join("ready")
    }

    /// Exists, with the reason, once the boot failed.
    pub(crate) fn failed(&self) -> PathBuf {
        self.join("failed")
    }

    /// Exists in every folder that `up` made, and lets `down` refuse to delete any other.
    pub(crate) fn marker(&self) -> PathBuf {
        self.join(".shopwright-cluster")
    }
}

/// `~/.cache/shopwright`, or below `XDG_CACHE_HOME`.
pub fn cache_dir() -> anyhow::Result<PathBuf> {
    Ok(base("XDG_CACHE_HOME", ".cache")?.join("shopwright"))
}

/// The folder of the workspace that this crate was compiled in.
pub fn workspace_dir() -> PathBuf {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_dir.parent().unwrap_or(crate_dir).to_owned()
}

/// Lower-case hexadecimal digits of `bytes`.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn base(variable: &str, below_home: &str) -> anyhow::Result<PathBuf> {
    if let Some(path) = env::var_os(variable).filter(|path| Path::new(path).is_absolute()) {
        return Ok(path.into());
    }
    let home = env::var_os("HOME").context("HOME is not set")?;
    Ok(Path::new(&home).join(below_home))
}

/// Resolves links in the part of the path that exists, so that one folder has one identity.
fn resolve(path: &Path) -> anyhow::Result<PathBuf> {
    let absolute = std::path::absolute(path)?;
    let mut missing = Vec::new();
    let mut existing = absolute.as_path();
    loop {
        if let Ok(real) = fs::canonicalize(existing) {
            return Ok(missing.iter().rev().fold(real, |path, name| path.join(name)));
        }
        let (Some(parent), Some(name)) = (existing.parent(), existing.file_name()) else {
            bail!("{} has no existing parent folder", absolute.display());
        };
        missing.push(name);
        existing = parent;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_folder_has_one_identity() {
        let folder = tempfile::tempdir().unwrap();
        let plain = StateDir::new(&folder.path().join("a")).unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(folder.path(), &link).unwrap();
        assert_eq!(plain, StateDir::new(&link.join("a")).unwrap());
        assert_ne!(plain.id(), StateDir::new(&folder.path().join("b")).unwrap().id());
        assert_eq!(plain.id().len(), 12);
    }

    #[test]
    fn a_folder_that_the_cluster_would_not_see_is_refused() {
        for hidden in ["/run/x", "/var/lib/shop", "/var/log", "/"] {
            assert!(StateDir::new(Path::new(hidden)).is_err(), "{hidden}");
        }
    }
}
