//! What this machine lacks, all of it at once, each with its fix. Reads, and tries the kernel in a namespace that is thrown away.

use crate::{cgroup::Hierarchies, paths::cache_dir};
use anyhow::{Context as _, bail};
use std::{env, fmt, fs, path::Path, process::Command};

/// Free space that a first run needs: Go's caches, the binaries, the Rust target folder, the images.
const DISK_BYTES: u64 = 20 << 30;
/// The oldest Go, minor and patch, that the modules below `go/` allow.
const OLDEST_GO: (u32, u32) = (26, 6);
const MEMORY_KIBIBYTES: u64 = 4 << 20;

/// One thing that is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What is missing.
    pub what: String,
    /// What to do about it.
    pub fix: String,
    /// The Debian package that would bring it.
    pub package: Option<&'static str>,
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.what, self.fix)
    }
}

/// Programs, and the Debian package of each that comes from one.
const PROGRAMS: [(&str, Option<&str>, &str); 13] = [
    ("go", None, "install Go 1.26.6 or later (https://go.dev/dl)"),
    ("cargo", None, "install Rust (https://rustup.rs)"),
    ("cc", Some("gcc"), "a C compiler links the Rust programs"),
    ("python3", Some("python3"), "fetches Redis Stack"),
    ("runc", Some("runc"), "runs containers"),
    ("nft", Some("nftables"), "routes Services"),
    ("iptables", Some("iptables"), "the kubelet looks for it"),
    ("conntrack", Some("conntrack"), "kube-proxy clears stale connections"),
    ("ip", Some("iproute2"), "makes the cluster's network"),
    ("unshare", Some("util-linux"), "makes the cluster's namespaces"),
    ("nsenter", Some("util-linux"), "imports images into the cluster"),
    ("mount", Some("mount"), "the kubelet mounts volumes with it"),
    ("ldd", Some("libc-bin"), "finds what Redis needs"),
];

/// Everything that stands in the way of [`Cluster::up`](crate::Cluster::up) on this machine; empty when nothing does.
pub fn check() -> Vec<Problem> {
    let mut problems = Vec::new();
    let root = rustix::process::geteuid().is_root();
    if !root {
        problems.push(problem(
            "not root",
            "run as root: namespaces, mounts and control groups need it",
        ));
    }
    if env::consts::ARCH != "x86_64" {
        problems.push(problem(
            "not an x86_64 machine",
            "the Redis and image builds are for x86_64 only",
        ));
    }
    problems.extend(programs());
    problems.extend(control_groups());
    problems.extend(resources());
    if root && problems.iter().all(|problem| problem.package.is_none()) {
        problems.extend(kernel());
    }
    problems
}

/// Installs the Debian packages that `problems` name, and no others.
pub fn install_packages(problems: &[Problem]) -> anyhow::Result<()> {
    let mut packages: Vec<&str> = problems.iter().filter_map(|problem| problem.package).collect();
    packages.sort_unstable();
    packages.dedup();
    if packages.is_empty() {
        return Ok(());
    }
    let steps: [&[&str]; 2] = [
        &["update", "--quiet"],
        &["install", "--yes", "--quiet", "--no-install-recommends"],
    ];
    for (step, with) in steps.into_iter().zip([&[][..], &packages]) {
        let output = Command::new("apt-get")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(step)
            .args(with)
            .output()
            .context("start apt-get: install these by hand where there is none")?;
        if !output.status.success() {
            bail!(
                "apt-get {} failed: {}",
                step.join(" "),
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
    }
    Ok(())
}

fn problem(what: impl Into<String>, fix: impl Into<String>) -> Problem {
    Problem {
        what: what.into(),
        fix: fix.into(),
        package: None,
    }
}

/// Whether this program is missing, with the Debian package that brings it, if one does, and why it is needed.
pub fn program(name: &str, package: Option<&'static str>, why: &str) -> Option<Problem> {
    let path = env::var_os("PATH").unwrap_or_default();
    // A user's PATH often lacks the folders of root's programs; the cluster looks there all the same.
    let mut folders = env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    if folders.any(|folder| folder.join(name).is_file()) {
        return None;
    }
    Some(Problem {
        what: format!("{name} is missing"),
        fix: package.map_or_else(
            || why.to_owned(),
            |package| format!("apt-get install {package} ({why})"),
        ),
        package,
    })
}

fn programs() -> Vec<Problem> {
    let mut problems: Vec<Problem> = PROGRAMS
        .iter()
        .filter_map(|(name, package, why)| program(name, *package, why))
        .collect();
    if let Ok(output) = Command::new("go")
        .args(["env", "GOVERSION"])
        .env("GOTOOLCHAIN", "local")
        .output()
    {
        let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if go_version(&version).is_some_and(|version| version < OLDEST_GO) {
            problems.push(problem(
                format!("{version} is too old"),
                "install Go 1.26.6 or later (https://go.dev/dl)",
            ));
        }
    }
    let pip = Command::new("python3").args(["-m", "pip", "--version"]).output();
    if pip.is_ok_and(|output| !output.status.success()) {
        problems.push(Problem {
            what: "python3 has no pip".into(),
            fix: "apt-get install python3-pip (fetches Redis Stack)".into(),
            package: Some("python3-pip"),
        });
    }
    problems
}

/// Minor and patch of a version such as `go1.26.8`; a version without patch is its first.
fn go_version(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.strip_prefix("go1.")?.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next().unwrap_or(Ok(0)).ok()?))
}

fn control_groups() -> Vec<Problem> {
    match Hierarchies::of_this_machine() {
        Ok(hierarchies) => hierarchies
            .missing_controllers()
            .into_iter()
            .map(|controller| {
                let fix = "mount it below /sys/fs/cgroup, or enable it on the kernel's command line";
                problem(format!("no control group controller {controller}"), fix)
            })
            .collect(),
        Err(error) => vec![problem("control groups cannot be read", format!("{error:#}"))],
    }
}

fn resources() -> Vec<Problem> {
    let mut problems = Vec::new();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let available = memory.lines().find_map(|line| {
        line.strip_prefix("MemAvailable:")?
            .trim()
            .strip_suffix(" kB")?
            .parse::<u64>()
            .ok()
    });
    if let Some(free) = available.filter(|free| *free < MEMORY_KIBIBYTES) {
        problems.push(problem(
            format!("{} MiB of memory are free", free / 1024),
            "4 GiB are needed",
        ));
    }
    let folder = cache_dir().unwrap_or_default();
    let existing = folder
        .ancestors()
        .find(|folder| folder.exists())
        .unwrap_or(Path::new("/"));
    if let Ok(disk) = rustix::fs::statvfs(existing) {
        let free = disk.f_bavail * disk.f_frsize;
        let first_run = !folder.join("kubernetes").exists();
        let needed = if first_run { DISK_BYTES } else { DISK_BYTES / 4 };
        if free < needed {
            let what = format!("{} GiB of disk are free at {}", free >> 30, existing.display());
            problems.push(problem(
                what,
                format!("{} GiB are needed; XDG_CACHE_HOME moves the cache", needed >> 30),
            ));
        }
    }
    if !Path::new("/dev/kmsg").exists() {
        problems.push(problem(
            "/dev/kmsg is missing",
            "the kubelet reads it; in a container, give it the device",
        ));
    }
    problems
}

/// Makes one of each thing that the cluster needs, in namespaces that end with the attempt.
fn kernel() -> Vec<Problem> {
    let attempts = [
        ("veth", "ip link add name probe0 type veth peer name probe1"),
        ("bridge", "ip link add name probe0 type bridge"),
        (
            "nf_tables",
            "nft add table ip a && nft 'add chain ip a b { type nat hook postrouting priority 100; }' && nft add rule ip a b masquerade",
        ),
        (
            "nft_fib",
            "nft add table ip a && nft 'add chain ip a b { type filter hook prerouting priority 0; }' && nft add rule ip a b fib daddr type local accept",
        ),
        (
            "nft_numgen",
            "nft add table ip a && nft add chain ip a b && nft add rule ip a b numgen random mod 2 0 accept",
        ),
        (
            "overlay",
            "mount -t tmpfs tmpfs /tmp && mkdir /tmp/a /tmp/b /tmp/c && mount -t overlay -o lowerdir=/tmp/a,upperdir=/tmp/b,workdir=/tmp/c overlay /tmp/a",
        ),
    ];
    // Modules load by themselves where they can; those that nothing asks for by name are asked for here.
    for module in ["overlay", "br_netfilter", "nf_conntrack"] {
        let _ = Command::new("modprobe").args(["--quiet", module]).output();
    }
    let failed = attempts.into_iter().filter_map(|(feature, script)| {
        let output = Command::new("unshare")
            .args(["--net", "--mount", "--", "sh", "-c", script])
            .output();
        let reason = match output {
            Ok(output) if output.status.success() => return None,
            Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            Err(error) => error.to_string(),
        };
        Some(problem(
            format!("the kernel lacks {feature} ({reason})"),
            format!("modprobe {feature}, or a kernel that has it"),
        ))
    });
    failed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_go_are_read() {
        assert_eq!(go_version("go1.26.8"), Some((26, 8)));
        assert_eq!(go_version("go1.25"), Some((25, 0)));
        assert_eq!(go_version("devel"), None);
    }

    #[test]
    fn a_problem_says_what_to_do() {
        let shown = problem("no bread", "bake some").to_string();
        assert_eq!(shown, "no bread: bake some");
    }
}
