//! Builds the pinned Kubernetes from its Go modules into the cache, once per content of `cluster/go`.

use crate::paths::{cache_dir, hex, workspace_dir};
use anyhow::{Context as _, bail};
use rustix::fs::{FlockOperation, flock};
use sha2::{Digest as _, Sha256};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// One `go build`: the folder below `cluster/go`, what the linker is told, and the packages, each of which becomes one binary
/// that is named as the last part of its path. A package written `name=path` becomes `name`.
struct Recipe {
    module: &'static str,
    linker_flags: &'static str,
    packages: &'static [&'static str],
}

const RECIPES: [Recipe; 3] = [
    Recipe {
        module: "kubernetes",
        // Without these the node reports version v0.0.0-master, which rules about version skew read.
        linker_flags: "-X k8s.io/component-base/version.gitVersion=v1.37.2 -X k8s.io/component-base/version.gitMajor=1 \
                       -X k8s.io/component-base/version.gitMinor=37 -X k8s.io/component-base/version.gitTreeState=clean",
        packages: &[
            "k8s.io/kubernetes/cmd/kube-apiserver",
            "k8s.io/kubernetes/cmd/kube-controller-manager",
            "k8s.io/kubernetes/cmd/kube-scheduler",
            "k8s.io/kubernetes/cmd/kubelet",
            "k8s.io/kubernetes/cmd/kube-proxy",
            "k8s.io/kubernetes/cmd/kubectl",
        ],
    },
    Recipe {
        module: "runtime",
        linker_flags: "-X github.com/containerd/containerd/v2/version.Version=v2.4.2",
        packages: &[
            "github.com/containerd/containerd/v2/cmd/containerd",
            "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
            "github.com/containerd/containerd/v2/cmd/ctr",
            "etcd=go.etcd.io/etcd/server/v3",
            "./coredns",
            "./pause",
        ],
    },
    Recipe {
        module: "tools",
        linker_flags: "-X helm.sh/helm/v4/internal/version.version=v4.3.1",
        packages: &[
            "helm.sh/helm/v4/cmd/helm",
            "github.com/containernetworking/plugins/plugins/main/bridge",
            "github.com/containernetworking/plugins/plugins/main/loopback",
            "github.com/containernetworking/plugins/plugins/ipam/host-local",
        ],
    },
];

/// The built binaries of one pinned Kubernetes.
#[derive(Clone, Debug)]
pub struct Kubernetes {
    bin: PathBuf,
}

impl Kubernetes {
    /// The binaries of this source tree, built now if the cache does not hold them: some ten minutes on two cores, once.
    ///
    /// `on_step` hears what is built. Two callers at once build once.
    pub fn build(on_step: &mut dyn FnMut(&str)) -> anyhow::Result<Self> {
        let modules = workspace_dir().join("cluster/go");
        let home = cache_dir()?.join("kubernetes");
        fs::create_dir_all(&home)?;
        let key = key(&modules)?;
        let found = Self {
            bin: home.join(&key).join("bin"),
        };
        if found.bin.exists() {
            return Ok(found);
        }
        let lock = fs::File::create(home.join("lock"))?;
        flock(&lock, FlockOperation::LockExclusive).context("wait for another build of Kubernetes")?;
        if found.bin.exists() {
            return Ok(found);
        }
        let unfinished = tempfile::Builder::new().prefix("unfinished-").tempdir_in(&home)?;
        let bin = unfinished.path().join("bin");
        fs::create_dir(&bin)?;
        for recipe in &RECIPES {
            on_step(&format!("building {} (Go)", recipe.module));
            build(&modules.join(recipe.module), recipe, &bin)?;
        }
        // Only a whole set ever gets the name that others look for.
        fs::rename(unfinished.keep(), home.join(&key)).context("move the finished binaries to their place")?;
        Ok(found)
    }

    /// The binaries if they are in the cache already.
    pub fn cached() -> anyhow::Result<Option<Self>> {
        let key = key(&workspace_dir().join("cluster/go"))?;
        let bin = cache_dir()?.join("kubernetes").join(key).join("bin");
        Ok(bin.exists().then_some(Self { bin }))
    }

    /// The binaries in `bin`, wherever they come from.
    pub(crate) fn at(bin: PathBuf) -> Self {
        Self { bin }
    }

    /// The folder that holds every binary.
    pub fn bin_dir(&self) -> &Path {
        &self.bin
    }

    /// The path of one binary.
    pub fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }
}

fn build(module: &Path, recipe: &Recipe, bin: &Path) -> anyhow::Result<()> {
    let (renamed, plain): (Vec<&str>, Vec<&str>) = recipe.packages.iter().partition(|package| package.contains('='));
    run_go(module, recipe.linker_flags, bin, &plain)?;
    for package in renamed {
        let (name, path) = package.split_once('=').unwrap_or((package, package));
        run_go(module, recipe.linker_flags, &bin.join(name), &[path])?;
    }
    Ok(())
}

/// Builds `packages` of the Go module in the folder `module` as static binaries to `output`.
pub(crate) fn run_go(module: &Path, linker_flags: &str, output: &Path, packages: &[&str]) -> anyhow::Result<()> {
    let result = Command::new("go")
        .current_dir(module)
        // A workspace file above the folder, or flags of the environment, must not change what is pinned here.
        .env("GOWORK", "off")
        .env("GOFLAGS", "-mod=readonly -buildvcs=false")
        .env("CGO_ENABLED", "0")
        .args(["build", "-trimpath", "-ldflags", &format!("-s -w {linker_flags}"), "-o"])
        .arg(output)
        .args(packages)
        .output()
        .context("start go")?;
    if !result.status.success() {
        let errors = String::from_utf8_lossy(&result.stderr);
        let last: Vec<&str> = errors.lines().rev().take(20).collect();
        bail!(
            "go build in {} failed:\n{}",
            module.display(),
            last.into_iter().rev().collect::<Vec<_>>().join("\n")
        );
    }
    Ok(())
}

/// Sixteen digits that change with any file below `modules` and with the recipes.
fn key(modules: &Path) -> anyhow::Result<String> {
    let mut hash = digest_of(modules)?;
    for recipe in &RECIPES {
        hash.update(format!(
            "{}\0{}\0{}\0",
            recipe.module,
            recipe.linker_flags,
            recipe.packages.join(" ")
        ));
    }
    Ok(short(hash))
}

/// Sixteen digits that change with any file below `folder`.
pub(crate) fn key_of(folder: &Path) -> anyhow::Result<String> {
    digest_of(folder).map(short)
}

fn digest_of(folder: &Path) -> anyhow::Result<Sha256> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files.sort();
    let mut hash = Sha256::new();
    for file in files {
        let name = file.strip_prefix(folder)?.display().to_string();
        let content = fs::read(&file).with_context(|| file.display().to_string())?;
        hash.update(format!("{name}\0{}\0", content.len()));
        hash.update(content);
    }
    Ok(hash)
}

fn short(hash: Sha256) -> String {
    let mut key = hex(&hash.finalize());
    key.truncate(16);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_follows_the_content() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("kubernetes")).unwrap();
        let lock = folder.path().join("kubernetes/go.sum");
        fs::write(&lock, "one").unwrap();
        let before = key(folder.path()).unwrap();
        assert_eq!(before, key(folder.path()).unwrap());
        assert_eq!(before.len(), 16);
        fs::write(&lock, "two").unwrap();
        assert_ne!(before, key(folder.path()).unwrap());
    }

    /// A tool that the lock files name and no recipe builds, or the reverse, is a mistake in one of the two.
    #[test]
    fn recipes_and_lock_files_name_the_same_tools() {
        for recipe in &RECIPES {
            let text =
                fs::read_to_string(workspace_dir().join("cluster/go").join(recipe.module).join("go.mod")).unwrap();
            let block = text.split_once("tool (").unwrap().1.split_once(')').unwrap().0;
            let mut pinned: Vec<&str> = block.split_whitespace().collect();
            let mut built: Vec<&str> = recipe
                .packages
                .iter()
                .map(|package| package.rsplit('=').next().unwrap())
                .collect();
            built.retain(|package| !package.starts_with("./"));
            pinned.sort_unstable();
            built.sort_unstable();
            assert_eq!(pinned, built, "{}", recipe.module);
        }
    }
}
