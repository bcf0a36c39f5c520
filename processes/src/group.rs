//! Named child processes, each with a log file, all ended when their group is dropped.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::{AtOurEnd, Signal, last_lines, signal, spawn};

/// How long a process may finish its work after SIGTERM: as long as its pod would have.
const GRACE: Duration = Duration::from_mins(1);

/// A process of the group has ended, which none should.
#[derive(Debug, thiserror::Error)]
#[error("{name} ended with {status}:\n{last_lines}")]
pub struct Ended {
    /// Its name in the group.
    pub name: String,
    /// How it ended.
    pub status: ExitStatus,
    /// The end of its log.
    pub last_lines: String,
}

/// Named child processes; ends them last started first, by SIGTERM, then by SIGKILL.
pub struct Processes {
    logs: PathBuf,
    running: Vec<(String, Child)>,
}

impl Processes {
    /// Logs are written to `logs`, one file a process.
    pub fn new(logs: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(logs)?;
        Ok(Self {
            logs: logs.to_owned(),
            running: Vec::new(),
        })
    }

    /// Starts `program` so that it dies with this process even when this process is killed.
    pub fn start(
        &mut self,
        name: &str,
        program: &Path,
        arguments: &[&str],
        environment: &[(&str, String)],
    ) -> io::Result<()> {
        let log = File::create(self.log(name))?;
        let (output, errors) = (log.try_clone()?, log);
        let child = spawn(program, AtOurEnd::Terminate, |command| {
            command.args(arguments);
            command.envs(environment.iter().map(|(key, value)| (*key, value)));
            command.stdin(Stdio::null());
            command.stdout(output.try_clone().map_or_else(|_| Stdio::null(), Stdio::from));
            command.stderr(errors.try_clone().map_or_else(|_| Stdio::null(), Stdio::from));
        })?;
        self.running.push((name.to_owned(), child));
        Ok(())
    }

    /// An error that names the first process that has ended, with the last lines of its log. `Ok(None)` while all run.
    pub fn ended(&mut self) -> io::Result<Option<Ended>> {
        for (name, child) in &mut self.running {
            if let Some(status) = child.try_wait()? {
                return Ok(Some(Ended {
                    name: name.clone(),
                    status,
                    last_lines: last_lines(&self.logs.join(format!("{name}.log")), 20),
                }));
            }
        }
        Ok(None)
    }

    fn log(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{name}.log"))
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for (_, child) in self.running.iter_mut().rev() {
            // A process that ended by itself is gone already: nothing to do.
            let _ = signal(child, Signal::TERM);
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
