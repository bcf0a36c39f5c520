//! Processes of pods, seen from the machine itself: a local cluster's processes are in our process table. This is how a
//! scenario stops or kills a container that has no shell. On a cluster elsewhere nothing is found.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use rustix::process::{Pid, Signal, kill_process};

/// Pids of the processes called `command` in the pod with this uid: its control group's path carries the uid.
pub fn of_pod(pod_uid: &str, command: &str) -> Vec<i32> {
    let escaped = pod_uid.replace('-', "_");
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
            let groups = read("cgroup");
            (groups.contains(pod_uid) || groups.contains(&escaped)) && read("comm").trim() == command
        })
        .collect()
}

/// What to do to a process.
#[derive(Debug, Clone, Copy)]
pub enum Deed {
    /// It goes on existing but answers nobody.
    Pause,
    /// It goes on.
    Resume,
    /// It ends at once, without a chance to clean up.
    Kill,
}

/// Does it to the one process called `command` in this pod.
pub fn signal(pod: &Pod, command: &str, deed: Deed) -> Result<()> {
    let uid = pod.metadata.uid.as_deref().context("a pod without uid")?;
    let found = of_pod(uid, command);
    ensure!(
        found.len() == 1,
        "one process {command} expected in pod {uid}, found {found:?}"
    );
    let pid = found.first().copied().and_then(Pid::from_raw).context("no such pid")?;
    let signal = match deed {
        Deed::Pause => Signal::STOP,
        Deed::Resume => Signal::CONT,
        Deed::Kill => Signal::KILL,
    };
    kill_process(pid, signal).with_context(|| format!("{deed:?} {command}"))
}

/// Resumes a paused process when it is dropped, so that a failed scenario leaves nothing frozen behind.
pub struct Paused {
    pod: Pod,
    command: &'static str,
}

impl Paused {
    /// Pauses the one process called `command` in this pod.
    pub fn new(pod: Pod, command: &'static str) -> Result<Self> {
        signal(&pod, command, Deed::Pause)?;
        Ok(Self { pod, command })
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        // The container may have been restarted meanwhile: then there is nothing to resume.
        let _ = signal(&self.pod, self.command, Deed::Resume);
    }
}
