//! The cluster's own control group, in every hierarchy of the machine. All its processes live in it, so the group is also
//! the record of what has to be killed. Writes to the cgroup file systems only.

use crate::paths::StateDir;
use anyhow::Context as _;
use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// The cgroup file systems of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hierarchies {
    /// Mount points of version 1 hierarchies, with the controllers of each.
    pub(crate) v1: Vec<(PathBuf, Vec<String>)>,
    /// Mount point of version 2.
    pub(crate) v2: Option<PathBuf>,
}

impl Hierarchies {
    pub(crate) fn of_this_machine() -> anyhow::Result<Self> {
        let text = fs::read_to_string("/proc/self/mountinfo").context("/proc/self/mountinfo")?;
        Ok(Self::parse(&text))
    }

    fn parse(mountinfo: &str) -> Self {
        let mut found = Self {
            v1: Vec::new(),
            v2: None,
        };
        for line in mountinfo.lines() {
            let Some((before, after)) = line.split_once(" - ") else {
                continue;
            };
            let Some(mount_point) = before.split(' ').nth(4).map(PathBuf::from) else {
                continue;
            };
            let mut fields = after.split(' ');
            match fields.next() {
                Some("cgroup2") => found.v2 = Some(mount_point),
                Some("cgroup") => {
                    let options = fields.nth(1).unwrap_or_default().split(',');
                    let controllers = options
                        .filter(|option| !matches!(*option, "rw" | "ro"))
                        .map(str::to_owned);
                    found.v1.push((mount_point, controllers.collect()));
                }
                _ => {}
            }
        }
        found
    }

    /// True where version 2 alone governs, as the kubelet judges it.
    pub(crate) fn is_v2_only(&self) -> bool {
        self.v2.as_deref() == Some(Path::new("/sys/fs/cgroup"))
    }

    /// Controllers the kubelet and the container runtime need that are not there.
    pub(crate) fn missing_controllers(&self) -> Vec<&'static str> {
        let available = |controller: &str| {
            if self.is_v2_only() {
                let list = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
                // Version 2 counts processor time in `cpu`, and keeps devices and freezing out of controllers.
                matches!(controller, "cpuacct" | "devices" | "freezer")
                    || list.split_whitespace().any(|name| name == controller)
            } else {
                self.v1
                    .iter()
                    .any(|(_, controllers)| controllers.iter().any(|name| name == controller))
            }
        };
        ["cpu", "cpuacct", "cpuset", "memory", "pids", "devices", "freezer"]
            .into_iter()
            .filter(|controller| !available(controller))
            .collect()
    }

    fn roots(&self) -> impl Iterator<Item = &Path> {
        self.v1
            .iter()
            .map(|(mount, _)| mount.as_path())
            .chain(self.v2.as_deref())
    }
}

/// Makes the group and puts this process, and so all its children, in it.
pub(crate) fn create_and_enter(state: &StateDir) -> anyhow::Result<()> {
    let hierarchies = Hierarchies::of_this_machine()?;
    let pid = std::process::id().to_string();
    for (mount, _) in &hierarchies.v1 {
        let group = mount.join(state.cgroup());
        let system = group.join("system");
        for (folder, parent) in [(&group, mount), (&system, &group)] {
            fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
            // A new cpuset is empty, and an empty one accepts no process.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                if let Ok(value) = fs::read_to_string(parent.join(file)) {
                    fs::write(folder.join(file), value.trim())
                        .with_context(|| folder.join(file).display().to_string())?;
                }
            }
        }
        fs::write(system.join("cgroup.procs"), &pid).with_context(|| system.display().to_string())?;
    }
    if let (true, Some(mount)) = (hierarchies.is_v2_only(), &hierarchies.v2) {
        let system = mount.join(state.cgroup()).join("system");
        fs::create_dir_all(&system)?;
        for folder in [mount.clone(), mount.join(state.cgroup())] {
            for controller in ["cpu", "cpuset", "memory", "pids", "io", "hugetlb"] {
                // Each alone: one that the kernel lacks must not keep out the others.
                let _ = fs::write(folder.join("cgroup.subtree_control"), format!("+{controller}"));
            }
        }
        fs::write(system.join("cgroup.procs"), &pid).with_context(|| system.display().to_string())?;
    }
    Ok(())
}

/// Processes in the group or below it, by number.
pub(crate) fn processes(state: &StateDir) -> anyhow::Result<Vec<i32>> {
    let mut found = Vec::new();
    for root in Hierarchies::of_this_machine()?.roots() {
        let mut folders = vec![root.join(state.cgroup())];
        while let Some(folder) = folders.pop() {
            let listed = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
            found.extend(listed.lines().filter_map(|line| line.parse::<i32>().ok()));
            folders.extend(children(&folder));
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// The group's folders that exist.
pub(crate) fn folders(state: &StateDir) -> anyhow::Result<Vec<PathBuf>> {
    let hierarchies = Hierarchies::of_this_machine()?;
    Ok(hierarchies
        .roots()
        .map(|root| root.join(state.cgroup()))
        .filter(|folder| folder.exists())
        .collect())
}

/// Removes the group, which must hold no process any more, waiting at most `patience` for the kernel to let go of it.
pub(crate) fn remove(state: &StateDir, patience: Duration) -> anyhow::Result<()> {
    let deadline = Instant::now() + patience;
    for folder in folders(state)? {
        while let Err(error) = remove_tree(&folder) {
            if Instant::now() > deadline {
                return Err(error).with_context(|| format!("remove {}", folder.display()));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}

fn remove_tree(folder: &Path) -> io::Result<()> {
    for child in children(folder) {
        remove_tree(&child)?;
    }
    match fs::remove_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn children(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
30 20 0:25 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
31 30 0:26 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
32 30 0:27 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
33 30 0:28 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

    #[test]
    fn a_hybrid_machine_counts_as_version_1() {
        let found = Hierarchies::parse(HYBRID);
        assert!(!found.is_v2_only());
        assert_eq!(
            found.v1[0],
            (
                "/sys/fs/cgroup/cpu,cpuacct".into(),
                vec!["cpu".into(), "cpuacct".into()]
            )
        );
        assert_eq!(found.v1.len(), 2);
        assert_eq!(
            found.missing_controllers(),
            ["cpuset", "memory", "pids", "devices", "freezer"]
        );
        assert_eq!(found.roots().count(), 3);
    }

    #[test]
    fn a_unified_machine_is_version_2() {
        let found = Hierarchies::parse("31 30 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n");
        assert!(found.is_v2_only());
        assert!(found.v1.is_empty());
    }
}
