//! What a cluster left behind: reads only. The proof of `down`.

use crate::{
    cgroup::{self, Hierarchies},
    helper::HELPER,
    paths::StateDir,
};
use anyhow::Context as _;
use std::{collections::BTreeSet, fs, path::Path, process::Command};

/// What can be named as this cluster's own: processes, mounts, control groups, files. Empty after [`down`](crate::down).
pub fn residue(state_dir: &Path) -> anyhow::Result<Vec<String>> {
    let state = StateDir::new(state_dir)?;
    let mut left: Vec<String> = cgroup::processes(&state)?
        .iter()
        .map(|pid| format!("process {pid}"))
        .collect();
    left.extend(helpers(&state)?.iter().map(|pid| format!("helper process {pid}")));
    left.extend(
        cgroup::folders(&state)?
            .iter()
            .map(|folder| format!("control group {}", folder.display())),
    );
    let root = state.root().display().to_string();
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    left.extend(
        mounts
            .lines()
            .filter(|line| line.contains(&root))
            .map(|line| format!("mount {line}")),
    );
    if state.root().exists() {
        left.push(format!("folder {root}"));
    }
    Ok(left)
}

/// Helper processes of this cluster that are in no control group of it: none, or something is wrong.
fn helpers(state: &StateDir) -> anyhow::Result<Vec<String>> {
    let wanted = state.root().as_os_str().as_encoded_bytes();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let arguments = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let arguments: Vec<&[u8]> = arguments.split(|byte| *byte == 0).collect();
        if arguments.contains(&HELPER.as_bytes()) && arguments.contains(&wanted) {
            found.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(found)
}

/// Settings of the machine that some part of Kubernetes is known to write.
const SETTINGS: [&str; 13] = [
    "vm.overcommit_memory",
    "vm.panic_on_oom",
    "kernel.panic",
    "kernel.panic_on_oops",
    "kernel.keys.root_maxkeys",
    "kernel.keys.root_maxbytes",
    "net.ipv4.ip_forward",
    "net.ipv4.conf.all.route_localnet",
    "net.ipv4.conf.all.forwarding",
    "net.bridge.bridge-nf-call-iptables",
    "net.netfilter.nf_conntrack_max",
    "net.netfilter.nf_conntrack_tcp_be_liberal",
    "fs.inotify.max_user_instances",
];

/// The parts of the host that a cluster must leave as they are: mounts, interfaces, routes, packet filter, top-level control groups, settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    facts: BTreeSet<String>,
}

impl Snapshot {
    /// Looks at the host now.
    pub fn take() -> anyhow::Result<Self> {
        let mut facts = BTreeSet::new();
        for line in fs::read_to_string("/proc/self/mountinfo")?.lines() {
            // The numbers at the front depend on the namespace that is asked.
            facts.insert(format!("mount {}", line.splitn(4, ' ').nth(3).unwrap_or(line)));
        }
        for entry in fs::read_dir("/sys/class/net")?.flatten() {
            facts.insert(format!("interface {}", entry.file_name().display()));
        }
        for name in SETTINGS {
            let path = Path::new("/proc/sys").join(name.replace('.', "/"));
            let value = fs::read_to_string(path).unwrap_or_else(|_| "absent".into());
            facts.insert(format!("setting {name} = {}", value.trim()));
        }
        for (what, program, arguments) in [
            ("rule", "nft", ["list", "ruleset"].as_slice()),
            ("route", "ip", &["route", "show", "table", "all"]),
            ("network namespace", "ip", &["netns", "list"]),
        ] {
            let output = Command::new(program)
                .args(arguments)
                .output()
                .with_context(|| format!("start {program}"))?;
            facts.extend(
                String::from_utf8_lossy(&output.stdout)
                    .lines()
                    .map(|line| format!("{what} {}", line.trim())),
            );
        }
        facts.extend(control_groups()?);
        for folder in [
            "/etc/cni",
            "/var/lib/cni",
            "/var/lib/kubelet",
            "/var/lib/containerd",
            "/run/containerd",
            "/var/log/pods",
            "/opt/containerd",
            "/opt/cni",
        ] {
            if Path::new(folder).exists() {
                facts.insert(format!("folder {folder}"));
            }
        }
        Ok(Self { facts })
    }

    /// What is different in `later`, one line a fact: `+` for what was added, `-` for what is gone.
    pub fn changes(&self, later: &Self) -> Vec<String> {
        let gone = self.facts.difference(&later.facts).map(|fact| format!("- {fact}"));
        gone.chain(later.facts.difference(&self.facts).map(|fact| format!("+ {fact}")))
            .collect()
    }
}

/// The top-level groups of every hierarchy, but for those of clusters, which [`residue`] looks for by name.
fn control_groups() -> anyhow::Result<Vec<String>> {
    let hierarchies = Hierarchies::of_this_machine()?;
    let roots = hierarchies.v1.iter().map(|(root, _)| root).chain(&hierarchies.v2);
    let mut groups = Vec::new();
    for root in roots {
        for entry in fs::read_dir(root)?.flatten() {
            let name = entry.file_name();
            if entry.path().is_dir() && !name.to_string_lossy().starts_with("shopwright-") {
                groups.push(format!("control group {}", entry.path().display()));
            }
        }
    }
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_named_both_ways() {
        let facts = |list: &[&str]| Snapshot {
            facts: list.iter().map(|&fact| fact.to_owned()).collect(),
        };
        let changes = facts(&["a", "b"]).changes(&facts(&["b", "c"]));
        assert_eq!(changes, ["- a", "+ c"]);
    }

    #[test]
    fn a_left_folder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let left = residue(folder.path()).unwrap();
        assert_eq!(left.len(), 1);
        assert!(left[0].starts_with("folder "));
    }
}
