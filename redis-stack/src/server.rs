//! One Redis Stack server on loopback: start, kill, restart, freeze. Touches its own process and folder only.

use crate::install::{InstallError, Installation, install};
use crate::launch::{launch, launch_on_free_port, write_acl};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

pub(crate) const HOST: &str = "127.0.0.1";
/// The user with all rights that is added when an ACL is given, for which `default` is usually off.
pub(crate) const HARNESS_USER: &str = "harness";

/// Whether and when writes reach the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Append {
    /// No append-only file: a killed server comes back empty.
    #[default]
    Off,
    /// An fsync each second.
    EverySecond,
    /// An fsync before each reply.
    Always,
}

/// How to start a server.
#[derive(Clone, Debug)]
pub struct Options {
    /// Load RedisJSON and RediSearch. Streams alone do not need them.
    pub modules: bool,
    /// The append-only file.
    pub append: Append,
    /// Lines of an ACL file (`user NAME ...`). When there are any, a user `harness` with all rights is added, and
    /// [`RedisStack::client`] uses it.
    pub acl: Vec<String>,
    /// A fixed port; by default a free one is found.
    pub port: Option<u16>,
    /// Where data lies; by default a temporary folder that goes with the server.
    pub directory: Option<PathBuf>,
    /// More arguments of redis-server, such as `["--maxmemory", "64mb"]`.
    pub arguments: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            modules: true,
            append: Append::Off,
            acl: Vec::new(),
            port: None,
            directory: None,
            arguments: Vec::new(),
        }
    }
}

impl Options {
    /// Options for a server without modules, which starts in a few milliseconds.
    pub fn plain() -> Self {
        Self {
            modules: false,
            ..Self::default()
        }
    }
}

/// Why a server did not start, or a signal did not reach it.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Redis Stack could not be obtained.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// A file or process operation failed.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The server ended, or was not ready in time.
    #[error("redis-server {what}; its last lines:\n{log}")]
    NotReady {
        /// How it failed.
        what: &'static str,
        /// The end of its log.
        log: String,
    },
    /// The server answers no client.
    #[error("redis-server does not answer: {0}")]
    Ping(#[from] redis::RedisError),
}

/// A running server. Dropping it kills the process and removes its temporary folder.
#[derive(Debug)]
pub struct RedisStack {
    installation: Installation,
    options: Options,
    port: u16,
    directory: PathBuf,
    child: Child,
    starts: u32,
    /// Of the user `harness`: other users of the machine reach the port too.
    password: String,
    /// Held for its drop, which removes the folder.
    _temporary: Option<tempfile::TempDir>,
}

impl RedisStack {
    /// Starts a server and returns when it answers PING. Blocks the thread.
    pub fn start(options: Options) -> Result<Self, StartError> {
        let installation = install()?;
        let (directory, temporary) = if let Some(directory) = &options.directory {
            fs::create_dir_all(directory).map_err(system("making the data folder"))?;
            (directory.clone(), None)
        } else {
            let mut builder = tempfile::Builder::new();
            // Passwords and data are in it.
            builder
                .prefix("shopwright-redis-")
                .permissions(Permissions::from_mode(0o700));
            let temporary = builder.tempdir().map_err(system("making a temporary folder"))?;
            (temporary.path().to_owned(), Some(temporary))
        };
        let password = format!("{:032x}", rand::random::<u128>());
        write_acl(&options, &directory, &password)?;
        let (port, child) = launch_on_free_port(&installation, &options, &directory)?;
        let stack = Self {
            installation,
            options,
            port,
            directory,
            child,
            starts: 1,
            password,
            _temporary: temporary,
        };
        stack.ping()?;
        Ok(stack)
    }

    /// [`start`](Self::start) for async callers.
    pub async fn start_async(options: Options) -> Result<Self, StartError> {
        tokio::task::spawn_blocking(move || Self::start(options))
            .await
            .map_err(|error| StartError::System {
                what: "starting",
                source: io::Error::other(error),
            })?
    }

    /// The loopback port it listens on; stays the same over restarts.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The loopback address it listens on.
    pub fn host(&self) -> &'static str {
        HOST
    }

    /// `redis://127.0.0.1:PORT/`, with the credentials of the `harness` user when an ACL was given.
    pub fn url(&self) -> String {
        let port = self.port;
        match self.harness() {
            None => format!("redis://{HOST}:{port}/"),
            Some((user, password)) => format!("redis://{user}:{password}@{HOST}:{port}/"),
        }
    }

    /// User and password with all rights, when an ACL was given.
    pub fn harness(&self) -> Option<(&'static str, &str)> {
        (!self.options.acl.is_empty()).then_some((HARNESS_USER, self.password.as_str()))
    }

    /// A client with all rights.
    pub fn client(&self) -> Result<redis::Client, redis::RedisError> {
        redis::Client::open(self.url())
    }

    /// The folder of its data and logs.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The server's process id.
    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// Kills the server as `kill -9` does and waits until it is gone.
    pub fn kill(&mut self) -> Result<(), StartError> {
        // A process that has already ended is as dead as asked for.
        let _ = self.child.kill();
        self.child.wait().map_err(system("waiting for redis-server"))?;
        Ok(())
    }

    /// Kills the server if it runs and starts it again on the same port and data. Blocks until it answers.
    pub fn restart(&mut self) -> Result<(), StartError> {
        self.kill()?;
        self.starts += 1;
        let log = self.directory.join(format!("redis-{}.log", self.starts));
        self.child = launch(&self.installation, &self.options, &self.directory, self.port, &log)?;
        self.ping()
    }

    /// Freezes the server: connections stay open, nothing is answered.
    pub fn pause(&self) -> Result<(), StartError> {
        self.signal(Signal::STOP)
    }

    /// Lets a frozen server go on.
    pub fn resume(&self) -> Result<(), StartError> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<(), StartError> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).map_err(|errno| system("signalling redis-server")(errno.into()))
    }

    fn ping(&self) -> Result<(), StartError> {
        let mut connection = self.client()?.get_connection_with_timeout(Duration::from_secs(5))?;
        redis::cmd("PING").exec(&mut connection)?;
        Ok(())
    }
}

impl Drop for RedisStack {
    fn drop(&mut self) {
        // Nothing useful can be done about a failure here, and the kernel reaps the rest with this process.
        let _ = self.kill();
    }
}

pub(crate) fn system(what: &'static str) -> impl Fn(io::Error) -> StartError {
    move |source| StartError::System { what, source }
}
