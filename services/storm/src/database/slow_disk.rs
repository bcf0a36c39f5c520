//! Makes each fsync of one process slow, by strace's injection of delays into system calls. Touches that process through
//! ptrace, and lets it go.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use shopwright_processes::{AtOurEnd, Signal, last_lines, signal, spawn};

const ATTACHING: Duration = Duration::from_secs(5);
const DETACHING: Duration = Duration::from_secs(5);

/// Why fsyncs could not be made slow here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTried {
    /// The program is missing.
    #[error("strace is not installed")]
    Missing,
    /// It may not trace, or ended at once.
    #[error("strace could not attach: {0}")]
    Refused(String),
}

/// While it lives, fsyncs are slow.
pub struct SlowDisk {
    strace: Child,
}

impl SlowDisk {
    /// Delays each fsync of a process. Blocks until that is so, or is known to be impossible.
    pub fn attach(process_id: u32, delay: Duration, log: &Path) -> Result<Self, NotTried> {
        let refused = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => NotTried::Missing,
            _ => NotTried::Refused(error.to_string()),
        };
        let errors = File::create(log).map_err(refused)?;
        let inject = format!("inject=fdatasync,fsync:delay_enter={}", delay.as_micros());
        let process = process_id.to_string();
        let arguments = [
            "-f",
            "-qq",
            "-p",
            &process,
            "-e",
            "trace=fdatasync,fsync",
            "-e",
            &inject,
        ];
        let strace = spawn(Path::new("strace"), AtOurEnd::Terminate, |command| {
            command.args(arguments).args(["-o", "/dev/null"]);
            command.stdin(Stdio::null()).stdout(Stdio::null());
            command.stderr(errors.try_clone().map_or_else(|_| Stdio::null(), Stdio::from));
        })
        .map_err(refused)?;
        let mut slow = Self { strace };
        let deadline = Instant::now() + ATTACHING;
        loop {
            if is_traced(process_id) {
                return Ok(slow);
            }
            if !matches!(slow.strace.try_wait(), Ok(None)) || Instant::now() > deadline {
                let said = last_lines(log, 3);
                // setpriv runs, and says that there is no such program.
                let missing = said.contains("strace: No such file");
                return Err(if missing {
                    NotTried::Missing
                } else {
                    NotTried::Refused(said)
                });
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for SlowDisk {
    fn drop(&mut self) {
        // On SIGTERM strace lets its process go before it ends. Killed, the kernel does the same.
        let _ = signal(&mut self.strace, Signal::TERM);
        let deadline = Instant::now() + DETACHING;
        while matches!(self.strace.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.strace.kill();
        let _ = self.strace.wait();
    }
}

fn is_traced(process_id: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process_id}/status")).unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("TracerPid:"))
        .is_some_and(|tracer| tracer.trim() != "0")
}
