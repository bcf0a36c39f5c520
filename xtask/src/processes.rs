//! Child processes on loopback, each with a log file, all ended when their group is dropped. Signals only processes it started.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// How long a process may finish its work after SIGTERM: as long as its pod would have.
const GRACE: Duration = Duration::from_mins(1);

/// Named child processes; ends them last started first, by SIGTERM, then by SIGKILL.
pub(crate) struct Processes {
    logs: PathBuf,
    running: Vec<(String, Child)>,
}

impl Processes {
    /// Logs are written to `logs`, one file a process.
    pub(crate) fn new(logs: &Path) -> Result<Self> {
        std::fs::create_dir_all(logs)?;
        Ok(Self {
            logs: logs.to_owned(),
            running: Vec::new(),
        })
    }

    /// Starts `program` so that it dies with this process even when this process is killed.
    pub(crate) fn start(
        &mut self,
        name: &str,
        program: &Path,
        arguments: &[&str],
        environment: &[(&str, String)],
    ) -> Result<()> {
        let log = File::create(self.log(name))?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM", "--"]).arg(program).args(arguments);
        command.envs(environment.iter().map(|(key, value)| (*key, value)));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {name} through setpriv (util-linux)"))?;
        self.running.push((name.to_owned(), child));
        Ok(())
    }

    /// An error that names the first process that has ended, with the last lines of its log.
    pub(crate) fn check(&mut self) -> Result<()> {
        for (name, child) in &mut self.running {
            if let Some(status) = child.try_wait()? {
                let log = std::fs::read_to_string(self.logs.join(format!("{name}.log"))).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                bail!(
                    "{name} ended with {status}:\n{}",
                    lines[lines.len().saturating_sub(20)..].join("\n")
                );
            }
        }
        Ok(())
    }

    fn log(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{name}.log"))
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for (_, child) in self.running.iter().rev() {
            if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
                // A process that ended by itself is gone already: nothing to do.
                let _ = kill_process(pid, Signal::TERM);
            }
        }
        let deadline = Instant::now() + GRACE;
        for (_, child) in self.running.iter_mut().rev() {
            while matches!(child.try_wait(), Ok(None)) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A loopback address with a port that was free a moment ago.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
