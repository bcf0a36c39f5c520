//! Starts one redis-server process and waits until it is ready. Touches its process, port and folder only.

use crate::install::Installation;
use crate::server::{Append, HARNESS_USER, HOST, Options, StartError, system};
use shopwright_processes::{AtOurEnd, spawn};
use std::fs;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Loading an append-only file of a few hundred megabytes on a busy machine takes seconds; a hang takes for ever.
const START_DEADLINE: Duration = Duration::from_mins(1);
/// Names a server binary to use in place of Redis Stack's, where no modules are asked for.
const OTHER_SERVER: &str = "SHOPWRIGHT_REDIS_SERVER";
/// How often another port is tried when somebody takes the free one first.
const PORT_ATTEMPTS: u32 = 20;

pub(crate) fn write_acl(options: &Options, directory: &Path, password: &str) -> Result<(), StartError> {
    if options.acl.is_empty() {
        return Ok(());
    }
    let mut lines = options.acl.join("\n");
    lines.push_str("\nuser ");
    lines.push_str(HARNESS_USER);
    lines.push_str(" on allkeys allchannels allcommands >");
    lines.push_str(password);
    lines.push('\n');
    fs::write(directory.join("users.acl"), lines).map_err(system("writing the ACL file"))
}

/// Starts a server that can be seen to be ready on its port.
pub(crate) fn launch_on_free_port(
    installation: &Installation,
    options: &Options,
    directory: &Path,
) -> Result<(u16, Child), StartError> {
    let log = directory.join("redis-1.log");
    let mut attempt = 1;
    loop {
        let port = match options.port {
            Some(port) => port,
            None => free_port().map_err(system("finding a free port"))?,
        };
        match launch(installation, options, directory, port, &log) {
            Ok(child) => return Ok((port, child)),
            // Between finding a free port and the server's bind, another process can take it.
            Err(StartError::NotReady { log, .. })
                if options.port.is_none() && attempt < PORT_ATTEMPTS && log.contains("Address already in use") =>
            {
                attempt += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((HOST, 0))?.local_addr()?.port())
}

/// Starts a server and returns when it takes connections.
pub(crate) fn launch(
    installation: &Installation,
    options: &Options,
    directory: &Path,
    port: u16,
    log: &Path,
) -> Result<Child, StartError> {
    let output = fs::File::create(log).map_err(system("making the log file"))?;
    let arguments = arguments(installation, options, directory, port);
    let other = other_server(options);
    let server = other.as_deref().unwrap_or(&installation.redis_server);
    let mut child = spawn(server, AtOurEnd::Kill, |command: &mut Command| {
        if other.is_none() {
            command.env("LD_LIBRARY_PATH", &installation.lib);
        }
        command.args(&arguments).stdin(Stdio::null()).stderr(Stdio::null());
        // Without a second handle the log would be empty and the server never seen as ready.
        command.stdout(output.try_clone().map_or_else(|_| Stdio::null(), Stdio::from));
    })
    .map_err(system("starting redis-server"))?;
    match await_ready(&mut child, log) {
        Ok(()) => Ok(child),
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(error)
        }
    }
}

/// Another redis-server to try the tests on, or one that speaks its protocol; modules are Redis Stack's own.
fn other_server(options: &Options) -> Option<PathBuf> {
    std::env::var_os(OTHER_SERVER)
        .filter(|path| !options.modules && !path.is_empty())
        .map(PathBuf::from)
}

fn arguments(installation: &Installation, options: &Options, directory: &Path, port: u16) -> Vec<String> {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let mut arguments: Vec<String> = ["--bind", HOST, "--port", &port.to_string(), "--dir", &text(directory)]
        .into_iter()
        .chain([
            "--save",
            "",
            "--maxmemory-policy",
            "noeviction",
            "--daemonize",
            "no",
            "--logfile",
            "",
        ])
        .map(str::to_owned)
        .collect();
    let mut add = |pair: [&str; 2]| arguments.extend(pair.map(str::to_owned));
    match options.append {
        Append::Off => add(["--appendonly", "no"]),
        Append::EverySecond => {
            add(["--appendonly", "yes"]);
            add(["--appendfsync", "everysec"]);
        }
        Append::Always => {
            add(["--appendonly", "yes"]);
            add(["--appendfsync", "always"]);
        }
    }
    if !options.acl.is_empty() {
        add(["--aclfile", &text(&directory.join("users.acl"))]);
    }
    if options.modules {
        add(["--loadmodule", &text(&installation.rejson)]);
        add(["--loadmodule", &text(&installation.redisearch)]);
    }
    arguments.extend(options.arguments.iter().cloned());
    arguments
}

/// Reads the server's own log rather than knocking at the port, where a stranger's server could answer.
fn await_ready(child: &mut Child, log: &Path) -> Result<(), StartError> {
    let deadline = Instant::now() + START_DEADLINE;
    loop {
        let ended = child.try_wait().map_err(system("waiting for redis-server"))?.is_some();
        let bytes = fs::read(log).map_err(system("reading the log file"))?;
        let written = String::from_utf8_lossy(&bytes);
        let what = if ended {
            "ended at once"
        } else if written.contains("Ready to accept connections") {
            return Ok(());
        } else if Instant::now() > deadline {
            "is not ready in time"
        } else {
            thread::sleep(Duration::from_millis(2));
            continue;
        };
        let lines: Vec<&str> = written.lines().collect();
        return Err(StartError::NotReady {
            what,
            log: lines[lines.len().saturating_sub(12)..].join("\n"),
        });
    }
}
