//! On the host: starts the namespaces, holds the pipe whose end ends the cluster, and answers on the control socket.

use crate::{
    cgroup,
    control::{self, Answers},
    forward::Forwarders,
    helper::{Context, Part},
};
use anyhow::{Context as _, bail};
use std::{
    fs::{self, File},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

pub(crate) fn run(context: &Context) -> anyhow::Result<()> {
    let result = supervise(context);
    if let Err(error) = &result
        && !context.state.failed().exists()
    {
        // A state folder that `down` has taken away needs no word any more.
        let _ = fs::write(context.state.failed(), format!("{error:#}"));
    }
    result
}

fn supervise(context: &Context) -> anyhow::Result<()> {
    // A session of its own: Ctrl-C at the terminal that started the cluster does not end it half way.
    let _ = rustix::process::setsid();
    cgroup::create_and_enter(&context.state).context("control groups")?;
    let listener = control::listen(&context.state).context("control socket")?;
    let mut namespaces = start_namespaces(context)?;
    // Taken out, because waiting for a child closes its input first; it stays open as long as this process.
    let manager = namespaces.stdin.take().context("no way to the manager")?;
    let init = first_process(&mut namespaces)?;
    let network = File::open(format!("/proc/{init}/ns/net")).context("the cluster's network namespace")?;
    let answers = Arc::new(Answers {
        forwarders: Forwarders::new(network),
        init,
        manager: Mutex::new(Box::new(manager)),
    });
    thread::spawn(move || control::serve(&listener, &answers));
    let ended = namespaces.wait()?;
    bail!("the cluster's first process ended: {ended}")
}

fn start_namespaces(context: &Context) -> anyhow::Result<Child> {
    let log = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(context.state.log("init"))?;
    Command::new("unshare")
        .args([
            "--net",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "--",
        ])
        .arg(&context.program)
        .args(context.arguments(Part::Init))
        // Its end is the sign that the supervisor is gone.
        .stdin(Stdio::piped())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("start unshare")
}

/// The child of `unshare`, as the host numbers it.
fn first_process(namespaces: &mut Child) -> anyhow::Result<i32> {
    let deadline = Instant::now() + Duration::from_secs(10);
    let parent = namespaces.id().to_string();
    while Instant::now() < deadline {
        if let Some(ended) = namespaces.try_wait()? {
            bail!("unshare ended: {ended}");
        }
        for entry in fs::read_dir("/proc")?.flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
                continue;
            };
            if parent_of(pid).as_deref() == Some(&parent) {
                return Ok(pid);
            }
        }
        thread::sleep(Duration::from_millis(10));
    }
    bail!("unshare started no process")
}

fn parent_of(pid: i32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let (_, fields) = stat.rsplit_once(") ")?;
    fields.split(' ').nth(1).map(str::to_owned)
}
