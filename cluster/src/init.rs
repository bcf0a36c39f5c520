//! The first process in the cluster's namespaces: makes the mounts and the network, starts the manager, reaps everybody.
//! When it ends, the kernel ends every process of the cluster.

use crate::{
    config::{BRIDGE, NODE_ADDRESS},
    helper::{Context, Part},
};
use anyhow::{Context as _, bail};
use rustix::{
    mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change},
    process::{WaitOptions, getpid, wait},
};
use std::{fs, path::Path, process::Command};

/// Settings of the whole machine that the kubelet insists on. It is shown these, so that it writes none.
const SHOWN_SETTINGS: [(&str, &str); 6] = [
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];

pub(crate) fn run(context: &Context) -> anyhow::Result<()> {
    if getpid().as_raw_nonzero().get() != 1 {
        bail!("the cluster's first process runs in a process namespace of its own");
    }
    private_mounts().context("mounts")?;
    shown_settings().context("settings shown to the kubelet")?;
    network().context("network")?;
    let manager = context.command(Part::Manager).spawn().context("start the manager")?;
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid.as_raw_nonzero().get().unsigned_abs() == manager.id() => {
                bail!("the manager ended: {status:?}");
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("wait for processes"),
        }
    }
}

/// Paths that Kubernetes and its parts insist on become folders of this cluster alone, and vanish with it.
fn private_mounts() -> anyhow::Result<()> {
    // The kubelet propagates mounts into containers; this tree is already cut off from the host's.
    mount_change("/", MountPropagationFlags::SHARED | MountPropagationFlags::REC).context("share /")?;
    for folder in ["/run", "/var/log"] {
        mount(
            "tmpfs",
            folder,
            "tmpfs",
            MountFlags::NOSUID | MountFlags::NODEV,
            c"mode=0755",
        )
        .context(folder)?;
    }
    let (upper, work) = ("/run/shopwright/upper", "/run/shopwright/work");
    for folder in [upper, work, "/run/lock", "/run/netns"] {
        fs::create_dir_all(folder)?;
    }
    // An overlay and not an empty folder: /var/lib holds what host programs need, and /var/lib/kubelet may not exist.
    let options = std::ffi::CString::new(format!("lowerdir=/var/lib,upperdir={upper},workdir={work}"))?;
    mount(
        "overlay",
        "/var/lib",
        "overlay",
        MountFlags::empty(),
        options.as_c_str(),
    )
    .context("/var/lib")
}

fn shown_settings() -> anyhow::Result<()> {
    let folder = Path::new("/run/shopwright/settings");
    for (name, value) in SHOWN_SETTINGS {
        let real = Path::new("/proc/sys").join(name);
        if !real.exists() {
            continue;
        }
        let shown = folder.join(name);
        fs::create_dir_all(shown.parent().unwrap_or(folder))?;
        fs::write(&shown, format!("{value}\n"))?;
        mount_bind(&shown, &real).with_context(|| real.display().to_string())?;
    }
    Ok(())
}

/// The bridge and the default route come first: without a route the API server and the kubelet find no address of their own.
fn network() -> anyhow::Result<()> {
    let address = format!("{NODE_ADDRESS}/16");
    for arguments in [
        ["link", "set", "lo", "up"].as_slice(),
        &["link", "add", BRIDGE, "type", "bridge"],
        &["address", "add", &address, "dev", BRIDGE],
        &["link", "set", BRIDGE, "up"],
        // Keeps the bridge in state up while no pod is plugged in.
        &["link", "add", "hold0", "type", "veth", "peer", "name", "hold1"],
        &["link", "set", "hold0", "master", BRIDGE, "up"],
        &["link", "set", "hold1", "up"],
        &["route", "add", "default", "dev", BRIDGE],
    ] {
        let output = Command::new("ip").args(arguments).output().context("start ip")?;
        if !output.status.success() {
            bail!(
                "ip {}: {}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
    }
    fs::write("/proc/sys/net/ipv4/ip_forward", "1").context("ip_forward")?;
    // Without it the answer of a pod on the same bridge passes by the rules that know which Service was asked.
    let bridged = Path::new("/proc/sys/net/bridge/bridge-nf-call-iptables");
    if bridged.exists() {
        fs::write(bridged, "1").context("bridge-nf-call-iptables")?;
    }
    Ok(())
}
